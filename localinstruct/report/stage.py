"""The report: runs/NAME/report.html, one file that a person can read, print and pass on without any
network.

Reads the store and the stage results, never a model. A stage that has not run, a missing key, a run
with no rows: each becomes a sentence, never an error. Everything a model wrote is clipped, has its
control and bidirectional characters made visible, and is escaped; the page's own policy forbids
scripts and every request. Numbers come from report_data.py, words from report_sections.py, drawings
from charts.py, layout from report.html.j2. Not covered: several runs in one.
"""

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

from markupsafe import Markup

from localinstruct.curate.novelty import Novelty
from localinstruct.nano import LABEL, is_nano
from localinstruct.progress import Progress, duration, percent
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.report import charts
from localinstruct.report import data as data
from localinstruct.report import evaluation as about
from localinstruct.report.cards import write_cards
from localinstruct.report.facts import finished_results, judged_verdict
from localinstruct.report.sections import (
    evaluation,
    figures,
    funnel,
    headline,
    provenance,
    training,
)
from localinstruct.store.durable import write_text
from localinstruct.store.run import Run

CLIP = 900
"""Characters of one text that are shown."""
REASONS = 30
"""Reject reasons that are listed."""
STYLES = {"parse": "hollow", "filter": "mid", "novelty": "accent"}
"""Stage of a reject -> how its bar is drawn."""
# Controls but tab and newline; zero-width and bidirectional formatting; line separators;
# surrogates; tags. The joiners U+200C and U+200D stay: Persian, Hindi and emoji are wrong without
# them.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Write report.html whole and return its name in the run directory, its size and its digest;
    and the cards.

    The commands in the report are meant to be typed in `workspace`.
    """
    progress.say("Reading the store for the report.")
    write_cards(run, recipe, workspace)
    page = render(recipe, run, _where(run.path, workspace)).encode("utf-8")
    write_text(run.path / "report.html", page.decode("utf-8"))
    return {"path": "report.html", "bytes": len(page), "sha256": hashlib.sha256(page).hexdigest()}


def render(recipe: Recipe, run: Run, where: str) -> str:
    """The whole page; `where` is how a command names this run. No clock, no environment: same
    store, same bytes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("localinstruct", "report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"clip": clip, "percent": percent, "duration": duration}
    return environment.get_template("report.html.j2").render(content(recipe, run, where)) + "\n"


def content(recipe: Recipe, run: Run, where: str) -> dict[str, Any]:
    """Everything the template places, by section."""
    results = finished_results(run)
    threshold = recipe.novelty.threshold
    kept = data.survey_kept(run, threshold, Random(f"{recipe.seed}:kept"))
    rejects = data.survey_rejects(run, threshold, Random(f"{recipe.seed}:rejects"))
    asked = data.survey_completions(run)
    timing = _timing(run)
    evaluate = results["evaluate"] or {}
    compared = about.read_comparisons(run.path)
    return {
        "verdict": judged_verdict(results, compared),
        "comparisons": [about.comparison(one) for one in compared],
        "forgetting": about.forgetting(evaluate),
        **about.weak_sides(recipe, evaluate, where, run.path.name),
        "counts": about.counted(results),
        "name": run.path.name,
        "where": where,
        "about": recipe.about,
        "nano": any(map(is_nano, (recipe.models.teacher, recipe.models.student))),
        "nano_label": LABEL,
        "headline": headline(kept, rejects, results),
        "figures": figures(recipe, kept, rejects, results),
        "done": {name: result is not None for name, result in results.items()},
        "stopped": (results["generate"] or {}).get("stopped"),
        "funnel": funnel(kept, rejects, asked, results),
        "reasons": rejects.reasons[:REASONS],
        "reasons_left": len(rejects.reasons[REASONS:]),
        "candidates": kept.count + rejects.count,
        "bar": charts.bar,
        "style": lambda stage: STYLES.get(stage, "mid"),
        "threshold": threshold,
        "measure": recipe.novelty.called,
        "similarity": _similarity(kept, rejects, recipe.novelty),
        "borderline": rejects.borderline[::-1] + kept.borderline,
        "lengths": _lengths(kept),
        "kept": kept,
        "timing": timing,
        "training": training(
            data.read_metrics(run.path / "train" / "metrics.jsonl"), results["train"] or {}
        ),
        "evaluation": evaluation(results["evaluate"] or {}),
        "provenance": provenance(recipe, run, results, where),
        "date": _date(run),
    }


def shown(value: Any) -> Any:
    """What the template prints for a value: markup of ours as it is, anything else with hidden
    characters named."""
    if isinstance(value, Markup):
        return value
    text = str(value).replace("\r\n", "\n")
    return HIDDEN.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", text)


def clip(text: str, limit: int = CLIP) -> str:
    """The beginning of a long text, with how long it is."""
    return (
        text
        if len(text) <= limit
        else f"{text[:limit].rstrip()} … ({len(text):,} characters in all)"
    )


def _where(path: Path, workspace: Path) -> str:
    """The run as seen from the workspace; elsewhere its last two names, because a report may be
    passed on."""
    inside, root = path.resolve(), workspace.resolve()
    return (
        str(inside.relative_to(root))
        if inside.is_relative_to(root)
        else f"{inside.parent.name}/{inside.name}"
    )


def _date(run: Run) -> str:
    entry = run.stage("generate")
    return (
        datetime.fromtimestamp(entry.started, UTC).strftime("%-d %B %Y, %H:%M UTC") if entry else ""
    )


def _similarity(
    kept: data.KeptSurvey, rejects: data.RejectSurvey, novelty: Novelty
) -> Markup | None:
    """Similarities of both sides over bins that meet at the threshold, so that no bin mixes
    them."""
    scores, threshold = kept.scores + rejects.scores, novelty.threshold
    if not scores:
        return None
    width = 0.025
    low = min(0.0, *scores)
    below = int((threshold - low) / width) + 1
    edges = [threshold + k * width for k in range(-below, int((1 - threshold) / width + 0.999) + 1)]
    edges = [max(edges[0], low), *edges[1:], *([1.0] if edges[-1] < 1 else [])]
    # The threshold itself passes: nudge the edge so that a row exactly on it counts on the kept
    # side.
    at = [edge + 1e-9 if abs(edge - threshold) < 1e-12 else edge for edge in edges]
    groups = [
        charts.Bars("kept", data.bins(kept.scores, at)),
        charts.Bars("rejected as not new", data.bins(rejects.scores, at), "hollow"),
    ]
    mark = charts.Mark(threshold, f"threshold {threshold:g}")
    title = f"Candidates by {novelty.called} to the nearest seed or kept row"
    return charts.histogram(title, edges, groups, novelty.called, [mark])


def _lengths(kept: data.KeptSurvey) -> list[Markup]:
    """One small histogram each for instruction, input and output; the last bin takes all that are
    longer."""
    return [_length_chart(part, sorted(words)) for part, words in kept.words.items() if words]


def _length_chart(part: str, words: Sequence[int]) -> Markup:
    top = words[int(0.99 * (len(words) - 1))] + 1
    width = next(
        w * 10**power for power in range(9) for w in (1, 2, 5) if top / (w * 10**power) <= 20
    )
    edges = [float(k * width) for k in range(-(-top // width) + 1)]
    beyond = sum(value >= edges[-1] for value in words)
    middle = words[len(words) // 2]
    title = f"{part.capitalize()}, median {middle:,} word{'' if middle == 1 else 's'}"
    label = f"words ({beyond:,} longer, in the last bar)" if beyond else "words"
    return charts.histogram(
        title, edges, [charts.Bars("rows", data.bins(words, edges))], label, width=charts.NARROW
    )


def _timing(run: Run) -> dict[str, Any] | None:
    """Kept rows and tokens per second over the time at work; pauses take no width and are
    marked."""
    episodes, (_, usage) = run.episodes(), run.completion_usage()
    clock = data.clock(
        [arrived for arrived, _ in usage] + [committed for *_, committed in episodes]
    )
    commits = sorted((clock.at(committed), kept) for _, kept, _, _, committed in episodes)
    arrivals = [(clock.at(arrived), float(tokens)) for arrived, tokens in usage]
    if not commits or not arrivals:
        return None
    total, end = 0, max(commits[-1][0], arrivals[-1][0])
    unit, size = next(
        (u, s)
        for u, s, most in (("s", 1, 180), ("min", 60, 10_800), ("h", 3600, float("inf")))
        if end < most
    )
    growth = [(0.0, 0.0)]
    for seconds, kept in commits:
        total += kept
        growth.append((seconds / size, float(total)))
    speed = [(seconds / size, tokens) for seconds, tokens in data.rate(arrivals)]
    marks = [charts.Mark(clock.at(begin) / size, "paused") for begin, _ in clock.pauses]
    label = f"time at work, {unit}"
    return {
        "kept": charts.line_chart(
            "Rows kept", [charts.Series("rows kept", growth)], label, marks, whole=True
        ),
        "speed": charts.line_chart(
            "Output tokens per second", [charts.Series("tokens per second", speed)], label, marks
        ),
        "pauses": [end - begin for begin, end in clock.pauses],
        "seconds": end,
        "tokens": sum(tokens for _, tokens in usage),
    }
