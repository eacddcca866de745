"""A run in numbers: data, cost and scores, as far as it has come. What `compare` and the cards say.

What has not run or was not measured is None, never 0. Not covered: the curves and samples of the
report (report_data.py), and words (cli/compare.py, report/cards/).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from statistics import median
from typing import Any

from localinstruct.evaluation.verdict import verdict
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.report import data as data
from localinstruct.report.evaluation import read_comparisons
from localinstruct.report.sections import Results
from localinstruct.store.run import Run

STAGES = ("generate", "dataset", "train", "evaluate")
"""Whose results are told."""


def run_facts(run: Run, recipe: Recipe) -> dict[str, Any]:
    """{"stages": name -> done, begun or not run, "data", "cost" (seconds, tokens), "scores"
    (shares, nats)}."""
    results = finished_results(run)
    return {
        "stages": {name: _state(run, name) for name in STAGES},
        "data": _data(run, recipe, results),
        "cost": _cost(run, results),
        "scores": _scores(results, read_comparisons(run.path)),
    }


def finished_results(run: Run) -> dict[str, StageResult | None]:
    """Each stage's result, None until it has finished."""
    entries = {name: run.stage(name) for name in STAGES}
    return {
        name: entry.result if entry and entry.finished is not None else None
        for name, entry in entries.items()
    }


def judged_verdict(results: Results, compared: Sequence[Mapping[str, Any]]) -> str:
    """One sentence; a judge's word on base and student belongs into it where one was asked."""
    generated, dataset, trained, evaluated = (results[name] or {} for name in STAGES)
    if not evaluated:
        return ""
    judged = next(
        (
            one["pairwise"]
            for one in compared
            if one.get("against") == "base" and one.get("pairwise")
        ),
        None,
    )
    return verdict({**evaluated, "pairwise": judged}, generated, dataset, trained)


def _state(run: Run, name: str) -> str:
    entry = run.stage(name)
    return "not run" if entry is None else "begun" if entry.finished is None else "done"


def _data(run: Run, recipe: Recipe, results: Results) -> dict[str, Any]:
    """Rows asked, kept, rejected by stage; similarities of kept rows to what they resemble most;
    answers known to be right."""
    generated, dataset = results["generate"] or {}, results["dataset"] or {}
    kept, rejected = run.count_kept(), Counter[str]()
    begun = kept > 0 or run.stage("generate") is not None
    for stage, _, count in run.reject_counts():
        rejected[stage] += count
    candidates = kept + rejected.total()
    similarities = data.survey_kept(run, recipe.novelty.threshold, Random(0)).scores
    return {
        "asked": recipe.generate.target,
        "kept": kept if begun else None,
        "rejected": rejected.total() if begun else None,
        "rejected_by_stage": dict(rejected),
        "share_kept": kept / candidates if candidates else None,
        "median_similarity": median(similarities) if similarities else None,
        "threshold": recipe.novelty.threshold,
        "checked": generated.get("checked"),
        "train": dataset.get("train"),
        "held_out": dataset.get("held_out"),
    }


def _cost(run: Run, results: Results) -> dict[str, Any]:
    """Seconds at work by stage (pauses of a resumed run left out), tokens, tokens per second,
    GiB."""
    generated, trained = results["generate"] or {}, results["train"] or {}
    seconds = {name: _seconds(run, name, results[name]) for name in STAGES}
    known = [part for part in seconds.values() if part is not None]
    tokens = generated.get("output_tokens")
    return {
        "seconds": seconds,
        "total_seconds": sum(known) if known else None,
        "teacher_tokens": tokens,
        "teacher_tokens_per_second": tokens / seconds["generate"]
        if tokens and seconds["generate"]
        else None,
        "training_tokens": trained.get("tokens"),
        "training_tokens_per_second": trained.get("tokens_per_second"),
        "peak_memory_gib": trained.get("peak_memory_gib"),
    }


def _seconds(run: Run, name: str, result: StageResult | None) -> float | None:
    """What a stage says of itself, else its wall time. Generate says it of its last session only,
    so the completion log is asked."""
    entry = run.stage(name)
    if result is None or entry is None or entry.finished is None:
        return None
    said = result.get("seconds")
    if name != "generate":
        return float(said if said is not None else entry.finished - entry.started)
    moments = [arrived for arrived, _ in run.completion_usage()[1]] + [
        committed for *_, committed in run.episodes()
    ]
    return max(float(said or 0), data.clock(moments).at(max(moments)) if moments else 0.0)


def _scores(results: Results, compared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    evaluated = results["evaluate"] or {}
    held_out, forgot = evaluated.get("held_out") or {}, evaluated.get("forgetting") or {}
    tasks = evaluated.get("tasks") or {}
    return {
        "held_out_loss": _both(held_out, "loss"),
        "held_out_rows": held_out.get("rows"),
        "tasks": {
            key: tasks.get(key) for key in ("file", "count", "base", "student", "gain", "interval")
        }
        if tasks
        else None,
        "judged": [
            {"against": one.get("against"), **one["pairwise"]}
            for one in compared
            if one.get("pairwise")
        ],
        "text_perplexity": _both(forgot, "perplexity"),
        "text": forgot.get("text"),
        "lost_answers": forgot.get("lost"),
        "verdict": judged_verdict(results, compared) or None,
    }


def _both(measured: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """{"base", "student"} of one measure, or None unless both have it."""
    found = {who: (measured.get(who) or {}).get(name) for who in ("base", "student")}
    return found if None not in found.values() else None
