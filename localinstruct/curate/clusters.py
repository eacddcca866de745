"""Topics of rows without a model that names them: clusters of embeddings, and the words of each.

k-means of the vectors. A cluster's words are those whose share of its rows is high and much above
that of the others, by p · log(p / q), the part of a word in the divergence of the two shares.
Not covered: writing without blanks between its words, where the row in the middle says more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

MOST, SMALLEST = 12, 25
"""Clusters at most, and rows that one has on average at least."""
WORDS = 4


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of rows: its words, and the places of its rows, the one in its middle first."""

    words: tuple[str, ...]
    rows: tuple[int, ...]


def clusters(vectors: "np.ndarray", texts: Sequence[str]) -> tuple[list[Cluster], "np.ndarray"]:
    """(clusters of n rows, largest first; their (k, d) centres), given (n, d) vectors and texts.

    None where there are fewer than two times SMALLEST rows. The same rows give the same clusters.
    """
    import numpy as np
    from sklearn.cluster import KMeans

    count = min(MOST, len(vectors) // SMALLEST, len({row.tobytes() for row in vectors}))
    if count < 2:
        return [], np.zeros((0, vectors.shape[1]), np.float32)
    made = KMeans(count, n_init=1, random_state=0).fit(vectors)
    near = (vectors * made.cluster_centers_[made.labels_]).sum(axis=1)
    order = [int(n) for n in np.argsort(-np.bincount(made.labels_, minlength=count))]
    members = [np.flatnonzero(made.labels_ == n) for n in order]
    words = _words(texts, [made.labels_ == n for n in order])
    found = [
        Cluster(own, tuple(int(row) for row in rows[np.argsort(-near[rows], kind="stable")]))
        for own, rows in zip(words, members, strict=True)
    ]
    return found, made.cluster_centers_[order]


def _words(texts: Sequence[str], groups: Sequence["np.ndarray"]) -> list[tuple[str, ...]]:
    import numpy as np
    from sklearn.feature_extraction.text import CountVectorizer

    reader = CountVectorizer(binary=True, token_pattern=r"(?u)\b[^\W\d_]{3,}\b")
    try:
        counts = reader.fit_transform(texts).tocsr()
    except ValueError:  # no text has a word
        return [() for _ in groups]
    names, total = reader.get_feature_names_out(), np.asarray(counts.sum(axis=0))[0]
    found = []
    for group in groups:
        inside = np.asarray(counts[np.flatnonzero(group)].sum(axis=0))[0]
        share = inside / group.sum()
        others = (total - inside + 0.5) / (len(texts) - group.sum() + 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.where(share > 2 * others, share * np.log(share / others), 0)
        best = np.argsort(-weight, kind="stable")[:WORDS]
        found.append(tuple(str(names[n]) for n in best if weight[n] > 0))
    return found
