"""Held-out tasks (`evaluate.tasks`, `--tasks`): three kinds of file, and right answers.

Our own rows (instruction, input, output; optional family and `check`), Self-Instruct's
user-oriented tasks (motivation_app beside the instances) and AlpacaEval's list (generator beside
the output) are read. The kind is seen from each row's keys.

An answer is right or wrong where that can be told, by one rule: a `check` is given; or the expected
output of a task is short (one line of at most SHORT words), so that an answer must equal it but for
white space; or, in a held-out row of the data set, which nobody wrote as a test, the output is just
a number, yes or no, true or false. Every other answer is open: one good answer of many, shown and
perhaps judged, never right or wrong. So are the outputs of the other two kinds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.errors import RecipeError
from localinstruct.formats import Malformed, read_rows, to_instances
from localinstruct.formats.checks import NUMBER, keeps, read_checks
from localinstruct.formats.rows import describe
from localinstruct.records import Instance

Checks = Mapping[str, object]
"""Name of a check -> its argument."""
EXACT: Checks = {"exact": None}
SHORT = 12
"""Words of an expected output up to which an answer must equal it, where no check is given."""
CHOICES = (["yes", "no"], ["true", "false"])
"""Answers that a held-out row is checked by."""


@dataclass(frozen=True, slots=True)
class Task:
    """One task; tasks of a family are counted together.

    `check` {} means that no answer is right or wrong by itself.
    """

    id: str
    family: str
    instance: Instance
    check: Checks = field(default_factory=lambda: EXACT)

    def is_right(self, answer: str) -> bool:
        """True when the answer passes all checks of the task."""
        return bool(self.check) and keeps(self.check, answer, self.instance.output)


def is_right(answer: str, expected: str) -> bool:
    """True for an exact match but for white space."""
    return keeps(EXACT, answer, expected)


def checks_of_task(expected: str) -> Checks:
    """The checks of a task that names none: an exact match for a short output, else none."""
    text = expected.strip()
    return EXACT if "\n" not in text and len(text.split()) <= SHORT else {}


def checks_of_row(expected: str) -> Checks:
    """The checks of a held-out row: its number or its choice where it is just that, else none."""
    text = expected.strip().rstrip(".").casefold()
    if NUMBER.fullmatch(text):
        return {"number": None}
    return next(({"choice": choices} for choices in CHOICES if text in choices), {})


def task_file(tasks: str, workspace: Path) -> Path:
    """The file `evaluate.tasks` names, relative to the workspace; RecipeError without one."""
    path = workspace / tasks
    if not path.is_file():
        raise RecipeError(
            f"evaluate.tasks: {path}: no such file.", "Correct the path, or leave the key out."
        )
    return path


def read_tasks(path: Path) -> list[Task]:
    """All tasks in file order.

    DataError names every bad line, missing output and impossible check.
    """
    rows = read_rows(path, _tasks)
    return [
        Task(f"task {n}", family, instance, check)
        for n, (family, instance, check) in enumerate(rows, 1)
    ]


def _tasks(row: object) -> list[tuple[str, Instance, Checks]]:
    """(family, instance, checks) of every task in a row of any of the three kinds."""
    if not isinstance(row, dict):
        raise Malformed(f"expected an object, found {describe(row)}")
    given = row.get("check")
    has_output = given is None or "instances" in row
    instances = to_instances(row if has_output else {"output": "", **row})
    if "motivation_app" in row:
        return [(str(row["motivation_app"] or ""), instance, {}) for instance in instances]
    if "generator" in row:
        return [(str(row.get("dataset") or ""), instance, {}) for instance in instances]
    return [(instance.name, instance, _checks(given, instance)) for instance in instances]


def _checks(given: object, instance: Instance) -> Checks:
    if given is None and not instance.output.strip():
        raise Malformed("expected an output or a check to hold answers against, found neither")
    try:
        if given is None:
            return checks_of_task(instance.output)
        return read_checks(given, instance.output)
    except ValueError as problem:
        raise Malformed(str(problem)) from None
