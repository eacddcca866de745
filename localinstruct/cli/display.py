"""How runs are shown: values in, lines of `console` out."""

import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from localinstruct import console
from localinstruct.curate.novelty import text_of
from localinstruct.documents import folder_summary
from localinstruct.evaluation.verdict import verdict
from localinstruct.generation.inputs import seeds_of
from localinstruct.nano import LABEL, is_nano
from localinstruct.pipeline import STAGES, Stage, recipe_of
from localinstruct.records import Instance, Reject
from localinstruct.store.lineage import family
from localinstruct.store.run import Run
from localinstruct.topics.coverage import topic_counts


def stage_done(stage: Stage, result: dict[str, Any], skipped: bool) -> None:
    """One line per finished stage, on stderr beside the progress."""
    text = _LINES[stage.name](result)
    console.note(
        f"{'=' if skipped else '+'} {stage.name}: {text}{' (done before)' if skipped else ''}"
    )


def summary(run: Run) -> None:
    """The last lines of a whole run: what was kept, how much of it is right, what the student
    gained, the report."""
    console.heading(f"{run.path}: done")
    console.pairs(_summary_rows(run))


def egress_report(run: Path) -> None:
    """After a sealed command, on stderr: what its egress report comes to, and the key that vouches
    for it."""
    from localinstruct.offline import egress_report, seal, signing

    if not seal.status().sealed:
        return
    path = run / egress_report.JSON
    body, _ = signing.unseal_file(path)
    signer = signing.public_key(path)
    console.note(f"egress report: {path}: {egress_report.verdict(body)}")
    console.note(
        f"signed with the key {signer}"
        if signer
        else "not signed: the library cryptography is not installed"
    )


def _summary_rows(run: Run) -> Iterable[tuple[str, str]]:
    results = {stage.name: entry.result for stage in STAGES if (entry := run.stage(stage.name))}
    made = results.get("generate", {})
    yield (
        "kept rows",
        f"{made['kept']:,} of {made['candidates']:,} candidates, "
        f"{made['tokens_per_second']:,.0f} output tokens/s",
    )
    if made.get("coverage"):
        yield "coverage", _coverage(made["coverage"])
    if made.get("checked") and made["kept"]:
        yield "right answers", _checked(made["checked"])
    if made.get("documents"):
        yield "documents", folder_summary(**made["documents"])
    trained = results.get("train", {})
    if trained:
        yield "held-out loss", _losses(results.get("evaluate", {}), trained)
    tasks = results.get("evaluate", {}).get("tasks")
    if tasks:
        yield "held-out tasks", _gain(tasks)
    evaluated = results.get("evaluate", {})
    if evaluated:
        yield "forgetting", _forgetting(evaluated.get("forgetting") or {})
        yield "verdict", verdict(evaluated, made, results.get("dataset", {}), trained)
    if any(is_nano(one["name"]) for one in made.get("models", {}).values()):
        yield "nano models", f"{LABEL}: use a real teacher for that"
    yield "report", str(run.path / "report.html")
    format = _fitting_format(next(run.kept(), None))
    yield (
        "next",
        f"localinstruct chat {run.path} · show {run.path} --rejects · export {run.path} --format "
        f"{format}",
    )


def _fitting_format(row: Instance | None) -> str:
    """The plainest export that holds rows like this one."""
    if row and row.rejected:
        return "preference"
    return "messages" if row and (row.history or row.system or row.thinking) else "alpaca"


def _checked(counts: dict[str, int]) -> str:
    known = counts["right"] + counts["wrong"]
    rest = f"{counts['wrong']} wrong; {counts['unrecognised']} kept answers cannot be checked"
    return f"{counts['right'] / max(known, 1):.1%} of {known:,} that can be checked ({rest})"


def _coverage(topics: Iterable[dict[str, Any]]) -> str:
    """'adding 20 of 20 · sorting 13', the topics with fewest rows first."""
    fewest = sorted(topics, key=lambda one: int(one["kept"]))
    return " · ".join(
        f"{one['topic']} {one['kept']:,}" + (f" of {one['quota']:,}" if one["quota"] else "")
        for one in fewest
    )


def _losses(evaluated: dict[str, Any], trained: dict[str, Any]) -> str:
    held = evaluated.get("held_out")
    if not held:
        return f"student {trained.get('held_out_loss', float('nan')):.3f}"
    return f"base {held['base']['loss']:.3f} → student {held['student']['loss']:.3f}"


def _forgetting(measured: dict[str, Any]) -> str:
    parts = []
    if measured.get("base"):
        before, after = (measured[who]["perplexity"] for who in ("base", "student"))
        parts.append(f"perplexity of general text {before:,.1f} → {after:,.1f}")
    if "lost" in measured:
        parts.append(f"{measured['lost']} of the base's right answers are now wrong")
    return "; ".join(parts) or "not measured"


def _gain(tasks: dict[str, Any]) -> str:
    low, high = tasks["interval"]
    return (
        f"base {tasks['base']:.1%} → student {tasks['student']:.1%} of {tasks['count']} right, "
        f"{100 * tasks['gain']:+.1f} points (95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    )


def _generate_line(result: dict[str, Any]) -> str:
    return (
        f"{result['kept']:,} rows kept of {result['candidates']:,} candidates in "
        f"{console.duration(result['seconds'])}"
    )


def _dataset_line(result: dict[str, Any]) -> str:
    dropped = sum(result.get("dropped", {}).values())
    return (
        f"{result['train']:,} rows to train on, {result['held_out']:,} held out, {dropped} dropped"
    )


def _train_line(result: dict[str, Any]) -> str:
    return (
        f"{result['steps']} steps, held-out loss {result['held_out_loss']:.3f}, in "
        f"{console.duration(result['seconds'])}"
    )


def _evaluate_line(result: dict[str, Any]) -> str:
    return _gain(result["tasks"]) if result.get("tasks") else "held-out loss only"


_LINES = {
    "generate": _generate_line,
    "dataset": _dataset_line,
    "train": _train_line,
    "evaluate": _evaluate_line,
    "report": lambda result: f"{result['bytes'] / 1024:,.0f} KiB",
}


def overview(run: Run, limit: int, json: bool) -> None:
    """Stages, counts and the newest kept rows."""
    recipe, _ = recipe_of(run)
    stages = {stage.name: entry for stage in STAGES if (entry := run.stage(stage.name))}
    rows = list(run.kept())
    if json:
        console.as_json(
            {
                "run": str(run.path),
                "recipe": recipe.model_dump(mode="json"),
                "kept": len(rows),
                "rejects": [
                    {"stage": s, "reason": r, "count": c} for s, r, c in run.reject_counts()
                ],
                "stages": {
                    name: {"finished": e.finished, "result": e.result} for name, e in stages.items()
                },
            }
        )
        return
    console.heading(f"{run.path}: {len(rows):,} of {recipe.generate.target:,} rows kept")
    console.pairs((name, _state(stages.get(name))) for name in (stage.name for stage in STAGES))
    if recipe.coverage.topics:
        console.pairs(
            [("coverage", _coverage(asdict(one) for one in topic_counts(recipe.coverage, rows)))]
        )
    console.line()
    for row in rows[-limit:]:
        _row(row)


def _state(entry: Any) -> str:
    if entry is None:
        return "not started"
    return _LINES[entry.name](entry.result) if entry.finished else "begun, not finished"


def _row(row: Instance) -> None:
    console.heading(row.instruction)
    score = row.lineage.scores.get("novelty_max", 0.0)
    parts = [
        ("topic", row.lineage.topic),
        ("input", row.input),
        ("output", row.output),
        ("source", f"{row.lineage.source} at {row.lineage.offset:,}" if row.lineage.source else ""),
        ("row", f"{row.id} · nearest {score:.2f}"),
    ]
    console.pairs((name, value.replace("\n", "\n        ")) for name, value in parts if value)
    console.line()


def rejects(run: Run, reason: str | None, limit: int, json: bool) -> None:
    """Counts by reason with a few examples each, or all rejects of one reason."""
    found = list(run.rejects(reason))
    if json:
        console.as_json([{"episode": e, **_reject(r)} for e, r in found])
        return
    total = len(found)
    if reason:
        console.heading(f"{total:,} rejects: {reason}")
        for _, reject in found[:limit]:
            _show_reject(reject)
        return
    console.heading(f"{total:,} rejects by reason")
    counts = run.reject_counts()
    console.table(
        ("count", "share", "stage", "reason"),
        [(f"{c:,}", f"{c / total:.1%}", s, r) for s, r, c in counts],
    )
    for stage, name, _ in counts:
        console.line()
        console.heading(f"{stage}: {name}")
        for _, reject in islice(run.rejects(name), 2):
            _show_reject(reject)
    console.note(
        f"All of one reason: localinstruct show {run.path} --reason "
        f"'{counts[0][1] if counts else 'too similar'}'"
    )


def _reject(reject: Reject) -> dict[str, Any]:
    return {
        "stage": reject.stage,
        "reason": reject.reason,
        "text": reject.text,
        "detail": reject.detail,
        "score": reject.score,
    }


def _show_reject(reject: Reject) -> None:
    score = f" ({reject.score:.3f})" if reject.score is not None else ""
    console.pairs([("  text", _short(reject.text)), ("  why", f"{_short(reject.detail)}{score}")])


def borderline(run: Run, limit: int, json: bool) -> None:
    """The pairs nearest to the novelty threshold on both sides: what a slightly different threshold
    would change."""
    novelty = recipe_of(run)[0].novelty
    threshold = novelty.threshold
    passed = {
        (n[0].score, text_of(i, novelty), n[0].text) for i, n in run.kept_with_neighbours() if n
    }
    refused = {
        (r.score, r.text, r.detail) for _, r in run.rejects("too similar") if r.score is not None
    }
    below, above = sorted(passed, reverse=True)[:limit], sorted(refused)[:limit]
    if json:
        pair = lambda p: {"score": p[0], "text": p[1], "nearest": p[2]}  # noqa: E731
        console.as_json(
            {
                "threshold": threshold,
                "kept": [pair(p) for p in below],
                "rejected": [pair(p) for p in above],
            }
        )
        return
    for title, pairs in (
        (f"rejected, just above {threshold}", above),
        (f"kept, just below {threshold}", below),
    ):
        console.heading(title)
        console.table(
            (novelty.called, "row", "nearest"),
            [(f"{s:.3f}", _short(a, 60), _short(b, 60)) for s, a, b in pairs],
        )
        console.line()
    settings = "localinstruct run RECIPE --name NEW --set novelty.threshold="
    if above:
        console.note(
            "To keep the first list as well: "
            f"{settings}{min(1, math.ceil(1000 * above[-1][0]) / 1000):g}"
        )
    if below:
        console.note(
            "To reject the second as well: "
            f"{settings}{math.floor(1000 * below[-1][0] - 1) / 1000:g}"
        )


def lineage(run: Run, prefix: str, json: bool) -> None:
    """A row with its parents, their parents and its children."""
    recipe, workspace = recipe_of(run)
    seeds = seeds_of(recipe, workspace)
    found = family(prefix, list(run.kept()), seeds)
    if json:
        console.as_json(
            {
                "row": found.row.to_dict(),
                "children": [row.to_dict() for row in found.children],
                "unknown": found.unknown,
                "ancestors": [
                    [row.to_dict() for row in generation] for generation in found.ancestors
                ],
            }
        )
        return
    _row(found.row)
    made = found.row.lineage
    scores = ", ".join(f"{name} {value:g}" for name, value in made.scores.items())
    facts = [
        ("method", made.method or "a seed"),
        ("episode", str(made.episode) if made.episode >= 0 else ""),
        ("teacher", made.teacher[:12]),
        ("answered by", made.answered_by[:12]),
        ("scores", scores),
        ("source", f"{made.source} at {made.offset:,}" if made.source else ""),
        ("evidence", " … ".join(made.evidence)),
        ("rejected", found.row.rejected),
        ("rejected by", made.rejected_by[:12]),
        ("original", made.original),
        ("thinking", found.row.thinking),
    ]
    console.pairs([(name, value) for name, value in facts if value])
    for number, generation in enumerate(found.ancestors, 1):
        _relatives("parents" if number == 1 else f"{number} generations back", generation)
    _relatives("children", found.children)
    if found.unknown:
        console.note(f"Parents that are neither kept rows nor seeds: {', '.join(found.unknown)}")


def _relatives(title: str, rows: list[Instance]) -> None:
    if rows:
        console.line()
        console.heading(f"{title}: {len(rows)}")
        told = [
            (
                row.id,
                row.lineage.method or "seed",
                _short(row.instruction or row.input, 70),
                _short(row.output, 40),
            )
            for row in rows
        ]
        console.table(("id", "made by", "instruction", "output"), told)


def _short(text: str, width: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
