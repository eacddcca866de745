"""Diversity of a set of rows as one number: DCScore, here as a share of the rows.

Zhu et al. 2025, "Measuring Diversity in Synthetic Datasets" (arXiv 2502.08512): for n unit rows the
cosines K go through a softmax by row, P = softmax(K / τ), and the score is tr(P), between 1 (all
rows alike) and n (none like another). P[i, i] is how surely row i is told from all others. Here it
is divided by n, so that 1 means that every row stands for itself, and τ is 0.05, at which a copy
halves a row's part, a cosine of 0.9 costs an eighth, and one of 0.6 nothing. The share falls as a
set grows: only sets of equal size are compared. Above SAMPLE rows it is that of a sample.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SAMPLE = 1000
"""Rows that are looked at, at most: 1,000 × 1,000 cosines take a few milliseconds."""
TEMPERATURE = 0.05


def dc_score(vectors: "np.ndarray") -> float:
    """DCScore of (n, d) float32 unit rows, divided by n; 0 where there is none.

    Rows of zeros, which the encoder cannot see, are left out.
    """
    import numpy as np

    seen = vectors[vectors.any(axis=1)].astype(np.float64)
    if not len(seen):
        return 0.0
    cosines = seen @ seen.T
    weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / TEMPERATURE)
    return float((np.diag(weights) / weights.sum(axis=1)).mean())


def sample(count: int, most: int = SAMPLE, seed: int = 0) -> "np.ndarray":
    """(min(count, most),) int64 places of a random sample without repetition, in order."""
    import numpy as np

    rng = np.random.default_rng(seed)
    return np.sort(rng.choice(count, min(count, most), replace=False))
