"""Words of the report: headline, figures, funnel, training, evaluation.

All are values for the template. Stage results are read with `.get` throughout: an older or
interrupted run may lack any key, and a report that says less is better than none. Not covered: what
is counted from the store (data.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from localinstruct.evaluation import wording
from localinstruct.evaluation.verdict import work_seconds
from localinstruct.formats.tasks import checks_of_row
from localinstruct.progress import duration, loss, per_second, percent
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.report import charts
from localinstruct.report.data import (
    STAGES,
    CompletionSurvey,
    KeptSurvey,
    RejectSurvey,
    candidates,
    curve,
)
from localinstruct.report.provenance import Results

AT_ENDS = 5
"""Families that gained most, and least, which are shown unfolded."""
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
    offered = candidates(kept, rejects)
    if not offered:
        return "There are no rows yet."
    rows = f"{_plural(kept.count, 'row')} kept of {_plural(offered, 'candidate')}"
    if kept.asked == offered:
        rows = f"{_plural(kept.count, 'row')} mixed in, of {offered:,} that files brought"
    elif kept.asked:
        rows = f"{rows}, {kept.mixed:,} of them mixed in"
    evaluate = results.get("evaluate") or {}
    tasks, held_out = evaluate.get("tasks") or {}, evaluate.get("held_out") or {}
    if tasks.get("count") and None not in (tasks.get("student"), tasks.get("base")):
        return (
            f"{rows}; the student answers {percent(tasks['student'])} of {tasks['count']:,} "
            f"held-out tasks, its base {percent(tasks['base'])}."
        )
    base, student = ((held_out.get(who) or {}).get("loss") for who in ("base", "student"))
    if base is not None and student is not None:
        losses = f"{loss(student)}, its base’s {loss(base)}"
        return f"{rows}; the student’s held-out loss is {losses}."
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
        Figure(f"{kept.count:,}", "rows kept", _wanted(recipe, kept)),
        *_kept_rate_figure(kept, rejects),
        *_checked_figure(generate),
        *_gain_figure(results.get("evaluate") or {}),
        *_speed_figure(generate),
        *_training_figure(train),
    ]
    return every[:6]


def _wanted(recipe: Recipe, kept: KeptSurvey) -> str:
    if not kept.asked:
        return f"of {recipe.generate.target:,} wanted"
    written = kept.count - kept.mixed
    return f"{written:,} written, {kept.mixed:,} mixed in" if written else "mixed in"


def _kept_rate_figure(kept: KeptSurvey, rejects: RejectSurvey) -> list[Figure]:
    offered = candidates(kept, rejects)
    if not offered:
        return []
    note = f"{offered:,} candidates"
    return [Figure(percent(kept.count / offered), "of candidates kept", note)]


def _checked_figure(generate: StageResult) -> list[Figure]:
    share, _, of = wording.checked(generate.get("checked") or {"right": 0, "wrong": 0}).partition(
        " "
    )
    return [Figure(share, "of kept answers right", f"{of} that can be checked")] if share else []


def _speed_figure(generate: StageResult) -> list[Figure]:
    speed = generate.get("tokens_per_second")
    if not speed:
        return []
    note = "while the teacher was asked"
    return [Figure(per_second(speed), "output tokens per second", note)]


def _training_figure(train: StageResult) -> list[Figure]:
    seconds = work_seconds(train)
    if seconds is None:
        return []
    steps = f"{train['steps']:,} steps, loading included" if train.get("steps") else ""
    return [Figure(duration(seconds), "training", steps)]


def _gain_figure(evaluate: StageResult) -> list[Figure]:
    tasks, held_out = evaluate.get("tasks") or {}, evaluate.get("held_out") or {}
    if tasks.get("gain") is not None:
        note = wording.interval(tasks)
        return [Figure(wording.signed(tasks["gain"]), "points on held-out tasks", note)]
    base, student = ((held_out.get(who) or {}).get("loss") for who in ("base", "student"))
    if base is None or student is None:
        return []
    return [Figure(loss(student), "held-out loss", f"base {loss(base)}")]


def funnel(
    kept: KeptSurvey, rejects: RejectSurvey, log: CompletionSurvey, results: Results
) -> list[Step]:
    """Steps from prompts to training rows, each the one before less its stage's rejects.

    Rows that files brought are candidates too, and join the others where they are compared.
    """
    offered = candidates(kept, rejects)
    written = offered - kept.asked
    dropped = {stage: rejects.of_stage(stage) for stage in STAGES}
    parsed = offered - dropped["parse"]
    passed = parsed - dropped["filter"]
    new = passed - dropped["novelty"]
    left_out = kept.asked - kept.mixed
    later = new - kept.count - left_out
    notes = [_less(later, "rejected later"), _less(left_out, "of those brought left out")]
    origin = f"{written:,} written, {kept.asked:,} brought by files" if kept.asked else ""
    origin = origin if written else "brought by files and other runs"
    own = [
        ("parsed", parsed, _less(dropped["parse"], "could not be read")),
        ("passed the filters", passed, _less(dropped["filter"], "rejected by rule")),
        ("new", new, _less(dropped["novelty"], "too much like a seed or a kept row")),
    ]
    rows = [
        ("candidates", offered, origin),
        *(own if written else []),
        ("kept", kept.count, ", ".join(filter(None, notes))),
        *_trained(results, bool(kept.asked)),
    ]
    steps = [
        Step(label, count, count / offered if offered else 0.0, note) for label, count, note in rows
    ]
    return [*(_log_steps(log, written) if written or log.prompts else []), *steps]


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


def _trained(results: Results, is_mixed: bool) -> list[tuple[str, int, str]]:
    dataset = results.get("dataset") or {}
    if dataset.get("train") is None:
        return []
    notes = [f"{dataset['held_out']:,} held out"] if dataset.get("held_out") else []
    # of a mixture, rows that were left out have not been counted as kept
    dropped = {} if is_mixed else dataset.get("dropped") or {}
    notes += [f"{count:,} dropped: {reason}" for reason, count in dropped.items() if count]
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
        ("training loss, mean of the last epoch", _loss(train.get("train_loss"))),
        ("held-out loss of the student kept", _loss(train.get("held_out_loss"))),
        ("tokens", _count(train.get("tokens"))),
        ("tokens per second, in the steps", _count(train.get("tokens_per_second"))),
        ("rows cut at max_length", _count(train.get("truncated"))),
        ("rows too long to train on", _count(train.get("dropped_too_long"))),
        ("device", device),
        ("time in the steps", _time_of(train)),
        ("peak memory, GiB", _gib(train.get("peak_memory_gib"))),
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
        "groups": _grouped(_task_rows(tasks)),
        "file": tasks.get("file"),
        "gain": "" if gain is None else wording.gain(tasks),
        "cut": wording.cut(evaluate),
        "open": wording.open_answers(evaluate),
        "answers": [_answers(item) for item in answers[:SIDE_BY_SIDE]],
    }


def _loss_rows(held_out: JsonObject) -> list[tuple[str, str, str]]:
    """(who, loss, perplexity) of base and student; none where no loss was measured."""
    losses = {who: held_out.get(who) or {} for who in ("base", "student")}
    rows = [
        (who, _loss(loss.get("loss")), _perplexity(loss.get("perplexity")))
        for who, loss in losses.items()
    ]
    return rows if any(loss for _, loss, _ in rows) else []


TaskRow = tuple[str, int, float, float, Markup, str, str]
"""(family, tasks, shares right of base and student, their chart, both shares in words)."""


def _task_rows(tasks: JsonObject) -> list[TaskRow]:
    """All tasks together, then each family, the largest gain first."""
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


def _grouped(rows: Sequence[TaskRow]) -> list[JsonObject]:
    """Families in groups of {title, rows, open}: all tasks, best, worst, and those between folded.

    Few of them are one group, which begins with all tasks together.
    """
    families = rows[1:]
    if len(families) <= 2 * AT_ENDS + 2:
        return [{"title": "", "rows": rows, "open": True}] if rows else []
    best, worst = families[:AT_ENDS], families[-AT_ENDS:]
    between = families[AT_ENDS:-AT_ENDS]
    return [
        {"title": "", "rows": rows[:1], "open": True},
        {"title": f"The {AT_ENDS} that gained most", "rows": best, "open": True},
        {"title": f"The {len(between)} between them", "rows": between, "open": False},
        {"title": f"The {AT_ENDS} that gained least", "rows": worst, "open": True},
    ]


def _scores(values: JsonObject) -> tuple[int, float, float]:
    count, base, student = (values.get(key) or 0 for key in ("count", "base", "student"))
    return int(count), float(base), float(student)


def _answers(item: JsonObject) -> JsonObject:
    """A task, its expected answer, and (who, answer, mark, cut) of both.

    The mark is True or False where an answer is right or wrong, None for an open one. Older
    versions marked every held-out row, letter by letter; such marks are not shown.
    """
    expected = str(item.get("expected") or "")
    of_row = item.get("from") == "held-out rows"
    is_marked = not of_row or "base_cut" in item or bool(checks_of_row(expected))
    answers = []
    for who in ("base", "student"):
        mark = item.get(f"{who}_right") if is_marked else None
        answers.append((who, str(item.get(who) or ""), mark, bool(item.get(f"{who}_cut"))))
    texts = {key: item.get(key) or "" for key in ("instruction", "input", "from")}
    return {**texts, "expected": expected, "answers": answers}


def _loss(value: object) -> str:
    return loss(value) if isinstance(value, int | float) else ""


def _perplexity(value: object) -> str:
    return wording.perplexity(value) if isinstance(value, int | float) else ""


def _gib(value: object) -> str:
    return f"{value:,.1f}" if isinstance(value, int | float) else ""


def _time_of(train: StageResult) -> str:
    return duration(train["seconds"]) if train.get("seconds") is not None else ""


def _count(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else ""


def _short(value: object) -> str:
    return charts.short(value) if isinstance(value, int | float) else ""
