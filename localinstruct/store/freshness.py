"""Freshness of a result: digests of what it was made from, and what has changed since.

A result keeps, under "read", what it was made from in groups: "recipe" (values of keys), "rows"
(the kept rows), "reviews" (people's decisions on them), "run" (files of the run), "workspace" and
"sources" (files and runs outside it), "models" (entries of models.yaml), "stages" and "comparisons"
(results). `changes` compares it with the same looked at now. Digests of large files are remembered
(`durable.sha256`), and nothing is written into a run for a look at it. Not covered: outside files
and models that are not there any more, as in a run that was carried to another machine.
"""

from collections.abc import Mapping
from pathlib import Path

from localinstruct.records import Json, digest
from localinstruct.store.durable import sha256

Read = Mapping[str, Mapping[str, Json]]
"""Group -> name of what was read -> its value or digest; None for a file that is not there."""
CARD = "README.md"
"""A folder's card: written by the report, and no part of what the folder holds."""
READ, WROTE = "read", "wrote"
"""Keys of a result: what it was made from, and the digests of the files it wrote."""
UNDATED = "made before digests were kept"
FOLDERS = {name: f"the student in {name}/" for name in ("adapter", "student")}
"""Folder of a run -> what it is called in a sentence."""
LONGEST = 40
"""Characters of a recipe's value in a sentence."""


def digest_of(path: Path) -> str | None:
    """SHA-256 of a file, or over names and digests of a folder's files.

    None where nothing is, or nothing that can be read.
    """
    try:
        if path.is_file():
            return sha256(path)
        if not path.is_dir():
            return None
        files = [file for file in sorted(path.rglob("*")) if file.is_file() and file.name != CARD]
        return digest({file.relative_to(path).as_posix(): sha256(file) for file in files})
    except OSError:
        return None


def digests(root: Path, names: tuple[str, ...]) -> dict[str, Json]:
    """Name -> digest of each file or folder below `root` that is there."""
    every = {name: digest_of(root / name) for name in names}
    return {name: found for name, found in every.items() if found}


def changes(before: Read, now: Read) -> list[str]:
    """What differs from before, each as a clause: "train.epochs was 3.0, is 1.0"."""
    return [
        words
        for group, read in before.items()
        for name, value in read.items()
        if (words := _change(group, name, value, now.get(group, {})))
    ]


def _change(group: str, name: str, before: Json, group_now: Mapping[str, Json]) -> str:
    """The clause for one thing that was read; "" when it is as it was, or cannot be looked at."""
    now = group_now.get(name)
    if now == before or (now is None and (group != "run" and name not in group_now)):
        return ""
    if group == "recipe":
        return f"{name} was {_short(before)}, is {_short(now)}"
    if group == "rows":
        return _rows_change(before, now)
    if group == "reviews":
        return _reviews_change(before, now)
    if group == "run":
        return f"{FOLDERS.get(name, name)} {'has changed' if now else 'is gone'}"
    if group == "models":
        return f"the model {name} has changed"
    if group == "stages":
        return _stage_change(name, before, now)
    if group == "comparisons":
        return "the comparisons have changed"
    return f"{Path(name).name} has changed" if now else ""


def _rows_change(before: Json, now: Json) -> str:
    counts = [value[0] if isinstance(value, list) else value for value in (before, now)]
    if counts[0] == counts[1]:
        return "the kept rows are others"
    return f"{counts[0]:,} rows were kept then, {counts[1]:,} now"


def _reviews_change(before: Json, now: Json) -> str:
    """The clause for [count, digest] of people's decisions; None without any."""
    counts = [value[0] if isinstance(value, list) else 0 for value in (before, now)]
    if counts[0] == counts[1]:
        return "people's decisions on rows are others"
    return f"people had decided on {counts[0]:,} rows then, on {counts[1]:,} now"


def _stage_change(name: str, before: Json, now: Json) -> str:
    """The clause for a stage's [product, state]."""
    if isinstance(before, list) and isinstance(now, list):
        product, state = now
        if product == before[0] or state in ("begun", "not started"):
            return f"{name} is {state} now"
    return f"{name} has been run since"


def _short(value: Json) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
