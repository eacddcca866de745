"""Held-out tasks (`evaluate.tasks`, `--tasks`): the kinds of file, and right answers.

Our own rows (instruction, input, output; optional family and `check`), GSM8K, multiple choice and
IFEval (`benchmarks`), Self-Instruct's user-oriented tasks (motivation_app beside the instances),
AlpacaEval's list (generator beside the output) and conversations are read. The kind is seen from
each row's keys. Without a check, an answer of our own rows is right when it equals the expected
output but for white space: strict, for base and student alike. The outputs of the last three kinds
are one good answer of many, so those tasks are never right or wrong, only judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.errors import RecipeError
from localinstruct.formats import Malformed, read_rows, to_instances
from localinstruct.formats.benchmarks import benchmark_task
from localinstruct.formats.checks import keeps, read_checks
from localinstruct.formats.fields import describe
from localinstruct.formats.names import CONVERSATIONS
from localinstruct.records import Instance, JsonObject

Checks = Mapping[str, object]
"""Name of a check -> its argument."""
EXACT: Checks = {"exact": None}


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
    if given is None and (known := benchmark_task(row)) is not None:
        return [known]
    has_output = given is None or "instances" in row
    instances = to_instances(row if has_output else {"output": "", **row})
    if "motivation_app" in row:
        return [(str(row["motivation_app"] or ""), instance, {}) for instance in instances]
    if "generator" in row:
        return [(str(row.get("dataset") or ""), instance, {}) for instance in instances]
    if given is None and any(key in row for key in CONVERSATIONS if key != "turns"):
        return [(_family(row, instance), instance, {}) for instance in instances]
    return [(_family(row, instance), instance, _checks(given, instance)) for instance in instances]


def _family(row: JsonObject, instance: Instance) -> str:
    return instance.name or str(row.get("family") or "")


def _checks(given: object, instance: Instance) -> Checks:
    if given is None and not instance.output.strip():
        raise Malformed("expected an output or a check to hold answers against, found neither")
    try:
        return EXACT if given is None else read_checks(given, instance.output)
    except ValueError as problem:
        raise Malformed(str(problem)) from None
