"""Selection of preference pairs: RIP (Yu et al. 2025), beside a random arm of equal size.

Rejecting Instruction Preferences (arXiv 2501.18578) keeps a prompt whose worst answer is good and
long enough and not far below the best: a prompt with a bad worst answer is likely a bad prompt. The
bounds are quantiles of the pairs at hand. Our judge's grades stand in for the paper's reward model.
Only rows to train on are selected, so that both arms are held against the same held-out rows; the
random arm has as many pairs, drawn by seed and content. Not covered: whether the student gets
better, which two runs show (`compare`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, quantiles

from localinstruct.errors import DataError
from localinstruct.recipe.dataset import Dataset
from localinstruct.records import Instance, JsonObject, Reject, digest

_REJECTED = ".rejected"


@dataclass(frozen=True, slots=True)
class Pair:
    """A graded preference pair."""

    row: Instance
    chosen: float
    """Grade of the better answer."""
    rejected: float
    """Grade of the worse one."""

    @property
    def gap(self) -> float:
        """Grades between them."""
        return self.chosen - self.rejected

    @property
    def words(self) -> int:
        """Words of the worse answer."""
        return len(self.row.rejected.split())


def select(
    rows: Sequence[Instance], section: Dataset, seed: int
) -> tuple[list[Instance], list[Reject], JsonObject]:
    """(rows that stay, rejects, facts about both arms); all rows where nothing is selected.

    DataError where no row is a graded pair.
    """
    if section.select is None:
        return list(rows), [], {}
    pairs = [pair for row in rows if (pair := graded(row)) is not None]
    if not pairs:
        raise DataError(
            f"dataset.select: {section.select} expects preference pairs with grades; found none in "
            f"{len(rows):,} rows.",
            "They come from method.preference or then.preference; or leave dataset.select out.",
        )
    arms = {"rip": rip(pairs, section.select_quantile)}
    arms["random"] = drawn(pairs, len(arms["rip"]), seed)
    kept = {pair.row.id for pair in arms[section.select]}
    reason = f"not selected by {section.select}"
    ids = {pair.row.id for pair in pairs}
    rejects = [
        Reject("dataset", reason if row.id in ids else "no graded pair", row.instruction)
        for row in rows
        if row.id not in kept
    ]
    facts: JsonObject = {"by": section.select, "pairs": len(pairs), "kept": len(kept)}
    facts["arms"] = {name: measured(arm) for name, arm in {**arms, "all": pairs}.items()}
    return [row for row in rows if row.id in kept], rejects, facts


def graded(row: Instance) -> Pair | None:
    """The row as a pair with the grades that its judge gave; None without them."""
    scores = row.lineage.scores
    name = next((key.removesuffix(_REJECTED) for key in scores if key.endswith(_REJECTED)), None)
    if name is None or name not in scores or not row.rejected:
        return None
    return Pair(row, scores[name], scores[name + _REJECTED])


def rip(pairs: Sequence[Pair], quantile: float) -> list[Pair]:
    """Pairs whose worse answer is above the quantile in grade and length, the gap below its own."""
    good, long = (
        _quantile(values, quantile)
        for values in ([pair.rejected for pair in pairs], [pair.words for pair in pairs])
    )
    near = _quantile([pair.gap for pair in pairs], 1 - quantile)
    return [
        pair for pair in pairs if pair.rejected >= good and pair.words >= long and pair.gap <= near
    ]


def _quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies, in steps of a hundredth."""
    if len(values) < 2:
        return values[0]
    cuts = quantiles(values, n=100, method="inclusive")
    return cuts[min(98, max(0, round(100 * share) - 1))]


def drawn(pairs: Sequence[Pair], count: int, seed: int) -> list[Pair]:
    """A random arm: the same pairs for one seed, whatever their order."""
    chosen = sorted(pairs, key=lambda pair: digest([seed, "random arm", pair.row.id]))[:count]
    ids = {pair.row.id for pair in chosen}
    return [pair for pair in pairs if pair.row.id in ids]


def measured(pairs: Sequence[Pair]) -> JsonObject:
    """Means of an arm: grades of both answers, their gap, words of the worse one."""
    if not pairs:
        return {"pairs": 0}
    means = {
        "chosen": [pair.chosen for pair in pairs],
        "rejected": [pair.rejected for pair in pairs],
        "gap": [pair.gap for pair in pairs],
        "rejected_words": [float(pair.words) for pair in pairs],
    }
    return {"pairs": len(pairs), **{name: round(fmean(of), 3) for name, of in means.items()}}


def words(facts: JsonObject) -> str:
    """'rip: 40 of 120 pairs; rip: rejected answers graded 3.4, 51 words; random: …'."""
    said = [f"{facts['by']}: {facts['kept']:,} of {facts['pairs']:,} pairs"]
    for name, arm in facts["arms"].items():
        if arm["pairs"]:
            told = (
                f"rejected answers graded {arm['rejected']:.2f}, {arm['rejected_words']:.0f} words"
            )
            said.append(f"{name}: {told}, {arm['gap']:.2f} below the chosen")
    return "; ".join(said)
