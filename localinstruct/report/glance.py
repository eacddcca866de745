"""A run at a glance, for the list of all runs: state, rows, scores, what is stale, size on disk.

Nothing is written, and the store is not checked row by row: one that cannot be read says so in its
line, and the others are listed all the same.
"""

from dataclasses import dataclass
from pathlib import Path

from localinstruct.errors import LocalInstructError
from localinstruct.evaluation import wording
from localinstruct.progress import loss
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.report.facts import finished_results
from localinstruct.stages import NAMES
from localinstruct.states import remarks
from localinstruct.store.lock import owner
from localinstruct.store.run import Run
from localinstruct.store.tail import glance_at


@dataclass(frozen=True, slots=True)
class Glance:
    """A run in one line; `bytes` on disk."""

    name: str
    state: str
    """The stage it has come to: 'running train', 'train begun', 'all done'; or 'unreadable'."""
    recipe: str
    rows: int
    bytes: int
    score: str
    """The student against its base, in words; "" where it was not measured."""
    gain: float | None
    held_out_loss: float | None
    stale: bool
    remarks: tuple[str, ...]
    """Sentences on what is stale, changed by hand, or cannot be read."""


def glance(path: Path) -> Glance:
    """The run in this folder."""
    size = size_of(path)
    try:
        with glance_at(path) as run:
            recipe = recipe_from_text(run.get("recipe") or "", f"{path}/run.sqlite")
            return _glance(run, recipe, size)
    except LocalInstructError as problem:
        words = (problem.message,)
        return Glance(path.name, "unreadable", "", 0, size, "", None, None, False, words)


def _glance(run: Run, recipe: Recipe, size: int) -> Glance:
    said = remarks(recipe, run)
    evaluated = finished_results(run, recipe)["evaluate"] or {}
    tasks, losses = evaluated.get("tasks"), evaluated.get("held_out")
    score = ""
    if tasks:
        score = f"{wording.signed(tasks['gain'])} points of {tasks['count']:,} tasks"
    elif losses:
        score = f"held-out loss {loss(losses['student']['loss'])}"
    return Glance(
        name=run.path.name,
        state=_state(run),
        recipe=recipe.name,
        rows=run.count_kept(),
        bytes=size,
        score=score,
        gain=tasks["gain"] if tasks else None,
        held_out_loss=losses["student"]["loss"] if losses else None,
        stale=any(" is stale: " in words for words in said),
        remarks=tuple(said),
    )


def _state(run: Run) -> str:
    """'running train', 'train begun', 'evaluate done', 'all done', 'not begun'."""
    entries = [entry for name in NAMES if (entry := run.stage(name))]
    begun = next((entry.name for entry in entries if not entry.finished), "")
    if owner(run.path):
        return f"running {begun}".strip()
    if begun:
        return f"{begun} begun"
    if len(entries) == len(NAMES):
        return "all done"
    return f"{entries[-1].name} done" if entries else "not begun"


def size_of(path: Path) -> int:
    """Bytes of all files of a folder; what is named twice counts once."""
    seen = dict[tuple[int, int], int]()
    for file in path.rglob("*"):
        if file.is_file() and not file.is_symlink():
            status = file.stat()
            seen[status.st_dev, status.st_ino] = status.st_size
    return sum(seen.values())
