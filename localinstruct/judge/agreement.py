"""Agreement of a judge with people and with itself, with intervals. Pure.

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
class Estimate:
    """A number with its 95 % interval.

    None where it is undefined, such as a correlation with one value only.
    """

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """A count of a total, with Wilson's 95 % interval."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share; None when the total is 0."""
        return self.count / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float]:
        """Low and high end (Wilson 1927)."""
        return wilson(self.count / self.of, self.of) if self.of else (0.0, 1.0)


def wilson(p: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share `p` of `n` answers, or of as many as they are worth."""
    z = Z_95
    centre, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def exact(people: Sequence[float], judge: Sequence[float]) -> Share:
    """Answers to which both give the same whole grade."""
    return Share(sum(apart == 0 for apart in _distances(people, judge)), len(people))


def within_one(people: Sequence[float], judge: Sequence[float]) -> Share:
    """Answers on which both are at most one grade apart."""
    return Share(sum(apart <= 1 for apart in _distances(people, judge)), len(people))


def weighted_kappa(people: Sequence[float], judge: Sequence[float]) -> Estimate:
    """Quadratically weighted kappa of whole grades."""
    return _bootstrapped(_kappa, people, judge)


def correlation(people: Sequence[float], judge: Sequence[float]) -> Estimate:
    """Spearman's rank correlation."""
    return _bootstrapped(_spearman, people, judge)


def all_alike(repeats: Sequence[Sequence[float]]) -> Share:
    """Answers that got the same grade every time, of those with two or more that could be read."""
    several = [grades for grades in repeats if len(grades) > 1]
    return Share(sum(len(set(grades)) == 1 for grades in several), len(several))


def _distances(people: Sequence[float], judge: Sequence[float]) -> list[int]:
    """Distances between whole grades; halves are rounded up."""
    pairs = zip(people, judge, strict=True)
    return [abs(math.floor(a + 0.5) - math.floor(b + 0.5)) for a, b in pairs]


def _kappa(people: "np.ndarray", judge: "np.ndarray") -> float | None:
    """1 - mean squared distance over the one that chance would give.

    None when both always give one and the same grade.
    """
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
) -> Estimate:
    import numpy as np

    if len(people) < 2:
        return Estimate(None)
    a, b = np.array(people, dtype=float), np.array(judge, dtype=float)
    draws = np.random.default_rng(0).integers(0, len(a), (DRAWS, len(a)))  # (DRAWS, n)
    values = [value for draw in draws if (value := measure(a[draw], b[draw])) is not None]
    point = measure(a, b)
    if point is None or len(values) < DRAWS // 2:
        return Estimate(point)
    low, high = np.quantile(values, (0.025, 0.975))
    return Estimate(point, float(low), float(high))
