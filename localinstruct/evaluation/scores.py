"""Rows with both answers and their scores: right or wrong, by family, lost, samples.

Pure. A base does not know when to stop, so the share of answers that begin with the expected lines
stands beside the strict count ("begins_right"). Not covered: answers that can only be judged
(judged.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from localinstruct.evaluation.answers import Which
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.formats.tasks import Task, is_right
from localinstruct.records import Instance, JsonObject


@dataclass(frozen=True, slots=True)
class Row:
    """One question with both answers; `task` is None for a held-out row of the dataset."""

    instance: Instance
    task: Task | None
    base: str
    student: str

    @property
    def checkable(self) -> bool:
        """True where an answer is right or wrong without a judge."""
        return bool(self.task and self.task.check)

    def answer(self, which: Which) -> str:
        """The answer of this side."""
        return self.base if which == "base" else self.student

    def right(self, which: Which) -> bool:
        """True when the answer passes the task's checks, or equals a held-out row's output."""
        answer = self.answer(which)
        return self.task.is_right(answer) if self.task else is_right(answer, self.instance.output)

    def begins_right(self, which: Which) -> bool:
        """`right`, or begins with the expected lines where an exact match is asked for."""
        answer, lines = self.answer(which), len(self.instance.output.strip().split("\n"))
        exact = self.task is None or "exact" in self.task.check
        return self.right(which) or (
            exact and is_right("\n".join(answer.strip().split("\n")[:lines]), self.instance.output)
        )


def score(rows: Sequence[Row]) -> JsonObject:
    """Shares (0 to 1) of right answers, the gain with its 95 % interval, counts by family."""
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


def choose(rows: Sequence[Row], count: int) -> list[Row]:
    """Sample rows, in file order: half tasks (won, lost and tied in turn), half held-out rows."""
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
    from_tasks = min(len(mixed), max(count - len(others), (count + 1) // 2))
    return (mixed[:from_tasks] + others)[:count]


def paired_rows(
    questions: Sequence[tuple[Instance, Task | None]], answers: Mapping[Which, Sequence[str]]
) -> list[Row]:
    """The questions as rows, each with the answers of both sides in the order of the questions."""
    pairs = zip(answers["base"], answers["student"], strict=True)
    return [
        Row(instance, task, base, student)
        for (instance, task), (base, student) in zip(questions, pairs, strict=True)
    ]


def answer_record(row: Row) -> JsonObject:
    """A row as results, the answers' file and the report have it.

    "base_right" and "student_right" are left out where only a judge could tell.
    """
    marks = {}
    if row.task is None or row.task.check:
        marks = {"base_right": row.right("base"), "student_right": row.right("student")}
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
