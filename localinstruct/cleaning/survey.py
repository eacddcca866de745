"""A look at what a cleaning left, by the vectors of its rows: diversity, topics, nearest rows.

The last step, after every decision. Samples are drawn with a fixed seed. Rows that the rules
dropped have no vector yet; those of the sample get one here. The vectors are deleted at its end.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.cleaning.decisions import Decisions
from localinstruct.cleaning.steps import ALIKE, HEADS, TO_STAY, VECTORS, text_of
from localinstruct.curate.clusters import clusters
from localinstruct.curate.diversity import dc_score, sample
from localinstruct.curate.embeddings import LocalEncoder
from localinstruct.progress import Progress
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    import numpy as np

SURVEY = "survey"
TOPICS = 2000
"""Rows that stay whose topics are looked at."""
NEAREST = 1000
"""Compared rows whose nearest row that stays is looked for."""
BLOCK = 8192


def survey(store: Decisions, encoder: Path, progress: Progress) -> None:
    """Measure diversity before and after, topics of what stays, and how near rows are."""
    import numpy as np

    if store.is_done(SURVEY):
        return
    paths = store.folder / HEADS, store.folder / VECTORS
    if all(path.is_file() for path in paths):
        progress.update("a look at what stays", 0, 1)
        heads = np.load(paths[0])
        vectors = np.memmap(paths[1], np.float32, "r").reshape(len(heads), -1)
        look = _Look(store, heads, vectors, encoder)
        store.end_step(SURVEY, (), look.facts())
        progress.update("a look at what stays", 1, 1)
    else:
        store.end_step(SURVEY, ())
    for path in paths:
        path.unlink(missing_ok=True)


class _Look:
    """Rows with vectors: `heads` are those that were compared, in the order of their vectors."""

    def __init__(
        self, store: Decisions, heads: "np.ndarray", vectors: "np.ndarray", encoder: Path
    ) -> None:
        self._store, self._heads, self._vectors, self._encoder = store, heads, vectors, encoder
        self._order = heads.argsort()

    def facts(self) -> JsonObject:
        """Plain values for report and card."""
        every, stay = self._seqs("NOT is_reference"), self._seqs(TO_STAY)
        if not len(stay):
            return {}
        return {
            "diversity": self._diversity(every, stay),
            "topics": self._topics(every, stay),
            "nearest": self._nearest(),
        }

    def _seqs(self, where: str) -> "np.ndarray":
        import numpy as np

        found = self._store.select(f"SELECT seq FROM rows WHERE {where} ORDER BY seq")
        return np.fromiter((int(str(seq)) for (seq,) in found), np.int64)

    def _diversity(self, every: "np.ndarray", stay: "np.ndarray") -> JsonObject:
        """DCScore of all rows, of as many random ones as stay, and of those that stay."""
        kept = stay[sample(len(stay))]
        sets = {
            "all": every[sample(len(every), seed=1)],
            "random": every[sample(len(every), len(kept), seed=2)],
            "kept": kept,
        }
        return {
            name: {"score": round(dc_score(self._vectors_of(rows)), 4), "rows": len(rows)}
            for name, rows in sets.items()
        }

    def _vectors_of(self, seqs: "np.ndarray") -> "np.ndarray":
        """(n, d) vectors; a row has that of its question, and is encoded where that has none."""
        import numpy as np

        places = [self._place(int(seq)) for seq in seqs]
        found = np.zeros((len(seqs), self._vectors.shape[1]), np.float32)
        there = np.array([place is not None for place in places], bool)
        found[there] = self._vectors[[place for place in places if place is not None]]
        if not there.all():
            texts = [text_of(self._store.row(int(seq)).row) for seq in seqs[~there]]
            found[~there] = LocalEncoder(self._encoder).encode(texts)
        return found

    def _place(self, seq: int) -> int | None:
        import numpy as np

        question = f"(SELECT question FROM rows WHERE seq = {seq:d})"
        found = self._store.select(f"SELECT seq FROM rows WHERE question = {question}")
        same = np.fromiter((int(str(other)) for (other,) in found), np.int64)
        near = np.searchsorted(self._heads, same, sorter=self._order).clip(max=len(self._heads) - 1)
        places = self._order[near][self._heads[self._order[near]] == same]
        return int(places[0]) if len(places) else None

    def _topics(self, every: "np.ndarray", stay: "np.ndarray") -> list[JsonObject]:
        """Topics of the rows that stay: words, a row, share of those that stay and of all."""
        import numpy as np

        seqs = stay[sample(len(stay), TOPICS)]
        texts = [text_of(self._store.row(int(seq)).row) for seq in seqs]
        found, centres = clusters(self._vectors_of(seqs), texts)
        if not found:
            return []
        before = self._vectors_of(every[sample(len(every), seed=1)])
        distances = ((before[:, None] - centres[None]) ** 2).sum(axis=2)
        counts = Counter(int(n) for n in np.argmin(distances, axis=1))
        return [
            {
                "words": list(one.words),
                "row": int(seqs[one.rows[0]]),
                "kept": len(one.rows) / len(seqs),
                "all": counts[n] / len(before),
            }
            for n, one in enumerate(found)
        ]

    def _nearest(self) -> dict[str, list[float]]:
        """Cosines of a sample of compared rows to the nearest (other) row that likeness kept."""
        import numpy as np

        dropped = np.isin(self._heads, self._seqs(f"step = '{ALIKE}'"))
        chosen = sample(len(self._heads), NEAREST)
        kept = chosen[~dropped[chosen]]
        best = _nearest_of(self._vectors, kept, ~dropped)
        return {
            "kept": [round(float(value), 3) for value in best],
            "dropped": [
                round(self._score(int(self._heads[n])), 3) for n in chosen[dropped[chosen]]
            ],
        }

    def _score(self, seq: int) -> float:
        return self._store.row(seq).score or 0.0


def _nearest_of(vectors: "np.ndarray", rows: "np.ndarray", among: "np.ndarray") -> Sequence[float]:
    """The largest cosine of each of these rows with another one of those marked in `among`."""
    import numpy as np

    own = vectors[rows]
    best = np.zeros(len(rows), np.float32)
    for start in range(0, len(vectors), BLOCK):
        cosines = own @ vectors[start : start + BLOCK].T
        cosines[:, ~among[start : start + BLOCK]] = 0
        here = (rows >= start) & (rows < start + BLOCK)
        cosines[np.flatnonzero(here), rows[here] - start] = 0
        best = np.maximum(best, cosines.max(axis=1, initial=0))
    return [float(value) for value in best]
