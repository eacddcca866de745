"""The report's words on forgetting, comparisons, weak families, rows by topic or source.

Read like the rest of the report: a key that an older run lacks is a part that is left out. Counts
are shown for whatever a stage stored as {name: count} under one of the names in COUNTED, and for
generate's coverage. Not covered: base and student on the recipe's own tasks (sections.py).
"""

from collections.abc import Mapping

from localinstruct.evaluation import wording
from localinstruct.evaluation.verdict import remedy, topic_remedy
from localinstruct.progress import percent
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.store.freshness import READ, UNDATED

COUNTED = {
    "by_topic": "topic",
    "topics": "topic",
    "by_source": "source",
    "sources": "source",
    "coverage": "topic",
}
"""Key of a stage's result -> what its counts are by."""
MOST = 20
"""Rows of such a table that are shown."""
OUTCOMES = ("student", "base", "same_seat", "tied")
"""Outcomes of a judged pair, in the order they are shown."""
Counts = dict[str, tuple[int, int | None]]
"""Topic or source -> rows kept, and the most that were asked for, where a number was."""


def forgetting(evaluate: StageResult) -> JsonObject:
    """Perplexities of the general text, and the answers that were lost."""
    measured = evaluate.get("forgetting") or {}
    facts = []
    for who in ("base", "student"):
        if measured.get(who):
            value = wording.perplexity(measured[who]["perplexity"])
            facts.append((f"perplexity of the text, {who}", value))
    if measured.get("tokens"):
        facts.append(("text", f"{measured['text']}, {measured['tokens']:,} tokens"))
    lost = wording.lost(evaluate)
    if lost:
        words = f"{lost[0]:,} of {lost[1]:,}"
        facts.append(("right answers of the base that are now wrong", words))
    return {
        "facts": facts,
        "lost": lost[0] if lost else 0,
        "answers": measured.get("lost_answers") or [],
    }


FormRow = tuple[str, int, str, str, str, str]
"""(name, count, strict shares of base and student, gain, loose shares)."""


def form(evaluate: StageResult) -> list[tuple[str, list[FormRow]]]:
    """Tables of constraints kept: (heading, rows) of whole answers, and of constraints by family.

    Empty where no task asked for a form.
    """
    measured = evaluate.get("form") or {}
    tables = {"all constraints of an answer": "groups", "constraints by family": "families"}
    return [
        (heading, [_form_row(name, part) for name, part in measured[key].items()])
        for heading, key in tables.items()
        if measured.get(key)
    ]


def _form_row(name: str, part: JsonObject) -> FormRow:
    strict, loose = part["strict"], part["loose"]
    shares = [percent(side[who]) for side in (strict, loose) for who in ("base", "student")]
    base, student, *loosely = shares
    low, high = map(wording.signed, strict["interval"])
    gain = f"{wording.signed(strict['gain'])} ({low} to {high})"
    return name, part["count"], base, student, gain, " → ".join(loosely)


def weak_sides(recipe: Recipe, evaluate: StageResult, where: str, name: str) -> JsonObject:
    """The weakest families and topics, and the commands against them, each once.

    The last does all of it in rounds.
    """
    families = list(evaluate.get("weakest") or [])
    topics = list(evaluate.get("weakest_topics") or [])
    commands = [remedy(recipe, family["family"], where, name) for family in families]
    commands += [topic_remedy(recipe, topic["topic"], where, name) for topic in topics]
    commands += [f"localinstruct improve {where}"] if families else []
    return {"weak": families, "weak_topics": topics, "remedies": list(dict.fromkeys(commands))}


def comparison(stored: JsonObject, where: str = "") -> JsonObject:
    """A stored comparison as a title and facts; of a stale one, why it is and what renews it."""
    title = f"Against {stored.get('against', stored['name'])}"
    if stored.get("stale"):
        facts = [("stale", "; ".join(stored["stale"]))]
        again = f"localinstruct evaluate {where} {stored.get('asked', '')}"
        return {"title": title, "facts": [*facts, ("renew it", again)]}
    tasks, judged = stored.get("tasks") or {}, stored.get("pairwise") or {}
    facts = [("tasks", ", ".join(stored.get("files") or []) or "the held-out rows")]
    if tasks:
        facts += [("right answers", wording.right(tasks)), ("gain", wording.gain(tasks))]
    if groups := (stored.get("form") or {}).get("groups"):
        loose = {**groups["all"]["loose"], "count": groups["all"]["count"]}
        facts.append(("constraints kept, loosely", wording.right(loose)))
    if lost := wording.lost(stored):
        facts.append(("right before, wrong now", f"{lost[0]:,} of {lost[1]:,}"))
    facts += [("open answers", words)] if (words := wording.open_answers(stored)) else []
    facts += [("cut answers", words)] if (words := wording.cut(stored)) else []
    if judged:
        facts += _judge_facts(judged)
    if READ not in stored:
        facts.append(("digests", UNDATED))
    return {"title": title, "facts": facts}


def _judge_facts(judged: JsonObject) -> list[tuple[str, str]]:
    tally = " · ".join(f"{judged['tally'][key]:,}" for key in OUTCOMES)
    return [
        ("judge", judged["judge"]),
        ("win rate of the student", wording.wins(judged)),
        ("pairs judged in both orders", f"{judged['pairs']:,}"),
        ("student, other, same seat, tie", tally),
        ("prefers the first seat by", f"{judged['position_bias']:+.0%}".replace("-", "−")),
        ("verdicts not in form", f"{judged['unreadable']:,} of {judged['verdicts']:,}"),
    ]


def _as_counts(value: object) -> Counts:
    """A stage's {name: rows}, coverage's topics, or the data set's sources; empty for others."""
    if isinstance(value, Mapping) and all(isinstance(count, int) for count in value.values()):
        return {str(name): (count, None) for name, count in value.items()}
    if isinstance(value, list) and all(map(_is_coverage, value)):
        return {str(topic["topic"]): (topic["kept"], topic.get("quota")) for topic in value}
    if isinstance(value, list) and all(map(_is_source, value)):
        return {str(one["source"]): (one["taken"], one["asked"]) for one in value if one["asked"]}
    return {}


def _is_coverage(value: object) -> bool:
    return isinstance(value, Mapping) and {"topic", "kept"} <= set(value)


def _is_source(value: object) -> bool:
    return isinstance(value, Mapping) and {"source", "taken", "asked"} <= set(value)


def count_tables(results: Mapping[str, StageResult | None]) -> list[JsonObject]:
    """Tables of rows by topic and by source, from the counts in the stages' results."""
    tables: dict[str, JsonObject] = {}
    for result in results.values():
        for key, name in COUNTED.items():
            if counts := _as_counts((result or {}).get(key)):
                tables.setdefault(name, _table(name, counts, fewest_first=key == "coverage"))
    return list(tables.values())


def _table(name: str, counts: Counts, *, fewest_first: bool) -> JsonObject:
    """A table of MOST rows at most, each (name, kept, quota, share of all kept rows).

    Topics with a quota come first, then the largest counts; with `fewest_first` the smallest
    shares of their quota, then the smallest counts.
    """
    total = sum(kept for kept, _ in counts.values()) or 1
    sign = 1 if fewest_first else -1

    def rank(entry: tuple[str, int, int | None, float]) -> tuple[bool, float, str]:
        topic, kept, quota, _ = entry
        return quota is None, sign * kept / (quota or 1), topic

    rows = [(topic, kept, quota, kept / total) for topic, (kept, quota) in counts.items()]
    rows.sort(key=rank)
    has_quotas = any(quota is not None for _, quota in counts.values())
    return {"name": name, "asked": has_quotas, "rows": rows[:MOST], "left": len(rows[MOST:])}
