"""The words of the report: headline, key figures, funnel, training, evaluation, provenance, as
values for the template.

Stage results are read with `.get` throughout: an older or interrupted run may lack any key, and a
report that says less is better than none. Not covered: what is counted from the store
(report_data.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localinstruct import __version__
from localinstruct.formats.tasks import is_right
from localinstruct.progress import duration, percent
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.report import charts
from localinstruct.report.data import STAGES, CompletionSurvey, KeptSurvey, RejectSurvey, curve
from localinstruct.store.run import Run

Results = Mapping[str, StageResult | None]
SIDE_BY_SIDE = 24
"""Side-by-side answers that are shown."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure of the first screen: the number, what it counts, and against what."""

    value: str
    label: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the funnel. `share` is of the candidates; None for prompts and completions, which
    are not rows."""

    label: str
    count: int
    share: float | None = None
    note: str = ""


def headline(kept: KeptSurvey, rejects: RejectSurvey, results: Results) -> str:
    """The run in one sentence, as far as it has come."""
    candidates = kept.count + rejects.count
    if not candidates:
        return "Nothing has been generated yet."
    rows = f"{_plural(kept.count, 'row')} kept of {_plural(candidates, 'candidate')}"
    evaluate = results.get("evaluate") or {}
    tasks, held_out = evaluate.get("tasks") or {}, evaluate.get("held_out") or {}
    if tasks.get("count") and None not in (tasks.get("student"), tasks.get("base")):
        return (
            f"{rows}; the student answers {percent(tasks['student'])} of {tasks['count']:,} "
            "held-out tasks, "
            f"its base {percent(tasks['base'])}."
        )
    losses = [(held_out.get(who) or {}).get("loss") for who in ("base", "student")]
    if None not in losses:
        return (
            f"{rows}; the student’s held-out loss is {losses[1]:.2f}, its base’s {losses[0]:.2f}."
        )
    return f"{rows}; the student is trained." if results.get("train") else f"{rows}."


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def figures(
    recipe: Recipe, kept: KeptSurvey, rejects: RejectSurvey, results: Results
) -> list[Figure]:
    """At most six, the most telling first; none for what has not been measured."""
    generate, train, evaluate = (
        results.get(name) or {} for name in ("generate", "train", "evaluate")
    )
    candidates = kept.count + rejects.count
    found = [Figure(f"{kept.count:,}", "rows kept", f"of {recipe.generate.target:,} wanted")]
    if candidates:
        found.append(
            Figure(
                percent(kept.count / candidates), "of candidates kept", f"{candidates:,} candidates"
            )
        )
    checked = generate.get("checked") or {}
    if known := (checked.get("right") or 0) + (checked.get("wrong") or 0):
        note = f"of {known:,} that can be checked"
        found.append(
            Figure(percent((checked.get("right") or 0) / known), "of kept answers right", note)
        )
    found += _gain_figure(evaluate)
    if generate.get("tokens_per_second") is not None:
        note = (
            f"{generate['in_flight']:,} episodes in flight"
            if generate.get("in_flight")
            else "while generating"
        )
        found.append(
            Figure(f"{generate['tokens_per_second']:,.0f}", "output tokens per second", note)
        )
    if train.get("seconds") is not None:
        steps = f"{train['steps']:,} steps" if train.get("steps") else ""
        found.append(Figure(duration(train["seconds"]), "training", steps))
    return found[:6]


def _gain_figure(evaluate: StageResult) -> list[Figure]:
    tasks, held_out = evaluate.get("tasks") or {}, evaluate.get("held_out") or {}
    if tasks.get("gain") is not None:
        return [
            Figure(
                f"{100 * tasks['gain']:+.0f}".replace("-", "−"),
                "points on held-out tasks",
                _interval(tasks),
            )
        ]
    losses = [(held_out.get(who) or {}).get("loss") for who in ("base", "student")]
    return (
        [Figure(f"{losses[1]:.2f}", "held-out loss", f"base {losses[0]:.2f}")]
        if None not in losses
        else []
    )


def _interval(tasks: Mapping[str, Any]) -> str:
    low, high = tasks.get("interval") or (None, None)
    return (
        ""
        if low is None or high is None
        else f"95% interval {100 * low:.0f} to {100 * high:.0f}".replace("-", "−")
    )


def funnel(
    kept: KeptSurvey, rejects: RejectSurvey, asked: CompletionSurvey, results: Results
) -> list[Step]:
    """From prompts to training rows. Each step is the one before less the rejects of its stage."""
    candidates = kept.count + rejects.count
    dropped = {stage: rejects.of_stage(stage) for stage in STAGES}
    parsed = candidates - dropped["parse"]
    passed = parsed - dropped["filter"]
    new = passed - dropped["novelty"]
    each = f"{candidates / asked.completions:.1f} candidates each" if asked.completions else ""
    cut = f"{asked.truncated:,} cut off at the token limit" if asked.truncated else ""
    unfinished = (
        f"{asked.unfinished:,} more in episodes that were not finished" if asked.unfinished else ""
    )
    rows = [
        ("candidates", candidates, ""),
        ("parsed", parsed, _less(dropped["parse"], "could not be read")),
        ("passed the filters", passed, _less(dropped["filter"], "rejected by rule")),
        ("new", new, _less(dropped["novelty"], "too much like a seed or a kept row")),
        ("kept", kept.count, _less(new - kept.count, "rejected later")),
        *_trained(results),
    ]
    share = [count / candidates if candidates else 0.0 for _, count, _ in rows]
    return [
        Step("prompts", asked.prompts, note=unfinished),
        Step("completions", asked.completions, note=", ".join(filter(None, (each, cut)))),
        *(
            Step(label, count, part, note)
            for (label, count, note), part in zip(rows, share, strict=True)
        ),
    ]


def _less(count: int, what: str) -> str:
    return f"−{count:,} {what}" if count else ""


def _trained(results: Results) -> list[tuple[str, int, str]]:
    dataset = results.get("dataset") or {}
    if dataset.get("train") is None:
        return []
    notes = [f"{dataset['held_out']:,} held out"] if dataset.get("held_out") else []
    notes += [
        f"{count:,} dropped: {reason}"
        for reason, count in (dataset.get("dropped") or {}).items()
        if count
    ]
    return [
        (
            "trained on" if results.get("train") else "ready to train on",
            dataset["train"],
            ", ".join(notes),
        )
    ]


def training(metrics: Sequence[dict[str, Any]], train: StageResult) -> dict[str, Any]:
    """Curves and a few facts; empty parts where nothing was measured."""
    loss, held_out, rate = (
        curve(metrics, name) for name in ("loss", "held_out_loss", "learning_rate")
    )
    lines = [charts.Series("training", loss), charts.Series("held-out", held_out, "ink")]
    facts = [
        ("student", train.get("student")),
        ("trainable parameters", _of(train.get("trainable_parameters"), train.get("parameters"))),
        ("epochs", _short(train.get("epochs"))),
        ("training loss at the end", _fixed(train.get("train_loss"))),
        ("held-out loss at the end", _fixed(train.get("held_out_loss"))),
        ("tokens", _count(train.get("tokens"))),
        ("tokens per second", _count(train.get("tokens_per_second"))),
        ("rows cut at max_length", _count(train.get("truncated"))),
        ("rows too long to train on", _count(train.get("dropped_too_long"))),
        ("device", " ".join(str(train[key]) for key in ("device", "dtype") if train.get(key))),
        ("peak memory, GiB", _fixed(train.get("peak_memory_gib"))),
    ]
    return {
        "loss": charts.line_chart("Loss", lines, "optimizer step") if loss or held_out else None,
        "rate": charts.line_chart("Learning rate", [charts.Series("rate", rate)], "optimizer step")
        if rate
        else None,
        "facts": [(name, value) for name, value in facts if value not in (None, "")],
    }


def evaluation(evaluate: StageResult) -> dict[str, Any]:
    """Losses of both, tasks overall and by family (largest gain first), answers side by side."""
    held_out, tasks = evaluate.get("held_out") or {}, evaluate.get("tasks") or {}
    losses = [
        (
            who,
            _fixed((held_out.get(key) or {}).get("loss")),
            _fixed((held_out.get(key) or {}).get("perplexity")),
        )
        for who, key in (("base", "base"), ("student", "student"))
    ]
    families = [(name, *_scores(values)) for name, values in (tasks.get("by_family") or {}).items()]
    families.sort(key=lambda family: (family[2] - family[3], family[0]))
    begins = tasks.get("begins_right") or {}
    overall = [("all tasks", *_scores(tasks))] if tasks.get("count") else []
    return {
        "rows": _count(held_out.get("rows")),
        "begins": [percent(begins[who]) for who in ("base", "student")] if len(begins) == 2 else [],
        "losses": losses if any(loss for _, loss, _ in losses) else [],
        "tasks": [
            (*row, charts.dumbbell(row[2], row[3]), percent(row[2]), percent(row[3]))
            for row in overall + families
        ],
        "file": tasks.get("file"),
        "gain": f"{100 * tasks['gain']:.1f}".replace("-", "−")
        if tasks.get("gain") is not None
        else "",
        "interval": _interval(tasks),
        "answers": [_answers(item) for item in (evaluate.get("side_by_side") or [])[:SIDE_BY_SIDE]],
    }


def _scores(values: Mapping[str, Any]) -> tuple[int, float, float]:
    return (
        int(values.get("count") or 0),
        float(values.get("base") or 0),
        float(values.get("student") or 0),
    )


def _answers(item: Mapping[str, Any]) -> dict[str, Any]:
    """Task, expected answer, and (who, answer, right) of both; right is None where nothing was
    expected."""
    expected = str(item.get("expected") or "")
    answers = []
    for who in ("base", "student"):
        text = str(item.get(who) or "")
        right = item.get(f"{who}_right", is_right(text, expected)) if expected.strip() else None
        answers.append((who, text, right))
    shown = {key: item.get(key) or "" for key in ("instruction", "input", "from")}
    return {**shown, "expected": expected, "answers": answers}


def provenance(recipe: Recipe, run: Run, results: Results, where: str) -> dict[str, Any]:
    """What one needs to make the same again: commands, recipe, models, digests, versions, machine,
    times."""
    generate, dataset, train = (
        results.get(name) or {} for name in ("generate", "dataset", "train")
    )
    files = {f"dataset/{name}": digest for name, digest in (dataset.get("sha256") or {}).items()}
    if train.get("adapter_sha256"):
        files["adapter"] = train["adapter_sha256"]
    return {
        "again": f"localinstruct run {where}/recipe.yaml --name {run.path.name}-again",
        "use": [
            f"localinstruct show {where} --rejects",
            f"localinstruct export {where} --format alpaca --output {run.path.name}.json",
            f"localinstruct chat {where}",
        ],
        "recipe": recipe.to_yaml(),
        "recipe_digest": recipe.digest,
        "models": _models(recipe, generate, train),
        "files": files,
        "versions": {"localinstruct": __version__} | dict(generate.get("versions") or {}),
        "machine": _flat(generate.get("machine") or {}),
        "times": [_time(run, name) for name in results if run.stage(name)],
    }


def _models(recipe: Recipe, generate: StageResult, train: StageResult) -> list[dict[str, Any]]:
    """Role, name, digest, licence, obligations of each model; the names alone come from the
    recipe."""
    known = dict(generate.get("models") or {})
    named = {
        role: {"name": name}
        for role, name in recipe.models.model_dump().items()
        if isinstance(name, str)
    }
    merged = {
        role: named.get(role, {}) | _as_mapping(known.get(role)) for role in {**named, **known}
    }
    keys = ("name", "digest", "licence", "obligations")
    return [
        {"role": role} | {key: _words(values.get(key)) for key in keys}
        for role, values in merged.items()
    ]


def _as_mapping(value: Any) -> dict[str, Any]:
    return (
        {key: v for key, v in value.items() if v}
        if isinstance(value, Mapping)
        else {"name": value}
        if value
        else {}
    )


def _words(value: Any) -> str:
    return (
        "; ".join(map(str, value)) or "none"
        if isinstance(value, list | tuple)
        else ""
        if value is None
        else str(value)
    )


def _flat(values: Any, prefix: str = "") -> dict[str, str]:
    """Nested values as 'memory.total' -> text, for a two-column table."""
    if not isinstance(values, Mapping):
        return {prefix.rstrip(".") or "machine": _words(values)}
    flat: dict[str, str] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": _words(value)}
        )
    return flat


def _time(run: Run, name: str) -> tuple[str, str, str, str]:
    """Stage, when it began, wall time from first start to end (pauses included), and that of its
    last session."""
    entry = run.stage(name)
    assert entry is not None
    began = datetime.fromtimestamp(entry.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
    wall = (
        duration(entry.finished - entry.started) if entry.finished is not None else "not finished"
    )
    seconds = entry.result.get("seconds")
    return name, began, wall, duration(seconds) if seconds is not None else ""


def _fixed(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:,.2f}" if abs(value) < 1e6 else f"{value:.1e}"


def _count(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _short(value: Any) -> str:
    return charts.short(value) if isinstance(value, int | float) else ""


def _of(part: Any, whole: Any) -> str:
    if not part:
        return ""
    return f"{part:,} ({percent(part / whole)} of the base’s {whole:,})" if whole else f"{part:,}"
