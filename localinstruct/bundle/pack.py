"""Write a bundle: items, one after another, into parts that fit the medium; manifest last.

A part is written beside its name, synced, renamed and noted in a journal, so after a kill the same
command goes on with the first part that is missing. Every byte is read once and hashed on its way,
for the part and for its file. The manifest comes last: a folder without one is not a bundle. Not
covered: files that change while they are packed, which is noticed and refused.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct import __version__, signing
from localinstruct.bundle import ed25519, guard, takeout
from localinstruct.bundle.contents import Contents, Item
from localinstruct.bundle.journal import Journal, first_job, only_one, stamp
from localinstruct.bundle.media import DEFAULT_PART_SIZE, disk_errors, require_space
from localinstruct.bundle.sbom import sbom
from localinstruct.bundle.stream import Digests, Slice, change_error, layout, ranges_of, read_slice
from localinstruct.errors import BundleError
from localinstruct.progress import Progress
from localinstruct.records import JsonObject, digest
from localinstruct.store.durable import rename_synced, sha256, sync, sync_folder

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

JOURNAL = ".packing.jsonl"
PROGRAMS = {"VERIFY.py": guard, "SIGNATURE.py": ed25519, "UNPACK.py": takeout}
"""Programs that lie beside the parts and run without being installed."""
README = """This folder is a localinstruct bundle: models, software or results in parts, for a
machine without network.

Run your own copies of VERIFY.py, SIGNATURE.py and UNPACK.py, which came to you by another way:
whoever alters a bundle can alter the programs in it as well. `localinstruct bundle programs FOLDER`
writes them. HERE is this folder.

Check it (Python 3.8 or newer, reads only):     python3 -I VERIFY.py HERE
Check who made it, with a key you trust:        python3 -I SIGNATURE.py PUBLIC.pem HERE
Check only the parts on this medium:            python3 -I VERIFY.py HERE --here
Take the wheels out, before anything is there:  python3 -I UNPACK.py wheelhouse FOLDER HERE
Bring it into a workspace:                      localinstruct bundle import HERE WORKSPACE

Every medium carries MANIFEST.json and the small files beside it, and one or more parts.
Without any program of ours: cat part*.bin is all files one after another, in the order and sizes
of MANIFEST.json.
"""
Stamp = list[int] | list[str]
"""State of an item when packing began: `journal.stamp` of a file, or the digest of a content."""


@dataclass(frozen=True, slots=True)
class PackResult:
    """A finished bundle: its folder and id, its size, and the fingerprint of its signer, or ''."""

    folder: Path
    id: str
    parts: int
    files: int
    bytes: int
    signed_by: str


def pack(
    contents: Contents,
    out: Path,
    progress: Progress,
    part_size: int = DEFAULT_PART_SIZE,
    key: Path | None = None,
) -> PackResult:
    """Write a bundle into `out`; `key` signs it.

    `out` is a new or empty folder, or one where this job was interrupted. BundleError for a folder
    in use for something else, too little space, a file that changed, a key that is none.
    """
    private = signing.load_private(key) if key else None  # before an hour of copying, not after
    public = private.public_key().public_bytes_raw() if private else b""
    items = contents.items
    total = sum(item.size for item in items)
    if not total:
        raise BundleError("Cannot be packed: all files are empty.")
    sources = (item.source.resolve() for item in items if isinstance(item.source, Path))
    if any(source.is_relative_to(out.resolve()) for source in sources):
        raise BundleError(f"{out}: holds files that are to be packed.", "Name a folder elsewhere.")
    hint = "Finished parts stay. When the cause is gone, run the same command again."
    with disk_errors(out, hint):
        out.mkdir(parents=True, exist_ok=True)
        with only_one(out, "packs here"):
            manifest = _finished(contents, out, part_size, public)
            if manifest:
                progress.say(f"{out} holds this very bundle already.")
            else:
                manifest = _pack(contents, out, progress, part_size, private)
    signer = signing.fingerprint(public) if public else ""
    return PackResult(out, manifest["id"], len(manifest["parts"]), len(items), total, signer)


def _pack(
    contents: Contents,
    out: Path,
    progress: Progress,
    part_size: int,
    private: "Ed25519PrivateKey | None",
) -> JsonObject:
    """Write the parts that the journal does not know, then the files beside them; the manifest."""
    job = _job(contents, part_size)
    _refuse_foreign(out, job)
    journal = Journal(out / JOURNAL, job)
    written = sum(path.stat().st_size for path in out.glob("part*.bin"))
    require_space(out, sum(item.size for item in contents.items) - written)
    rows, parts = write_parts(contents.items, out, part_size, journal, progress)
    manifest = _finish(contents, out, rows, parts, part_size, private)
    (out / JOURNAL).unlink()
    sync_folder(out)
    return manifest


def write_parts(
    items: Sequence[Item], out: Path, part_size: int, journal: Journal, progress: Progress
) -> tuple[list[JsonObject], list[JsonObject]]:
    """Write every part that the journal does not know; (files, parts) of the manifest."""
    digests, parts, finished = Digests(), [], journal.numbered("n")
    plan, stamps = layout(items, part_size), {item.path: _stamp(item) for item in items}
    written, total = 0, sum(item.size for item in items)

    def tick(count: int) -> None:
        progress.update("packing", count, total)

    for number, slices in enumerate(plan, start=1):
        path, entry = out / guard.part_name(number), finished.get(number)
        if entry is None or not _is_intact(path, entry):
            entry = _write_part(path, number, slices, digests, tick, written)
            journal.add(entry)
        digests.whole |= entry["files"]
        written += entry["size"]
        progress.update("packing", written, total, f"part {number} of {len(plan)}")
        parts.append({key: entry[key] for key in ("n", "name", "size", "sha256")})
    for item in items:
        _settle(item, digests, stamps[item.path])
    ranges = ranges_of(plan)
    rows = [_row(item, digests.whole[item.path], ranges.get(item.path, [])) for item in items]
    return rows, parts


def _row(item: Item, sha256: str, ranges: list[dict[str, int]]) -> JsonObject:
    """The entry of an item in `files` of the manifest."""
    return {
        "path": item.path,
        "size": item.size,
        "sha256": sha256,
        "licence": item.licence,
        "source": item.origin,
        "kind": item.kind,
        "ranges": ranges,
    }


def _is_intact(path: Path, entry: JsonObject) -> bool:
    """True while a finished part is as it was."""
    try:
        if stamp(path) == entry["stamp"]:
            return True
        # FAT rounds times and renumbers inodes, so the digest decides.
        return not guard.file_problem(path, entry["size"], entry["sha256"])
    except FileNotFoundError:
        return False


def _write_part(
    path: Path,
    number: int,
    slices: Sequence[Slice],
    digests: Digests,
    tick: Callable[[int], None],
    before: int,
) -> JsonObject:
    """Write one part, synced; its journal entry. `tick` is called with `before` + bytes so far."""
    temporary, total, size = path.with_suffix(".tmp"), hashlib.sha256(), 0
    hashed_before = set(digests.whole)
    with temporary.open("wb") as target:
        for piece in slices:
            for offset, chunk in read_slice(piece):
                target.write(chunk)
                total.update(chunk)
                digests.feed(piece.item.path, offset, piece.item.size, chunk)
                size += len(chunk)
                tick(before + size)
        sync(target)
    rename_synced(temporary, path)
    files = {name: hex for name, hex in digests.whole.items() if name not in hashed_before}
    return {
        "n": number,
        "name": path.name,
        "size": size,
        "sha256": total.hexdigest(),
        "stamp": stamp(path),
        "files": files,
    }


def _settle(item: Item, digests: Digests, before: Stamp) -> None:
    """Hash an item that did not pass by whole; BundleError where it changed or is another one."""
    if item.path not in digests.whole:
        digests.whole[item.path] = _digest(item, remembered=False)
    if _stamp(item) != before or item.sha256 not in ("", digests.whole[item.path]):
        raise change_error(item)


def _finish(
    contents: Contents,
    out: Path,
    rows: list[JsonObject],
    parts: list[JsonObject],
    part_size: int,
    private: "Ed25519PrivateKey | None",
) -> JsonObject:
    """Write the files beside the parts, and last the manifest, which names them all."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sides = _side_files(contents, rows, created)
    for name, content in sides.items():
        (out / name).parent.mkdir(exist_ok=True)
        _write(out / name, content)
    manifest = {
        "bundle": "localinstruct",
        "schema": guard.SCHEMA,
        "tool": __version__,
        "created": created,
        "files": rows,
        "parts": parts,
        "part_size": part_size,
        "platform": contents.platform,
        "side": [_side_row(name, sides[name]) for name in sorted(sides)],
    }
    manifest["id"] = guard.manifest_id(manifest)
    raw = guard.canonical(manifest)
    _, problems = guard.read_manifest(raw)
    if problems or len(raw) > guard.MAX_MANIFEST:
        reason = "; ".join(problems[:5]) or "its manifest is too large"
        raise BundleError(f"This bundle would be refused: {reason}.")
    (out / guard.SIGNATURE).unlink(missing_ok=True)
    if private:
        _write(out / guard.SIGNATURE, private.sign(raw))
    _write(out / guard.MANIFEST, raw)
    return manifest


def _side_files(contents: Contents, rows: list[JsonObject], created: str) -> dict[str, bytes]:
    """{name: content} of the files beside the parts, but for manifest and signature."""
    sides = {"SBOM.cdx.json": sbom(rows, __version__, created), "README.txt": README.encode()}
    sides |= {f"LICENCES/{name}": text for name, text in contents.licences.items()}
    programs = {name: Path(str(program.__file__)) for name, program in PROGRAMS.items()}
    return sides | {name: path.read_bytes() for name, path in programs.items()}


def _side_row(name: str, content: bytes) -> JsonObject:
    """The entry of a file in `side` of the manifest."""
    return {"path": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _job(contents: Contents, part_size: int) -> str:
    """Digest of all that shapes the parts: the same job may go on, another may not."""
    return digest([part_size, [[item.path, item.size, _stamp(item)] for item in contents.items]])


def _stamp(item: Item) -> Stamp:
    return [_digest(item)] if isinstance(item.source, bytes) else stamp(item.source)


def _finished(contents: Contents, out: Path, part_size: int, public: bytes) -> JsonObject | None:
    """The manifest of this very bundle where it is finished in `out` and signed by `public`."""
    if (out / JOURNAL).exists() or not (out / guard.MANIFEST).is_file():
        return None
    raw = guard.read_raw(out)
    manifest, _ = guard.read_manifest(raw)
    if not manifest or manifest["part_size"] != part_size:
        return None
    rows, items = manifest["files"], contents.items
    if [(row["path"], row["size"]) for row in rows] != [(item.path, item.size) for item in items]:
        return None
    if public and signing.signature_problem(out / guard.SIGNATURE, public, raw):
        return None
    if any(guard.folder_problems(out, manifest, whole=True)):
        return None
    parts = {out / part["name"]: part["size"] for part in manifest["parts"]}
    if any(not path.is_file() or guard.state_problem(path, size) for path, size in parts.items()):
        return None
    same = all(_digest(item) == row["sha256"] for item, row in zip(items, rows, strict=True))
    return manifest if same else None


def _digest(item: Item, remembered: bool = True) -> str:
    if isinstance(item.source, bytes):
        return hashlib.sha256(item.source).hexdigest()
    return sha256(item.source, remembered)


def _refuse_foreign(out: Path, job: str) -> None:
    """Accept an empty folder, or one where this same job was interrupted; delete nothing else."""
    names = sorted(entry.name for entry in out.iterdir())
    if names and JOURNAL not in names:
        content = "a finished bundle" if guard.MANIFEST in names else names[0]
        problem = f"{out}: expected a new or empty folder, found {content}."
        raise BundleError(problem, "Choose another folder.")
    if len(names) > 1 and first_job(out / JOURNAL) != job:
        raise BundleError(
            f"{out}: holds an interrupted packing of other files, or of files that changed since.",
            f"Choose another folder, or delete that one: rm -r {out}",
        )
    (out / guard.MANIFEST).unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        sync(file)
    rename_synced(temporary, path)


def write_programs(folder: Path) -> dict[str, str]:
    """Write a guard desk's own copies of PROGRAMS into a folder; the SHA-256 of each.

    BundleError for a file of such a name that is another: it may be the copy that was trusted.
    """
    own = {name: Path(str(program.__file__)).read_bytes() for name, program in PROGRAMS.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in own.items():
            if (folder / name).exists() and (folder / name).read_bytes() != content:
                problem = f"{folder / name}: is there already, and is another program."
                raise BundleError(problem, "Name another folder.")
        for name, content in own.items():
            (folder / name).write_bytes(content)
    except OSError as error:
        problem = f"{folder}: expected a folder to write into, found: {error.strerror}."
        raise BundleError(problem, "Name another folder.") from None
    return {name: sha256(folder / name) for name in own}
