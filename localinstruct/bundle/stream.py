"""Items as one stream: their places in the parts, reading them, hashing them on their way."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from localinstruct.bundle import guard
from localinstruct.bundle.contents import Item
from localinstruct.errors import BundleError


class Hash(Protocol):
    """A hash under way, as hashlib gives it."""

    def update(self, data: bytes, /) -> None:
        """Take more bytes."""

    def hexdigest(self) -> str:
        """Digest of all bytes so far, as hex digits."""


@dataclass(slots=True)
class Slice:
    """Bytes of one item that lie in one part."""

    item: Item
    offset: int
    length: int


@dataclass
class Digests:
    """SHA-256 of items as they pass by; one whose beginning passed before a kill is left out."""

    whole: dict[str, str] = field(default_factory=dict)
    _under_way: dict[str, tuple[int, Hash]] = field(default_factory=dict)

    def feed(self, path: str, offset: int, size: int, chunk: bytes) -> None:
        """Take the bytes at `offset` of an item of `size` bytes."""
        at, total = self._under_way.get(path) or (0, hashlib.sha256())
        if at != offset:
            return
        total.update(chunk)
        self._under_way[path] = (at + len(chunk), total)
        if at + len(chunk) == size:
            self.whole[path] = total.hexdigest()
            del self._under_way[path]


def layout(items: Sequence[Item], part_size: int) -> list[list[Slice]]:
    """Slices of each part: the items in order, cut every `part_size` bytes."""
    parts: list[list[Slice]] = []
    room = 0
    for item in items:
        at, size = 0, item.size
        while at < size:
            if not room:
                parts.append([])
                room = part_size
            length = min(room, size - at)
            parts[-1].append(Slice(item, at, length))
            at, room = at + length, room - length
    return parts


def ranges_of(plan: Sequence[Sequence[Slice]]) -> dict[str, list[dict[str, int]]]:
    """Place of each item: {path: [{part, offset in the part, length}]}."""
    ranges: dict[str, list[dict[str, int]]] = {}
    for number, slices in enumerate(plan, start=1):
        at = 0
        for piece in slices:
            place = {"part": number, "offset": at, "length": piece.length}
            ranges.setdefault(piece.item.path, []).append(place)
            at += piece.length
    return ranges


def read_slice(piece: Slice) -> Iterator[tuple[int, bytes]]:
    """(offset in the item, bytes) of a slice; BundleError when the file ends early."""
    if isinstance(piece.item.source, bytes):
        yield piece.offset, piece.item.source[piece.offset : piece.offset + piece.length]
        return
    end = piece.offset + piece.length
    with piece.item.source.open("rb") as source:
        source.seek(piece.offset)
        while (at := source.tell()) < end:
            chunk = source.read(min(guard.CHUNK, end - at))
            if not chunk:
                raise change_error(piece.item)
            yield at, chunk


def change_error(item: Item) -> BundleError:
    """The refusal of a file that is not what it was."""
    name = item.source if isinstance(item.source, Path) else item.path
    return BundleError(
        f"{name}: changed while it was packed, or is not the file whose digest is known.",
        "Let nothing write there, and run the same command again.",
    )
