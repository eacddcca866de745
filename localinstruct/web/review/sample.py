"""A proposed sample of rows, and the share of good rows in the whole that it tells.

Two strata: borderline rows, the tenth most like another row, of which twice as many are taken as
their share; and the others. In each, rows lie in the order of topic and score, and every k-th is
taken from a drawn start, so that the sample spreads over both. Good is a row that a person keeps as
it stands. The share weighs the strata by their size; its interval is Wilson's, for as many rows as
the weighted sample is worth (Kish 1965). Not covered: several opinions on a row.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

from localinstruct.judge.agreement import wilson
from localinstruct.store.reviews import Reviewed
from localinstruct.web.review.index import Index

BORDERLINE, OTHERS = "borderline", "others"
Drawn = tuple[str, str, float]
"""(key of a row, its stratum, the stratum's share of all rows)."""


@dataclass(frozen=True, slots=True)
class Good:
    """Share of good rows in the whole with its 95 % interval, None before each part has one."""

    decided: int
    of: int
    share: float | None = None
    low: float = 0.0
    high: float = 1.0


def propose(index: Index, size: int, seed: int) -> list[Drawn]:
    """At most `size` rows of an index, in an order that is drawn."""
    rows = index.every(
        "SELECT key, likeness FROM items i WHERE kind = 'row' ORDER BY topic, score, n"
    )
    rows = list({key: (key, likeness) for key, likeness in rows}.values())
    compared = sorted(likeness for _, likeness in rows if likeness >= 0)
    edge = compared[int(0.9 * len(compared))] if len(compared) >= 10 else float("inf")
    strata = {
        BORDERLINE: [key for key, likeness in rows if likeness >= edge],
        OTHERS: [key for key, likeness in rows if likeness < edge],
    }
    rng = Random(seed)
    wanted = min(len(strata[BORDERLINE]), round(0.2 * size))
    counts = {BORDERLINE: wanted, OTHERS: min(len(strata[OTHERS]), size - wanted)}
    drawn = [
        (key, name, len(keys) / len(rows))
        for name, keys in strata.items()
        for key in _every_kth(keys, counts[name], rng)
    ]
    rng.shuffle(drawn)
    return drawn


def _every_kth(keys: Sequence[str], count: int, rng: Random) -> list[str]:
    start = rng.random()
    return [keys[int((place + start) * len(keys) / count)] for place in range(count)]


def good_share(sample: Sequence[Drawn], decided: Mapping[str, Reviewed]) -> Good:
    """The share of good rows, of a sample as far as it is decided."""
    seen, good, weight = Counter[str](), Counter[str](), defaultdict[str, float](float)
    for key, stratum, share in sample:
        weight[stratum] = share
        review = decided[key].review if key in decided else None
        if review is not None and (review.verdict or review.edited):
            seen[stratum] += 1
            good[stratum] += review.verdict != "drop" and not review.edited
    if not weight or any(not seen[stratum] for stratum in weight):
        return Good(seen.total(), len(sample))
    whole = sum(weight.values())
    parts = {stratum: share / whole for stratum, share in weight.items()}
    p = sum(part * good[stratum] / seen[stratum] for stratum, part in parts.items())
    worth = 1 / sum(part * part / seen[stratum] for stratum, part in parts.items())
    return Good(seen.total(), len(sample), p, *wilson(p, worth))
