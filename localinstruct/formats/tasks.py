"""The held-out tasks of `evaluate.tasks` and `--tasks`: three kinds of file, and what counts as
right. Not a stage.

Our own rows (instruction, input, output; optional family and `check`), Self-Instruct's
user-oriented tasks (motivation_app beside the instances) and AlpacaEval's list (generator beside
the output). The kind is seen from each row's keys. Without a check, an answer is right when it
equals the expected output but for white space: strict, for base and student alike. The outputs of
the other two kinds are one good answer of many, so those tasks are never right or wrong, only
judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localinstruct.errors import RecipeError
from localinstruct.formats import Malformed, read_rows, to_instances
from localinstruct.formats.checks import keeps, read_checks
from localinstruct.records import Instance

EXACT: Mapping[str, Any] = {"exact": None}


@dataclass(frozen=True, slots=True)
class Task:
    """One task; tasks of a family are counted together. `check` {} means that no answer is right or
    wrong by itself."""

    id: str
    family: str
    instance: Instance
    check: Mapping[str, Any] = field(default_factory=lambda: EXACT)

    def is_right(self, answer: str) -> bool:
        """Whether the answer passes all checks of the task."""
        return bool(self.check) and keeps(self.check, answer, self.instance.output)


def is_right(answer: str, expected: str) -> bool:
    """Exact match but for white space."""
    return keeps(EXACT, answer, expected)


def task_file(tasks: str, workspace: Path) -> Path:
    """The file `evaluate.tasks` names, relative to the workspace; RecipeError when it is not
    there."""
    path = workspace / tasks
    if not path.is_file():
        raise RecipeError(
            f"evaluate.tasks: {path}: no such file.", "Correct the path, or leave the key out."
        )
    return path


def read_tasks(path: Path) -> list[Task]:
    """All tasks in file order; DataError names every bad line, missing output and impossible
    check."""
    rows = read_rows(path, _tasks)
    return [
        Task(f"task {n}", family, instance, check)
        for n, (family, instance, check) in enumerate(rows, 1)
    ]


def _tasks(row: Any) -> list[tuple[str, Instance, Mapping[str, Any]]]:
    """(family, instance, checks) of every task in a row of any of the three kinds."""
    given = row.get("check") if isinstance(row, dict) else None
    instances = to_instances(
        {"output": "", **row} if given is not None and "instances" not in row else row
    )
    if "motivation_app" in row:
        return [(str(row["motivation_app"] or ""), instance, {}) for instance in instances]
    if "generator" in row:
        return [(str(row.get("dataset") or ""), instance, {}) for instance in instances]
    return [(instance.name, instance, _checks(given, instance)) for instance in instances]


def _checks(given: Any, instance: Instance) -> Mapping[str, Any]:
    if given is None and not instance.output.strip():
        raise Malformed("expected an output or a check to hold answers against, found neither")
    try:
        return EXACT if given is None else read_checks(given, instance.output)
    except ValueError as problem:
        raise Malformed(str(problem)) from None
