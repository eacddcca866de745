"""Checkpoints that are whole or do not count. Not a stage.

transformers writes a checkpoint file by file into its final folder and resumes from the highest
number, so a crash while saving breaks the resume (transformers #35782). We seal a folder when it is
complete: its files are synced, then complete.json, with every file's size and SHA-256, is written
last. Resuming takes the newest folder whose seal holds and that belongs to the same training. Not
covered: several machines writing into one folder.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct.store.durable import sha256, sync_tree, write_text

MARKER = "complete.json"
KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its folder, optimizer steps done, and the facts it was sealed with."""

    folder: Path
    step: int
    facts: dict[str, Any]


def disk_needs(learnt: float, keep: str) -> dict[str, float]:
    """Bytes that a training may have on the disk at once, by what they are for; `learnt` is the
    bytes of what it learns.

    A checkpoint holds what is learnt and its two means; `KEEP` of them and one being written. What
    is kept in the end is there twice while it is moved to its place, and once more with train.keep:
    best.
    """
    return {
        "checkpoints": (KEEP + 1) * one(learnt),
        "student": learnt * (4 if keep == "best" else 2),
    }


def one(learnt: float) -> float:
    """Bytes of one checkpoint, but for what is small."""
    return 3.0 * learnt


def seal(folder: Path, inputs: str, facts: dict[str, Any]) -> None:
    """Mark a checkpoint as complete, durably. `inputs` is the digest of the training it belongs
    to."""
    files = {
        str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    files.pop(MARKER, None)
    sync_tree(folder)
    listed = {
        name: {"bytes": path.stat().st_size, "sha256": sha256(path, remembered=False)}
        for name, path in files.items()
    }
    write_text(
        folder / MARKER, json.dumps({"inputs": inputs, "facts": facts, "files": listed}, indent=1)
    )


def fault(folder: Path, inputs: str) -> str | None:
    """Why this checkpoint cannot be resumed from, or None."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files, sealed_inputs = marker["files"], marker["inputs"]
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError, KeyError, TypeError):
        return f"its {MARKER} cannot be read"
    if sealed_inputs != inputs:
        return "it belongs to other rows or settings"
    for name, known in files.items():
        path = folder / name
        if (
            not path.is_file()
            or path.stat().st_size != known["bytes"]
            or sha256(path, False) != known["sha256"]
        ):
            return f"{name} is damaged or missing"
    return None


def newest(parent: Path, inputs: str) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest complete checkpoint of this training, and why each newer or foreign folder is not:
    name -> fault.

    Older complete ones are not looked at.
    """
    faults: dict[str, str] = {}
    for step, folder in _folders(parent):
        reason = fault(folder, inputs)
        if reason is None:
            return Checkpoint(
                folder, step, json.loads((folder / MARKER).read_text(encoding="utf-8"))["facts"]
            ), faults
        faults[folder.name] = reason
    return None, faults


def prune(parent: Path, keep: int = KEEP) -> None:
    """Remove all but the `keep` newest sealed checkpoints."""
    for _, folder in sealed(parent)[keep:]:
        remove(folder)


def sealed(parent: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every checkpoint that was finished, newest first, of whatever training."""
    return [(step, folder) for step, folder in _folders(parent) if (folder / MARKER).is_file()]


def remove(folder: Path) -> None:
    """Remove a checkpoint; its seal goes first, so that a half removed one does not count."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _folders(parent: Path) -> list[tuple[int, Path]]:
    """(step, folder) of everything named checkpoint-STEP, newest first."""
    found = [
        (path.name.removeprefix("checkpoint-"), path)
        for path in parent.glob("checkpoint-*")
        if path.is_dir()
    ]
    return sorted(((int(number), path) for number, path in found if number.isdigit()), reverse=True)
