"""`localinstruct compare`: several runs side by side: what differs in their recipes, their data,
cost and scores."""

import json as json_text
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone

if TYPE_CHECKING:
    from localinstruct.store.run import Run

Facts = Mapping[str, Any]
Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN…", help="Two runs or more, by name or directory.")
]
LONGEST = 44
"""Characters of a recipe's value in the table; --json has all of it."""
ABSENT = "–"


def compare(targets: Runs, json: Json = False, sealed: SealedAlone = False) -> None:
    """Two or more runs side by side: what differs in their recipes, their data, cost and scores."""
    from localinstruct.pipeline import recipe_of
    from localinstruct.recipe import differing_keys
    from localinstruct.report.facts import run_facts
    from localinstruct.workspace import viewed_run

    _require_several(targets)
    with ExitStack() as stack:
        runs = [stack.enter_context(viewed_run(target, loopback=False)) for target in targets]
        recipes = [recipe_of(run)[0] for run in runs]
        facts = [
            run_facts(run, recipe) | {"outdated": _outdated(run)}
            for run, recipe in zip(runs, recipes, strict=True)
        ]
    names = _names(targets, runs)
    differing = {
        key: values
        for key, values in differing_keys(recipes).items()
        if key not in ("name", "about")
    }
    if json:
        told = [
            {"name": name, "path": str(run.path), **one}
            for name, run, one in zip(names, runs, facts, strict=True)
        ]
        console.as_json({"runs": told, "recipe": differing})
        return
    _show(names, differing, facts)


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
    """The runs' own names, or what was typed where two are called the same."""
    names = [run.path.name for run in runs]
    return names if len(set(names)) == len(names) else [target.rstrip("/") for target in targets]


def _outdated(run: "Run") -> list[str]:
    """Finished stages whose recipe or earlier stage has changed since."""
    from localinstruct.pipeline import STAGES, is_finished, recipe_of

    recipe, _ = recipe_of(run)
    done = [(stage, run.stage(stage.name)) for stage in STAGES if stage.name != "report"]
    return [
        stage.name
        for stage, entry in done
        if entry and entry.finished and not is_finished(stage, recipe, run)
    ]


def _show(
    names: Sequence[str], differing: Mapping[str, Sequence[Any]], facts: Sequence[Facts]
) -> None:
    console.heading(f"{len(names)} runs: {', '.join(names)}")
    recipe = [[key, *map(_value, values)] for key, values in differing.items()] or [
        ["no key differs", *("" for _ in names)]
    ]
    groups = [
        (title, [[row.label, *map(row.say, facts)] for row in rows]) for title, rows in ROWS.items()
    ]
    console.columns(names, [("recipe, keys that differ", recipe), *groups])
    console.heading("verdict")
    console.pairs(
        (f"  {name}", one["scores"]["verdict"] or "not evaluated")
        for name, one in zip(names, facts, strict=True)
    )
    for line in _cautions(names, facts):
        console.note(line)


def _value(value: Any) -> str:
    if value is None or value == "":
        return ABSENT
    text = value if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
    flat = " ".join(text.split())
    return flat if len(flat) <= LONGEST else f"{flat[: LONGEST - 1]}…"


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: where its value stands, how it is said, and which stage measures it."""

    label: str
    stage: str
    path: str
    words: Callable[[Any], str]

    def say(self, facts: Facts) -> str:
        """The value in words; without one, why there is none."""
        value: Any = facts
        for part in self.path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if value is None or value == []:
            state = facts["stages"].get(self.stage, "done")
            return (
                "not measured"
                if state == "done"
                else "not finished"
                if state == "begun"
                else "not run"
            )
        return self.words(value)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _share(value: float) -> str:
    from localinstruct.progress import percent

    return percent(value)


def _rejected(counts: Mapping[str, int]) -> str:
    return " · ".join(f"{count:,} {stage}" for stage, count in counts.items()) or "none"


def _checked(counts: Mapping[str, int]) -> str:
    known = counts["right"] + counts["wrong"]
    return f"{_share(counts['right'] / known)} of {known:,}" if known else "none can be checked"


def _losses(pair: Mapping[str, float]) -> str:
    return f"{pair['base']:,.3f} → {pair['student']:,.3f}"


def _perplexities(pair: Mapping[str, float]) -> str:
    return f"{pair['base']:,.1f} → {pair['student']:,.1f}"


def _right(tasks: Facts) -> str:
    return f"{_share(tasks['base'])} → {_share(tasks['student'])} of {tasks['count']:,}"


def _gain(tasks: Facts) -> str:
    from localinstruct.evaluation.verdict import signed

    gain, low, high = map(signed, (tasks["gain"], *tasks["interval"]))
    return f"{gain} ({low} to {high})"


def _wins(judged: Sequence[Facts]) -> str:
    return "; ".join(_win(one) for one in judged)


def _win(one: Facts) -> str:
    against = f"against {one['against']}, by {one['judge']}"
    if one["rate"] is None:
        return f"cannot be told, {against}"
    low, high = one["interval"]
    return f"{one['rate']:.0%} ({low:.0%} to {high:.0%}) of {one['pairs']:,}, {against}"


ROWS: dict[str, tuple[Row, ...]] = {
    "data": (
        Row("rows asked for", "", "data.asked", _count),
        Row("rows kept", "generate", "data.kept", _count),
        Row("candidates rejected", "generate", "data.rejected", _count),
        Row("  where", "generate", "data.rejected_by_stage", _rejected),
        Row("share kept", "generate", "data.share_kept", _share),
        Row(
            "similarity to nearest row, median",
            "generate",
            "data.median_similarity",
            "{:.2f}".format,
        ),
        Row("kept answers right", "generate", "data.checked", _checked),
        Row("rows to train on", "dataset", "data.train", _count),
        Row("rows held out", "dataset", "data.held_out", _count),
    ),
    "cost": (
        *(
            Row(stage, stage, f"cost.seconds.{stage}", console.duration)
            for stage in ("generate", "dataset", "train", "evaluate")
        ),
        Row("together", "generate", "cost.total_seconds", console.duration),
        Row("teacher's output tokens", "generate", "cost.teacher_tokens", _count),
        Row("  a second", "generate", "cost.teacher_tokens_per_second", _count),
        Row("training tokens", "train", "cost.training_tokens", _count),
        Row("  a second", "train", "cost.training_tokens_per_second", _count),
        Row("peak memory of training, GiB", "train", "cost.peak_memory_gib", "{:.1f}".format),
    ),
    "scores, base → student": (
        Row("held-out loss", "evaluate", "scores.held_out_loss", _losses),
        Row("right answers", "evaluate", "scores.tasks", _right),
        Row("gain in points, 95 %", "evaluate", "scores.tasks", _gain),
        Row("wins before a judge", "evaluate", "scores.judged", _wins),
        Row("perplexity of general text", "evaluate", "scores.text_perplexity", _perplexities),
        Row("right before, wrong now", "evaluate", "scores.lost_answers", _count),
    ),
}
"""Title -> rows, in the order they are shown."""


def _cautions(names: Sequence[str], facts: Sequence[Facts]) -> list[str]:
    """What a reader must know before taking one column for better than another."""
    lines = [
        f"{name}: {', '.join(one['outdated'])} would run again, because what they depend on is "
        "not what it was: "
        f"localinstruct run {name}"
        for name, one in zip(names, facts, strict=True)
        if one["outdated"]
    ]
    evaluated = [one["scores"] for one in facts if one["stages"]["evaluate"] == "done"]
    asked = {(one["tasks"]["file"], one["tasks"]["count"]) for one in evaluated if one["tasks"]}
    if len(asked) > 1:
        lines.append(
            "The runs were asked different tasks: their right answers cannot be held against "
            "each other."
        )
    if len(evaluated) > 1:
        lines.append(
            "Held-out losses are each on the run's own rows. The same questions to both "
            "students, with an interval: "
            f"localinstruct evaluate {names[0]} --against {names[1]}"
        )
    return lines
