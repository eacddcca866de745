"""Checkpoints that are whole or do not count: complete.json is written last.

transformers writes a checkpoint file by file into its final folder and resumes from the highest
number, so a crash while saving breaks the resume (transformers #35782). We mark a folder as
complete: its files are synced, then complete.json, with every file's size and SHA-256, is written.
Resuming takes the newest folder whose files are as its complete.json lists them and that belongs to
the same training. Not covered: several machines writing into one folder.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256, sync_tree, write_text

MARKER = "complete.json"
KEEP = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint: its folder, the optimizer steps before it, the facts kept with it."""

    folder: Path
    step: int
    facts: JsonObject
    inputs: str
    """Digest of the inputs of its training."""


def disk_needs(learnt: float, keep: str) -> dict[str, float]:
    """Bytes that a training may have on the disk at once, by what they are for.

    `learnt` is the bytes of what it learns. A checkpoint holds that and its two means; `KEEP` of
    them and one being written. What is kept in the end is there twice while it is moved to its
    place, and once more with train.keep: best.
    """
    return {
        "checkpoints": (KEEP + 1) * bytes_of_one(learnt),
        "student": learnt * (4 if keep == "best" else 2),
    }


def bytes_of_one(learnt: float) -> float:
    """Bytes of one checkpoint, without its small files; `learnt` as in `disk_needs`."""
    return 3.0 * learnt


def mark_complete(folder: Path, inputs: str, facts: JsonObject) -> None:
    """Mark a checkpoint as complete, durably; `inputs` is the digest of its training's inputs."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    sync_tree(folder)
    files = {
        str(path.relative_to(folder)): {
            "bytes": path.stat().st_size,
            "sha256": sha256(path, remembered=False),
        }
        for path in paths
        if path != folder / MARKER
    }
    content = {"inputs": inputs, "facts": facts, "files": files}
    write_text(folder / MARKER, json.dumps(content, indent=1))


def fault(folder: Path, *inputs: str) -> str | None:
    """The reason why this checkpoint cannot be resumed from, or None."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
        files, its_inputs = marker["files"], marker["inputs"]
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError, KeyError, TypeError):
        return f"its {MARKER} cannot be read"
    if its_inputs not in inputs:
        return "it belongs to other rows or settings"
    for name, known in files.items():
        if not _is_as_written(folder / name, known):
            return f"{name} is damaged or missing"
    return None


def _is_as_written(path: Path, known: JsonObject) -> bool:
    same_size = path.is_file() and path.stat().st_size == known["bytes"]
    return same_size and sha256(path, remembered=False) == known["sha256"]


def newest(parent: Path, *inputs: str) -> tuple[Checkpoint | None, dict[str, str]]:
    """The newest complete checkpoint of this training, and the faults of newer or foreign folders.

    The faults are a table of folder name -> fault. Complete checkpoints that are older are not
    looked at.
    """
    faults: dict[str, str] = {}
    for step, folder in _folders(parent):
        reason = fault(folder, *inputs)
        if reason is None:
            marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
            return Checkpoint(folder, step, marker["facts"], marker["inputs"]), faults
        faults[folder.name] = reason
    return None, faults


def prune(parent: Path, keep: int = KEEP) -> None:
    """Remove all but the `keep` newest complete checkpoints."""
    for _, folder in completed(parent)[keep:]:
        remove(folder)


def completed(parent: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every complete checkpoint, newest first, of whatever training."""
    return [(step, folder) for step, folder in _folders(parent) if (folder / MARKER).is_file()]


def remove(folder: Path) -> None:
    """Remove a checkpoint; complete.json goes first, so that a half removed one does not count."""
    (folder / MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _folders(parent: Path) -> list[tuple[int, Path]]:
    """(step, folder) of everything named checkpoint-STEP, newest first."""
    folders = [path for path in parent.glob("checkpoint-*") if path.is_dir()]
    numbered = [(path.name.removeprefix("checkpoint-"), path) for path in folders]
    return sorted(
        ((int(number), path) for number, path in numbered if number.isdigit()), reverse=True
    )
