"""Numbers of an evaluation in words: one function and one rounding each, wherever they are shown.

Shares have one decimal (`progress.percent`), gains one decimal of a point, losses three, and
perplexities one. What was not measured has no words: None, or "".
"""

from collections.abc import Mapping

from localinstruct.progress import loss, percent
from localinstruct.records import JsonObject

SIDES = ("base", "student")


def signed(share: float) -> str:
    """A share as points with its sign: +38.9, −2.0."""
    return f"{100 * share:+.1f}".replace("-", "−")


def right(tasks: JsonObject) -> str:
    """'base 7.3% → student 66.7% of 234 right'."""
    base, student = (percent(tasks[who]) for who in SIDES)
    return f"base {base} → student {student} of {tasks['count']:,} right"


def interval(tasks: JsonObject) -> str:
    """'95 % interval +52.3 to +65.5', in points; "" where there is none."""
    low, high = tasks.get("interval") or (None, None)
    if low is None or high is None:
        return ""
    return f"95 % interval {signed(low)} to {signed(high)}"


def gain(tasks: JsonObject) -> str:
    """'+59.4 points (95 % interval +52.3 to +65.5)'."""
    around = interval(tasks)
    return f"{signed(tasks['gain'])} points{f' ({around})' if around else ''}"


def groups_of_form(evaluated: JsonObject) -> list[str]:
    """'seen kinds: base 18.0% → student 40.0% of 125, +22.0 points (95 % …)', for each group."""
    groups = (evaluated.get("form") or {}).get("groups") or {}
    return [
        f"{name}: {right({**part['strict'], 'count': part['count']})}, {gain(part['strict'])}"
        for name, part in groups.items()
        if name != "all"
    ]


def perplexity(value: float) -> str:
    """A perplexity: 12.4."""
    return f"{value:,.1f}" if value < 1e6 else f"{value:.1e}"


def losses(held_out: JsonObject) -> str:
    """'base 12.771 → student 0.627', of values {"base": {"loss": …}, "student": …}."""
    base, student = (loss(held_out[who]["loss"]) for who in SIDES)
    return f"base {base} → student {student}"


def perplexities(measured: JsonObject) -> str:
    """'12.4 → 15.0', of values {"base": {"perplexity": …}, "student": …}."""
    return " → ".join(perplexity(measured[who]["perplexity"]) for who in SIDES)


def lost(evaluated: JsonObject) -> tuple[int, int] | None:
    """(right answers of the base that are now wrong, its right answers), of a stage's result.

    None where no answer could be right: nothing was asked that can be checked, or the base had
    nothing to lose.
    """
    tasks, measured = evaluated.get("tasks") or {}, evaluated.get("forgetting") or {}
    had = round((tasks.get("base") or 0) * (tasks.get("count") or 0))
    count = measured.get("lost", evaluated.get("lost"))
    return (count, had) if had and count is not None else None


def checked(counts: Mapping[str, int]) -> str:
    """'93.3% of 360', of {"right", "wrong"} among those that can be checked; "" where none can."""
    known = counts["right"] + counts["wrong"]
    return f"{percent(counts['right'] / known)} of {known:,}" if known else ""


def wins(judged: JsonObject) -> str:
    """'67.0% (58.1% to 75.2%)', a judge's win rate with its 95 % interval."""
    if judged["rate"] is None:
        return "the judge cannot tell them apart"
    low, high = map(percent, judged["interval"])
    return f"{percent(judged['rate'])} ({low} to {high})"


def cut(evaluated: JsonObject) -> str:
    """A sentence on the answers that were cut, with the key to raise; "" where none was."""
    counts = evaluated.get("cut") or {}
    if not any(counts.get(who) for who in SIDES):
        return ""
    of, limit = counts["of"], counts["max_tokens"]
    sides = " and ".join(f"{counts[who]:,} of the {who}’s" for who in SIDES if counts[who])
    return (
        f"{sides} {of:,} answers were cut at {limit:,} tokens: "
        f"--set evaluate.max_tokens={2 * limit}"
    )


def open_answers(evaluated: JsonObject) -> str:
    """A sentence on tasks whose answers are shown and not counted; "" where there are none."""
    count = evaluated.get("open_tasks") or 0
    if not count:
        return ""
    return f"{count:,} tasks have open answers: shown and judged, neither right nor wrong"
