"""Answers that only a judge can tell apart: every pair in both orders, his verdicts counted, and
what they say. Not a stage.

Answers that are the same to the letter are a tie without asking. A pair with a reply that is not in
form is left out of the rate and counted. Verdicts are saved like answers: the same judge is never
asked the same again.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from localinstruct.evaluation.answers import SavedAnswers, saved_or_asked
from localinstruct.evaluation.scores import Row
from localinstruct.evaluation.statistics import Tally, win_rate
from localinstruct.judge.pairwise import Verdict, comparison, read_verdict
from localinstruct.records import Prompt

Ask = Callable[[list[Prompt]], list[str]]


def judge_rows(
    rows: Sequence[Row], judge: str, digest: str, saved: SavedAnswers, ask: Ask
) -> dict[str, Any]:
    """What the judge makes of the student's answers against the other's: rate, interval, bias, and
    what was not in form."""
    asked = [row for row in rows if row.student.strip() != row.base.strip()]
    seats = [comparison(row.instance, row.student, row.base) for row in asked]
    swapped = [comparison(row.instance, row.base, row.student) for row in asked]
    replies = saved_or_asked(saved, digest, [*seats, *swapped], ask)
    verdicts = [read_verdict(reply) for reply in replies]
    outcomes = Counter(map(outcome, verdicts[: len(asked)], verdicts[len(asked) :]))
    outcomes["tied"] += len(rows) - len(asked)
    unread = outcomes.pop("unreadable", 0)
    return {
        "judge": judge,
        **_rate(Tally(**outcomes)),
        "identical": len(rows) - len(asked),
        "left_out": unread,
        "verdicts": len(verdicts),
        "unreadable": verdicts.count(None),
    }


def outcome(student_first: Verdict | None, student_second: Verdict | None) -> str:
    """The field of a Tally that two verdicts on a pair belong to, the student in seat A and then in
    seat B."""
    if student_first is None or student_second is None:
        return "unreadable"
    if "tie" in (student_first, student_second):
        return "tied"
    if student_first == student_second:
        return "first_seat" if student_first == "A" else "second_seat"
    return "student" if student_first == "A" else "base"


def _rate(tally: Tally) -> dict[str, Any]:
    found = win_rate(tally)
    same_seat = tally.first_seat + tally.second_seat
    return {
        "rate": found.rate,
        "interval": [found.low, found.high],
        "position_bias": found.position_bias,
        "pairs": tally.pairs,
        "tally": {
            "student": tally.student,
            "base": tally.base,
            "same_seat": same_seat,
            "tied": tally.tied,
        },
    }
