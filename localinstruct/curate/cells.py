"""Cells of kept rows, as in IVF (Jégou et al. 2011): k-means of a sample, nearest cells, products.

`Held` is a range of cells with the kept rows that lie in it; it looks rows up there and nowhere
else. `Here` holds all of them in this process; `cleaning/on_ray.py` has a range on each worker.
Both make the same products of the same numbers in the same order, so they find the same pairs.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from localinstruct.store.integrity import plain_words

if TYPE_CHECKING:
    import numpy as np
    import torch

COLUMNS = 8192
"""Kept rows in one matrix product: what it writes stays near 32 MiB."""
PROBES = 8
"""Cells in which a row looks for its neighbours."""
ROWS_STEP, KEPT_STEP = 16, 128
"""Sizes of the products in a cell are multiples of these: oneDNN prepares each new size anew."""
IN_CELL = 8
"""Neighbours of a row that are taken from one cell, of those kept before."""
EARLIEST = 64
"""Neighbours of a row that are taken from one cell, of its block, the earliest: more are a flood of
copies, which the first of them decides."""
PRODUCT = 2**24
"""Numbers that a product in a cell writes at most."""

_Size = TypeVar("_Size", int, "np.ndarray")


class Found(NamedTuple):
    """Pairs of row numbers, (2, k) each, the later row first: with kept rows, and of the block."""

    before: "np.ndarray"
    among: "np.ndarray"


class Work(Protocol):
    """The finding of rows' cells and the looking up of rows in them, in one process or several."""

    def nearest(self, vectors: "np.ndarray", centres: "np.ndarray", bf16: bool) -> "np.ndarray":
        """(n, PROBES) int32 cells of each of (n, d) rows, its nearest first; (c, d) centres."""

    def begin(self, vectors: "np.ndarray", near: "np.ndarray", cells: int, bf16: bool) -> None:
        """Hold no row yet; rows are numbers in `vectors` (n, d), their cells are in `near`."""

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, given by number."""

    def search(self, block: slice, floor: float) -> Found:
        """Pairs of the rows of a block whose rounded cosine is above `floor`, by cell and row."""


class Held:
    """Cells that hold at most `sizes` rows each, of d dimensions, and the kept rows in them.

    Rows take 2 bytes a number with `bf16`, else 4: in memory, or in the file `scratch`, whose pages
    the system may drop.
    """

    def __init__(
        self, sizes: "np.ndarray", dimensions: int, bf16: bool, scratch: Path | None = None
    ) -> None:
        import numpy as np
        import torch

        self._type = torch.bfloat16 if bf16 else torch.float32
        self._first = np.concatenate([[0], np.cumsum(_up_to(sizes, KEPT_STEP))])
        self._filled = np.zeros(len(sizes), np.int64)
        wide = _zeros(int(self._first[-1]) * dimensions * self._type.itemsize, scratch)
        kept = torch.from_numpy(wide).view(self._type)  # pages that no row fills take no memory
        self._kept = kept.view(-1, dimensions)
        self._numbers = np.empty(self._first[-1], np.int64)

    def add(self, rows: "np.ndarray", vectors: "np.ndarray", cells: "np.ndarray") -> None:
        """Keep rows (k,), their vectors (k, d), each in the cell (k,) that is its nearest."""
        self._filled += self._write(rows, vectors, cells)

    def _write(
        self, rows: "np.ndarray", vectors: "np.ndarray", cells: "np.ndarray"
    ) -> "np.ndarray":
        """Put rows behind the kept ones of their cells, and count them for each cell."""
        import numpy as np

        order = np.argsort(cells, kind="stable")
        own, begins, counts = np.unique(cells[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(begins, counts)
        places = np.repeat(self._first[own] + self._filled[own], counts) + rank
        for start in range(0, len(order), COLUMNS):
            part = slice(start, start + COLUMNS)
            self._kept[places[part]] = tensor(vectors[order[part]]).to(self._type)
        self._numbers[places] = rows[order]
        written = np.zeros_like(self._filled)
        written[own] = counts
        return written

    def search(
        self, rows: "np.ndarray", vectors: "np.ndarray", near: "np.ndarray", floor: float
    ) -> Found:
        """Pairs of rows (m,) of a block with kept ones, IN_CELL of each row and cell, and its own.

        `near` (m, probes) are their cells, -1 for one that is not held here. The rows lie in their
        nearest cell meanwhile, behind the kept ones.
        """
        import numpy as np

        asked = tensor(vectors).to(self._type)
        own = np.flatnonzero(near[:, 0] >= 0)
        waiting = self._write(rows[own], vectors[own], near[own, 0])
        order = np.argsort(near, axis=None, kind="stable")
        order = order[np.count_nonzero(near < 0) :]
        cells, begins = np.unique(near.ravel()[order], return_index=True)
        found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty((2, 0), np.int64),) * 2]
        for cell, some in zip(cells, np.split(order // near.shape[1], begins[1:]), strict=True):
            end = int(self._filled[cell] + waiting[cell])
            step = PRODUCT // max(end, 1)
            for start in range(0, len(some) if end else 0, step):
                part = some[start : start + step]
                found.append(self._in_cell(cell, asked, rows, part, end, floor))
        return Found(*(np.concatenate(side, axis=1) for side in zip(*found, strict=True)))

    def _in_cell(
        self,
        cell: int,
        asked: "torch.Tensor",
        numbers: "np.ndarray",
        rows: "np.ndarray",
        end: int,
        floor: float,
    ) -> tuple["np.ndarray", "np.ndarray"]:
        """Pairs of some rows, places in `asked` and `numbers`, that may be above `floor`.

        With kept rows, and with rows of the block that lie in this cell and come before them.
        """
        import numpy as np
        import torch

        first, filled = int(self._first[cell]), int(self._filled[cell])
        kept = self._kept[first : first + _up_to(end, KEPT_STEP)]
        padded = np.resize(rows, _up_to(len(rows), ROWS_STEP))
        cosines = (asked[torch.from_numpy(padded)] @ kept.T)[: len(rows)]
        others = self._numbers[first : first + end]
        before, among = np.empty((2, 0), np.int64), np.empty((2, 0), np.int64)
        if filled:
            near = (cosines[:, :filled].amax(dim=1) > floor).nonzero().squeeze(1)
            top, places = cosines[near, :filled].topk(min(IN_CELL, filled), dim=1)
            own, column = (top > floor).nonzero(as_tuple=True)
            asking = numbers[rows[near[own].numpy()]]
            before = np.stack([asking, others[places[own, column].numpy()]])
        if filled < end:
            own, column = (cosines[:, filled:end] > floor).nonzero(as_tuple=True)
            among = np.stack([numbers[rows[own.numpy()]], others[filled + column.numpy()]])
            among = among[:, among[1] < among[0]]
            among = among[:, ranks(among[0]) < EARLIEST]
        return before, among


class Here:
    """All cells in this process, the copy of the kept rows in memory or in the file `scratch`."""

    def __init__(self, scratch: Path | None = None) -> None:
        self._scratch = scratch

    def nearest(self, vectors: "np.ndarray", centres: "np.ndarray", bf16: bool) -> "np.ndarray":
        """(n, PROBES) int32 cells of each row."""
        import numpy as np

        near = np.empty((len(vectors), min(PROBES, len(centres))), np.int32)
        for start in range(0, len(vectors), COLUMNS):
            part = slice(start, start + COLUMNS)
            near[part] = nearest_cells(vectors[part], centres, bf16)
        return near

    def begin(self, vectors: "np.ndarray", near: "np.ndarray", cells: int, bf16: bool) -> None:
        """Make room for all rows."""
        import numpy as np

        sizes = np.bincount(near[:, 0], minlength=cells)
        self._vectors, self._near = vectors, near
        self._held = Held(sizes, vectors.shape[1], bf16, self._scratch)

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, a few thousand vectors in memory at once."""
        import numpy as np

        rows = rows[np.argsort(self._near[rows, 0], kind="stable")]
        for start in range(0, len(rows), COLUMNS):
            part = rows[start : start + COLUMNS]
            self._held.add(part, self._vectors[part], self._near[part, 0])

    def search(self, block: slice, floor: float) -> Found:
        """Pairs of the rows of a block."""
        import numpy as np

        rows = np.arange(block.start, block.stop)
        return self._held.search(rows, self._vectors[block], self._near[block], floor)


def ranks(rows: "np.ndarray") -> "np.ndarray":
    """(k,) place of each entry among those of the same row, where these lie together."""
    import numpy as np

    if not len(rows):
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    return np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))


def _zeros(size: int, scratch: Path | None) -> "np.ndarray":
    """(size,) uint8 zeros, in memory or in a file."""
    import numpy as np

    if scratch is None:
        return np.zeros(size, np.uint8)
    with plain_words(scratch), scratch.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, size))
    return np.memmap(scratch, np.uint8, "r+", shape=(size,))


def _up_to(size: _Size, step: int) -> _Size:
    """The next multiple of `step`."""
    return -(-size // step) * step


def tensor(rows: "np.ndarray") -> "torch.Tensor":
    """An array as a tensor; one that cannot be written is copied, as torch wants to write."""
    import numpy as np
    import torch

    return torch.from_numpy(np.require(rows, requirements=["C", "W"]))


def centres_of(vectors: "np.ndarray", count: int, rounds: int = 6) -> "np.ndarray":
    """(count, d) unit centres: spherical k-means of a sample drawn with a fixed seed."""
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    size = min(len(vectors), 48 * count)
    sample = tensor(vectors[np.sort(rng.choice(len(vectors), size, replace=False))])
    centres = sample[torch.from_numpy(rng.choice(size, count, replace=False))].clone()
    for _ in range(rounds):
        cells = torch.cat([(part @ centres.T).argmax(dim=1) for part in sample.split(COLUMNS)])
        sums = torch.zeros_like(centres).index_add_(0, cells, sample)
        lengths = sums.norm(dim=1, keepdim=True)
        centres = torch.where(lengths > 0, sums / lengths.clamp(min=1e-12), centres)
    made: np.ndarray = centres.numpy()
    return made


def nearest_cells(vectors: "np.ndarray", centres: "np.ndarray", bf16: bool) -> "np.ndarray":
    """(k, PROBES) cells of each of (k, d) rows, its nearest first."""
    import torch

    of = torch.bfloat16 if bf16 else torch.float32
    cosines = tensor(vectors).to(of) @ tensor(centres).to(of).T
    found: np.ndarray = cosines.topk(min(PROBES, len(centres)), dim=1).indices.numpy()
    return found
