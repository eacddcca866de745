"""Edits by hand of the dataset's files: allowed, noticed, and counted in rows.

The stage keeps the id of every row it writes, so rows that are fewer, more or changed can be told
later without a copy of the files. Not covered: which fields of a row were changed.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from localinstruct.errors import LocalInstructError
from localinstruct.formats import read_instances
from localinstruct.records import Instance, JsonObject
from localinstruct.store.durable import sha256
from localinstruct.store.folder import HELD_OUT, TRAIN
from localinstruct.store.run import Run

ROWS = "dataset.rows"
"""Key of the store's meta table: the ids of the rows of each file, in order, as JSON."""
SIDES = {TRAIN: "train", HELD_OUT: "held_out"}
"""File in dataset/ -> the key of the stage's result that counts its rows."""


def remember(run: Run, sides: Mapping[str, Sequence[Instance]]) -> None:
    """Keep the ids of the rows written to each file."""
    run.put(ROWS, json.dumps({name: [row.id for row in rows] for name, rows in sides.items()}))


def described(run: Run, name: str, written: int | None) -> str:
    """What an edited file has otherwise than the stage wrote it: '2 rows fewer, 1 changed'.

    `written` is the number of rows that the stage wrote, for runs that kept no ids.
    """
    rows = _rows(run.path / "dataset" / name)
    if isinstance(rows, str):
        return rows
    stored = run.get(ROWS)
    if stored is None:
        return f"{len(rows):,} rows; {written:,} were written" if written is not None else ""
    before, now = Counter(json.loads(stored).get(name, [])), Counter(row.id for row in rows)
    gone, new = (before - now).total(), (now - before).total()
    changed = min(gone, new)
    parts = [
        f"{gone - changed:,} row{'' if gone - changed == 1 else 's'} fewer" * (gone > changed),
        f"{new - changed:,} row{'' if new - changed == 1 else 's'} more" * (new > changed),
        f"{changed:,} changed" * (changed > 0),
    ]
    return ", ".join(filter(None, parts)) or "the same rows, written otherwise"


def counted(result: JsonObject, run: Run) -> JsonObject:
    """The stage's result with the rows and digests that its files have now."""
    counts: JsonObject = {}
    for name, key in SIDES.items():
        rows = _rows(run.path / "dataset" / name)
        if not isinstance(rows, str):
            counts[key] = len(rows)
            counts[name] = sum(bool(row.input) for row in rows)
    with_input = sum(counts.pop(name, 0) for name in SIDES)
    files = {name: run.path / "dataset" / name for name in SIDES}
    now = {name: sha256(path) for name, path in files.items() if path.is_file()}
    return {**result, **counts, "with_input": with_input, "sha256": now}


def _rows(path: Path) -> list[Instance] | str:
    """The rows of a file, or why it cannot be read."""
    try:
        return read_instances(path) if path.stat().st_size else []
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    except LocalInstructError as error:
        return f"it cannot be read: {' '.join(' '.join(error.message.splitlines()[:2]).split())}"
