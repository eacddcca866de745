"""Rows with both answers, and what they add up to: right or wrong, by family, lost, and some for
the eye. Pure.

A base does not know when to stop, so the share of answers that begin with the expected lines stands
beside the strict count ("begins_right"). Not covered: answers that can only be judged (judged.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localinstruct.evaluation.answers import Which
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.formats.tasks import Task, is_right
from localinstruct.records import Instance


@dataclass(frozen=True, slots=True)
class Row:
    """One question with both answers; `task` is None for a row of the held-out part of the
    dataset."""

    instance: Instance
    task: Task | None
    base: str
    student: str

    @property
    def checkable(self) -> bool:
        """Whether an answer is right or wrong by itself."""
        return bool(self.task and self.task.check)

    def answer(self, which: Which) -> str:
        """What this side said."""
        return self.base if which == "base" else self.student

    def right(self, which: Which) -> bool:
        """Whether this answer passes the task's checks; for a held-out row, equals the expected
        output."""
        answer = self.answer(which)
        return self.task.is_right(answer) if self.task else is_right(answer, self.instance.output)

    def begins_right(self, which: Which) -> bool:
        """`right`, or for an exact match begins with the expected lines: what remains for a model
        that does not stop."""
        answer, lines = self.answer(which), len(self.instance.output.strip().split("\n"))
        exact = self.task is None or "exact" in self.task.check
        return self.right(which) or (
            exact and is_right("\n".join(answer.strip().split("\n")[:lines]), self.instance.output)
        )


def score(rows: Sequence[Row]) -> dict[str, Any]:
    """Right answers of both, in shares from 0 to 1; the gain with its 95 % interval; counts by
    family."""
    families = sorted({row.task.family for row in rows if row.task})
    won = sum(row.right("student") and not row.right("base") for row in rows)
    lost = sum(row.right("base") and not row.right("student") for row in rows)
    return {
        "count": len(rows),
        "base": _share(rows, "base"),
        "student": _share(rows, "student"),
        "gain": (won - lost) / len(rows),
        "interval": list(gain_interval(won, lost, len(rows))),
        "begins_right": {
            "base": sum(row.begins_right("base") for row in rows) / len(rows),
            "student": sum(row.begins_right("student") for row in rows) / len(rows),
        },
        "by_family": {
            name: _family([row for row in rows if row.task and row.task.family == name])
            for name in families
        },
    }


def choose(rows: Sequence[Row], wanted: int) -> list[Row]:
    """Rows for the eye, in file order: half held-out rows, half tasks, and of those won, lost and
    tied ones in turn."""
    tasks, others = [row for row in rows if row.task], [row for row in rows if not row.task]
    outcomes: dict[tuple[bool, bool], list[Row]] = {}
    for row in tasks:
        outcomes.setdefault((row.right("student"), row.right("base")), []).append(row)
    turns = [
        outcomes.get(key, [])
        for key in ((True, False), (False, False), (True, True), (False, True))
    ]
    longest = max((len(turn) for turn in turns), default=0)
    mixed = [turn[place] for place in range(longest) for turn in turns if place < len(turn)]
    from_tasks = min(len(mixed), max(wanted - len(others), (wanted + 1) // 2))
    return (mixed[:from_tasks] + others)[:wanted]


def shown(row: Row) -> dict[str, Any]:
    """A row as the result, the answers' file and the report have it; right and wrong only where
    that can be said."""
    judgeable = row.task is not None and not row.task.check
    marks = (
        {}
        if judgeable
        else {"base_right": row.right("base"), "student_right": row.right("student")}
    )
    return {
        "instruction": row.instance.instruction,
        "input": row.instance.input,
        "expected": row.instance.output,
        "base": row.base,
        "student": row.student,
        **marks,
        "from": "tasks" if row.task else "held-out rows",
    }


def lost_answers(rows: Sequence[Row]) -> list[Row]:
    """Checkable tasks that the base answers right and the student no longer."""
    return [row for row in rows if row.checkable and row.right("base") and not row.right("student")]


def _share(rows: Sequence[Row], which: Which) -> float:
    return sum(row.right(which) for row in rows) / len(rows)


def _family(rows: Sequence[Row]) -> dict[str, float]:
    return {"count": len(rows), "base": _share(rows, "base"), "student": _share(rows, "student")}
