"""Stage of an import: files are rebuilt aside, part by part, before any gets its place.

Parts may come in any order and from several media. A part counts when its bytes are in the files,
synced, and noted in the journal; a part whose SHA-256 is wrong never counts. Not covered: another
process of the same user writing in it.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO

from localinstruct.bundle import guard
from localinstruct.bundle.journal import Journal
from localinstruct.bundle.stream import Digests, Hash
from localinstruct.errors import BundleError
from localinstruct.records import JsonObject
from localinstruct.store.durable import sync, sync_folder

Row = JsonObject
"""An entry of `files` in a manifest: path, size, sha256, ranges …"""
Tick = Callable[[int], None]
"""Called with the number of bytes that were just read."""


class Stage:
    """Files under way: those of `rows`; all others of the bundle are passed over."""

    def __init__(self, into: Path, manifest: JsonObject, rows: Sequence[Row]) -> None:
        self.root = into / f".import-{manifest['id'][:16]}"
        self.files = self.root / "files"
        self.rows = rows
        if self.root.is_symlink():
            raise BundleError(f"{self.root}: a link stands where files are prepared.", "Remove it.")
        self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._journal = Journal(self.root / "journal.jsonl", manifest["id"])
        self._digests = Digests()
        self._slices: dict[int, list[tuple[Row, int, dict[str, int]]]] = {}
        for row in rows:
            at = 0
            for place in row["ranges"]:
                self._slices.setdefault(place["part"], []).append((row, at, place))
                at += place["length"]

    def needed(self) -> list[int]:
        """Numbers of the parts that are still to be read."""
        finished = self._journal.numbered("part")
        return [n for n in sorted(self._slices) if n not in finished or not self._is_present(n)]

    def bytes_needed(self) -> int:
        """Bytes of files still to be written."""
        slices = (piece for number in self.needed() for piece in self._slices[number])
        return sum(place["length"] for _, _, place in slices)

    def take(self, folder: Path, part: JsonObject, tick: Tick) -> str:
        """Read one part into the files; the reason why it is refused, or ''."""
        path = folder / part["name"]
        try:
            return guard.state_problem(path, part["size"]) or self._copy(path, part, tick)
        except FileNotFoundError:
            return "missing"

    def finish(self) -> list[tuple[str, str]]:
        """Make the empty files and hash what was not hashed on its way.

        Gives (path, problem) for each file that is not right.
        """
        problems = []
        for row in self.rows:
            place = self.place(row["path"])
            if not row["size"]:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            sha256 = self._digests.whole.get(row["path"])
            sha256 = sha256 or guard.sha256_of(place, row["size"], lambda count: None)
            if sha256 != row["sha256"]:
                problem = f"its SHA-256 is {sha256}, but the manifest says {row['sha256']}"
                problems.append((row["path"], problem))
        for folder, _, _ in os.walk(self.files):
            sync_folder(Path(folder))
        return problems

    def place(self, path: str) -> Path:
        """The path at which a file waits."""
        return self.files / path

    def remove(self) -> None:
        """Delete the stage with all that is in it."""
        shutil.rmtree(self.root)

    def _is_present(self, number: int) -> bool:
        """True while the files still hold what a finished part brought."""
        ends = [(self.place(row["path"]), at + p["length"]) for row, at, p in self._slices[number]]
        return all(path.is_file() and path.stat().st_size >= end for path, end in ends)

    def _copy(self, path: Path, part: JsonObject, tick: Tick) -> str:
        total, position, written = hashlib.sha256(), 0, []
        with path.open("rb") as source:
            for row, at, place in self._slices[part["n"]]:
                _skip(source, place["offset"] - position, total, tick)
                written.append(self._write(row, at, place["length"], source, total, tick))
                position = place["offset"] + place["length"]
            _skip(source, part["size"] - position, total, tick)
        if total.hexdigest() != part["sha256"]:
            return f"damaged: SHA-256 {total.hexdigest()}, expected {part['sha256']}"
        for folder in sorted({file.parent for file in written}):
            sync_folder(folder)
        self._journal.add({"part": part["n"]})
        return ""

    def _write(
        self, row: Row, at: int, length: int, source: BinaryIO, total: Hash, tick: Tick
    ) -> Path:
        """Copy `length` bytes from the part to `at` in the waiting file, synced."""
        place = self.place(row["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(place, flags, 0o666)  # less the umask
        with os.fdopen(descriptor, "wb") as target:
            target.seek(at)
            while length and (chunk := source.read(min(guard.CHUNK, length))):
                target.write(chunk)
                total.update(chunk)
                self._digests.feed(row["path"], at, row["size"], chunk)
                at, length = at + len(chunk), length - len(chunk)
                tick(len(chunk))
            sync(target)
        return place


def _skip(source: BinaryIO, length: int, total: Hash, tick: Tick) -> None:
    """Pass over bytes of other files, which belong to the part's digest all the same."""
    while length and (chunk := source.read(min(guard.CHUNK, length))):
        total.update(chunk)
        length -= len(chunk)
        tick(len(chunk))
