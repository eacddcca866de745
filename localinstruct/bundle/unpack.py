"""Bring a bundle into a workspace: rebuild its files aside, check, rename into place.

Each unit gets its place by one rename. A unit is a model, a wheelhouse, a run, or a single recipe
or seed file. What is already there and the same is left alone, so a second import does nothing;
what is there and different stops the import before anything is copied. models.yaml comes last, so a
model is listed only when it is in its place. Nothing of the bundle is executed or loaded. Not
covered: taking an import back.
"""

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct import signing
from localinstruct.bundle import guard, takeout
from localinstruct.bundle.catalog import MAX_BYTES, Merge, bundled_entries, merge
from localinstruct.bundle.journal import only_one
from localinstruct.bundle.media import disk_errors, require_space
from localinstruct.bundle.stage import Row, Stage
from localinstruct.bundle.verify import UNPROVEN, read_raw
from localinstruct.bundle.wheels import install_command
from localinstruct.config import listing
from localinstruct.errors import BundleError
from localinstruct.models.catalog import file_digests
from localinstruct.models.preflight import inspect
from localinstruct.progress import Progress, counter
from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256, step_into, sync_folder, write_text

WHOLE_FOLDERS = ("models", "runs", "wheelhouse", "program")
"""Roots whose folders are one unit each; files of other roots are units of their own."""
CODE = "methods/"
"""Root of what will be run: own methods, each of which a recipe may name."""
CATALOG = "models.yaml"


@dataclass(frozen=True, slots=True)
class ImportResult:
    """Result of an import: units that got their place, units that had it, and who signed them."""

    id: str
    placed: list[str]
    present: list[str]
    fingerprint: str
    """Fingerprint of the signer's key; '' where no key was given."""
    notes: list[str] = field(default_factory=list)
    """Sentences about entries of models.yaml that were kept."""
    commands: list[str] = field(default_factory=list)
    """Commands to type next."""


def import_bundle(
    folder: Path,
    into: Path,
    progress: Progress,
    key: Path | None = None,
    allow_code: Callable[[Sequence[Row]], bool] = lambda code: False,
) -> ImportResult:
    """Import what lies in `folder` into the workspace `into`, made if missing.

    The same command continues it. `allow_code` is asked about own methods that are not there yet,
    before anything is copied. BundleError for a bundle that is refused, damaged or (for now)
    incomplete, for files that are in the way, and for code that is not allowed.
    """
    manifest, fingerprint = _read_trusted(folder, signing.load_public(key) if key else b"")
    _require_place(into, folder)
    if not fingerprint:
        progress.say(f"{UNPROVEN}.")
    hint = "What was read is kept. When the cause is gone, run the same command again."
    with disk_errors(into, hint):
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
            merged = _check(stage, absent, entries or {}, into)
            placed = _place(stage, absent, merged, into, manifest["id"][:16])
            _receipt(into, manifest, fingerprint, placed)
            stage.remove()
    commands = [install_command(into / unit) for unit in units if unit.startswith("wheelhouse/")]
    commands += [f"{step_into(into)}localinstruct models list"] if CATALOG in units else []
    present = [unit for unit in units if unit not in absent and unit != CATALOG]
    return ImportResult(manifest["id"], placed, present, fingerprint, merged.notes, commands)


def _require_place(into: Path, folder: Path) -> None:
    """BundleError for a workspace in the bundle itself, or below something that is no folder."""
    if into.resolve().is_relative_to(folder.resolve()):
        raise BundleError(f"{into}: lies in the bundle itself.", "Name a workspace elsewhere.")
    for path in (into, *into.parents):
        if os.path.lexists(path) and not path.is_dir():
            problem = f"{path}: expected a folder, found a file or a dead link."
            raise BundleError(problem, "Name a new or existing folder.")


def _read_trusted(folder: Path, public: bytes) -> tuple[JsonObject, str]:
    """(manifest, fingerprint of its signer or ''); BundleError for anything that is refused."""
    raw = read_raw(folder)
    manifest, refusals = guard.read_manifest(raw)
    problems = [(guard.MANIFEST, refusal) for refusal in refusals]
    if not problems and public:
        wrong = signing.signature_problem(folder / guard.SIGNATURE, public, raw)
        problems += [(guard.SIGNATURE, wrong)] if wrong else []
    problems = problems or list(guard.folder_problems(folder, manifest, whole=False))
    if problems:
        reasons = listing([f"{name}: {problem}" for name, problem in problems])
        hint = f"Look closer: localinstruct bundle verify {folder}"
        raise BundleError(f"{folder}: refused: {reasons}", hint)
    return manifest, signing.fingerprint(public) if public else ""


def _units(manifest: JsonObject) -> dict[str, list[Row]]:
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
        problem = _in_the_way(into, unit) or _difference(into, rows)
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


def _difference(into: Path, rows: Sequence[Row]) -> str:
    """The first of these files that is not there as packed, in words, or ''."""
    for row in rows:
        place = into / row["path"]
        if place.is_symlink() or not place.is_file():
            return f"is there, but without {row['path']}"
        if place.stat().st_size != row["size"] or sha256(place) != row["sha256"]:
            return f"is there with other content ({row['path']})"
    return ""


def _entries(folder: Path, manifest: JsonObject, stage: Stage) -> dict[str, JsonObject] | None:
    """Entries of the bundle's models.yaml, from its parts or an earlier medium.

    {} for a bundle without one, None while its parts are missing.
    """
    row = next((row for row in manifest["files"] if row["path"] == CATALOG), None)
    if row is None:
        return {}
    if row["size"] > MAX_BYTES:
        raise BundleError(f"models.yaml of the bundle: refused: more than {MAX_BYTES:,} bytes")
    place = stage.place(CATALOG)
    if not place.is_file() or sha256(place) != row["sha256"]:
        parts = [folder / guard.part_name(piece["part"]) for piece in row["ranges"]]
        if not all(path.is_file() and not path.is_symlink() for path in parts):
            return None
        _write_pieces(place, parts, row)
        if sha256(place) != row["sha256"]:
            names = ", ".join(path.name for path in parts)
            problem = f"{names}: damaged: models.yaml in it is not what was packed"
            raise BundleError(problem, "Copy it again.")
    return bundled_entries(place.read_bytes(), stage.files)


def _write_pieces(place: Path, parts: Sequence[Path], row: Row) -> None:
    """Write a file from its ranges, one in each of `parts`."""
    pieces = zip(parts, row["ranges"], strict=True)
    chunks = (takeout.chunks(path, piece["offset"], piece["length"]) for path, piece in pieces)
    place.write_bytes(b"".join(chunk for piece in chunks for chunk in piece))


def _fill(stage: Stage, folder: Path, manifest: JsonObject, into: Path, progress: Progress) -> None:
    """Read every part that is needed and here; BundleError for a bad one, or the missing ones."""
    require_space(into, stage.bytes_needed())
    parts, missing = [manifest["parts"][number - 1] for number in stage.needed()], []
    tick = counter(progress, "importing", sum(part["size"] for part in parts))
    for part in parts:
        problem = stage.take(folder, part, tick)
        if problem == "missing":
            missing.append(part["name"])
        elif problem:
            content = guard.affected(manifest, part["n"])
            raise BundleError(
                f"{folder / part['name']}: {problem}; in it: {content}",
                "Copy this part again, then run the same command: "
                "finished parts are not read again.",
            )
    if missing:
        numbers = f"{len(missing)} of {len(manifest['parts'])} parts"
        raise BundleError(
            f"{folder}: {numbers} are not here: {', '.join(missing[:20])}",
            "Put in the next medium and run the same command with its folder; "
            f"what was read is kept in {stage.root}.",
        )


def _check(
    stage: Stage, absent: Sequence[str], entries: Mapping[str, JsonObject], into: Path
) -> Merge:
    """Check all that must hold before anything gets its place; the new models.yaml."""
    problems = [f"{path}: {problem}" for path, problem in stage.finish()]
    models = [unit for unit in absent if unit.startswith("models/")]
    problems += [f"{unit}: {problem}" for unit in models for problem in inspect(stage.place(unit))]
    for name, entry in entries.items():
        unit = f"models/{name}"
        place = stage.place(unit) if unit in absent else into / unit
        if not place.is_dir() or file_digests(place) != entry["sha256"]:
            problems.append(f"{unit}: not the files that models.yaml of the bundle describes")
    if problems:
        hint = f"Nothing was changed in {into}. Have the bundle packed anew."
        raise BundleError(f"Refused: {listing(problems)}", hint)
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


def _receipt(into: Path, manifest: JsonObject, fingerprint: str, placed: Sequence[str]) -> None:
    """Note in imports/ID.json what came, when and from whom; a second import adds nothing."""
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
