"""Thresholds: the greedy gate of a run, run again over its candidates at twenty of them.

In order, each candidate is compared with the seeds and with those that this threshold let through
before it, as `curate.novelty.Gate` does; one pass serves all twenty, for cosines and for ROUGE-L.
At the run's own threshold the decisions are the run's own, and it is counted how many of them the
second comparison shares: embedded again, a row's vector may differ in its last bits. Not covered:
what a teacher that is shown other rows would have written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from localinstruct.curate.index import Index
from localinstruct.curate.novelty import Novelty, index_for
from localinstruct.progress import Progress
from localinstruct.report.candidates import Candidate, Candidates
from localinstruct.report.data import Pair

if TYPE_CHECKING:
    import numpy as np

COUNT, STEP, ABOVE, EDGE, BLOCK = 20, 0.025, 10, 3, 256
"""Thresholds and what lies between two; how many above the run's own where there is room; pairs
shown on each side of one; candidates compared at a time."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a threshold would have kept of n candidates, and the pairs on both sides of it.

    `edge` has the rejected pairs first, the most similar first of all.
    """

    threshold: float
    kept: int
    more: int
    """How many more than at the run's own threshold, or fewer where negative."""
    is_own: bool
    edge: Sequence[Pair]


@dataclass(frozen=True, slots=True)
class Rerun:
    """Twenty outcomes, lowest threshold first, over the first `count` of `total` candidates.

    `alike` of them are decided the same when they are compared again at the run's own threshold.
    """

    outcomes: Sequence[Outcome]
    count: int
    total: int
    alike: int


def thresholds(own: float) -> list[float]:
    """COUNT thresholds between 0 and 1, STEP apart, rising; `own` is one of them."""
    room_above = sum(own + STEP * k < 1 - 1e-9 for k in range(1, COUNT))
    room_below = sum(own - STEP * k > 1e-9 for k in range(1, COUNT))
    above = min(room_above, max(ABOVE, COUNT - 1 - room_below))
    below = COUNT - 1 - above
    return [own if k == 0 else round(own + STEP * k, 6) for k in range(-below, above + 1)]


def rerun(candidates: Candidates, novelty: Novelty, progress: Progress) -> Rerun | None:
    """What other thresholds would have kept; None where there are no candidates."""
    import numpy as np

    rows, seeds = candidates.rows, len(candidates.seeds)
    if not rows:
        return None
    levels = thresholds(novelty.threshold)
    own, limits = levels.index(novelty.threshold), np.array(levels)
    index = index_for(novelty, candidates.vectors.shape[1])
    if seeds:
        index.add(candidates.seed_vectors, [("", text) for text in candidates.seeds])
    taken = np.zeros((COUNT, seeds + len(rows)), dtype=bool)  # compared with, by threshold
    taken[:, :seeds] = True
    new, tops = np.zeros((COUNT, len(rows)), dtype=bool), np.zeros((COUNT, len(rows)))
    nearest = np.full((COUNT, len(rows)), -1)
    alike = 0
    for start in range(0, len(rows), BLOCK):
        for place, row in enumerate(_similarities(candidates, index, start), start):
            if novelty.examples_apart:
                row[[seeds + n for n in _siblings(rows, place)]] = 0.0
            passes, tops[:, place], nearest[:, place] = _decide(row, taken, limits)
            alike += bool(passes[own]) == rows[place].kept
            passes[own] = rows[place].kept
            if rows[place].score is not None:
                tops[own, place] = rows[place].score
            new[:, place] = passes
            taken[:, seeds + place] = passes & (novelty.against != "seeds")
        done = min(start + BLOCK, len(rows))
        progress.update("comparing rows again at other thresholds", done, len(rows))
    texts = [*candidates.seeds, *(row.text for row in rows)]
    outcomes = [
        Outcome(
            level,
            int(new[k].sum()),
            int(new[k].sum()) - int(new[own].sum()),
            k == own,
            _edge(new[k], tops[k], nearest[k], level, partial(_pair, rows, texts, k == own)),
        )
        for k, level in enumerate(levels)
    ]
    return Rerun(outcomes, len(rows), candidates.total, alike)


def _similarities(candidates: Candidates, index: Index, start: int) -> "Sequence[np.ndarray]":
    """Of each candidate of a block, its similarities to the seeds and to all candidates before it.

    The block enters the index.
    """
    texts = [row.text for row in candidates.rows[start : start + BLOCK]]
    vectors = candidates.vectors[start : start + BLOCK]
    before = len(index)
    index.add(vectors, [("", text) for text in texts])
    every = index.similarities(vectors, texts)
    return [every[n, : before + n].copy() for n in range(len(texts))]


def _decide(
    similarities: "np.ndarray", taken: "np.ndarray", limits: "np.ndarray"
) -> "tuple[np.ndarray, np.ndarray, np.ndarray]":
    """By threshold: whether a candidate is new, its largest similarity, and the place of that row.

    Given (m,) similarities, (k, n) flags of the rows compared with, (k,) thresholds; -1 for none.
    """
    import numpy as np

    if not len(similarities):
        nothing = np.full(len(limits), -1)
        return np.ones(len(limits), dtype=bool), nothing.astype(np.float64), nothing
    compared = np.where(taken[:, : len(similarities)], similarities, -np.inf)
    places = compared.argmax(axis=1)
    tops = compared[np.arange(len(limits)), places]
    return ~(tops > limits), tops, np.where(np.isfinite(tops), places, -1)


def _siblings(rows: Sequence[Candidate], place: int) -> list[int]:
    """Places before this one of rows of its episode that are examples of its task."""
    own, found = rows[place], list[int]()
    for n in range(place - 1, -1, -1):
        if rows[n].episode != own.episode:
            break
        if rows[n].task == own.task:
            found.append(n)
    return found


def _edge(
    new: "np.ndarray",
    tops: "np.ndarray",
    nearest: "np.ndarray",
    level: float,
    pair: Callable[[int, int, float, bool], Pair],
) -> list[Pair]:
    """The EDGE pairs nearest to a threshold on each side of it, rejected ones first."""
    import numpy as np

    pairs = []
    for kept in (False, True):
        places = np.flatnonzero((new == kept) & (nearest >= 0))
        chosen = places[np.argsort(np.abs(tops[places] - level), kind="stable")[:EDGE]]
        chosen = chosen[np.argsort(-tops[chosen], kind="stable")]
        pairs += [pair(n, int(nearest[n]), float(tops[n]), kept) for n in chosen.tolist()]
    return pairs


def _pair(
    rows: Sequence[Candidate],
    texts: Sequence[str],
    is_own: bool,
    place: int,
    nearest: int,
    score: float,
    kept: bool,
) -> Pair:
    """A candidate and its nearest row; at the run's own threshold, the one that the run names."""
    row = rows[place]
    return Pair(row.text, row.near[0] if is_own and row.near else texts[nearest], score, kept)
