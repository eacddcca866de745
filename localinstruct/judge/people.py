"""Agreement of two people on rows that both decided on: keep or drop.

Kappa stands beside the share on which they agree and the share that chance would give: with few
drops a high share means little, and kappa says so. An edited row counts as kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from localinstruct.judge.agreement import Estimate, Share, weighted_kappa

Opinions = Mapping[str, Mapping[str, str]]
"""Person -> row -> "keep" or "drop"."""


@dataclass(frozen=True, slots=True)
class Two:
    """Two people on the rows that both decided on."""

    people: tuple[str, str]
    same: Share
    by_chance: float
    """Share on which they would agree if each drew the own verdicts by lot."""
    kappa: Estimate
    differ: tuple[str, ...]
    """Rows on which they differ."""


def agreements(opinions: Opinions) -> list[Two]:
    """Every two people with a row in common, in the order of their names."""
    found = list[Two]()
    for one, other in combinations(sorted(opinions), 2):
        rows = [row for row in opinions[one] if row in opinions[other]]
        if not rows:
            continue
        kept = [[float(opinions[who][row] == "keep") for row in rows] for who in (one, other)]
        differ = tuple(row for row, a, b in zip(rows, *kept, strict=True) if a != b)
        shares = [sum(verdicts) / len(rows) for verdicts in kept]
        chance = shares[0] * shares[1] + (1 - shares[0]) * (1 - shares[1])
        same = Share(len(rows) - len(differ), len(rows))
        found.append(Two((one, other), same, chance, weighted_kappa(*kept), differ))
    return found
