"""Kept neighbours: each row of a list against the rows kept before it, greedy and in order.

A row is dropped when its cosine with a kept row is above the threshold. Short lists are compared
exactly, one matrix product a block. Longer ones are searched by cells, as in IVF (Jégou et al.
2011): k-means on a sample, each row looked for in the few cells nearest to it, every pair found
decided by its cosine in float32. What a search by cells can miss is a neighbour that lies in none
of those cells; `benchmarks/near_duplicates.py` counts it. Where the vectors are an approximation
(bfloat16, a static encoder), pairs near the threshold are decided by a better one (`Borderline`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from localinstruct.machine import cpu_has_bf16

if TYPE_CHECKING:
    import numpy as np
    import torch

EXACT_UP_TO = 100_000
"""Rows up to which all pairs are compared: half a minute of 384 dimensions on two cores."""
BLOCK = 1024
"""Rows that are looked up together when all pairs are compared."""
ASKED = 32
"""Rows for each cell that are looked up together, so that a cell is asked for many at once."""
LEAST_BLOCK, MOST_BLOCK = 4096, 32_768
"""Bounds of how many that are."""
COLUMNS = 8192
"""Kept rows in one matrix product: what it writes stays near 32 MiB."""
PROBES = 8
"""Cells in which a row looks for its neighbours."""
PER_CELL = 800
"""Rows a cell holds on average."""
ROWS_STEP, KEPT_STEP = 16, 128
"""Sizes of the products in a cell are multiples of these: oneDNN prepares each new size anew."""
IN_CELL = 8
"""Neighbours of a row that are taken from one cell, of those kept before."""
EARLIEST = 64
"""Neighbours of a row that are taken from one cell, of its block, the earliest: more are a flood of
copies, which the first of them decides."""
PRODUCT = 2**24
"""Numbers that a product in a cell writes at most."""
RECHECKED = 16_384
"""Pairs whose float32 cosines are calculated at once."""
ROUNDING = 0.01
"""Allowance for bfloat16 cosines before the float32 one decides; they move by at most 0.005."""


_Size = TypeVar("_Size", int, "np.ndarray")


@dataclass(frozen=True, slots=True)
class Borderline:
    """Pairs that a better measure decides: cosines above `possible`, up to `certain`.

    `cosines(rows, others)` gives the better cosines of pairs of row numbers, (k,) and (k,) int64 to
    (k,) float32. Of each row all are asked, or only its `most` nearest.
    """

    possible: float
    certain: float
    cosines: Callable[["np.ndarray", "np.ndarray"], "np.ndarray"]
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Neighbours:
    """For each of n rows the kept row it is like, and how much."""

    like: "np.ndarray"
    """(n,) int64, -1 for a row that was kept."""
    score: "np.ndarray"
    """(n,) float32 cosine with that row; 0 for a row that was kept."""


class Pairs(NamedTuple):
    """Rows of a list, each with one that comes before it, and their cosine: (k,) each."""

    rows: "np.ndarray"
    others: "np.ndarray"
    cosines: "np.ndarray"


def kept_neighbours(
    vectors: "np.ndarray",
    threshold: float,
    borderline: Borderline | None = None,
    on_block: Callable[[int], None] = lambda rows: None,
    exact_up_to: int = EXACT_UP_TO,
) -> Neighbours:
    """Decide n rows with (n, d) float32 unit vectors in order; `on_block(rows so far)` as it goes.

    A dropped row names the most similar of the kept rows that were found.
    """
    import numpy as np

    count = len(vectors)
    result = Neighbours(np.full(count, -1, np.int64), np.zeros(count, np.float32))
    if not count:
        return result
    floor = borderline.possible if borderline else threshold
    kept: Searched = Everything(vectors) if count <= exact_up_to else Cells(vectors)
    for first in range(0, count, kept.block):
        block = slice(first, min(first + kept.block, count))
        found = kept.above(block, floor)
        before, among = (_decided(pairs, threshold, borderline) for pairs in found)
        _take(result, before, among)
        kept.add(first + np.flatnonzero(result.like[block] < 0))
        on_block(block.stop)
    return result


def _within(vectors: "np.ndarray", block: slice, floor: float) -> Pairs:
    """The pairs of a block, later row first, whose cosine is above `floor`."""
    import numpy as np

    part = vectors[block]
    cosines = np.tril(part @ part.T, -1)
    rows, others = np.nonzero(cosines > floor)
    return Pairs(block.start + rows, block.start + others, cosines[rows, others])


def _decided(pairs: Pairs, threshold: float, borderline: Borderline | None) -> Pairs:
    """The pairs above the threshold, those on the border by their better cosine."""
    import numpy as np

    if borderline is None or not len(pairs.rows):
        return pairs
    order = np.lexsort((-pairs.cosines, pairs.rows))
    rows, others, cosines = (side[order] for side in pairs)
    rank = _ranks(rows)
    is_certain = cosines > borderline.certain
    asked = np.flatnonzero(~is_certain & (rank < (borderline.most or len(rows))))
    cosines = cosines.copy()
    cosines[asked] = borderline.cosines(rows[asked], others[asked])
    is_near = is_certain.copy()
    is_near[asked] = cosines[asked] > threshold
    return Pairs(rows[is_near], others[is_near], cosines[is_near])


def _ranks(rows: "np.ndarray") -> "np.ndarray":
    """(k,) place of each entry among those of the same row, where these lie together."""
    import numpy as np

    if not len(rows):
        return np.empty(0, np.int64)
    begins = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    return np.arange(len(rows)) - np.repeat(begins, np.diff(np.r_[begins, len(rows)]))


def _take(result: Neighbours, before: Pairs, among: Pairs) -> None:
    """Decide a block: by the rows kept before it, then by its own in order, in place."""
    import numpy as np

    _take_best(result, before)
    order = np.argsort(among.others, kind="stable")
    rows, others, cosines = (side[order] for side in among)
    heads, begins, counts = np.unique(others, return_index=True, return_counts=True)
    for head, begin, count in zip(heads, begins, counts, strict=True):
        if result.like[head] < 0:  # kept: nothing before it is like it
            part = slice(begin, begin + count)
            _take_best(result, Pairs(rows[part], others[part], cosines[part]))


def _take_best(result: Neighbours, pairs: Pairs) -> None:
    """Give each row of these pairs its most similar other one, of equals the first, in place."""
    import numpy as np

    order = np.lexsort((-pairs.others, pairs.cosines))  # the last assignment to a row stays
    rows, others, cosines = (side[order] for side in pairs)
    is_nearer = (cosines > result.score[rows]) | (result.like[rows] < 0)
    result.like[rows[is_nearer]] = others[is_nearer]
    result.score[rows[is_nearer]] = cosines[is_nearer]


class Searched(Protocol):
    """The kept rows of a list, to be searched."""

    block: int
    """Rows that are looked up together."""

    def above(self, block: slice, floor: float) -> tuple[Pairs, Pairs]:
        """Pairs above `floor` of the rows of a block: with kept rows, and with each other.

        Each row's most similar one is among them, and what is close to it.
        """

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, given by number."""


class Everything:
    """All kept rows, compared exactly."""

    block = BLOCK

    def __init__(self, vectors: "np.ndarray") -> None:
        import numpy as np

        self._vectors, self._size = vectors, 0
        self._kept, self._numbers = np.empty_like(vectors), np.empty(len(vectors), np.int64)

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, given by number."""
        end = self._size + len(rows)
        self._kept[self._size : end] = self._vectors[rows]
        self._numbers[self._size : end] = rows
        self._size = end

    def above(self, block: slice, floor: float) -> tuple[Pairs, Pairs]:
        """Every pair above `floor`."""
        import numpy as np

        asked = self._vectors[block]
        found = [_none()]
        for start in range(0, self._size, COLUMNS):
            end = min(start + COLUMNS, self._size)
            cosines = asked @ self._kept[start:end].T
            near = np.flatnonzero(cosines.max(axis=1) > floor)
            rows, places = np.nonzero(cosines[near] > floor)
            numbers = self._numbers[start + places]
            found.append(Pairs(block.start + near[rows], numbers, cosines[near[rows], places]))
        before = Pairs(*(np.concatenate(side) for side in zip(*found, strict=True)))
        return before, _within(self._vectors, block, floor)


class Cells:
    """Kept rows in the cells of a k-means of a sample, each looked up in its nearest cells.

    Beside the vectors it holds a copy of the kept ones, 2 bytes a number where the CPU multiplies
    bfloat16, 4 elsewhere.
    """

    def __init__(self, vectors: "np.ndarray") -> None:
        import numpy as np
        import torch

        self._vectors = vectors
        self._type = torch.bfloat16 if cpu_has_bf16() else torch.float32
        centres = _centres(vectors, max(1, len(vectors) // PER_CELL)).to(self._type)
        self._near = _nearest_cells(vectors, centres)
        sizes = np.bincount(self._near[:, 0], minlength=len(centres))
        self.block = min(max(ASKED * len(centres), LEAST_BLOCK), MOST_BLOCK)
        sizes = np.bincount(self._near[:, 0], minlength=len(centres))
        self._first = np.concatenate([[0], np.cumsum(_up_to(sizes, KEPT_STEP))])
        self._filled = np.zeros(len(centres), np.int64)
        wide = np.zeros(self._first[-1] * vectors.shape[1] * self._type.itemsize, np.uint8)
        kept = torch.from_numpy(wide).view(self._type)  # pages that no row fills take no memory
        self._kept = kept.view(-1, vectors.shape[1])
        self._numbers = np.empty(self._first[-1], np.int64)

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, given by number."""
        self._filled += self._write(rows)

    def _write(self, rows: "np.ndarray") -> "np.ndarray":
        """Put rows behind the kept ones of their cells, and count them for each cell."""
        import numpy as np

        rows = rows[np.argsort(self._near[rows, 0], kind="stable")]
        cells, begins, counts = np.unique(
            self._near[rows, 0], return_index=True, return_counts=True
        )
        rank = np.arange(len(rows)) - np.repeat(begins, counts)
        places = np.repeat(self._first[cells] + self._filled[cells], counts) + rank
        for start in range(0, len(rows), COLUMNS):
            part = slice(start, start + COLUMNS)
            self._kept[places[part]] = _tensor(self._vectors[rows[part]]).to(self._type)
        self._numbers[places] = rows
        written = np.zeros_like(self._filled)
        written[cells] = counts
        return written

    def above(self, block: slice, floor: float) -> tuple[Pairs, Pairs]:
        """Pairs above `floor`: nearest kept ones, IN_CELL of each row and cell, and of the block.

        The rows of the block lie in their cells meanwhile, behind the kept ones.
        """
        import numpy as np

        asked = _tensor(self._vectors[block]).to(self._type)
        waiting = self._write(np.arange(block.start, block.stop))
        near = self._near[block]
        order = np.argsort(near, axis=None, kind="stable")
        cells, begins = np.unique(near.ravel()[order], return_index=True)
        found: list[tuple[np.ndarray, np.ndarray]] = [(np.empty((2, 0), np.int64),) * 2]
        for cell, rows in zip(cells, np.split(order // near.shape[1], begins[1:]), strict=True):
            end = int(self._filled[cell] + waiting[cell])
            step = PRODUCT // max(end, 1)
            for start in range(0, len(rows) if end else 0, step):
                some = rows[start : start + step]
                found.append(self._in_cell(cell, asked, some, end, floor - ROUNDING, block.start))
        before, among = (np.concatenate(side, axis=1) for side in zip(*found, strict=True))
        return self._exact(before, floor), self._exact(among, floor)

    def _in_cell(
        self, cell: int, asked: "torch.Tensor", rows: "np.ndarray", end: int, floor: float, at: int
    ) -> tuple["np.ndarray", "np.ndarray"]:
        """Pairs of some rows of the block from `at` on that may be above `floor`, (2, k) numbers.

        With kept rows, and with rows of the block that lie in this cell and come before them.
        """
        import numpy as np
        import torch

        first, filled = int(self._first[cell]), int(self._filled[cell])
        kept = self._kept[first : first + _up_to(end, KEPT_STEP)]
        padded = np.resize(rows, _up_to(len(rows), ROWS_STEP))
        cosines = (asked[torch.from_numpy(padded)] @ kept.T)[: len(rows)]
        numbers = self._numbers[first : first + end]
        before, among = np.empty((2, 0), np.int64), np.empty((2, 0), np.int64)
        if filled:
            near = (cosines[:, :filled].amax(dim=1) > floor).nonzero().squeeze(1)
            top, places = cosines[near, :filled].topk(min(IN_CELL, filled), dim=1)
            own, column = (top > floor).nonzero(as_tuple=True)
            before = np.stack([at + rows[near[own].numpy()], numbers[places[own, column].numpy()]])
        if filled < end:
            own, column = (cosines[:, filled:end] > floor).nonzero(as_tuple=True)
            among = np.stack([at + rows[own.numpy()], numbers[filled + column.numpy()]])
            among = among[:, among[1] < among[0]]
            among = among[:, _ranks(among[0]) < EARLIEST]
        return before, among

    def _exact(self, pairs: "np.ndarray", floor: float) -> Pairs:
        """The pairs of (2, k) whose cosine in float32 is above `floor`."""
        import numpy as np

        cosines = np.empty(pairs.shape[1], np.float32)
        for start in range(0, len(cosines), RECHECKED):
            own, others = pairs[:, start : start + RECHECKED]
            part = np.einsum("ij,ij->i", self._vectors[own], self._vectors[others])
            cosines[start : start + RECHECKED] = part
        near = cosines > floor
        return Pairs(pairs[0, near], pairs[1, near], cosines[near])


def _none() -> Pairs:
    import numpy as np

    return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))


def _up_to(size: _Size, step: int) -> _Size:
    """The next multiple of `step`."""
    return -(-size // step) * step


def _tensor(rows: "np.ndarray") -> "torch.Tensor":
    import numpy as np
    import torch

    return torch.from_numpy(np.require(rows, requirements=["C", "W"]))  # torch wants it writable


def _centres(vectors: "np.ndarray", count: int, rounds: int = 6) -> "torch.Tensor":
    """(count, d) unit centres: spherical k-means of a sample drawn with a fixed seed."""
    import numpy as np
    import torch

    rng = np.random.default_rng(0)
    size = min(len(vectors), 48 * count)
    sample = _tensor(vectors[np.sort(rng.choice(len(vectors), size, replace=False))])
    centres = sample[torch.from_numpy(rng.choice(size, count, replace=False))].clone()
    for _ in range(rounds):
        cells = torch.cat([(part @ centres.T).argmax(dim=1) for part in sample.split(COLUMNS)])
        sums = torch.zeros_like(centres).index_add_(0, cells, sample)
        lengths = sums.norm(dim=1, keepdim=True)
        centres = torch.where(lengths > 0, sums / lengths.clamp(min=1e-12), centres)
    return centres


def _nearest_cells(vectors: "np.ndarray", centres: "torch.Tensor") -> "np.ndarray":
    """(n, PROBES) int32 cells of each row, its nearest first."""
    import numpy as np

    probes = min(PROBES, len(centres))
    near = np.empty((len(vectors), probes), np.int32)
    for start in range(0, len(vectors), COLUMNS):
        part = _tensor(vectors[start : start + COLUMNS]).to(centres.dtype)
        near[start : start + COLUMNS] = (part @ centres.T).topk(probes, dim=1).indices.numpy()
    return near
