"""Output about runs: values in, lines of `console` out."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from localinstruct import console
from localinstruct.cli.standing import counted, doubts, state_facts
from localinstruct.curate.novelty import Novelty, text_of
from localinstruct.documents import folder_summary
from localinstruct.evaluation.verdict import verdict
from localinstruct.generation.inputs import seeds_of
from localinstruct.nano import LABEL, is_nano
from localinstruct.pipeline import recipe_of
from localinstruct.records import Instance, JsonObject, Reject, StageResult
from localinstruct.stages import Stage
from localinstruct.states import (
    UNDATED,
    States,
    read_comparisons,
    results_of,
    stale_words,
    states_of,
)
from localinstruct.store.lineage import family
from localinstruct.store.run import Run
from localinstruct.topics.coverage import topic_counts


def stage_done(stage: Stage, result: StageResult, skipped: bool) -> None:
    """Print one line for a finished stage, on stderr beside the progress."""
    text = _LINES[stage.name](result)
    console.note(
        f"{'=' if skipped else '+'} {stage.name}: {text}{' (done before)' if skipped else ''}"
    )


def summary(run: Run) -> None:
    """Print the last lines of a whole run: kept rows, right answers, gain, report, next command."""
    console.heading(f"{run.path}: done")
    console.pairs(_summary_rows(run))


def egress_report(run: Path) -> None:
    """After a sealed command, print its egress report's verdict and signing key on stderr."""
    from localinstruct.offline import egress_report, seal, signing

    if not seal.status().sealed:
        return
    path = run / egress_report.JSON
    body, _ = signing.read_signed(path)
    signer = signing.public_key(path)
    console.note(f"egress report: {path}: {egress_report.verdict(body)}")
    unsigned = "not signed: the library cryptography is not installed"
    console.note(f"signed with the key {signer}" if signer else unsigned)


def _summary_rows(run: Run) -> Iterable[tuple[str, str]]:
    states = states_of(recipe_of(run)[0], run)
    results = results_of(states, run)
    generated, dataset, trained, evaluated = (
        results[name] or {} for name in ("generate", "dataset", "train", "evaluate")
    )
    yield from _generated_rows(generated)
    if trained:
        yield "held-out loss", _losses(evaluated, trained)
    if evaluated.get("tasks"):
        yield "held-out tasks", _gain(evaluated["tasks"])
    if evaluated:
        yield "forgetting", _forgetting(evaluated.get("forgetting") or {})
        yield "verdict", verdict(evaluated, generated, dataset, trained)
    if any(is_nano(model["name"]) for model in generated.get("models", {}).values()):
        yield "nano models", f"{LABEL}: use a real teacher for that"
    yield from doubts(states, run)
    yield "report", str(run.path / "report.html")
    export = f"export {run.path} --format {_fitting_format(next(run.kept(), None))}"
    yield "next", f"localinstruct chat {run.path} · show {run.path} --rejects · {export}"


def _generated_rows(result: StageResult) -> Iterable[tuple[str, str]]:
    yield (
        "kept rows",
        f"{result['kept']:,} of {result['candidates']:,} candidates, "
        f"{result['tokens_per_second']:,.0f} output tokens/s",
    )
    if result.get("coverage"):
        yield "coverage", _coverage(result["coverage"])
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
    known = counts["right"] + counts["wrong"]
    rest = f"{counts['wrong']} wrong; {counts['unrecognised']} kept answers cannot be checked"
    return f"{counts['right'] / max(known, 1):.1%} of {known:,} that can be checked ({rest})"


def _coverage(topics: Iterable[JsonObject]) -> str:
    """'adding 20 of 20 · sorting 13', the topics with fewest rows first."""
    fewest = sorted(topics, key=lambda topic: int(topic["kept"]))
    return " · ".join(
        f"{topic['topic']} {topic['kept']:,}"
        + (f" of {topic['quota']:,}" if topic["quota"] else "")
        for topic in fewest
    )


def _losses(evaluated: StageResult, trained: StageResult) -> str:
    losses = evaluated.get("held_out")
    if not losses:
        return f"student {trained.get('held_out_loss', float('nan')):.3f}"
    return f"base {losses['base']['loss']:.3f} → student {losses['student']['loss']:.3f}"


def _forgetting(measured: JsonObject) -> str:
    parts = []
    if measured.get("base"):
        before, after = (measured[who]["perplexity"] for who in ("base", "student"))
        parts.append(f"perplexity of general text {before:,.1f} → {after:,.1f}")
    if "lost" in measured:
        parts.append(f"{measured['lost']} of the base's right answers are now wrong")
    return "; ".join(parts) or "not measured"


def _gain(tasks: JsonObject) -> str:
    low, high = tasks["interval"]
    return (
        f"base {tasks['base']:.1%} → student {tasks['student']:.1%} of {tasks['count']} right, "
        f"{100 * tasks['gain']:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    )


def _generate_line(result: StageResult) -> str:
    time = console.duration(result["seconds"])
    return f"{result['kept']:,} rows kept of {result['candidates']:,} candidates in {time}"


def _dataset_line(result: StageResult) -> str:
    dropped = sum(result.get("dropped", {}).values())
    kept = f"{result['train']:,} rows to train on, {result['held_out']:,} held out"
    return f"{kept}, {dropped} dropped"


def _train_line(result: StageResult) -> str:
    time = console.duration(result["seconds"])
    return f"{result['steps']} steps, held-out loss {result['held_out_loss']:.3f}, in {time}"


def _evaluate_line(result: StageResult) -> str:
    return _gain(result["tasks"]) if result.get("tasks") else "held-out loss only"


_LINES = {
    "generate": _generate_line,
    "dataset": _dataset_line,
    "train": _train_line,
    "evaluate": _evaluate_line,
    "report": lambda result: f"{result['bytes'] / 1024:,.0f} KiB",
}


def overview(run: Run, limit: int, json: bool) -> None:
    """Show stages, counts and the newest kept rows."""
    recipe, _ = recipe_of(run)
    if json:
        console.as_json(_overview(run))
        return
    rows, states = list(run.kept()), states_of(recipe, run)
    console.heading(f"{run.path}: {len(rows):,} of {recipe.generate.target:,} rows kept")
    lines = [(name, _state(states, name, run)) for name in states]
    console.pairs([*lines, *doubts(states, run)])
    if recipe.coverage.topics:
        topics = map(asdict, topic_counts(recipe.coverage, rows))
        console.pairs([("coverage", _coverage(topics))])
    console.line()
    for row in rows[-limit:]:
        _row(row)


def _overview(run: Run) -> JsonObject:
    recipe, _ = recipe_of(run)
    states = states_of(recipe, run)
    return {
        "run": str(run.path),
        "recipe": recipe.model_dump(mode="json"),
        "kept": run.count_kept(),
        "rejects": [{"stage": s, "reason": r, "count": c} for s, r, c in run.reject_counts()],
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


def _row(row: Instance) -> None:
    console.heading(row.instruction)
    score = row.lineage.scores.get("novelty_max", 0.0)
    parts = [
        ("topic", row.lineage.topic),
        ("input", row.input),
        ("output", row.output),
        ("source", _source(row)),
        ("row", f"{row.id} · nearest {score:.2f}"),
    ]
    console.pairs((name, value.replace("\n", "\n        ")) for name, value in parts if value)
    console.line()


def _source(row: Instance) -> str:
    return f"{row.lineage.source} at {row.lineage.offset:,}" if row.lineage.source else ""


def rejects(run: Run, reason: str | None, limit: int, json: bool) -> None:
    """Show counts by reason with a few examples each, or all rejects of one reason."""
    if json:
        console.as_json([{"episode": number, **asdict(r)} for number, r in run.rejects(reason)])
    elif reason:
        rows = [reject for _, reject in run.rejects(reason)]
        console.heading(f"{len(rows):,} rejects: {reason}")
        for reject in rows[:limit]:
            _show_reject(reject)
    else:
        _reject_table(run)


def _reject_table(run: Run) -> None:
    counts = run.reject_counts()
    total = sum(count for *_, count in counts)
    console.heading(f"{total:,} rejects by reason")
    console.table(
        ("count", "share", "stage", "reason"),
        [(f"{c:,}", f"{c / total:.1%}", s, r) for s, r, c in counts],
    )
    for stage, name, _ in counts:
        console.line()
        console.heading(f"{stage}: {name}")
        for _, reject in islice(run.rejects(name), 2):
            _show_reject(reject)
    example = counts[0][1] if counts else "too similar"
    console.note(f"All of one reason: localinstruct show {run.path} --reason '{example}'")


def _show_reject(reject: Reject) -> None:
    score = f" ({reject.score:.3f})" if reject.score is not None else ""
    console.pairs([("  text", _short(reject.text)), ("  why", f"{_short(reject.detail)}{score}")])


class ScoredPair(NamedTuple):
    """A row, its nearest row, and their similarity."""

    score: float
    text: str
    nearest: str


def borderline(run: Run, limit: int, json: bool) -> None:
    """Show the pairs nearest to the novelty threshold: those another threshold would decide."""
    novelty = recipe_of(run)[0].novelty
    threshold = novelty.threshold
    below = _pairs_below(run, novelty)[:limit]
    above = _pairs_above(run)[:limit]
    if json:
        kept = [pair._asdict() for pair in below]
        rejected = [pair._asdict() for pair in above]
        console.as_json({"threshold": threshold, "kept": kept, "rejected": rejected})
        return
    lists = {
        f"rejected, just above {threshold}": above,
        f"kept, just below {threshold}": below,
    }
    for title, pairs in lists.items():
        console.heading(title)
        rows = [(f"{p.score:.3f}", _short(p.text, 60), _short(p.nearest, 60)) for p in pairs]
        console.table((novelty.called, "row", "nearest"), rows)
        console.line()
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
    relatives = family(prefix, list(run.kept()), seeds_of(recipe, workspace))
    if json:
        ancestors = [[row.to_dict() for row in rows] for rows in relatives.ancestors]
        console.as_json(
            {
                "row": relatives.row.to_dict(),
                "children": [row.to_dict() for row in relatives.children],
                "unknown": relatives.unknown,
                "ancestors": ancestors,
            }
        )
        return
    _row(relatives.row)
    console.pairs([(name, value) for name, value in _lineage_facts(relatives.row) if value])
    for number, rows in enumerate(relatives.ancestors, 1):
        _relatives("parents" if number == 1 else f"{number} generations back", rows)
    _relatives("children", relatives.children)
    if relatives.unknown:
        unknown = ", ".join(relatives.unknown)
        console.note(f"Parents that are neither kept rows nor seeds: {unknown}")


def _lineage_facts(row: Instance) -> list[tuple[str, str]]:
    lineage = row.lineage
    return [
        ("method", lineage.method or "a seed"),
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
