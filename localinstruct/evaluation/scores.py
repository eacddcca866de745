"""Rows with both answers and their scores: right or wrong, by family, lost, samples.

Pure. A base does not know when to stop, so the share of answers that begin with the expected lines
stands beside the strict count ("begins_right"). Open answers have no mark and are never counted.
Not covered: answers that can only be judged (judged.py).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from localinstruct.evaluation.answers import Which, is_cut
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.formats.checks import keeps
from localinstruct.formats.tasks import Task, checks_of_row, is_right
from localinstruct.records import Completion, Instance, JsonObject

Checker = Callable[[str, str, str], bool | None]
"""(instruction, input, answer) -> right, wrong, or None for a question that it does not know."""


@dataclass(frozen=True, slots=True)
class Row:
    """One question with both answers; `task` is None for a held-out row of the dataset.

    `cut` has the sides whose answer was cut at its limit of tokens; `checker` computes the right
    answers to questions it knows.
    """

    instance: Instance
    task: Task | None
    base: str
    student: str
    cut: tuple[Which, ...] = ()
    checker: Checker | None = None

    @property
    def checkable(self) -> bool:
        """True for a task whose answer is right or wrong without a judge: those are counted."""
        return bool(self.task and self.task.check)

    def answer(self, which: Which) -> str:
        """The answer of this side."""
        return self.base if which == "base" else self.student

    def mark(self, which: Which) -> bool | None:
        """Right or wrong, by the rule of `formats.tasks`; None for an open answer.

        A held-out row whose question the checker knows is held against the computed answer.
        """
        answer = self.answer(which)
        if self.task:
            return self.task.is_right(answer) if self.task.check else None
        row = self.instance
        if row.lineage.constraints:
            return keeps(row.lineage.constraints, answer)
        if self.checker:
            computed = self.checker(row.instruction, row.input, answer)
            if computed is not None:
                return computed
        checks = {} if row.history else checks_of_row(row.output)
        return keeps(checks, answer, row.output) if checks else None

    def right(self, which: Which) -> bool:
        """True when the answer can be told to be right."""
        return self.mark(which) is True

    def begins_right(self, which: Which) -> bool:
        """`right`, or begins with the expected lines where an exact match is asked for."""
        answer, lines = self.answer(which), len(self.instance.output.strip().split("\n"))
        exact = bool(self.task and "exact" in self.task.check)
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
    questions: Sequence[tuple[Instance, Task | None]],
    answers: Mapping[Which, Sequence[Completion]],
    checker: Checker | None = None,
) -> list[Row]:
    """The questions as rows, each with the answers of both sides in the order of the questions."""
    pairs = zip(answers["base"], answers["student"], strict=True)
    return [
        Row(instance, task, base.text, student.text, _cut(base, student), checker)
        for (instance, task), (base, student) in zip(questions, pairs, strict=True)
    ]


def _cut(base: Completion, student: Completion) -> tuple[Which, ...]:
    sides: dict[Which, Completion] = {"base": base, "student": student}
    return tuple(which for which, answer in sides.items() if is_cut(answer))


def cut_answers(rows: Sequence[Row], max_tokens: int) -> JsonObject:
    """Answers of each side that were cut, of how many, and the limit of tokens."""
    counts = Counter(which for row in rows for which in row.cut)
    sides = {"base": counts["base"], "student": counts["student"]}
    return {**sides, "of": len(rows), "max_tokens": max_tokens}


def answer_record(row: Row) -> JsonObject:
    """A row as results, the answers' file and the report have it.

    "base_right" and "student_right" are left out where the answer is open.
    """
    marks = {"base_right": row.mark("base"), "student_right": row.mark("student")}
    return {
        "instruction": row.instance.instruction,
        "input": row.instance.input,
        "expected": row.instance.output,
        "base": row.base,
        "student": row.student,
        **({} if None in marks.values() else marks),
        "base_cut": "base" in row.cut,
        "student_cut": "student" in row.cut,
        "from": "tasks" if row.task else "held-out rows",
    }


def lost_answers(rows: Sequence[Row]) -> list[Row]:
    """Checkable tasks that the base answers right and the student no longer."""
    return [row for row in rows if row.checkable and row.right("base") and not row.right("student")]


def _share(rows: Sequence[Row], which: Which) -> float:
    return sum(row.right(which) for row in rows) / len(rows)


def _family(rows: Sequence[Row]) -> dict[str, float]:
    return {"count": len(rows), "base": _share(rows, "base"), "student": _share(rows, "student")}
