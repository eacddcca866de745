"""Write a bundle: the items one after another into parts that fit the medium, then the manifest
that binds them.

A part is written beside its name, synced, renamed and noted in a journal, so after a kill the same
command goes on with the first part that is missing. Every byte is read once and hashed on its way,
for the part and for its file. The manifest comes last: a folder without one is not a bundle. Not
covered: files that change while they are packed, which is noticed and refused.
"""

import contextlib
import errno
import hashlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct import __version__
from localinstruct.bundle import ed25519, guard, takeout
from localinstruct.bundle.contents import Contents, Item
from localinstruct.bundle.journal import Journal, first_job, only_one, stamp
from localinstruct.bundle.media import DEFAULT_PART_SIZE
from localinstruct.bundle.sbom import sbom
from localinstruct.bundle.signing import load_private, public_of, sign
from localinstruct.bundle.stream import Digests, Slice, changed, layout, ranges_of, read_slice
from localinstruct.errors import BundleError
from localinstruct.progress import Progress
from localinstruct.records import digest
from localinstruct.store.durable import rename_synced, sha256, sync, sync_folder

JOURNAL = ".packing.jsonl"
MARGIN = 16 * 2**20
"""Bytes kept free beside what the parts need."""
PROGRAMS = {"VERIFY.py": guard, "SIGNATURE.py": ed25519, "UNPACK.py": takeout}
"""What lies beside the parts and runs without being installed."""
README = """This folder is a localinstruct bundle: models, software or results in parts, for a machine without network.

Check it (Python 3.8 or newer, reads only):     python3 -I VERIFY.py
Check who made it, with a key you trust:        python3 -I SIGNATURE.py PUBLIC.pem
Check only the parts on this medium:            python3 -I VERIFY.py --here
Take the wheels out, before anything is there:  python3 -I UNPACK.py wheelhouse FOLDER
Bring it into a workspace:                      localinstruct bundle import . WORKSPACE

Every medium carries MANIFEST.json and the small files beside it, and one or more parts.
Without any program of ours: cat part*.bin is all files one after another, in the order and sizes of MANIFEST.json.
"""


@dataclass(frozen=True, slots=True)
class Packed:
    """A finished bundle: its folder and id, how much is in it, and the fingerprint of the key that
    signed it, or ''."""

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
) -> Packed:
    """Write a bundle into `out`, a new or empty folder or one where this job was interrupted; `key`
    signs it.

    BundleError for a folder in use for something else, too little space, a file that changed, a key
    that is none.
    """
    private = load_private(key) if key else None  # before an hour of copying, not after
    total = sum(item.size for item in contents.items)
    if not total:
        raise BundleError("Cannot be packed: all files are empty.")
    if any(
        isinstance(item.source, Path) and item.source.resolve().is_relative_to(out.resolve())
        for item in contents.items
    ):
        raise BundleError(f"{out}: holds files that are to be packed.", "Name a folder elsewhere.")
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)
        with only_one(out, "packs here"):
            signer = ed25519.fingerprint(public_of(private)) if private else ""
            there = _finished(contents, out, part_size, public_of(private) if private else b"")
            if there:
                progress.say(f"{out} holds this very bundle already.")
                return Packed(
                    out, there["id"], len(there["parts"]), len(contents.items), total, signer
                )
            job = _job(contents, part_size)
            _refuse_foreign(out, job)
            journal = Journal(out / JOURNAL, job)
            _require_space(out, total)
            rows, parts = write_parts(contents.items, out, part_size, journal, progress)
            manifest = _finish(contents, out, rows, parts, part_size, private)
            (out / JOURNAL).unlink()
            sync_folder(out)
    return Packed(out, manifest["id"], len(parts), len(rows), total, signer)


def write_parts(
    items: Sequence[Item], out: Path, part_size: int, journal: Journal, progress: Progress
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(files, parts) of the manifest, with every part on the disk; parts that the journal knows are
    not written again."""
    digests, parts, done = Digests(), [], journal.numbered("n")
    plan, stamps = layout(items, part_size), {item.path: _stamp(item) for item in items}
    written, total = 0, sum(item.size for item in items)
    for number, slices in enumerate(plan, start=1):
        path, entry = out / guard.part_name(number), done.get(number)
        if entry is None or not _still_there(path, entry):
            entry = _write_part(
                path,
                number,
                slices,
                digests,
                lambda count: progress.update("packing", count, total),
                written,
            )
            journal.add(entry)
        digests.whole |= entry["files"]
        written += entry["size"]
        progress.update("packing", written, total, f"part {number} of {len(plan)}")
        parts.append({key: entry[key] for key in ("n", "name", "size", "sha256")})
    for item in items:
        _settle(item, digests, stamps[item.path])
    ranges = ranges_of(plan)
    rows = [
        {
            "path": item.path,
            "size": item.size,
            "sha256": digests.whole[item.path],
            "licence": item.licence,
            "source": item.origin,
            "kind": item.kind,
            "ranges": ranges.get(item.path, []),
        }
        for item in items
    ]
    return rows, parts


def _still_there(path: Path, entry: Mapping[str, Any]) -> bool:
    """Whether a finished part is as it was: by its stamp, or by its digest (FAT rounds times and
    renumbers inodes)."""
    try:
        return stamp(path) == entry["stamp"] or not guard.file_problem(
            path, entry["size"], entry["sha256"]
        )
    except FileNotFoundError:
        return False


def _write_part(
    path: Path, number: int, slices: Sequence[Slice], digests: Digests, tick: Any, before: int
) -> dict[str, Any]:
    temporary, total, size = path.with_suffix(".tmp"), hashlib.sha256(), 0
    known = set(digests.whole)
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
    files = {name: found for name, found in digests.whole.items() if name not in known}
    return {
        "n": number,
        "name": path.name,
        "size": size,
        "sha256": total.hexdigest(),
        "stamp": stamp(path),
        "files": files,
    }


def _settle(item: Item, digests: Digests, before: list[Any]) -> None:
    """Hash what did not pass by whole; BundleError for a file that changed or is not the one that
    was expected."""
    if item.path not in digests.whole:
        total = hashlib.sha256()
        for _, chunk in read_slice(Slice(item, 0, item.size)):
            total.update(chunk)
        digests.whole[item.path] = total.hexdigest()
    if _stamp(item) != before or item.sha256 not in ("", digests.whole[item.path]):
        raise changed(item)


def _finish(
    contents: Contents,
    out: Path,
    rows: list[dict[str, Any]],
    parts: list[dict[str, Any]],
    part_size: int,
    private: Any,
) -> dict[str, Any]:
    """Write the files beside the parts, and last the manifest, which names them all."""
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    sides = {"SBOM.cdx.json": sbom(rows, __version__, created), "README.txt": README.encode()}
    sides |= {f"LICENCES/{name}": text for name, text in contents.licences.items()}
    for name, program in PROGRAMS.items():
        sides[name] = Path(str(program.__file__)).read_bytes()
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
        "side": [
            {
                "path": name,
                "size": len(sides[name]),
                "sha256": hashlib.sha256(sides[name]).hexdigest(),
            }
            for name in sorted(sides)
        ],
    }
    manifest["id"] = guard.manifest_id(manifest)
    raw = guard.canonical(manifest)
    _, problems = guard.read_manifest(raw)
    if problems or len(raw) > guard.MAX_MANIFEST:
        raise BundleError(
            "This bundle would be refused: "
            f"{'; '.join(problems[:5]) or 'its manifest is too large'}."
        )
    (out / guard.SIGNATURE).unlink(missing_ok=True)
    if private:
        _write(out / guard.SIGNATURE, sign(raw, private))
    _write(out / guard.MANIFEST, raw)
    return manifest


def _job(contents: Contents, part_size: int) -> str:
    """Digest of all that shapes the parts: the same job may go on, another may not."""
    return digest([part_size, [[item.path, item.size, _stamp(item)] for item in contents.items]])


def _stamp(item: Item) -> list[Any]:
    return [_digest(item)] if isinstance(item.source, bytes) else stamp(item.source)


def _finished(
    contents: Contents, out: Path, part_size: int, public: bytes
) -> dict[str, Any] | None:
    """The manifest of this very bundle where it is finished in `out` and signed by `public`, or
    None."""
    if (out / JOURNAL).exists() or not (out / guard.MANIFEST).is_file():
        return None
    raw = guard.read_raw(out)
    manifest, _ = guard.read_manifest(raw)
    here = [(item.path, item.size) for item in contents.items]
    if (
        not manifest
        or manifest["part_size"] != part_size
        or here != [(row["path"], row["size"]) for row in manifest["files"]]
    ):
        return None
    if (public and ed25519.signature_problem(out, public, raw)) or any(
        guard.folder_problems(out, manifest, whole=True)
    ):
        return None
    if any(
        not (out / p["name"]).is_file() or guard.state_problem(out / p["name"], p["size"])
        for p in manifest["parts"]
    ):
        return None
    same = all(
        _digest(item) == row["sha256"]
        for item, row in zip(contents.items, manifest["files"], strict=True)
    )
    return manifest if same else None


def _digest(item: Item) -> str:
    return (
        hashlib.sha256(item.source).hexdigest()
        if isinstance(item.source, bytes)
        else sha256(item.source)
    )


def _refuse_foreign(out: Path, job: str) -> None:
    """Accept an empty folder, or one where this same job was interrupted; nothing is deleted for
    another one."""
    there = sorted(entry.name for entry in out.iterdir())
    if there and JOURNAL not in there:
        found = "a finished bundle" if guard.MANIFEST in there else there[0]
        raise BundleError(
            f"{out}: expected a new or empty folder, found {found}.", "Choose another folder."
        )
    if len(there) > 1 and first_job(out / JOURNAL) != job:
        raise BundleError(
            f"{out}: holds a packing of other files, or of files that changed since, which was "
            "interrupted.",
            f"Choose another folder, or delete that one: rm -r {out}",
        )
    (out / guard.MANIFEST).unlink(missing_ok=True)


def _require_space(out: Path, total: int) -> None:
    there = sum(path.stat().st_size for path in out.glob("part*.bin"))
    free = shutil.disk_usage(out).free
    if free < total - there + MARGIN:
        raise BundleError(
            f"{out}: {total - there + MARGIN:,} bytes are needed there, {free:,} are free.",
            "Make room, or name a folder on another disk.",
        )


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        sync(file)
    rename_synced(temporary, path)


@contextlib.contextmanager
def _explained(out: Path) -> Iterator[None]:
    """A full or failing disk in words."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise BundleError(
            f"{error.filename or out}: {'no space left' if full else error.strerror or error}.",
            "Finished parts stay. When the cause is gone, run the same command again.",
        ) from None
