"""Arrays of a cleaning on the disk, written in blocks: what a kill leaves is whole or not there.

Each block has a digest of its content in the store of decisions, noted after it was written. An
earlier process's block counts if its content still has that digest; the others are made again.
"""

import hashlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from localinstruct.cleaning.decisions import Decisions
from localinstruct.store.integrity import RESERVE, plain_words, require_space

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

LIKE, SCORE = "like.i64", "score.f32"


class Blocks:
    """An array of a shape in the file `name` of a store's folder, `step` rows a block."""

    def __init__(
        self,
        store: Decisions,
        name: str,
        shape: tuple[int, ...],
        of: "DTypeLike",
        step: int,
        say_disk: Callable[[], None] = lambda: None,
    ) -> None:
        import numpy as np

        self._store, self._name, self._step = store, name, step
        file, kind = store.folder / name, np.dtype(of)
        size = int(np.prod(shape)) * kind.itemsize
        is_there = file.is_file() and file.stat().st_size == max(1, size)
        if not is_there:
            say_disk()
            if (
                2 * size > RESERVE
            ):  # what is small is written until the disk refuses, and goes on then
                require_space(store.folder, 2 * size)  # vectors of rows that stay are copied
            # a disk that fills up under a mapped file ends the process, unheard
            with plain_words(file), file.open("wb") as made:
                os.posix_fallocate(made.fileno(), 0, max(1, size))
        self.array: np.ndarray = np.memmap(file, kind, "r+", shape=shape)
        self._done = {
            start
            for start in range(0, shape[0] if is_there else 0, step)
            if store.get(self._key(start)) == self._digest(start)
        }

    def missing(self) -> list[slice]:
        """Blocks that are not there yet, in order."""
        count = len(self.array)
        return [
            slice(start, min(start + self._step, count))
            for start in range(0, count, self._step)
            if start not in self._done
        ]

    def has(self, block: slice) -> bool:
        """True for a block that is there."""
        return block.start in self._done

    def put(self, block: slice, rows: "np.ndarray") -> None:
        """Write a block, and note that it is there."""
        self.array[block] = rows
        self.array.flush()  # type: ignore[attr-defined]
        self._store.put(self._key(block.start), self._digest(block.start))
        self._done.add(block.start)

    def _key(self, start: int) -> str:
        return f"{self._name} by {self._step} at {start}"

    def _digest(self, start: int) -> str:
        rows = self.array[start : start + self._step]
        return hashlib.sha256(rows.tobytes()).hexdigest()[:32]


class Decided:
    """Blocks of rows of which it is known which row they are like (`neighbours.Known`)."""

    def __init__(self, store: Decisions, count: int) -> None:
        self._store, self._count = store, count
        self._like: Blocks | None = None
        self._score: Blocks | None = None

    def has(self, block: slice) -> bool:
        """True for a block that was decided."""
        like, score = self._files(block)
        return like.has(block) and score.has(block)

    def take(self, block: slice) -> tuple["np.ndarray", "np.ndarray"]:
        """`like` and `score` of its rows."""
        like, score = self._files(block)
        return like.array[block], score.array[block]

    def keep(self, block: slice, like: "np.ndarray", score: "np.ndarray") -> None:
        """Note a block that is decided now."""
        for file, rows in zip(self._files(block), (like, score), strict=True):
            file.put(block, rows)

    def _files(self, block: slice) -> tuple[Blocks, Blocks]:
        import numpy as np

        if self._like is None or self._score is None:  # the first block tells how long they are
            step = block.stop - block.start
            self._like = Blocks(self._store, LIKE, (self._count,), np.int64, step)
            self._score = Blocks(self._store, SCORE, (self._count,), np.float32, step)
        return self._like, self._score
