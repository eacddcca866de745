"""Bring a bundle into a workspace: rebuild the files aside, check them, then give each unit its
place by one rename.

A unit is a model, a wheelhouse, a run, or a single recipe or seed file. What is already there and
the same is left alone, so a second import does nothing; what is there and different stops the
import before anything is copied. models.yaml comes last, so a model is listed only when it is in
its place. Nothing of the bundle is executed or loaded. Not covered: taking an import back.
"""

import contextlib
import errno
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localinstruct.bundle import ed25519, guard
from localinstruct.bundle.catalog import MAX_BYTES, Merge, bundled_entries, merge
from localinstruct.bundle.journal import only_one, sync_folder
from localinstruct.bundle.signing import load_public
from localinstruct.bundle.stage import Row, Stage
from localinstruct.bundle.verify import UNPROVEN, read_range, read_raw
from localinstruct.bundle.wheels import install_command
from localinstruct.config import listing
from localinstruct.errors import BundleError
from localinstruct.models.catalog import file_digests
from localinstruct.models.preflight import inspect
from localinstruct.progress import Progress
from localinstruct.store.durable import sha256, step_into, write_text

WHOLE_FOLDERS = ("models", "runs", "wheelhouse", "program")
"""Roots whose folders are one unit each; files of other roots are units of their own."""
CODE = "methods/"
"""Root of what will be run: own methods, each of which a recipe may name."""
MARGIN = 16 * 2**20
CATALOG = "models.yaml"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: units that got their place, units that were there already, and sentences
    for the screen."""

    id: str
    placed: list[str]
    present: list[str]
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    """What to type next."""

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.placed)


def nobody(code: Sequence[Row]) -> bool:
    """Allow no code: what stands in for a person where nobody can be asked."""
    return False


def import_bundle(
    folder: Path,
    into: Path,
    progress: Progress,
    key: Path | None = None,
    allow_code: Callable[[Sequence[Row]], bool] = nobody,
) -> Imported:
    """Import what lies in `folder` into the workspace `into`; the same command continues it.

    The workspace is made if missing. `allow_code` is asked about own methods that are not there
    yet, before anything is copied. BundleError for a bundle that is refused, damaged or (for now)
    incomplete, for files that are in the way, and for code that is not allowed.
    """
    manifest, fingerprint = _trusted(folder, load_public(key) if key else b"")
    if into.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{into}: lies in the bundle itself.", "Name a workspace elsewhere.")
    if blocked := next(
        (path for path in (into, *into.parents) if os.path.lexists(path) and not path.is_dir()),
        None,
    ):
        raise BundleError(
            f"{blocked}: expected a folder, found a file or a dead link.",
            "Name a new or existing folder.",
        )
    if not fingerprint:
        progress.say(f"{UNPROVEN}.")
    with _explained(into):
        into.mkdir(parents=True, exist_ok=True)
        with only_one(into, "imports here"):
            units = _units(manifest)
            absent = _survey(units, into)
            rows = [row for unit in absent for row in units[unit]]
            _require_allowed([row for row in rows if row["path"].startswith(CODE)], allow_code)
            stage = Stage(into, manifest, rows)
            entries = _entries(folder, manifest, stage)
            if entries is not None:
                merge(into, entries)  # a conflict shows before the copying
            _fill(stage, folder, manifest, into, progress)
            merged = _checked(stage, absent, entries or {}, into)
            placed = _place(stage, absent, merged, into, manifest["id"][:16])
            _receipt(into, manifest, fingerprint, placed)
            stage.remove()
    commands = [install_command(into / unit) for unit in units if unit.startswith("wheelhouse/")]
    commands += [f"{step_into(into)}localinstruct models list"] if CATALOG in units else []
    present = [unit for unit in units if unit not in absent and unit != CATALOG]
    return Imported(manifest["id"], placed, present, fingerprint, merged.notes, commands)


def _trusted(folder: Path, public: bytes) -> tuple[dict[str, Any], str]:
    """(manifest, fingerprint of its signer or ''); BundleError for anything that is refused."""
    raw = read_raw(folder)
    manifest, problems = guard.read_manifest(raw)
    found = [f"{guard.MANIFEST}: {problem}" for problem in problems]
    if not found and public:
        wrong = ed25519.signature_problem(folder, public, raw)
        found += [f"{guard.SIGNATURE}: {wrong}"] if wrong else []
    if not found:
        found = [
            f"{name}: {problem}"
            for name, problem in guard.folder_problems(folder, manifest, whole=False)
        ]
    if found:
        raise BundleError(
            f"{folder}: refused: {listing(found)}",
            f"Look closer: localinstruct bundle verify {folder}",
        )
    return manifest, ed25519.fingerprint(public) if public else ""


def _units(manifest: Mapping[str, Any]) -> dict[str, list[Row]]:
    """{path of a unit: its files}."""
    units: dict[str, list[Row]] = {}
    for row in manifest["files"]:
        pieces = row["path"].split("/")
        whole = pieces[0] in WHOLE_FOLDERS and len(pieces) > 2
        units.setdefault("/".join(pieces[:2]) if whole else row["path"], []).append(row)
    return units


def _survey(units: Mapping[str, Sequence[Row]], into: Path) -> list[str]:
    """Units that are not there yet; BundleError naming all that is in the way."""
    absent, conflicts = [], []
    for unit, rows in units.items():
        if unit == CATALOG:
            continue
        problem = _in_the_way(into, unit) or _different(into, rows)
        if problem == "absent":
            absent.append(unit)
        elif problem:
            conflicts.append(f"{unit}: {problem}")
    if conflicts:
        raise BundleError(
            f"{into}: in the way of this bundle: {listing(conflicts)}",
            "Move them away, or import into another folder. Nothing was changed.",
        )
    return absent


def _require_allowed(code: Sequence[Row], allow_code: Callable[[Sequence[Row]], bool]) -> None:
    """BundleError, naming each file with its digest, for code that nobody allows."""
    if code and not allow_code(code):
        listed = listing([f"{row['path']}, SHA-256 {row['sha256']}" for row in code])
        raise BundleError(
            f"This bundle brings code that runs with your rights when a recipe names it: {listed}",
            "Nothing was imported. Compare the digests with those of whoever wrote it; then the "
            "same command with --allow-code.",
        )


def _in_the_way(into: Path, unit: str) -> str:
    """'absent', or why nothing can be put there, or '' when something is there."""
    place = into
    for piece in unit.split("/"):
        place = place / piece
        if place.is_symlink():
            return f"{place.name} is a link there"
        if not place.exists():
            return "absent"
        if not place.is_dir() and place != into / unit:
            return f"{place.name} is a file there"
    return ""


def _different(into: Path, rows: Sequence[Row]) -> str:
    """What of these files is not there as packed, or ''."""
    for row in rows:
        place = into / row["path"]
        if place.is_symlink() or not place.is_file():
            return f"is there, but without {row['path']}"
        if place.stat().st_size != row["size"] or sha256(place) != row["sha256"]:
            return f"is there with other content ({row['path']})"
    return ""


def _entries(
    folder: Path, manifest: Mapping[str, Any], stage: Stage
) -> dict[str, dict[str, Any]] | None:
    """The bundle's models.yaml, from its parts or an earlier medium; {} without one, None while its
    parts are missing."""
    row = next((row for row in manifest["files"] if row["path"] == CATALOG), None)
    if row is None:
        return {}
    if row["size"] > MAX_BYTES:
        raise BundleError(f"models.yaml of the bundle: refused: more than {MAX_BYTES:,} bytes")
    place, names = stage.place(CATALOG), [guard.part_name(one["part"]) for one in row["ranges"]]
    if not place.is_file() or sha256(place) != row["sha256"]:
        if not all(
            (folder / name).is_file() and not (folder / name).is_symlink() for name in names
        ):
            return None
        ranges = [
            (folder / name, one["offset"], one["length"])
            for name, one in zip(names, row["ranges"], strict=True)
        ]
        place.write_bytes(b"".join(chunk for one in ranges for chunk in read_range(*one)))
        if sha256(place) != row["sha256"]:
            raise BundleError(
                f"{', '.join(names)}: damaged: models.yaml in it is not what was packed",
                "Copy it again.",
            )
    return bundled_entries(place.read_bytes(), stage.files)


def _fill(
    stage: Stage, folder: Path, manifest: Mapping[str, Any], into: Path, progress: Progress
) -> None:
    """Read every part that is needed and here; BundleError naming the bad one, or the missing
    ones."""
    needed, free = stage.needed(), shutil.disk_usage(into).free
    if free < stage.bytes_needed() + MARGIN:
        raise BundleError(
            f"{into}: {stage.bytes_needed() + MARGIN:,} bytes are needed there, {free:,} are free.",
            "Make room.",
        )
    done, total, missing = 0, sum(manifest["parts"][number - 1]["size"] for number in needed), []

    def tick(count: int) -> None:
        nonlocal done
        done += count
        progress.update("importing", done, total)

    for number in needed:
        problem = stage.take(folder, manifest["parts"][number - 1], tick)
        if problem == "missing":
            missing.append(guard.part_name(number))
        elif problem:
            raise BundleError(
                f"{folder / guard.part_name(number)}: {problem}; in it: "
                f"{guard.affected(dict(manifest), number)}",
                "Copy this part again, then run the same command: finished parts are not read "
                "again.",
            )
    if missing:
        raise BundleError(
            f"{folder}: {len(missing)} of {len(manifest['parts'])} parts are not here: "
            f"{', '.join(missing[:20])}",
            "Put in the next medium and run the same command with its folder; what was read is "
            f"kept in {stage.root}.",
        )


def _checked(stage: Stage, absent: Sequence[str], entries: Mapping[str, Any], into: Path) -> Merge:
    """Everything that must hold before anything gets its place; the new models.yaml."""
    problems = [f"{path}: {problem}" for path, problem in stage.finish()]
    models = [unit for unit in absent if unit.startswith("models/")]
    problems += [f"{unit}: {problem}" for unit in models for problem in inspect(stage.place(unit))]
    for name, entry in entries.items():
        unit = f"models/{name}"
        place = stage.place(unit) if unit in absent else into / unit
        if not place.is_dir() or file_digests(place) != entry["sha256"]:
            problems.append(f"{unit}: not the files that models.yaml of the bundle describes")
    if problems:
        raise BundleError(
            f"Refused: {listing(problems)}",
            f"Nothing was changed in {into}. Have the bundle packed anew.",
        )
    return merge(into, entries) if entries else Merge(None, [])


def _place(stage: Stage, absent: Sequence[str], merged: Merge, into: Path, mark: str) -> list[str]:
    """Rename every unit to its place, then write models.yaml; the names of what changed."""
    for unit in absent:
        place = into / unit
        place.parent.mkdir(parents=True, exist_ok=True)
        os.rename(stage.place(unit), place)  # noqa: PTH104 - Path.rename says no more
        sync_folder(place.parent)
    if merged.text is not None:
        write_text(into / CATALOG, merged.text, mark)
    sync_folder(into)
    return [*absent, *([CATALOG] if merged.text is not None else [])]


def _receipt(
    into: Path, manifest: Mapping[str, Any], fingerprint: str, placed: Sequence[str]
) -> None:
    """Note what came when and from whom in imports/ID.json; a second import adds nothing."""
    path = into / "imports" / f"{manifest['id'][:16]}.json"
    if path.exists() and not placed:
        return
    path.parent.mkdir(exist_ok=True)
    imported = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    facts = {
        "id": manifest["id"],
        "packed": manifest["created"],
        "imported": imported,
        "placed": list(placed),
        "signed_by": fingerprint or "unproven",
    }
    write_text(path, json.dumps(facts, indent=1) + "\n", path.stem)


@contextlib.contextmanager
def _explained(into: Path) -> Iterator[None]:
    """A full or failing disk in words."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise BundleError(
            f"{error.filename or into}: {'no space left' if full else error.strerror or error}.",
            "What was read is kept. When the cause is gone, run the same command again.",
        ) from None
