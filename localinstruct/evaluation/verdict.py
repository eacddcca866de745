"""Verdict on a student in one sentence; its weakest families, and commands against them.

Pure. A gain is claimed only when its 95 % interval lies wholly on one side of zero. What was not
measured is said, and the held-out loss, which every student lowers that has learnt the form of its
rows, is never called better. Not covered: whether the tasks are the right ones to ask.
"""

import json
import re
import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase

from localinstruct.evaluation import wording
from localinstruct.evaluation.wording import signed
from localinstruct.progress import duration
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult

FEWEST = 5
"""Tasks a family, or held-out rows a topic, needs to be called weak."""
WEAKEST = 3
"""Families, or topics, that are named."""


def verdict(
    evaluated: StageResult, generated: StageResult, dataset: StageResult, trained: StageResult
) -> str:
    """Sentences that say whether the student is better, by how much, how surely, at what cost."""
    cost = _cost(generated, dataset, trained, evaluated)
    return f"{better(evaluated)}{f' Cost: {cost}.' if cost else ''}"


def better(evaluated: StageResult) -> str:
    """Sentences on whether the student is better, without the cost."""
    tasks, pairwise = evaluated.get("tasks"), (evaluated.get("pairwise") or {})
    clauses = []
    if tasks and tasks.get("interval"):
        low, high = tasks["interval"]
        words = _side_of(0, low, high, "better than", "worse than", "not shown to differ from")
        clauses.append(
            f"The student is {words} its base: {signed(tasks['gain'])} points on "
            f"{tasks['count']:,} tasks (95% sure of {signed(low)} to {signed(high)})"
        )
    if pairwise.get("rate") is not None:
        clauses.append(
            f"{'its answers are' if clauses else 'The student is'} {_preference(pairwise)}"
        )
    if clauses:
        return "; ".join(clauses) + "."
    losses = evaluated.get("held_out")
    if not losses:
        return "Whether the student is better was not measured."
    return (
        f"Whether the student is better is not known: only its loss on held-out rows was measured "
        f"({wording.losses(losses)})."
    )


def _side_of(middle: float, low: float, high: float, above: str, below: str, neither: str) -> str:
    """The words for an interval that lies above `middle`, below it, or on both sides."""
    return above if low > middle else below if high < middle else neither


def _preference(pairwise: JsonObject) -> str:
    low, high = pairwise["interval"]
    words = _side_of(
        0.5, low, high, "preferred to", "preferred less than", "judged no different from"
    )
    return (
        f"{words} its base’s by {pairwise['judge']}: wins {wording.wins(pairwise)} "
        f"of {pairwise['pairs']:,} questions"
    )


def work_seconds(result: StageResult) -> float | None:
    """Seconds at work of a stage, model starts included, pauses not; None where none are noted.

    A stage of an older version noted the seconds of its main loop alone.
    """
    seconds = result.get("stage_seconds", result.get("seconds"))
    return None if seconds is None else float(seconds)


def _cost(*results: StageResult) -> str:
    """Time of all stages together, tokens of the teacher, rows to train on."""
    generated, dataset, *_ = results
    seconds = [spent for result in results if (spent := work_seconds(result)) is not None]
    tokens = generated.get("output_tokens")
    parts = [
        f"{duration(sum(seconds))} from generate to evaluate" if seconds else "",
        f"{tokens:,} output tokens of the teacher" if tokens else "",
        f"{dataset['train']:,} rows to train on" if dataset.get("train") else "",
    ]
    return ", ".join(part for part in parts if part)


def weakest(by_family: Mapping[str, JsonObject]) -> list[JsonObject]:
    """The families with the smallest share of right answers, worst first; below 95 % only."""
    families = [
        {
            "family": name,
            "count": int(part["count"]),
            "base": float(part["base"]),
            "student": float(part["student"]),
        }
        for name, part in by_family.items()
        if name and part.get("count", 0) >= FEWEST and part.get("student", 1.0) < 0.95
    ]
    return sorted(families, key=lambda family: (family["student"], family["family"]))[:WEAKEST]


def weakest_topics(by_topic: Mapping[str, JsonObject]) -> list[JsonObject]:
    """The topics with the student's largest held-out loss (nats per answer token), worst first.

    None where fewer than two topics have enough rows: there is nothing to be weaker than. A loss is
    no share of right answers: it also depends on how predictable the answers of a topic are.
    """
    topics: list[JsonObject] = [
        {
            "topic": name,
            "rows": int(part["rows"]),
            **{who: float(part[who]["loss"]) for who in ("base", "student")},
        }
        for name, part in by_topic.items()
        if part["rows"] >= FEWEST
    ]
    ordered = sorted(topics, key=lambda topic: (-topic["student"], topic["topic"]))
    return ordered[: min(WEAKEST, len(ordered) - 1)] if ordered else []


def topic_remedy(recipe: Recipe, topic: str, where: str, name: str) -> str:
    """The command that makes more rows of a topic, in a run of its own.

    It asks for the topic's quota, or its share of the first run's target.
    """
    section = next((each for each in recipe.coverage.topics if each.topic == topic), None)
    if section is None:  # rows of it were mixed in from elsewhere
        return remedy(recipe, topic, where, name)
    alone = {"topic": topic, **({"seeds": section.seeds} if section.seeds else {})}
    rows = section.quota or max(1, recipe.generate.target // len(recipe.coverage.topics))
    steer = shlex.quote(f"coverage.topics={json.dumps([alone], ensure_ascii=False)}")
    begin = f"localinstruct generate {where}/recipe.yaml --name {_run_name(name, topic)}"
    return f"{begin} --set generate.target={rows} --set {steer}"


def _run_name(name: str, subject: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{name}-{subject}").strip("-")


def remedy(recipe: Recipe, family: str, where: str, name: str) -> str:
    """The command that makes more rows for a weak family.

    Of the topic that has the family's seeds, else of that subject where the method's preamble
    names one, else of everything.
    """
    options, method = recipe.method.options, recipe.method.name
    for topic in recipe.coverage.topics:
        if family == topic.topic or any(fnmatchcase(family, pattern) for pattern in topic.seeds):
            return topic_remedy(recipe, topic.topic, where, name)
    if "{domain}" in getattr(options, "preamble", ""):
        subject = shlex.quote(f"method.{method}.domain={family.replace('_', ' ')}")
        return (
            f"localinstruct generate {where}/recipe.yaml --name {_run_name(name, family)} "
            f"--set {subject}"
        )
    return f"localinstruct run {where} --set generate.target={recipe.generate.target * 2}"
