"""The held-out tasks of `evaluate.tasks`: what their file looks like, and what counts as right. Not a stage.

An answer is right when it equals the expected output after stripping the ends and collapsing white space; case and
punctuation count. That is strict: a right answer in a whole sentence is wrong, for base and student alike.
"""

from dataclasses import dataclass
from pathlib import Path

from localinstruct.errors import DataError, RecipeError
from localinstruct.formats import read_instances
from localinstruct.records import Instance


@dataclass(frozen=True, slots=True)
class Task:
    """One task with its expected output; tasks of a family are counted together."""

    id: str
    family: str
    instance: Instance


def is_right(answer: str, expected: str) -> bool:
    """Exact match but for white space."""
    return answer.split() == expected.split()


def task_file(tasks: str, workspace: Path) -> Path:
    """The file `evaluate.tasks` names, relative to the workspace; RecipeError when it is not there."""
    path = workspace / tasks
    if not path.is_file():
        raise RecipeError(f"evaluate.tasks: {path}: no such file.", "Correct the path, or leave the key out.")
    return path


def read_tasks(path: Path) -> list[Task]:
    """All tasks, in file order, with their `family` (or `name`); DataError names every bad line or missing output."""
    tasks = [Task(f"task {n}", row.name, row) for n, row in enumerate(read_instances(path), 1)]
    without = [task.id for task in tasks if not task.instance.output.strip()]
    if without:
        raise DataError(f"{path}: expected an output to check against, found none in: {', '.join(without[:20])}.")
    return tasks
