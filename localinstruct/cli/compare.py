"""`localinstruct compare`: runs side by side: differing recipe keys, data, cost and scores."""

import json as json_text
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone
from localinstruct.progress import duration, loss, per_second, percent, similarity
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.recipe import Recipe
    from localinstruct.store.run import Run

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN…", help="Two runs or more, by name or directory.")
]
LONGEST = 44
"""Characters of a recipe's value in the table; --json has all of it."""
ABSENT = "–"
"""Stands for a key that a recipe leaves empty."""


def compare(targets: Runs, json: Json = False, sealed: SealedAlone = False) -> None:
    """Show runs side by side: differing recipe keys, data, cost and scores."""
    from localinstruct.pipeline import recipe_of
    from localinstruct.recipe import differing_keys
    from localinstruct.report.facts import run_facts
    from localinstruct.workspace import viewed_run

    _require_several(targets)
    with ExitStack() as stack:
        runs = [stack.enter_context(viewed_run(target, loopback=False)) for target in targets]
        recipes = [recipe_of(run)[0] for run in runs]
        pairs = zip(runs, recipes, strict=True)
        facts = [run_facts(run, recipe) | _doubts(run, recipe) for run, recipe in pairs]
    names = _names(targets, runs)
    differing = differing_keys(recipes)
    for key in ("name", "about"):
        differing.pop(key, None)
    if not json:
        _show(names, differing, facts)
        return
    entries = [
        {"name": name, "path": str(run.path), **own}
        for name, run, own in zip(names, runs, facts, strict=True)
    ]
    console.as_json({"runs": entries, "recipe": differing})


def _require_several(targets: Sequence[str]) -> None:
    """UsageError for fewer than two runs, or one that is named twice."""
    from localinstruct.errors import UsageError
    from localinstruct.workspace import run_path

    paths = [run_path(target).resolve() for target in targets]
    if len(set(paths)) < max(2, len(paths)):
        raise UsageError(
            f"compare: expected two or more different runs, found {', '.join(targets)}.",
            "For example: localinstruct compare RUN OTHER-RUN",
        )


def _names(targets: Sequence[str], runs: Sequence["Run"]) -> list[str]:
    """The runs' own names, or the typed ones where two runs have one name."""
    names = [run.path.name for run in runs]
    return names if len(set(names)) == len(names) else [target.rstrip("/") for target in targets]


def _doubts(run: "Run", recipe: "Recipe") -> JsonObject:
    """The run's stale stages, and sentences on them and on files that were changed by hand."""
    from localinstruct import states as standing

    states = standing.states_of(recipe, run)
    shown = {name: state for name, state in states.items() if name != "report"}
    stale = [name for name, state in shown.items() if state.state == "stale"]
    undated = [name for name, state in shown.items() if standing.UNDATED in state.remarks]
    words = [
        f"{name} is stale: {standing.stale_words(states, name, str(run.path))}" for name in stale
    ]
    words += standing.edited_words(states)
    words += [f"{', '.join(undated)}: {standing.UNDATED}"] if undated else []
    return {"outdated": stale, "remarks": words}


def _show(
    names: Sequence[str],
    differing: Mapping[str, Sequence[object]],
    facts: Sequence[JsonObject],
) -> None:
    console.heading(f"{len(names)} runs: {', '.join(names)}")
    recipe = [[key, *map(_value, values)] for key, values in differing.items()]
    recipe = recipe or [["no key differs", *("" for _ in names)]]
    groups = [("recipe, keys that differ", recipe)]
    for title, rows in ROWS.items():
        groups.append((title, [[row.label, *map(row.text, facts)] for row in rows]))
    console.columns(names, groups)
    console.heading("verdict")
    verdicts = [
        own["scores"]["verdict"]
        or ("stale" if own["stages"]["evaluate"] == "stale" else "not evaluated")
        for own in facts
    ]
    console.pairs((f"  {name}", text) for name, text in zip(names, verdicts, strict=True))
    for line in _cautions(names, facts):
        console.note(line)


def _value(value: object) -> str:
    if value is None or value == "":
        return ABSENT
    text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: its label, the stage that measures it, and its value in the facts."""

    label: str
    stage: str
    path: str
    """Keys that lead to the value, joined by dots."""
    format: Callable[[Any], str]

    def text(self, facts: JsonObject) -> str:
        """The value as text; without one, the reason."""
        value: object = facts
        for key in self.path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is None or value == []:
            return MISSING[facts["stages"].get(self.stage, "done")]
        return self.format(value)


MISSING = {
    "done": "not measured",
    "begun": "not finished",
    "not run": "not run",
    "stale": "stale",
}
"""State of the stage that measures a value -> the text where there is none."""


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _rejected(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,} {stage}" for stage, count in counts.items()) or "none"


def _checked(counts: Mapping[str, int]) -> str:
    from localinstruct.evaluation import wording

    return wording.checked(counts) or "none can be checked"


def _diversity(measured: JsonObject) -> str:
    return f"{measured['score']:.3f} of {measured['rows']:,} rows"


def _losses(pair: Mapping[str, float]) -> str:
    return f"{loss(pair['base'])} → {loss(pair['student'])}"


def _perplexities(pair: Mapping[str, float]) -> str:
    from localinstruct.evaluation import wording

    return f"{wording.perplexity(pair['base'])} → {wording.perplexity(pair['student'])}"


def _right(tasks: JsonObject) -> str:
    return f"{percent(tasks['base'])} → {percent(tasks['student'])} of {tasks['count']:,}"


def _cut(counts: Mapping[str, int]) -> str:
    return f"{counts['base']:,} → {counts['student']:,} of {counts['of']:,} each"


def _gain(tasks: JsonObject) -> str:
    from localinstruct.evaluation.wording import signed

    gain, low, high = map(signed, (tasks["gain"], *tasks["interval"]))
    return f"{gain} ({low} to {high})"


def _wins(judged: Sequence[JsonObject]) -> str:
    return "; ".join(map(_win, judged))


def _win(judged: JsonObject) -> str:
    from localinstruct.evaluation import wording

    against = f"against {judged['against']}, by {judged['judge']}"
    return f"{wording.wins(judged)} of {judged['pairs']:,}, {against}"


ROWS: dict[str, tuple[Row, ...]] = {
    "data": (
        Row("rows asked for", "", "data.asked", _count),
        Row("rows kept", "generate", "data.kept", _count),
        Row("rows mixed in", "dataset", "data.mixed", _count),
        Row("rows rejected", "generate", "data.rejected", _count),
        Row("  where", "generate", "data.rejected_by_stage", _rejected),
        Row("share kept", "generate", "data.share_kept", percent),
        Row("similarity to nearest row, median", "generate", "data.median_similarity", similarity),
        Row("diversity (DCScore, a share)", "generate", "data.diversity", _diversity),
        Row("kept answers right", "generate", "data.checked", _checked),
        Row("rows to train on", "dataset", "data.train", _count),
        Row("rows held out", "dataset", "data.held_out", _count),
    ),
    "cost": (
        Row("generate", "generate", "cost.seconds.generate", duration),
        Row("dataset", "dataset", "cost.seconds.dataset", duration),
        Row("train", "train", "cost.seconds.train", duration),
        Row("evaluate", "evaluate", "cost.seconds.evaluate", duration),
        Row("together", "generate", "cost.total_seconds", duration),
        Row("teacher's output tokens", "generate", "cost.teacher_tokens", _count),
        Row("  a second", "generate", "cost.teacher_tokens_per_second", per_second),
        Row("training tokens", "train", "cost.training_tokens", _count),
        Row("  a second", "train", "cost.training_tokens_per_second", per_second),
        Row("peak memory of training, GiB", "train", "cost.peak_memory_gib", "{:.1f}".format),
    ),
    "scores, base → student": (
        Row("held-out loss", "evaluate", "scores.held_out_loss", _losses),
        Row("right answers", "evaluate", "scores.tasks", _right),
        Row("gain in points, 95 %", "evaluate", "scores.tasks", _gain),
        Row("wins before a judge", "evaluate", "scores.judged", _wins),
        Row("perplexity of general text", "evaluate", "scores.text_perplexity", _perplexities),
        Row("right before, wrong now", "evaluate", "scores.lost_answers", _count),
        Row("cut answers", "evaluate", "scores.cut_answers", _cut),
    ),
}
"""Title -> rows, in the order they are shown."""


def _cautions(names: Sequence[str], facts: Sequence[JsonObject]) -> list[str]:
    """Reasons not to take one column for better than another."""
    lines = [
        f"{name}: {words}"
        for name, own in zip(names, facts, strict=True)
        for words in own["remarks"]
    ]
    measured = [own["data"]["diversity"] for own in facts if own["data"]["diversity"]]
    if len({own["rows"] for own in measured}) > 1:
        lines.append("Diversity falls as a set grows: that of sets of different sizes says little.")
    scores = [own["scores"] for own in facts if own["stages"]["evaluate"] == "done"]
    tasks = [own["tasks"] for own in scores if own["tasks"]]
    if len({(own["file"], own["count"]) for own in tasks}) > 1:
        lines.append(
            "The runs were asked different tasks: their right answers cannot be held against "
            "each other."
        )
    if len(scores) > 1:
        lines.append(
            "Held-out losses are each on the run's own rows. The same questions to both students, "
            f"with an interval: localinstruct evaluate {names[0]} --against {names[1]}"
        )
    return lines
