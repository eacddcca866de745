"""The answer to "did it get better", in one sentence; and where the student is weakest, with the
command against it. Pure.

A gain is claimed only when its 95 % interval lies wholly on one side of zero. What was not measured
is said, and the held-out loss, which every student lowers that has learnt the form of its rows, is
never called better. Not covered: whether the tasks are the right ones to ask.
"""

import json
import re
import shlex
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from localinstruct.progress import duration
from localinstruct.recipe import Recipe

FEWEST = 5
"""Tasks a family, or held-out rows a topic, needs to be called weak."""
WEAKEST = 3

Result = Mapping[str, Any]


def verdict(evaluated: Result, generated: Result, dataset: Result, trained: Result) -> str:
    """Whether the student is better, by how much, how sure, and at what cost."""
    cost = _cost(generated, dataset, trained)
    return f"{_better(evaluated)}{f' Cost: {cost}.' if cost else ''}"


def _better(evaluated: Result) -> str:
    tasks, judged = evaluated.get("tasks"), (evaluated.get("pairwise") or {})
    sentences = []
    if tasks and tasks.get("interval"):
        low, high = tasks["interval"]
        word = (
            "better than" if low > 0 else "worse than" if high < 0 else "not shown to differ from"
        )
        sentences.append(
            f"The student is {word} its base: {signed(tasks['gain'])} points on "
            f"{tasks['count']:,} tasks "
            f"(95% sure of {signed(low)} to {signed(high)})"
        )
    if judged.get("rate") is not None:
        low, high = judged["interval"]
        word = (
            "preferred to"
            if low > 0.5
            else "preferred less than"
            if high < 0.5
            else "judged no different from"
        )
        sentences.append(
            f"{'its answers are' if sentences else 'The student is'} {word} its base’s by "
            f"{judged['judge']}: "
            f"wins {judged['rate']:.0%} ({low:.0%} to {high:.0%}) of {judged['pairs']:,} questions"
        )
    if sentences:
        return "; ".join(sentences) + "."
    losses = evaluated.get("held_out")
    if not losses:
        return "Whether the student is better was not measured."
    return (
        f"Whether the student is better is not known: only its loss on held-out rows was measured "
        f"(base {losses['base']['loss']:.2f}, student {losses['student']['loss']:.2f})."
    )


def signed(share: float) -> str:
    """A share as points with its sign: +38.9, −2.0."""
    return f"{100 * share:+.1f}".replace("-", "−")


def _cost(generated: Result, dataset: Result, trained: Result) -> str:
    seconds = [part["seconds"] for part in (generated, trained) if part.get("seconds") is not None]
    tokens = generated.get("output_tokens")
    parts = [
        duration(sum(seconds)) if seconds else "",
        f"{tokens:,} output tokens of the teacher" if tokens else "",
        f"{dataset['train']:,} rows to train on" if dataset.get("train") else "",
    ]
    return ", ".join(part for part in parts if part)


def weakest(by_family: Mapping[str, Result]) -> list[dict[str, Any]]:
    """The families with the smallest share of right answers, worst first; none that the student
    masters."""
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


def weakest_topics(by_topic: Mapping[str, Result]) -> list[dict[str, Any]]:
    """The topics whose held-out rows the student predicts worst (nats per answer token), worst
    first; two or more needed.

    A loss is no share of right answers: it also depends on how predictable the answers of a topic
    are.
    """
    topics: list[dict[str, Any]] = [
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
    """The command that makes more rows of a topic of the recipe: a run of its own, as many rows as
    its share of the first."""
    found = next((one for one in recipe.coverage.topics if one.topic == topic), None)
    if found is None:  # rows of it were mixed in from elsewhere
        return remedy(recipe, topic, where, name)
    alone = {"topic": topic, **({"seeds": found.seeds} if found.seeds else {})}
    rows = found.quota or max(1, recipe.generate.target // len(recipe.coverage.topics))
    steer = shlex.quote(f"coverage.topics={json.dumps([alone], ensure_ascii=False)}")
    begin = f"localinstruct generate {where}/recipe.yaml --name {_run_name(name, topic)}"
    return f"{begin} --set generate.target={rows} --set {steer}"


def _run_name(name: str, subject: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{name}-{subject}").strip("-")


def remedy(recipe: Recipe, family: str, where: str, name: str) -> str:
    """The command that makes more rows for a weak family: of the topic that has its seeds, of that
    subject, else of all."""
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
