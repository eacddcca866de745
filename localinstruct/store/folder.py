"""The folder of a run: making it, knowing it from other folders, emptying it for --fresh.

Whatever has no run.sqlite and no run.lock was not begun by us, and is neither written to nor
deleted. Not covered: somebody who puts a file of such a name among things of their own.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path

from localinstruct.errors import RunConflict, UsageError
from localinstruct.store.lock import only_writer

LOCK = "run.lock"
STORE = "run.sqlite"
DECISIONS, DECISIONS_BEFORE = "review.sqlite", "review.before.sqlite"
"""People's decisions on the rows; those of a run that was started over."""
TRAIN, HELD_OUT, REJECTS = "train.jsonl", "held_out.jsonl", "rejects.jsonl"
"""The files in dataset/: rows to train on, rows held out, rows taken out."""
UNREAD_SEEDS = "unread_seeds"
"""Key of meta: rows of the seeds' file that could not be used, as rejects."""
SOURCES = "sources.jsonl"
"""The file in dataset/ that names the source of each row, where other sources are mixed in."""
COMPARISONS = "comparisons"
"""The folder in evaluation/ with a file per comparison: another run, model or judge."""


def require_run_or_room(path: Path) -> None:
    """RunConflict when something that is no run has the place of one; nothing is opened there."""
    if not os.path.lexists(path):
        return
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    if names and not names & {STORE, LOCK}:
        what = "something that is no folder"
        if path.is_dir():
            what = f"a folder without {STORE} and with other things"
        raise RunConflict(
            f"{path}: expected a run, or nothing of this name; found {what}. "
            "Nothing was changed there.",
            f"Use another --name, or move it away: mv {path} ELSEWHERE",
        )


ELSEWHERE = "Choose a file elsewhere."


def require_outside(output: Path, hint: str = ELSEWHERE) -> None:
    """UsageError for a path inside a run: only the run itself writes there."""
    real = Path(os.path.realpath(output))
    inside = next((folder for folder in (real, *real.parents) if (folder / STORE).is_file()), None)
    if inside:
        raise UsageError(
            f"{output}: inside the run {inside}, where only the run itself writes.", hint
        )


def make_folder(path: Path) -> None:
    """Make a run's folder where there is none; RunConflict when a file is in its way."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (FileExistsError, NotADirectoryError):
        raise RunConflict(
            f"{path}: expected a folder or room for one, found a file there or above it.",
            "Move that file away.",
        ) from None


def empty_run(path: Path) -> None:
    """Delete all of a run but its lock, which the caller holds, and people's decisions.

    The store goes first, so that what a kill leaves is no run any more. Decisions were hours of
    work: they are kept under another name, where nothing reads them.
    """
    for entry in sorted(path.iterdir(), key=lambda entry: entry.name != STORE):
        if entry.name in (DECISIONS, DECISIONS_BEFORE):
            entry.replace(path / DECISIONS_BEFORE)
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def remove_run(path: Path) -> None:
    """Delete a run that nobody works in; RunInUse, or RunConflict for what is no run of its own."""
    if path.is_symlink() or not (path / STORE).is_file() or (path / STORE).is_symlink():
        raise RunConflict(
            f"{path}: expected a run's own folder, found a link, or no {STORE} in it. "
            "Nothing was removed.",
            "The runs that are there: localinstruct runs",
        )
    with only_writer(path):
        empty_run(path)
        (path / LOCK).unlink(missing_ok=True)
    with suppress(OSError):  # somebody has put a thing there just now: it stays
        path.rmdir()
