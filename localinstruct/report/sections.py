"""Words of the report: headline, figures, funnel, training, evaluation, provenance.

All are values for the template. Stage results are read with `.get` throughout: an older or
interrupted run may lack any key, and a report that says less is better than none. Not covered: what
is counted from the store (data.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from markupsafe import Markup

from localinstruct import __version__
from localinstruct.formats.tasks import is_right
from localinstruct.progress import duration, percent
from localinstruct.recipe import Recipe
from localinstruct.records import Json, JsonObject, StageResult
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
    """A step of the funnel; `share` of the candidates is None for what are not rows."""

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
            f"held-out tasks, its base {percent(tasks['base'])}."
        )
    base, student = ((held_out.get(who) or {}).get("loss") for who in ("base", "student"))
    if base is not None and student is not None:
        return f"{rows}; the student’s held-out loss is {student:.2f}, its base’s {base:.2f}."
    return f"{rows}; the student is trained." if results.get("train") else f"{rows}."


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def figures(
    recipe: Recipe, kept: KeptSurvey, rejects: RejectSurvey, results: Results
) -> list[Figure]:
    """At most six key figures, the most telling first; none for what was not measured."""
    generate = results.get("generate") or {}
    train = results.get("train") or {}
    every = [
        Figure(f"{kept.count:,}", "rows kept", f"of {recipe.generate.target:,} wanted"),
        *_kept_rate_figure(kept, rejects),
        *_checked_figure(generate),
        *_gain_figure(results.get("evaluate") or {}),
        *_speed_figure(generate),
        *_training_figure(train),
    ]
    return every[:6]


def _kept_rate_figure(kept: KeptSurvey, rejects: RejectSurvey) -> list[Figure]:
    candidates = kept.count + rejects.count
    if not candidates:
        return []
    kept_rate = percent(kept.count / candidates)
    return [Figure(kept_rate, "of candidates kept", f"{candidates:,} candidates")]


def _checked_figure(generate: StageResult) -> list[Figure]:
    checked = generate.get("checked") or {}
    right = checked.get("right") or 0
    checkable = right + (checked.get("wrong") or 0)
    if not checkable:
        return []
    note = f"of {checkable:,} that can be checked"
    return [Figure(percent(right / checkable), "of kept answers right", note)]


def _speed_figure(generate: StageResult) -> list[Figure]:
    speed = generate.get("tokens_per_second")
    in_flight = generate.get("in_flight")
    if speed is None:
        return []
    unit = "requests" if "window" in generate else "episodes"  # as 0.1.0 counted
    note = f"{in_flight:,} {unit} in flight" if in_flight else "while generating"
    return [Figure(f"{speed:,.0f}", "output tokens per second", note)]


def _training_figure(train: StageResult) -> list[Figure]:
    if train.get("seconds") is None:
        return []
    steps = f"{train['steps']:,} steps" if train.get("steps") else ""
    return [Figure(duration(train["seconds"]), "training", steps)]


def _gain_figure(evaluate: StageResult) -> list[Figure]:
    tasks, held_out = evaluate.get("tasks") or {}, evaluate.get("held_out") or {}
    if tasks.get("gain") is not None:
        points = f"{100 * tasks['gain']:+.0f}".replace("-", "−")
        return [Figure(points, "points on held-out tasks", _interval(tasks))]
    base, student = ((held_out.get(who) or {}).get("loss") for who in ("base", "student"))
    if base is None or student is None:
        return []
    return [Figure(f"{student:.2f}", "held-out loss", f"base {base:.2f}")]


def _interval(tasks: JsonObject) -> str:
    low, high = tasks.get("interval") or (None, None)
    if low is None or high is None:
        return ""
    return f"95% interval {100 * low:.0f} to {100 * high:.0f}".replace("-", "−")


def funnel(
    kept: KeptSurvey, rejects: RejectSurvey, log: CompletionSurvey, results: Results
) -> list[Step]:
    """Steps from prompts to training rows, each the one before less its stage's rejects."""
    candidates = kept.count + rejects.count
    dropped = {stage: rejects.of_stage(stage) for stage in STAGES}
    parsed = candidates - dropped["parse"]
    passed = parsed - dropped["filter"]
    new = passed - dropped["novelty"]
    rows = [
        ("candidates", candidates, ""),
        ("parsed", parsed, _less(dropped["parse"], "could not be read")),
        ("passed the filters", passed, _less(dropped["filter"], "rejected by rule")),
        ("new", new, _less(dropped["novelty"], "too much like a seed or a kept row")),
        ("kept", kept.count, _less(new - kept.count, "rejected later")),
        *_trained(results),
    ]
    steps = [
        Step(label, count, count / candidates if candidates else 0.0, note)
        for label, count, note in rows
    ]
    return [*_log_steps(log, candidates), *steps]


def _log_steps(log: CompletionSurvey, candidates: int) -> list[Step]:
    notes = []
    if log.completions:
        notes.append(f"{candidates / log.completions:.1f} candidates each")
    if log.truncated:
        notes.append(f"{log.truncated:,} cut off at the token limit")
    unfinished = f"{log.unfinished:,} more in episodes that were not finished"
    return [
        Step("prompts", log.prompts, note=unfinished if log.unfinished else ""),
        Step("completions", log.completions, note=", ".join(notes)),
    ]


def _less(count: int, what: str) -> str:
    return f"−{count:,} {what}" if count else ""


def _trained(results: Results) -> list[tuple[str, int, str]]:
    dataset = results.get("dataset") or {}
    if dataset.get("train") is None:
        return []
    notes = [f"{dataset['held_out']:,} held out"] if dataset.get("held_out") else []
    dropped = (dataset.get("dropped") or {}).items()
    notes += [f"{count:,} dropped: {reason}" for reason, count in dropped if count]
    label = "trained on" if results.get("train") else "ready to train on"
    return [(label, dataset["train"], ", ".join(notes))]


def training(metrics: Sequence[JsonObject], train: StageResult) -> JsonObject:
    """Loss and learning rate as charts, and facts; empty where nothing was measured."""
    loss, held_out = curve(metrics, "loss"), curve(metrics, "held_out_loss")
    rate = curve(metrics, "learning_rate")
    losses = [charts.Series("training", loss), charts.Series("held-out", held_out, "ink")]
    rates = [charts.Series("rate", rate)]
    step = "optimizer step"
    return {
        "loss": charts.line_chart("Loss", losses, step) if loss or held_out else None,
        "rate": charts.line_chart("Learning rate", rates, step) if rate else None,
        "facts": _training_facts(train),
    }


def _training_facts(train: StageResult) -> list[tuple[str, str]]:
    device = " ".join(str(train[key]) for key in ("device", "dtype") if train.get(key))
    facts = [
        ("student", train.get("student")),
        ("trainable parameters", _trainable(train)),
        ("epochs", _short(train.get("epochs"))),
        ("training loss at the end", _fixed(train.get("train_loss"))),
        ("held-out loss at the end", _fixed(train.get("held_out_loss"))),
        ("tokens", _count(train.get("tokens"))),
        ("tokens per second", _count(train.get("tokens_per_second"))),
        ("rows cut at max_length", _count(train.get("truncated"))),
        ("rows too long to train on", _count(train.get("dropped_too_long"))),
        ("device", device),
        ("peak memory, GiB", _fixed(train.get("peak_memory_gib"))),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _trainable(train: StageResult) -> str:
    part = train.get("trainable_parameters")
    whole = train.get("parameters")
    if not part:
        return ""
    return f"{part:,} ({percent(part / whole)} of the base’s {whole:,})" if whole else f"{part:,}"


def evaluation(evaluate: StageResult) -> JsonObject:
    """Losses of both, tasks overall and by family (largest gain first), answers side by side."""
    held_out, tasks = evaluate.get("held_out") or {}, evaluate.get("tasks") or {}
    begins = tasks.get("begins_right") or {}
    gain = tasks.get("gain")
    answers = evaluate.get("side_by_side") or []
    return {
        "rows": _count(held_out.get("rows")),
        "begins": [percent(begins[who]) for who in ("base", "student")] if len(begins) == 2 else [],
        "losses": _loss_rows(held_out),
        "tasks": _task_rows(tasks),
        "file": tasks.get("file"),
        "gain": "" if gain is None else f"{100 * gain:.1f}".replace("-", "−"),
        "interval": _interval(tasks),
        "answers": [_answers(item) for item in answers[:SIDE_BY_SIDE]],
    }


def _loss_rows(held_out: JsonObject) -> list[tuple[str, str, str]]:
    """(who, loss, perplexity) of base and student; none where no loss was measured."""
    losses = {who: held_out.get(who) or {} for who in ("base", "student")}
    rows = [
        (who, _fixed(loss.get("loss")), _fixed(loss.get("perplexity")))
        for who, loss in losses.items()
    ]
    return rows if any(loss for _, loss, _ in rows) else []


def _task_rows(tasks: JsonObject) -> list[tuple[str, int, float, float, Markup, str, str]]:
    """(family, tasks, shares right of base and student, their chart, both shares in words)."""
    families = [(name, *_scores(values)) for name, values in (tasks.get("by_family") or {}).items()]
    families.sort(key=lambda family: (family[2] - family[3], family[0]))
    overall = [("all tasks", *_scores(tasks))] if tasks.get("count") else []
    return [
        (
            name,
            count,
            base,
            student,
            charts.dumbbell(base, student),
            percent(base),
            percent(student),
        )
        for name, count, base, student in overall + families
    ]


def _scores(values: JsonObject) -> tuple[int, float, float]:
    count, base, student = (values.get(key) or 0 for key in ("count", "base", "student"))
    return int(count), float(base), float(student)


def _answers(item: JsonObject) -> JsonObject:
    """A task, its expected answer, and (who, answer, right) of both.

    `right` is None where no answer was expected.
    """
    expected = str(item.get("expected") or "")
    answers = []
    for who in ("base", "student"):
        text = str(item.get(who) or "")
        right = item.get(f"{who}_right", is_right(text, expected)) if expected.strip() else None
        answers.append((who, text, right))
    texts = {key: item.get(key) or "" for key in ("instruction", "input", "from")}
    return {**texts, "expected": expected, "answers": answers}


def provenance(recipe: Recipe, run: Run, results: Results, where: str) -> JsonObject:
    """Everything to repeat the run: commands, recipe, models, digests, versions, machine, times."""
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
        "models": _models(recipe, generate),
        "files": files,
        "versions": {"localinstruct": __version__} | dict(generate.get("versions") or {}),
        "machine": _flat(generate.get("machine") or {}),
        "times": [_time(run, name) for name in results if run.stage(name)],
    }


def _models(recipe: Recipe, generate: StageResult) -> list[dict[str, str]]:
    """Role, name, digest, licence and obligations of each model; the recipe has only names."""
    stored = dict(generate.get("models") or {})
    names = recipe.models.model_dump().items()
    recipe_models = {role: {"name": name} for role, name in names if isinstance(name, str)}
    merged = {
        role: recipe_models.get(role, {}) | _as_object(stored.get(role))
        for role in {**recipe_models, **stored}
    }
    keys = ("name", "digest", "licence", "obligations")
    return [
        {"role": role} | {key: _words(values.get(key)) for key in keys}
        for role, values in merged.items()
    ]


def _as_object(value: Json) -> JsonObject:
    """A model in a result: an object, or the name alone."""
    if isinstance(value, Mapping):
        return {key: part for key, part in value.items() if part}
    return {"name": value} if value else {}


def _words(value: Json) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value)) or "none"
    return "" if value is None else str(value)


def _flat(values: Json, prefix: str = "") -> dict[str, str]:
    """Nested values as 'memory.total' -> text, for a two-column table."""
    if not isinstance(values, Mapping):
        return {prefix.rstrip(".") or "machine": _words(values)}
    flat: dict[str, str] = {}
    for key, value in values.items():
        is_nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{key}.") if is_nested else {f"{prefix}{key}": _words(value)}
    return flat


def _time(run: Run, name: str) -> tuple[str, str, str, str]:
    """(stage, begin, wall time, time of its last session); the wall time includes pauses."""
    entry = run.stage(name)
    assert entry is not None
    began = datetime.fromtimestamp(entry.started, UTC).strftime("%Y-%m-%d %H:%M:%S")
    wall = "not finished"
    if entry.finished is not None:
        wall = duration(entry.finished - entry.started)
    seconds = entry.result.get("seconds")
    return name, began, wall, duration(seconds) if seconds is not None else ""


def _fixed(value: object) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{value:,.2f}" if abs(value) < 1e6 else f"{value:.1e}"


def _count(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _short(value: object) -> str:
    return charts.short(value) if isinstance(value, int | float) else ""
