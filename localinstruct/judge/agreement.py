"""How far a judge can be believed: agreement with people, agreement with itself, and the seat it
prefers. Pure.

Kappa has quadratic weights (Cohen 1968): 1 is the people's own order and distances, 0 what chance
would give. The correlation is Spearman's, of ranks. Intervals are 95 %: Wilson's for shares, a
seeded bootstrap over the answers for the others. Not covered: more than one person's labels.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Z_95 = 1.959964
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Measured:
    """A number with its 95 % interval; None where it cannot be told, such as a correlation with one
    value only."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many, with Wilson's 95 % interval."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share, or None of nothing."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson (1927)."""
        if not self.of:
            return 0.0, 1.0
        p, n, z = self.count / self.of, self.of, Z_95
        centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, (centre - half) / (1 + z * z / n)), min(
            1.0, (centre + half) / (1 + z * z / n)
        )


def exact(people: Sequence[float], judge: Sequence[float]) -> Share:
    """Answers to which both give the same whole grade."""
    return Share(
        sum(_whole(a) == _whole(b) for a, b in zip(people, judge, strict=True)), len(people)
    )


def within_one(people: Sequence[float], judge: Sequence[float]) -> Share:
    """Answers on which both are at most one grade apart."""
    return Share(
        sum(abs(_whole(a) - _whole(b)) <= 1 for a, b in zip(people, judge, strict=True)),
        len(people),
    )


def weighted_kappa(people: Sequence[float], judge: Sequence[float]) -> Measured:
    """Quadratically weighted kappa of whole grades."""
    return _bootstrapped(_kappa, people, judge)


def correlation(people: Sequence[float], judge: Sequence[float]) -> Measured:
    """Spearman's rank correlation."""
    return _bootstrapped(_spearman, people, judge)


def all_alike(repeats: Sequence[Sequence[float]]) -> Share:
    """Answers that got the same grade every time, of those with two or more that could be read."""
    several = [grades for grades in repeats if len(grades) > 1]
    return Share(sum(len(set(grades)) == 1 for grades in several), len(several))


def _whole(grade: float) -> int:
    return math.floor(grade + 0.5)


def _kappa(people: "np.ndarray", judge: "np.ndarray") -> float | None:
    """1 - mean squared distance over the one that chance would give; None when both always say the
    same one grade."""
    import numpy as np

    a, b = np.floor(people + 0.5), np.floor(judge + 0.5)
    chance = float(np.mean((a[:, None] - b[None, :]) ** 2))
    return 1 - float(np.mean((a - b) ** 2)) / chance if chance else None


def _spearman(people: "np.ndarray", judge: "np.ndarray") -> float | None:
    import numpy as np

    a, b = _ranks(people), _ranks(judge)
    if a.std() == 0 or b.std() == 0:
        return None
    return float(np.corrcoef(a, b)[0, 1])


def _ranks(values: "np.ndarray") -> "np.ndarray":
    """Ranks, (n,) float, the mean rank for equal values."""
    import numpy as np

    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


def _bootstrapped(
    measure: Callable[["np.ndarray", "np.ndarray"], float | None],
    people: Sequence[float],
    judge: Sequence[float],
) -> Measured:
    import numpy as np

    if len(people) < 2:
        return Measured(None)
    a, b = np.array(people, dtype=float), np.array(judge, dtype=float)
    draws = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))  # (DRAWS, n)
    found = [value for draw in draws if (value := measure(a[draw], b[draw])) is not None]
    point = measure(a, b)
    if point is None or len(found) < DRAWS // 2:
        return Measured(point)
    low, high = np.quantile(found, (0.025, 0.975))
    return Measured(point, float(low), float(high))
