"""The waiting room of an import: packed files are rebuilt here, part by part, before any of them
gets its place.

Parts may come in any order and from several media. A part counts when its bytes are in the files,
synced, and noted in the journal; a part whose SHA-256 is wrong never counts. Not covered: another
process of the same user writing in here.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from localinstruct.bundle import guard
from localinstruct.bundle.journal import Journal
from localinstruct.bundle.stream import Digests
from localinstruct.errors import BundleError
from localinstruct.store.durable import sync, sync_folder

Row = Mapping[str, Any]
"""One entry of `files` in a manifest."""


class Stage:
    """Files under way: `rows` are those that are wanted, all others of the bundle are passed
    over."""

    def __init__(self, into: Path, manifest: Mapping[str, Any], rows: Sequence[Row]) -> None:
        self.root = into / f".import-{manifest['id'][:16]}"
        self.files = self.root / "files"
        self.rows = rows
        if self.root.is_symlink():
            raise BundleError(f"{self.root}: a link stands where files are prepared.", "Remove it.")
        self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._journal = Journal(self.root / "journal.jsonl", manifest["id"])
        self._digests = Digests()
        self._slices: dict[int, list[tuple[Row, int, Mapping[str, int]]]] = {}
        for row in rows:
            at = 0
            for one in row["ranges"]:
                self._slices.setdefault(one["part"], []).append((row, at, one))
                at += one["length"]

    def needed(self) -> list[int]:
        """Numbers of the parts that are still to be read."""
        done = self._journal.numbered("part")
        return [
            number
            for number in sorted(self._slices)
            if number not in done or not self._there(number)
        ]

    def bytes_needed(self) -> int:
        """Bytes of files still to be written."""
        return sum(one["length"] for number in self.needed() for _, _, one in self._slices[number])

    def take(self, folder: Path, part: Mapping[str, Any], tick: Callable[[int], None]) -> str:
        """Read one part into the files; why it is refused, or ''."""
        path = folder / part["name"]
        try:
            return guard.state_problem(path, part["size"]) or self._copy(path, part, tick)
        except FileNotFoundError:
            return "missing"

    def finish(self) -> list[tuple[str, str]]:
        """Make the empty files, hash what was not hashed on its way; (path, problem) for each that
        is not right."""
        problems = []
        for row in self.rows:
            place = self.place(row["path"])
            if not row["size"]:
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
            found = self._digests.whole.get(row["path"]) or guard.sha256_of(
                place, row["size"], lambda count: None
            )
            if found != row["sha256"]:
                problems.append(
                    (row["path"], f"its SHA-256 is {found}, but the manifest says {row['sha256']}")
                )
        for folder, _, _ in os.walk(self.files):
            sync_folder(Path(folder))
        return problems

    def place(self, path: str) -> Path:
        """Where a file waits."""
        return self.files / path

    def remove(self) -> None:
        """Leave nothing behind."""
        shutil.rmtree(self.root)

    def _there(self, number: int) -> bool:
        """Whether the files still hold what a finished part brought."""
        return all(
            (place := self.place(row["path"])).is_file()
            and place.stat().st_size >= at + one["length"]
            for row, at, one in self._slices[number]
        )

    def _copy(self, path: Path, part: Mapping[str, Any], tick: Callable[[int], None]) -> str:
        total, position, touched = hashlib.sha256(), 0, []
        with path.open("rb") as source:
            for row, at, one in self._slices[part["n"]]:
                _hash_on(source, one["offset"] - position, total, tick)
                touched.append(self._write(row, at, one["length"], source, total, tick))
                position = one["offset"] + one["length"]
            _hash_on(source, part["size"] - position, total, tick)
        if total.hexdigest() != part["sha256"]:
            return f"damaged: SHA-256 {total.hexdigest()}, expected {part['sha256']}"
        for folder in sorted({place.parent for place in touched}):
            sync_folder(folder)
        self._journal.add({"part": part["n"]})
        return ""

    def _write(
        self, row: Row, at: int, length: int, source: Any, total: Any, tick: Callable[[int], None]
    ) -> Path:
        """Copy `length` bytes from the part to `at` in the waiting file, synced."""
        place = self.place(row["path"])
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            place, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666
        )  # less the umask
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


def _hash_on(source: Any, length: int, total: Any, tick: Callable[[int], None]) -> None:
    """Pass over bytes that are not wanted, but belong to the part's digest."""
    while length and (chunk := source.read(min(guard.CHUNK, length))):
        total.update(chunk)
        length -= len(chunk)
        tick(len(chunk))
