"""A run in numbers, for `compare` and the cards: data, cost, scores, as far as it came.

A stage that has not run, a result that is stale and a measure that was not taken are None, never 0.
Not covered: the curves and samples of the report (data.py), and words (side_by_side.py,
cards/).
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from statistics import median

from localinstruct.evaluation import wording
from localinstruct.evaluation.verdict import verdict, work_seconds
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.report import data
from localinstruct.report.provenance import Results
from localinstruct.states import read_comparisons, results_of, states_of
from localinstruct.store.run import Run, StageEntry

STAGES = ("generate", "dataset", "train", "evaluate")
"""Stages whose results become facts."""
STATES = {"finished": "done", "begun": "begun", "not started": "not run", "stale": "stale"}
"""State of a stage -> its word in the facts."""


def run_facts(run: Run, recipe: Recipe) -> JsonObject:
    """A run's "stages" (name -> done, begun, not run or stale), "data", "cost" and "scores".

    Costs are in seconds, tokens and GiB, scores in shares (0 to 1) and nats per answer token.
    """
    states, results = states_of(recipe, run), finished_results(run, recipe)
    return {
        "stages": {name: STATES[states[name].state] for name in STAGES},
        "data": _data(run, recipe, results),
        "cost": _cost(run, results),
        "scores": _scores(results, read_comparisons(run)),
    }


def finished_results(run: Run, recipe: Recipe) -> Results:
    """Each stage's result with its "stage_seconds" at work; None where it is not there or stale."""
    results = results_of(states_of(recipe, run), run)
    return {
        name: _measured(run, entry, result) if result and (entry := run.stage(name)) else result
        for name, result in results.items()
    }


def _measured(run: Run, entry: StageEntry, result: StageResult) -> StageResult:
    """The result of a finished stage; times that an older version left out, as near as can be."""
    seconds = _seconds(run, entry)
    if "stage_seconds" in result or entry.name != "generate":
        return {**result, "stage_seconds": seconds}
    # Its speed and seconds were those of the last session alone.
    speed = result.get("output_tokens", 0) / seconds if seconds else 0.0
    return {**result, "stage_seconds": seconds, "seconds": seconds, "tokens_per_second": speed}


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
    """Rows asked for, kept, mixed in, rejected by stage; similarity to the nearest row; diversity.

    "rows" are those kept and those mixed in, "candidates" all that were up for it. "rejected"
    counts every stage, the data set's as well, which leaves kept rows out.
    """
    generated, dataset = results["generate"] or {}, results["dataset"] or {}
    begun = run.count_kept() > 0 or run.stage("generate") is not None
    threshold, rejected = recipe.novelty.threshold, Counter[str]()
    survey = data.survey_kept(run, threshold, Random(0))
    rejects = data.survey_rejects(run, threshold, Random(0))
    for reason in rejects.reasons:
        rejected[reason.stage] += reason.count
    candidates, similarities = data.candidates(survey, rejects), survey.scores
    return {
        "asked": recipe.generate.target,
        "kept": survey.count - survey.mixed if begun else None,
        "mixed": survey.mixed if results["dataset"] else None,
        "rows": survey.count if begun else None,
        "candidates": candidates if begun else None,
        "rejected": rejects.count if begun else None,
        "rejected_by_stage": dict(rejected),
        "share_kept": survey.count / candidates if candidates else None,
        "median_similarity": median(similarities) if similarities else None,
        "diversity": data.diversity(run),
        "threshold": recipe.novelty.threshold,
        "checked": generated.get("checked"),
        "train": dataset.get("train"),
        "held_out": dataset.get("held_out"),
    }


def _cost(run: Run, results: Results) -> JsonObject:
    """Seconds at work by stage (starts included, pauses not), tokens, tokens per second, GiB.

    The teacher's speed is over the seconds in which it was asked, the training's over its steps.
    """
    generated, trained = results["generate"] or {}, results["train"] or {}
    seconds = {name: work_seconds(results[name] or {}) for name in STAGES}
    known = [part for part in seconds.values() if part is not None]
    return {
        "seconds": seconds,
        "total_seconds": sum(known) if known else None,
        "teacher_tokens": generated.get("output_tokens"),
        "teacher_tokens_per_second": generated.get("tokens_per_second") or None,
        "training_tokens": trained.get("tokens"),
        "training_tokens_per_second": trained.get("tokens_per_second"),
        "peak_memory_gib": trained.get("peak_memory_gib"),
    }


def _seconds(run: Run, entry: StageEntry) -> float:
    """Seconds at work of a finished stage; for one of an older version, as near as can be told."""
    if (worked := entry.result.get("stage_seconds")) is not None:
        return float(worked)
    seconds, finished = entry.result.get("seconds"), entry.finished or entry.started
    if entry.name != "generate":
        return float(seconds if seconds is not None else finished - entry.started)
    # Versions without it counted the last session only; the log and the commits cover all of them.
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
        "against": [
            {"against": each.get("against"), **{key: each["tasks"].get(key) for key in keys[1:]}}
            for each in comparisons
            if each.get("tasks") and not each["stale"]
        ],
        "text_perplexity": _both(forgetting, "perplexity"),
        "text": forgetting.get("text"),
        "lost_answers": lost[0] if (lost := wording.lost(evaluated)) else None,
        "cut_answers": evaluated.get("cut"),
        "open_tasks": evaluated.get("open_tasks"),
        "verdict": judged_verdict(results, comparisons) or None,
    }


def _both(measures: JsonObject, name: str) -> JsonObject | None:
    """{"base", "student"} of one measure, or None unless both have it."""
    pair = {who: (measures.get(who) or {}).get(name) for who in ("base", "student")}
    return pair if None not in pair.values() else None
