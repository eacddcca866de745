"""Rows to compare with, growing in place: by the cosines of their vectors, or by their words."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from localinstruct.curate.rouge import Alphabet, f_measures, words

if TYPE_CHECKING:
    import numpy as np

FIRST_BLOCK, BLOCK = 1024, 65_536
"""Rows of the first, and of the largest blocks of an index."""


class Index:
    """Unit vectors to compare with, growing in place; each has the id and the text of its row.

    Exact: one candidate against n rows costs n·d multiplications. They lie in blocks, each as large
    as all before it up to BLOCK rows, so that growing copies nothing; which row lies in which block
    depends on its number alone.
    """

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions
        self._blocks: list[np.ndarray] = []  # (capacity, d) float32 each, all but the last full
        self._starts = list[int]()
        self._ids, self._texts = list[str](), list[str]()

    def __len__(self) -> int:
        return len(self._ids)

    def label(self, row: int) -> tuple[str, str]:
        """(id, text) of a row."""
        return self._ids[row], self._texts[row]

    def add(self, vectors: "np.ndarray", labels: Sequence[tuple[str, str]]) -> None:
        """Append (m, d) unit vectors with their m labels, (id, text)."""
        import numpy as np

        if len(vectors) != len(labels):
            raise ValueError(f"{len(vectors)} vectors for {len(labels)} labels")
        size, done = len(self), 0
        while done < len(vectors):
            if not self._blocks or size == self._starts[-1] + len(self._blocks[-1]):
                rows = min(max(FIRST_BLOCK, size), BLOCK)
                self._blocks.append(np.empty((rows, self._dimensions), dtype=np.float32))
                self._starts.append(size)
            place = size - self._starts[-1]
            taken = vectors[done : done + len(self._blocks[-1]) - place]
            self._blocks[-1][place : place + len(taken)] = taken
            size, done = size + len(taken), done + len(taken)
        self._ids += [id for id, _ in labels]
        self._texts += [text for _, text in labels]

    def similarities(
        self, vectors: "np.ndarray", texts: Sequence[str], first: int = 0
    ) -> "np.ndarray":
        """(m, n - first) cosines of m texts, unit vectors (m, d), with every row from `first` on.

        One matrix product a block.
        """
        import numpy as np

        size = len(self)
        found = np.empty((len(vectors), size - first), dtype=np.float32)
        for start, block in zip(self._starts, self._blocks, strict=True):
            begin, end = max(start, first), min(start + len(block), size)
            if begin < end:
                part = block[begin - start : end - start]
                found[:, begin - first : end - first] = vectors @ part.T
        return found


class RougeIndex(Index):
    """An index that compares by the words of the texts; the vectors are only kept."""

    def __init__(self, dimensions: int, cut: Callable[[str], list[str]] = words) -> None:
        super().__init__(dimensions)
        self._alphabet, self._spelt = Alphabet(cut), list[str]()

    def add(self, vectors: "np.ndarray", labels: Sequence[tuple[str, str]]) -> None:
        """Append (m, d) unit vectors with their m labels, whose texts are compared."""
        super().add(vectors, labels)
        self._spelt += [self._alphabet.spell(text) for _, text in labels]

    def similarities(
        self, vectors: "np.ndarray", texts: Sequence[str], first: int = 0
    ) -> "np.ndarray":
        """(m, n - first) ROUGE-L of m texts with every row from `first` on."""
        return f_measures([self._alphabet.spell(text) for text in texts], self._spelt[first:])
