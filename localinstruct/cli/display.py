"""Output about runs: values in, lines of `console` out."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from localinstruct import console
from localinstruct.cli.display_rows import show_row
from localinstruct.cli.standing import counted, doubts, state_facts
from localinstruct.dataset.rows import RunRows
from localinstruct.documents import folder_summary
from localinstruct.evaluation import wording
from localinstruct.evaluation.verdict import better, verdict, work_seconds
from localinstruct.nano import LABEL, is_nano
from localinstruct.pipeline import recipe_of
from localinstruct.progress import duration, loss, per_second
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject, StageResult
from localinstruct.report import live_words
from localinstruct.report.facts import finished_results
from localinstruct.report.live import Watch
from localinstruct.stages import Stage
from localinstruct.states import UNDATED, States, read_comparisons, stale_words, states_of
from localinstruct.store.lock import owner
from localinstruct.store.run import Run
from localinstruct.topics.coverage import topic_counts


def stage_done(stage: Stage, result: StageResult, skipped: bool) -> None:
    """Print one line for a finished stage, on stderr beside the progress."""
    text = _LINES[stage.name](result)
    console.note(
        f"{'=' if skipped else '+'} {stage.name}: {text}{' (done before)' if skipped else ''}"
    )


def summary(run: Run) -> None:
    """Print the last lines of a whole run: rows, student, report, then the next commands.

    The rest is behind `show`.
    """
    console.heading(f"{run.path}: done")
    console.pairs(_last_lines(run))


def _last_lines(run: Run) -> Iterable[tuple[str, str]]:
    recipe = recipe_of(run)[0]
    states, results = states_of(recipe, run), finished_results(run, recipe)
    generated, evaluated = results["generate"] or {}, results["evaluate"] or {}
    yield "rows", _rows_line(generated, RunRows(run).sources)
    is_nano_run = any(is_nano(model["name"]) for model in generated.get("models", {}).values())
    label = f" Nano models are {LABEL}." if is_nano_run else ""
    yield "student", f"{better(evaluated) if evaluated else 'Not evaluated.'}{label}"
    yield "report", str(run.path / "report.html")
    yield from doubts(states, run)
    export = f"export {run.path} --format {_fitting_format(next(iter(RunRows(run)), None))}"
    commands = (f"show {run.path}", f"review {run.path}", f"chat {run.path}", export)
    for name, command in zip(("next", *[""] * 3), commands, strict=True):
        yield name, f"localinstruct {command}"


def _rows_line(generated: StageResult, sources: Iterable[JsonObject]) -> str:
    """'302 of 340 candidates kept, 90.1% of 373 that can be checked are right'."""
    parts = []
    if generated.get("candidates"):
        parts.append(f"{generated['kept']:,} of {generated['candidates']:,} candidates kept")
    if words := wording.checked(generated["checked"]) if generated.get("checked") else "":
        parts.append(f"{words} that can be checked are right")
    if sources := list(sources):
        parts.append(_mixed(sources))
    return ", ".join(parts) or "none"


def egress_report(run: Path) -> None:
    """After a sealed command, print its egress report's verdict and signing key on stderr."""
    from localinstruct import signing
    from localinstruct.offline import egress_report, seal

    if not seal.status().sealed:
        return
    path = run / egress_report.JSON
    body, _ = signing.read_signed(path)
    signer = signing.signer_of(path)
    console.note(f"egress report: {path}: {egress_report.verdict(body)}")
    unsigned = "not signed; why: localinstruct verify-report --own-key"
    console.note(f"signed with the key {signer}" if signer else unsigned)


def _result_rows(run: Run, recipe: Recipe) -> Iterable[tuple[str, str]]:
    """Everything that was measured, beyond the lines of the stages."""
    results = finished_results(run, recipe)
    generated, dataset, trained, evaluated = (
        results[name] or {} for name in ("generate", "dataset", "train", "evaluate")
    )
    yield from _generated_rows(generated)
    if reviewed := RunRows(run).reviewed_words:
        yield "review", reviewed
    if trained:
        yield "held-out loss", _losses(evaluated, trained)
    if evaluated:
        yield from _evaluated_rows(evaluated)
        yield "verdict", verdict(evaluated, generated, dataset, trained)
    if any(is_nano(model["name"]) for model in generated.get("models", {}).values()):
        yield "nano models", f"{LABEL}: use a real teacher for that"
    if (run.path / "report.html").is_file():
        yield "report", str(run.path / "report.html")


def _evaluated_rows(result: StageResult) -> Iterable[tuple[str, str]]:
    if words := wording.open_answers(result):
        yield "open answers", words
    if words := wording.cut(result):
        yield "cut answers", words
    yield "forgetting", _forgetting(result)


def _mixed(sources: Iterable[JsonObject]) -> str:
    """'1,000 of 1,287 rows asked of other.jsonl · 40 of 40 rows asked of runs/b'."""
    return " · ".join(
        f"{one['taken']:,} of {one['asked']:,} rows asked of {one['source']}" for one in sources
    )


def _generated_rows(result: StageResult) -> Iterable[tuple[str, str]]:
    if not result.get("candidates"):
        return
    speed = f", {per_second(result['tokens_per_second'])} output tokens/s"
    yield (
        "kept rows",
        f"{result['kept']:,} of {result['candidates']:,} candidates"
        f"{speed if result['tokens_per_second'] else ''}",
    )
    if result.get("checked") and result["kept"]:
        yield "right answers", _checked(result["checked"])
    if result.get("documents"):
        yield "documents", folder_summary(**result["documents"])


def _fitting_format(row: Instance | None) -> str:
    """The plainest export that holds rows like this one."""
    if row and row.rejected:
        return "preference"
    return "messages" if row and (row.history or row.system or row.thinking) else "alpaca"


def _checked(counts: dict[str, int]) -> str:
    rest = f"{counts['wrong']:,} wrong; {counts['unrecognised']:,} kept answers cannot be checked"
    words = wording.checked(counts)
    return f"{words} that can be checked ({rest})" if words else "none can be checked"


def _coverage(topics: Iterable[JsonObject]) -> str:
    """'adding 20 of 20 · sorting 13', the topics with fewest rows first."""
    fewest = sorted(topics, key=lambda topic: int(topic["kept"]))
    return " · ".join(
        f"{topic['topic']} {topic['kept']:,}"
        + (f" of {topic['quota']:,}" if topic["quota"] else "")
        for topic in fewest
    )


def _losses(evaluated: StageResult, trained: StageResult) -> str:
    if losses := evaluated.get("held_out"):
        return wording.losses(losses)
    measured = trained.get("held_out_loss")
    return "nothing is held out" if measured is None else f"student {loss(measured)}"


def _forgetting(evaluated: StageResult) -> str:
    parts, measured = [], evaluated.get("forgetting") or {}
    if measured.get("base"):
        parts.append(f"perplexity of general text {wording.perplexities(measured)}")
    if lost := wording.lost(evaluated):
        parts.append(f"{lost[0]:,} of the base's {lost[1]:,} right answers are now wrong")
    return "; ".join(parts) or "not measured"


def _generate_line(result: StageResult) -> str:
    if not result["candidates"]:
        return "no teacher was asked"
    return f"{result['kept']:,} rows kept of {result['candidates']:,} candidates{_in(result)}"


def _dataset_line(result: StageResult) -> str:
    dropped = sum(result.get("dropped", {}).values())
    kept = f"{result['train']:,} rows to train on, {result['held_out']:,} held out"
    return f"{kept}, {dropped:,} dropped{_in(result)}"


def _train_line(result: StageResult) -> str:
    measured = result.get("held_out_loss")
    held_out = f", held-out loss {loss(measured)}" if measured is not None else ""
    return f"{result['steps']:,} steps{held_out}{_in(result)}"


def _evaluate_line(result: StageResult) -> str:
    if tasks := result.get("tasks"):
        return f"{wording.right(tasks)}, {wording.gain(tasks)}{_in(result)}"
    losses = result.get("held_out")
    return f"held-out loss {wording.losses(losses)}{_in(result)}" if losses else "nothing to ask"


def _in(result: StageResult) -> str:
    """', in 13 s': the time at work, starts included."""
    seconds = work_seconds(result)
    return "" if seconds is None else f", in {duration(seconds)}"


_LINES = {
    "generate": _generate_line,
    "dataset": _dataset_line,
    "train": _train_line,
    "evaluate": _evaluate_line,
    "report": lambda result: f"{result['bytes'] / 1024:,.0f} KiB{_in(result)}",
}


def overview(run: Run, limit: int, json: bool) -> None:
    """Show stages, counts and the newest kept rows."""
    recipe, _ = recipe_of(run)
    if json:
        console.as_json(_overview(run))
        return
    all_rows, states = RunRows(run), states_of(recipe, run)
    rows = list(run.kept())
    console.heading(f"{run.path}: {_counted(all_rows, recipe.generate.target)}")
    lines = [(name, _state(states, name, run)) for name in states]
    live = [] if owner(run.path) is None else _live(run)
    console.pairs([*lines, *live, *doubts(states, run)])
    console.pairs(_result_rows(run, recipe))
    if recipe.coverage.topics:
        topics = map(asdict, topic_counts(recipe.coverage, rows))
        console.pairs([("coverage", _coverage(topics))])
    if all_rows.sources:
        console.pairs([("mixed", _mixed(all_rows.sources))])
    if reviewed := all_rows.reviewed_words:
        console.pairs([("review", reviewed)])
    console.line()
    mixed = all_rows.mixed[: max(limit // 2, limit - len(rows))]
    for row in [*mixed, *rows[len(rows) - min(len(rows), limit - len(mixed)) :]]:
        show_row(row, all_rows.source_of.get(row.id, ""))


def _live(run: Run) -> list[tuple[str, str]]:
    """(name, value) lines of a run at work, as `watch` has them."""
    facts = Watch(run.path).look()
    return [("now", live_words.headline(facts)), *live_words.pace(facts)]


def _counted(rows: RunRows, target: int) -> str:
    """'402 of 400 rows kept, 1,000 mixed in'; of a run that asks no teacher the latter alone."""
    kept, mixed = rows.run.count_kept(), len(rows.mixed)
    parts = [f"{kept:,} of {target:,} rows kept"] if target or kept else []
    parts += [f"{mixed:,} rows mixed in"] if mixed else []
    return ", ".join(parts) or "no rows yet"


def _overview(run: Run) -> JsonObject:
    recipe, rows = recipe_of(run)[0], RunRows(run)
    states = states_of(recipe, run)
    return {
        "run": str(run.path),
        "recipe": recipe.model_dump(mode="json"),
        "kept": run.count_kept(),
        "mixed": len(rows.mixed),
        "sources": rows.sources,
        "live": Watch(run.path).look().to_dict() if owner(run.path) else None,
        "reviewed": rows.reviewed,
        "rejects": [{"stage": s, "reason": r, "count": c} for s, r, c in rows.reject_counts()],
        "stages": {
            name: state_facts(states, name, run) for name, state in states.items() if state.entry
        },
        "comparisons": [
            {"name": stored["name"], "stale": stored["stale"]} for stored in read_comparisons(run)
        ],
    }


def _state(states: States, name: str, run: Run) -> str:
    state = states[name]
    if state.entry is None:
        return "not started"
    if state.state == "begun":
        return "begun, not finished"
    if state.state == "stale":
        return f"STALE: {stale_words(states, name, str(run.path))}"
    line = _LINES[name](counted(state, run))
    line += " (of the student that was there before)" if name == "train" and state.edited else ""
    return f"{line} ({UNDATED})" if UNDATED in state.remarks else line
