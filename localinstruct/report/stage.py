"""The report: runs/NAME/report.html, one file to read, print and pass on without a network.

Reads the store and the stage results. A stage that has not run, a missing key, a run
with no rows: each becomes a sentence, never an error. Everything a model wrote is clipped, has its
control and bidirectional characters made visible, and is escaped; the page's own policy forbids
every request, and scripts but its own three, without which each number is there too. Numbers come
from data.py and thresholds.py, words from sections.py and evaluation.py, drawings from charts.py
and row_map.py, layout from report.html.j2. The run's encoder embeds rejected rows again, once,
where it is there. Not covered: several runs in one (side_by_side.py).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from random import Random

from markupsafe import Markup

from localinstruct.curate.diversity import sample
from localinstruct.curate.embeddings import Encoder
from localinstruct.curate.novelty import Novelty
from localinstruct.dataset.rows import RunRows
from localinstruct.nano import LABEL, is_nano
from localinstruct.progress import Progress, Silent
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.report import charts, data, row_map
from localinstruct.report import evaluation as about
from localinstruct.report.candidates import (
    count,
    encoder_of,
    read_candidates,
    sampled,
    seeds_of_run,
)
from localinstruct.report.cards import write_cards
from localinstruct.report.facts import finished_results, judged_verdict
from localinstruct.report.outline import outline
from localinstruct.report.page import rendered
from localinstruct.report.provenance import provenance
from localinstruct.report.sections import (
    Results,
    evaluation,
    figures,
    funnel,
    headline,
    training,
)
from localinstruct.report.thresholds import rerun
from localinstruct.report.vectors import RememberedEncoder
from localinstruct.states import (
    UNDATED,
    States,
    edited_words,
    read_comparisons,
    stale_words,
    states_of,
)
from localinstruct.store.durable import write_text
from localinstruct.store.run import Run

REASONS = 30
"""Reject reasons that are listed."""
STYLES = {"parse": "hollow", "filter": "mid", "novelty": "accent"}
"""Stage of a reject -> how its bar is drawn; others like "filter"."""
SILENT = Silent()
SCRIPTS = ("tables", "thresholds", "map")
"""The scripts of the page, in scripts/."""
MEANINGS = {
    "candidate": "A row that was up for being kept: everything that the teacher wrote and the "
    "parser or a rule turned down too, and everything that files and other runs brought.",
    "kept": "Rows that the gate let through, and rows mixed in. Shares are of the candidates.",
    "similarity": "Of a candidate and the nearest seed or row kept before it, when it was decided "
    "on; not of rows that came later.",
    "held-out loss": "Nats per answer token on rows of this run that nobody trained on.",
    "points": "Percentage points of the tasks: the student’s share of right answers less the "
    "base’s, with its 95 % interval, paired by task.",
    "tokens per second": "Output tokens in the time in which the teacher was asked: its start and "
    "pauses do not count.",
    "time": "Time at work: starts of models and loading count, pauses do not.",
}
"""Words of the page -> what they mean wherever they stand in it."""


@dataclass(frozen=True, slots=True)
class Again:
    """What compares the rows of a run again: its encoder, or why there is none, and its seeds."""

    encoder: Encoder | str
    seeds: Sequence[str] | None = None
    """Their texts; None for those that the store names."""
    progress: Progress = SILENT


NOT_AGAIN = Again("The encoder of the run is not at hand.")


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Write report.html and the cards; return the report's name in the run, its size and digest.

    The commands in the report are meant to be typed in `workspace`.
    """
    progress.say("Reading the store for the report.")
    write_cards(run, recipe, workspace)
    compared = again(recipe, run, workspace, progress)
    page = render(recipe, run, _where(run.path, workspace), compared)
    if isinstance(compared.encoder, RememberedEncoder):
        compared.encoder.keep()
        if compared.encoder.problem:
            progress.say(f"{compared.encoder.problem} The report has no slider of thresholds.")
    raw = page.encode("utf-8")
    write_text(run.path / "report.html", page)
    return {"path": "report.html", "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def again(recipe: Recipe, run: Run, workspace: Path, progress: Progress) -> Again:
    """The encoder of this run with its seeds; nothing is loaded before a text asks for it."""
    if not count(run):
        return Again("")
    seeds = seeds_of_run(recipe, run, workspace)
    return Again(encoder_of(recipe, run, workspace, progress), seeds, progress)


def render(recipe: Recipe, run: Run, where: str, again: Again = NOT_AGAIN) -> str:
    """The whole page; `where` is how a command names this run.

    It depends on no clock and no environment: the same store and encoder give the same bytes.
    """
    values = content(recipe, run, where, again)
    return rendered("report.html.j2", {**values, **outline(values)}, SCRIPTS)


def content(recipe: Recipe, run: Run, where: str, again: Again) -> JsonObject:
    """The template's values, by section."""
    states = states_of(recipe, run)
    results = finished_results(run, recipe)
    metrics = data.read_metrics(run.path / "train" / "metrics.jsonl")
    metrics = [] if states["train"].state == "stale" else metrics
    return {
        **_head(recipe, run, where, results),
        **_doubts(states, where),
        **_rows(recipe, run, results),
        **_compared_again(recipe, run, again),
        "sources": [_source(one) for one in RunRows(run).sources],
        "meanings": MEANINGS.items(),
        "timing": _timing(run, results["generate"] or {}),
        "only_mixed": recipe.generate.target == 0,
        "training": training(metrics, results["train"] or {}),
        "evaluation": evaluation(results["evaluate"] or {}),
        **_comparisons(recipe, run, where, results),
        "provenance": provenance(recipe, run, results, where),
    }


def _head(recipe: Recipe, run: Run, where: str, results: Results) -> JsonObject:
    return {
        "name": run.path.name,
        "where": where,
        "about": recipe.about,
        "nano": any(map(is_nano, _models_at_work(recipe))),
        "nano_label": LABEL,
        "date": _date(run),
        "done": {name: result is not None for name, result in results.items()},
        "stopped": (results["generate"] or {}).get("stopped") if recipe.generate.target else None,
    }


def _doubts(states: States, where: str) -> JsonObject:
    """Stale stages with why and how to renew them, edits by hand, results without digests."""
    words = {name: stale_words(states, name, where) for name in states if name != "report"}
    undated = [name for name in words if UNDATED in states[name].remarks]
    if states["train"].edited and not words["train"]:
        words["train"] = "; ".join(edited_words({"train": states["train"]}))
    return {
        "stale": words,
        "edits": edited_words(states),
        "remarks": [f"{', '.join(undated)}: {UNDATED}."] if undated else [],
    }


def _models_at_work(recipe: Recipe) -> tuple[str, ...]:
    """Teacher and student; the student alone where no teacher is asked."""
    models = recipe.models
    return (models.student,) if recipe.generate.target == 0 else (models.teacher, models.student)


def _rows(recipe: Recipe, run: Run, results: Results) -> JsonObject:
    """Headline, figures, funnel, rejects, similarities, lengths and samples."""
    threshold = recipe.novelty.threshold
    kept = data.survey_kept(run, threshold, Random(f"{recipe.seed}:kept"))
    rejects = data.survey_rejects(run, threshold, Random(f"{recipe.seed}:rejects"))
    return {
        "headline": headline(kept, rejects, results),
        "figures": figures(recipe, kept, rejects, results),
        "funnel": funnel(kept, rejects, data.survey_completions(run), results),
        "reasons": rejects.reasons[:REASONS],
        "reasons_left": len(rejects.reasons[REASONS:]),
        "candidates": data.candidates(kept, rejects),
        "bar": charts.bar,
        "style": lambda stage: STYLES.get(stage, "mid"),
        "threshold": threshold,
        "measure": recipe.novelty.called,
        "similarity": _similarity(kept, rejects, recipe.novelty),
        "reviewed": RunRows(run).reviewed_words,
        "borderline": rejects.borderline[::-1] + kept.borderline,
        "lengths": _lengths(kept),
        "diversity": data.diversity(run),
        "kept": kept,
    }


def _compared_again(recipe: Recipe, run: Run, again: Again) -> JsonObject:
    """What other thresholds would have kept, and the map of the rows, as far as they can be had."""
    from localinstruct.generation.stage import begun_with

    novelty, _ = begun_with(recipe.novelty, run)
    found = read_candidates(run, again.encoder, novelty, again.seeds, again.progress)
    total, rows, vectors = found.total, found.rows, found.vectors
    if total and (total > row_map.MOST or len(rows) < total or not vectors.size):
        places = [int(n) for n in sample(total, row_map.MOST)]
        rows, vectors = sampled(run, again.encoder, novelty, places, again.progress)
    return {
        "rerun": rerun(found, novelty, again.progress),
        "no_rerun": found.problem,
        "row_map": row_map.row_map(rows, vectors, novelty.threshold, total),
    }


def _source(one: JsonObject) -> JsonObject:
    """A source that was mixed in, in words; an older run may lack any number."""
    numbers = {key: one.get(key) for key in ("has", "asked", "taken")}
    dropped = one.get("dropped") or {}
    return {
        "source": one["source"],
        **{key: "" if n is None else f"{n:,}" for key, n in numbers.items()},
        "dropped": ", ".join(f"{count:,} {reason}" for reason, count in dropped.items()),
    }


def _comparisons(recipe: Recipe, run: Run, where: str, results: Results) -> JsonObject:
    """Verdict, comparisons, forgetting, weak families with commands, counts by topic or source."""
    evaluate = results["evaluate"] or {}
    comparisons = read_comparisons(run)
    return {
        "verdict": judged_verdict(results, comparisons),
        "comparisons": [about.comparison(stored, where) for stored in comparisons],
        "form": about.form(evaluate),
        "forgetting": about.forgetting(evaluate),
        **about.weak_sides(recipe, evaluate, where, run.path.name),
        "counts": [
            table
            for table in about.count_tables(results)
            if table["name"] != "source" or not RunRows(run).sources  # they have a table then
        ],
    }


def _where(path: Path, workspace: Path) -> str:
    """The run as seen from the workspace; its last two names where it lies elsewhere."""
    inside, root = path.resolve(), workspace.resolve()
    if inside.is_relative_to(root):
        return str(inside.relative_to(root))
    return f"{inside.parent.name}/{inside.name}"  # a report is passed on: no more of the path


def _date(run: Run) -> str:
    entry = run.stage("generate")
    if entry is None:
        return ""
    return datetime.fromtimestamp(entry.started, UTC).strftime("%-d %B %Y, %H:%M UTC")


def _similarity(
    kept: data.KeptSurvey, rejects: data.RejectSurvey, novelty: Novelty
) -> Markup | None:
    """Similarities of kept and rejected rows; None where there are none."""
    title = f"Candidates by {novelty.called} to the nearest seed or kept row"
    groups = {"kept": kept.scores, "rejected as not new": rejects.scores}
    if not any(groups.values()):
        return None
    return similarities(title, groups, novelty.threshold, novelty.called)


def similarities(
    title: str, groups: Mapping[str, Sequence[float]], threshold: float, label: str
) -> Markup:
    """Similarities of rows that stay and that go, over bins that meet at the threshold: none mixes.

    `groups` has both by name.
    """
    scores, width = [score for own in groups.values() for score in own], 0.025
    low = min(0.0, *scores)
    below = int((threshold - low) / width) + 1
    edges = [threshold + k * width for k in range(-below, int((1 - threshold) / width + 0.999) + 1)]
    edges = [max(edges[0], low), *edges[1:], *([1.0] if edges[-1] < 1 else [])]
    # The threshold itself passes: nudge the edge, so that a row exactly on it counts as kept.
    at = [edge + 1e-9 if abs(edge - threshold) < 1e-12 else edge for edge in edges]
    styles = ("accent", "hollow")
    bars = [
        charts.Bars(name, data.bins(own, at), style)
        for (name, own), style in zip(groups.items(), styles, strict=True)
    ]
    mark = charts.Mark(threshold, f"threshold {threshold:g}")
    return charts.histogram(title, edges, bars, label, [mark])


def _lengths(kept: data.KeptSurvey) -> list[Markup]:
    """A small histogram each for instruction, input and output, in words."""
    return [_length_chart(part, sorted(words)) for part, words in kept.words.items() if words]


def _length_chart(part: str, words: Sequence[int]) -> Markup:
    """A histogram of sorted lengths up to the 99th percentile; the last bin has the rest."""
    top = words[int(0.99 * (len(words) - 1))] + 1
    round_widths = (w * 10**power for power in range(9) for w in (1, 2, 5))
    width = next(w for w in round_widths if top / w <= 20)
    edges = [float(k * width) for k in range(-(-top // width) + 1)]
    longer = sum(value >= edges[-1] for value in words)
    median = words[len(words) // 2]
    title = f"{part.capitalize()}, median {median:,} word{'' if median == 1 else 's'}"
    label = f"words ({longer:,} longer, in the last bar)" if longer else "words"
    bars = charts.Bars("rows", data.bins(words, edges))
    return charts.histogram(title, edges, [bars], label, width=charts.NARROW)


def _timing(run: Run, generate: StageResult) -> JsonObject | None:
    """Kept rows and tokens per second over the time at work; pauses have a mark and no width.

    "seconds" are those in which the teacher was asked, None until the stage has finished.
    """
    episodes, (_, usage) = run.episodes(), run.completion_usage()
    arrived = [moment for moment, _ in usage]
    committed = [moment for *_, moment in episodes]
    clock = data.clock(arrived + committed)
    commits = sorted((clock.at(moment), kept) for _, kept, _, _, moment in episodes)
    arrivals = [(clock.at(moment), tokens) for moment, tokens in usage]
    if not commits or not arrivals:
        return None
    end = max(commits[-1][0], arrivals[-1][0])
    unit, size = charts.time_unit(end)
    totals = accumulate(kept for _, kept in commits)
    growth = [(0.0, 0.0)]
    growth += [(seconds / size, float(n)) for (seconds, _), n in zip(commits, totals, strict=True)]
    spans = data.Bins()
    for seconds, tokens in [*arrivals, (end, 0)]:
        spans.add(seconds, {"tokens": tokens})
    speed = [(seconds / size, tokens) for seconds, tokens in spans.rates("tokens")]
    marks = [charts.Mark(clock.at(begin) / size, "paused") for begin, _ in clock.pauses]
    label = f"time at work, {unit}"
    rows = charts.Series("rows kept", growth)
    rates = charts.Series("tokens per second", speed)
    drawn = charts.line_chart("Output tokens per second", [rates], label, marks)
    return {
        "kept": charts.line_chart("Rows kept", [rows], label, marks, whole=True),
        "speed": drawn if len(speed) > 1 else "",
        "pauses": [end - begin for begin, end in clock.pauses],
        "seconds": generate.get("seconds"),
        "tokens": sum(tokens for _, tokens in usage),
    }
