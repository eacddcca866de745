"""A run in numbers, for `compare` and the cards: data, cost, scores, as far as it came.

A stage that has not run, a result that is stale and a measure that was not taken are None, never 0.
Not covered: the curves and samples of the report (data.py), and words (cli/compare.py,
report/cards/).
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from statistics import median

from localinstruct.evaluation.verdict import verdict
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.report import data
from localinstruct.report.sections import Results
from localinstruct.states import read_comparisons, results_of, states_of
from localinstruct.store.run import Run

STAGES = ("generate", "dataset", "train", "evaluate")
"""Stages whose results become facts."""
STATES = {"finished": "done", "begun": "begun", "not started": "not run", "stale": "stale"}
"""State of a stage -> its word in the facts."""


def run_facts(run: Run, recipe: Recipe) -> JsonObject:
    """A run's "stages" (name -> done, begun, not run or stale), "data", "cost" and "scores".

    Costs are in seconds, tokens and GiB, scores in shares (0 to 1) and nats per answer token.
    """
    states = states_of(recipe, run)
    results = results_of(states, run)
    return {
        "stages": {name: STATES[states[name].state] for name in STAGES},
        "data": _data(run, recipe, results),
        "cost": _cost(run, results),
        "scores": _scores(results, read_comparisons(run)),
    }


def finished_results(run: Run, recipe: Recipe) -> Results:
    """Each stage's result, None until it has finished, and when it is stale."""
    return results_of(states_of(recipe, run), run)


def judged_verdict(results: Results, comparisons: Sequence[JsonObject]) -> str:
    """The verdict, with a judge's win rate against the base where one was asked."""
    generated, dataset, trained, evaluated = (results[name] or {} for name in STAGES)
    if not evaluated:
        return ""
    of_base = [
        each.get("pairwise")
        for each in comparisons
        if each.get("against") == "base" and not each["stale"]
    ]
    pairwise = next(filter(None, of_base), None)
    return verdict({**evaluated, "pairwise": pairwise}, generated, dataset, trained)


def _data(run: Run, recipe: Recipe, results: Results) -> JsonObject:
    """Rows asked for, kept and rejected by stage; similarity to the nearest row; right answers."""
    generated, dataset = results["generate"] or {}, results["dataset"] or {}
    kept, rejected = run.count_kept(), Counter[str]()
    begun = kept > 0 or run.stage("generate") is not None
    for stage, _, count in run.reject_counts():
        rejected[stage] += count
    candidates = kept + rejected.total()
    kept_rate = kept / candidates if candidates else None
    similarities = data.survey_kept(run, recipe.novelty.threshold, Random(0)).scores
    return {
        "asked": recipe.generate.target,
        "kept": kept if begun else None,
        "rejected": rejected.total() if begun else None,
        "rejected_by_stage": dict(rejected),
        "share_kept": kept_rate,
        "median_similarity": median(similarities) if similarities else None,
        "threshold": recipe.novelty.threshold,
        "checked": generated.get("checked"),
        "train": dataset.get("train"),
        "held_out": dataset.get("held_out"),
    }


def _cost(run: Run, results: Results) -> JsonObject:
    """Seconds at work by stage (without a resumed run's pauses), tokens, tokens per second, GiB."""
    generated, trained = results["generate"] or {}, results["train"] or {}
    seconds = {name: _seconds(run, name, results[name]) for name in STAGES}
    known = [part for part in seconds.values() if part is not None]
    tokens = generated.get("output_tokens")
    generating = seconds["generate"]
    return {
        "seconds": seconds,
        "total_seconds": sum(known) if known else None,
        "teacher_tokens": tokens,
        "teacher_tokens_per_second": tokens / generating if tokens and generating else None,
        "training_tokens": trained.get("tokens"),
        "training_tokens_per_second": trained.get("tokens_per_second"),
        "peak_memory_gib": trained.get("peak_memory_gib"),
    }


def _seconds(run: Run, name: str, result: StageResult | None) -> float | None:
    """The seconds in a finished stage's result, else its wall time."""
    entry = run.stage(name)
    if result is None or entry is None or entry.finished is None:
        return None
    seconds = result.get("seconds")
    if name != "generate":
        return float(seconds if seconds is not None else entry.finished - entry.started)
    # Generate counts its last session only; the completion log and the commits cover all of them.
    moments = [arrived for arrived, _ in run.completion_usage()[1]]
    moments += [committed for *_, committed in run.episodes()]
    return max(float(seconds or 0), data.clock(moments).at(max(moments)) if moments else 0.0)


def _scores(results: Results, comparisons: Sequence[JsonObject]) -> JsonObject:
    evaluated = results["evaluate"] or {}
    held_out, forgetting = evaluated.get("held_out") or {}, evaluated.get("forgetting") or {}
    tasks = evaluated.get("tasks")
    keys = ("file", "count", "base", "student", "gain", "interval")
    return {
        "held_out_loss": _both(held_out, "loss"),
        "held_out_rows": held_out.get("rows"),
        "tasks": {key: tasks.get(key) for key in keys} if tasks else None,
        "judged": [
            {"against": each.get("against"), **each["pairwise"]}
            for each in comparisons
            if each.get("pairwise") and not each["stale"]
        ],
        "text_perplexity": _both(forgetting, "perplexity"),
        "text": forgetting.get("text"),
        "lost_answers": forgetting.get("lost"),
        "verdict": judged_verdict(results, comparisons) or None,
    }


def _both(measures: JsonObject, name: str) -> JsonObject | None:
    """{"base", "student"} of one measure, or None unless both have it."""
    pair = {who: (measures.get(who) or {}).get(name) for who in ("base", "student")}
    return pair if None not in pair.values() else None
