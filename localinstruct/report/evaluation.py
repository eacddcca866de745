"""The report's words about forgetting, other comparisons, weak kinds and counts by topic or source;
as values for the template.

Read like the rest of the report: a key that an older run lacks is a part that is left out. Counts
are shown for whatever a stage stored as {name: count} under one of the names in COUNTED, and for
generate's coverage. Not covered: base and student on the recipe's own tasks
(report_sections.evaluation).
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from localinstruct.evaluation.verdict import remedy, signed, topic_remedy
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.store.folder import COMPARISONS

"""Folder below evaluation/ with one JSON file for each comparison that was asked for."""
COUNTED = {
    "by_topic": "topic",
    "topics": "topic",
    "by_source": "source",
    "sources": "source",
    "coverage": "topic",
}
MOST = 20


def forgetting(evaluate: StageResult) -> dict[str, Any]:
    """Perplexities of the general text, and the answers that were lost."""
    measured = evaluate.get("forgetting") or {}
    facts = []
    for who in ("base", "student"):
        if measured.get(who):
            facts.append((f"perplexity of the text, {who}", f"{measured[who]['perplexity']:,.1f}"))
    if measured.get("tokens"):
        facts.append(("text", f"{measured['text']}, {measured['tokens']:,} tokens"))
    if measured.get("lost") is not None:
        facts.append(("right answers of the base that are now wrong", f"{measured['lost']:,}"))
    return {
        "facts": facts,
        "lost": measured.get("lost") or 0,
        "answers": measured.get("lost_answers") or [],
    }


def weak_sides(
    recipe: Recipe, evaluate: StageResult, where: str, name: str
) -> dict[str, list[Any]]:
    """The weakest families and topics, and the commands against them (one for all where the method
    cannot be steered)."""
    kinds, topics = list(evaluate.get("weakest") or []), list(evaluate.get("weakest_topics") or [])
    commands = [remedy(recipe, kind["family"], where, name) for kind in kinds]
    commands += [topic_remedy(recipe, topic["topic"], where, name) for topic in topics]
    return {"weak": kinds, "weak_topics": topics, "remedies": list(dict.fromkeys(commands))}


def read_comparisons(run_path: Path) -> list[dict[str, Any]]:
    """Every stored comparison, by name; a file that cannot be read is left out."""
    found = []
    for path in sorted((run_path / "evaluation" / COMPARISONS).glob("*.json")):
        try:
            found.append({"name": path.stem, **json.loads(path.read_text(encoding="utf-8"))})
        except (OSError, ValueError, TypeError):
            continue
    return found


def comparison(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored comparison as a title and facts."""
    tasks, judged = stored.get("tasks") or {}, stored.get("pairwise") or {}
    facts: list[tuple[str, str]] = [
        ("tasks", ", ".join(stored.get("files") or []) or "the held-out rows")
    ]
    if tasks:
        gain, low, high = map(signed, (tasks["gain"], *tasks["interval"]))
        facts.append(
            ("right answers", f"{tasks['base']:.1%} → {tasks['student']:.1%} of {tasks['count']:,}")
        )
        facts.append(("gain", f"{gain} points ({low} to {high})"))
    if judged:
        rate, (low, high) = judged["rate"], judged["interval"]
        won = (
            f"{rate:.0%} ({low:.0%} to {high:.0%})"
            if rate is not None
            else "the judge cannot tell them apart"
        )
        facts += [
            ("judge", judged["judge"]),
            ("win rate of the student", won),
            ("pairs judged in both orders", f"{judged['pairs']:,}"),
            (
                "student, other, same seat, tie",
                " · ".join(f"{judged['tally'][key]:,}" for key in ORDER),
            ),
            ("prefers the first seat by", f"{judged['position_bias']:+.0%}".replace("-", "−")),
            ("verdicts not in form", f"{judged['unreadable']:,} of {judged['verdicts']:,}"),
        ]
    return {"title": f"Against {stored.get('against', stored['name'])}", "facts": facts}


Counts = dict[str, tuple[int, int | None]]
"""Topic or source -> rows kept, and how many were asked for at most, where that was said."""


def _as_counts(value: Any) -> Counts:
    """What a stage counted, {name: rows} or coverage's list of {topic, kept, quota}; empty for
    anything else."""
    if isinstance(value, Mapping) and all(isinstance(count, int) for count in value.values()):
        return {str(name): (count, None) for name, count in value.items()}
    if isinstance(value, list) and all(
        isinstance(one, Mapping) and {"topic", "kept"} <= set(one) for one in value
    ):
        return {str(one["topic"]): (one["kept"], one.get("quota")) for one in value}
    return {}


ORDER = ("student", "base", "same_seat", "tied")


def counted(results: Mapping[str, StageResult | None]) -> list[dict[str, Any]]:
    """Tables of rows by topic and by source, for what stages have counted."""
    tables: dict[str, dict[str, Any]] = {}
    for result in results.values():
        for key, name in COUNTED.items():
            if counts := _as_counts((result or {}).get(key)):
                tables.setdefault(name, _table(name, counts, fewest_first=key == "coverage"))
    return list(tables.values())


def _table(name: str, counts: Counts, *, fewest_first: bool) -> dict[str, Any]:
    """(name, rows, asked, share) of MOST at most; those of topics that were asked for begin with
    what is missing most."""
    total = sum(count for count, _ in counts.values()) or 1
    sign = 1 if fewest_first else -1
    missing = {
        one: (asked is None, sign * count / (asked or 1), one)
        for one, (count, asked) in counts.items()
    }
    rows = [
        (one, *counts[one], counts[one][0] / total)
        for one in sorted(counts, key=lambda one: missing[one])
    ]
    asked = any(asked is not None for _, asked in counts.values())
    return {"name": name, "asked": asked, "rows": rows[:MOST], "left": len(rows[MOST:])}
