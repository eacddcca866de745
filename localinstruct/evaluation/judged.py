"""Pairwise judging: every pair in both orders, the verdicts counted, and the win rate.

Not a stage. Answers that are the same to the letter are a tie without asking. A pair with a reply
that is not in form is left out of the rate and counted. Verdicts are saved like answers: a judge is
never asked the same twice.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from localinstruct.evaluation.answers import SavedAnswers, answers_of_model
from localinstruct.evaluation.scores import Row
from localinstruct.evaluation.statistics import Tally, win_rate
from localinstruct.judge.pairwise import Verdict, comparison, read_verdict
from localinstruct.records import JsonObject, Prompt

Ask = Callable[[list[Prompt]], list[str]]
"""The judge's replies, one per prompt, in order."""


def judge_rows(
    rows: Sequence[Row], judge: str, digest: str, saved: SavedAnswers, ask: Ask
) -> JsonObject:
    """The judge's win rate of the student, with interval, bias, and the replies not in form."""
    different = [row for row in rows if row.student.strip() != row.base.strip()]
    student_first = [comparison(row.instance, row.student, row.base) for row in different]
    student_second = [comparison(row.instance, row.base, row.student) for row in different]
    replies = answers_of_model(saved, digest, [*student_first, *student_second], ask)
    verdicts = [read_verdict(reply) for reply in replies]
    outcomes = Counter(map(outcome, verdicts[: len(different)], verdicts[len(different) :]))
    identical = len(rows) - len(different)
    outcomes["tied"] += identical
    left_out = outcomes.pop("unreadable", 0)
    return {
        "judge": judge,
        **_rate(Tally(**outcomes)),
        "identical": identical,
        "left_out": left_out,
        "verdicts": len(verdicts),
        "unreadable": verdicts.count(None),
    }


def outcome(student_first: Verdict | None, student_second: Verdict | None) -> str:
    """The field of a Tally for two verdicts on a pair: student in seat A, then in seat B."""
    if student_first is None or student_second is None:
        return "unreadable"
    if "tie" in (student_first, student_second):
        return "tied"
    if student_first == student_second:
        return "first_seat" if student_first == "A" else "second_seat"
    return "student" if student_first == "A" else "base"


def _rate(tally: Tally) -> JsonObject:
    wins = win_rate(tally)
    same_seat = tally.first_seat + tally.second_seat
    return {
        "rate": wins.rate,
        "interval": [wins.low, wins.high],
        "position_bias": wins.position_bias,
        "pairs": tally.pairs,
        "tally": {
            "student": tally.student,
            "base": tally.base,
            "same_seat": same_seat,
            "tied": tally.tied,
        },
    }
