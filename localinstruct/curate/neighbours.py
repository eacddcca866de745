"""Kept neighbours: each row of a list against the rows kept before it, greedy and in order.

A row is dropped when its cosine with a kept row is above the threshold. Short lists are compared
exactly, one matrix product a block. Longer ones are searched by cells, as in IVF (Jégou et al.
2011; `cells.py`): each row is looked for in the few cells nearest to it, every pair found decided
by its cosine in float32. What a search by cells can miss is a neighbour that lies in none
of those cells; `benchmarks/near_duplicates.py` counts it. Where the vectors are an approximation
(bfloat16, a static encoder), pairs near the threshold are decided by a better one (`Borderline`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from localinstruct.curate.cells import COLUMNS, Here, Work, centres_of, ranks
from localinstruct.machine import cpu_has_bf16

if TYPE_CHECKING:
    import numpy as np

EXACT_UP_TO = 100_000
"""Rows up to which all pairs are compared: half a minute of 384 dimensions on two cores."""
BLOCK = 1024
"""Rows that are looked up together when all pairs are compared."""
ASKED = 32
"""Rows for each cell that are looked up together, so that a cell is asked for many at once."""
LEAST_BLOCK, MOST_BLOCK = 4096, 32_768
"""Bounds of how many that are."""
PER_CELL = 800
"""Rows a cell holds on average."""
RECHECKED = 16_384
"""Pairs whose float32 cosines are calculated at once."""
ROUNDING = 0.01
"""Allowance for bfloat16 cosines before the float32 one decides; they move by at most 0.005."""


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


class Known(Protocol):
    """Blocks that an earlier process has decided."""

    def has(self, block: slice) -> bool:
        """True for a block that was decided."""

    def take(self, block: slice) -> tuple["np.ndarray", "np.ndarray"]:
        """`like` and `score` of its rows."""

    def keep(self, block: slice, like: "np.ndarray", score: "np.ndarray") -> None:
        """Note a block that is decided now."""


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
    scratch: Path | None = None,
    work: Work | None = None,
    known: Known | None = None,
) -> Neighbours:
    """Decide n rows with (n, d) float32 unit vectors in order; `on_block(rows so far)` as it goes.

    A dropped row names the most similar of the kept rows that were found. Of long lists the copy of
    the kept rows lies in the file `scratch`, where there is one, so that it takes no memory; or
    `work` has their cells. What `known` has decided in an earlier process is not looked up again.
    """
    import numpy as np

    count = len(vectors)
    result = Neighbours(np.full(count, -1, np.int64), np.zeros(count, np.float32))
    if not count:
        return result
    floor = borderline.possible if borderline else threshold
    kept: Searched = (
        Everything(vectors) if count <= exact_up_to else Cells(vectors, work or Here(scratch))
    )
    for first in range(0, count, kept.block):
        block = slice(first, min(first + kept.block, count))
        if known and known.has(block):
            result.like[block], result.score[block] = known.take(block)
        else:
            found = kept.above(block, floor)
            before, among = (_decided(pairs, threshold, borderline) for pairs in found)
            _take(result, before, among)
            if known:
                known.keep(block, result.like[block], result.score[block])
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
    rank = ranks(rows)
    is_certain = cosines > borderline.certain
    asked = np.flatnonzero(~is_certain & (rank < (borderline.most or len(rows))))
    cosines = cosines.copy()
    cosines[asked] = borderline.cosines(rows[asked], others[asked])
    is_near = is_certain.copy()
    is_near[asked] = cosines[asked] > threshold
    return Pairs(rows[is_near], others[is_near], cosines[is_near])


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

    `work` holds a copy of the kept rows beside the vectors, 2 bytes a number where the CPU
    multiplies bfloat16, 4 elsewhere.
    """

    def __init__(self, vectors: "np.ndarray", work: Work) -> None:
        count, bf16 = max(1, len(vectors) // PER_CELL), cpu_has_bf16()
        self._vectors, self._work = vectors, work
        near = work.nearest(vectors, centres_of(vectors, count), bf16)
        self.block = min(max(ASKED * count, LEAST_BLOCK), MOST_BLOCK)
        work.begin(vectors, near, count, bf16)

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows, given by number."""
        self._work.add(rows)

    def above(self, block: slice, floor: float) -> tuple[Pairs, Pairs]:
        """Pairs above `floor`: nearest kept ones of each row and cell, and those of the block."""
        before, among = self._work.search(block, floor - ROUNDING)
        return self._exact(before, floor), self._exact(among, floor)

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
