"""Output about the rows of a run: one row, rejects, pairs at the threshold, lineage."""

import math
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from localinstruct import console
from localinstruct.curate.novelty import Novelty, text_of
from localinstruct.dataset.rows import RunRows
from localinstruct.generation.inputs import seeds_of
from localinstruct.pipeline import recipe_of
from localinstruct.progress import percent, similarity
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Reject
from localinstruct.store.lineage import family
from localinstruct.store.run import Run


def show_row(row: Instance, source: str = "") -> None:
    """Show a row; `source` is the file or run that it was mixed in from."""
    console.heading(row.instruction)
    score = row.lineage.scores.get("novelty_max")
    parts = [
        ("topic", row.lineage.topic),
        ("input", row.input),
        ("output", row.output),
        ("source", _source(row)),
        ("from", source),
        ("row", row.id if score is None else f"{row.id} · nearest {similarity(score)}"),
    ]
    console.pairs((name, value.replace("\n", "\n        ")) for name, value in parts if value)
    console.line()


def _source(row: Instance) -> str:
    return f"{row.lineage.source} at {row.lineage.offset:,}" if row.lineage.source else ""


def rejects(run: Run, reason: str | None, limit: int, json: bool) -> None:
    """Show counts by reason with a few examples each, or all rejects of one reason."""
    if json:
        every = RunRows(run).rejects(reason)
        console.as_json([{"episode": number, **asdict(reject)} for number, reject in every])
    elif reason:
        rows = [reject for _, reject in RunRows(run).rejects(reason)]
        console.heading(f"{len(rows):,} rejects: {reason}")
        for reject in rows[:limit]:
            _show_reject(reject)
    else:
        _reject_table(run)


def _reject_table(run: Run) -> None:
    rows = RunRows(run)
    counts = rows.reject_counts()
    total = sum(count for *_, count in counts)
    console.heading(f"{total:,} rejects by reason")
    console.table(
        ("count", "share", "stage", "reason"),
        [(f"{c:,}", percent(c / total), s, r) for s, r, c in counts],
    )
    for stage, name, _ in counts:
        console.line()
        console.heading(f"{stage}: {name}")
        for _, reject in islice(rows.rejects(name), 2):
            _show_reject(reject)
    example = counts[0][1] if counts else "too similar"
    console.note(f"All of one reason: localinstruct show {run.path} --reason '{example}'")


def _show_reject(reject: Reject) -> None:
    score = f" ({similarity(reject.score)})" if reject.score is not None else ""
    console.pairs([("  text", _short(reject.text)), ("  why", f"{_short(reject.detail)}{score}")])


LEAST_PAIRS = 30
"""Pairs on both sides of a threshold below which no other threshold is advised.

The cosines of a few rows say where those few rows lie, not where rows of a recipe do: 8 rows
would have advised 0.075.
"""


class ScoredPair(NamedTuple):
    """A row, its nearest row, and their similarity."""

    score: float
    text: str
    nearest: str


def borderline(run: Run, limit: int, json: bool) -> None:
    """Show the pairs nearest to the novelty threshold: those another threshold would decide."""
    novelty = recipe_of(run)[0].novelty
    threshold = novelty.threshold
    every_below, every_above = _pairs_below(run, novelty), _pairs_above(run)
    below, above = every_below[:limit], every_above[:limit]
    seen = len(every_below) + len(every_above)
    if json:
        kept = [pair._asdict() for pair in below]
        rejected = [pair._asdict() for pair in above]
        enough = seen >= LEAST_PAIRS
        console.as_json(
            {"threshold": threshold, "kept": kept, "rejected": rejected, "pairs": seen}
            | {"enough_for_advice": enough}
        )
        return
    lists = {
        f"rejected, just above {threshold}": above,
        f"kept, just below {threshold}": below,
    }
    for title, pairs in lists.items():
        console.heading(title)
        rows = [(similarity(p.score), _short(p.text, 60), _short(p.nearest, 60)) for p in pairs]
        console.table((novelty.called, "row", "nearest"), rows)
        console.line()
    if seen < LEAST_PAIRS:
        console.note(
            f"{seen} pairs are too few to advise another threshold than {threshold}: expected "
            f"{LEAST_PAIRS}. Generate more rows first, then look again."
        )
        return
    setting = "localinstruct run RECIPE --name NEW --set novelty.threshold="
    if above:
        higher = min(1, math.ceil(1000 * above[-1].score) / 1000)
        console.note(f"To keep the first list as well: {setting}{higher:g}")
    if below:
        lower = math.floor(1000 * below[-1].score - 1) / 1000
        console.note(f"To reject the second as well: {setting}{lower:g}")


def _pairs_below(run: Run, novelty: Novelty) -> list[ScoredPair]:
    """Kept rows with their nearest row, the most similar first, each pair once."""
    pairs = {
        ScoredPair(neighbours[0].score, text_of(row, novelty), neighbours[0].text)
        for row, neighbours in run.kept_with_neighbours()
        if neighbours
    }
    return sorted(pairs, reverse=True)


def _pairs_above(run: Run) -> list[ScoredPair]:
    """Rows rejected as too similar with their nearest row, the least similar first, each once."""
    pairs = {
        ScoredPair(reject.score, reject.text, reject.detail)
        for _, reject in run.rejects("too similar")
        if reject.score is not None
    }
    return sorted(pairs)


def lineage(run: Run, prefix: str, json: bool) -> None:
    """Show a row with its parents, their parents and its children."""
    recipe, workspace = recipe_of(run)
    rows = RunRows(run)
    relatives = family(prefix, [*rows, *rows.by_people()], _seeds(recipe, workspace))
    if json:
        ancestors = [[row.to_dict() for row in rows] for rows in relatives.ancestors]
        console.as_json(
            {
                "row": relatives.row.to_dict(),
                "from": rows.source_of.get(relatives.row.id),
                "children": [row.to_dict() for row in relatives.children],
                "unknown": relatives.unknown,
                "ancestors": ancestors,
            }
        )
        return
    source = rows.source_of.get(relatives.row.id, "")
    show_row(relatives.row, source)
    facts = _lineage_facts(relatives.row, "mixed in" if source else "a seed")
    console.pairs([(name, value) for name, value in facts if value])
    for number, older in enumerate(relatives.ancestors, 1):
        _relatives("parents" if number == 1 else f"{number} generations back", older)
    _relatives("children", relatives.children)
    if relatives.unknown:
        unknown = ", ".join(relatives.unknown)
        console.note(f"Parents that are neither kept rows nor seeds: {unknown}")


def _seeds(recipe: Recipe, workspace: Path) -> list[Instance]:
    """The recipe's seeds; none where no teacher is asked, as they need not be there then."""
    if recipe.generate.target == 0 and not (workspace / recipe.seeds).exists():
        return []
    return seeds_of(recipe, workspace)


def _lineage_facts(row: Instance, origin: str) -> list[tuple[str, str]]:
    """Facts of a row; `origin` is what it is where no method of this run made it."""
    lineage = row.lineage
    return [
        ("method", lineage.method or origin),
        ("episode", str(lineage.episode) if lineage.episode >= 0 else ""),
        ("teacher", lineage.teacher[:12]),
        ("answered by", lineage.answered_by[:12]),
        ("scores", ", ".join(f"{name} {value:g}" for name, value in lineage.scores.items())),
        ("source", _source(row)),
        ("evidence", " … ".join(lineage.evidence)),
        ("rejected", row.rejected),
        ("rejected by", lineage.rejected_by[:12]),
        ("original", lineage.original),
        ("thinking", row.thinking),
    ]


def _relatives(title: str, rows: list[Instance]) -> None:
    if not rows:
        return
    console.line()
    console.heading(f"{title}: {len(rows)}")
    lines = [
        (
            row.id,
            row.lineage.method or "seed",
            _short(row.instruction or row.input, 70),
            _short(row.output, 40),
        )
        for row in rows
    ]
    console.table(("id", "made by", "instruction", "output"), lines)


def _short(text: str, width: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
