"""`judge check`: a judge's grades and verdicts compared with people's labels.

Every answer is graded `repeats` times; agreement is that of the mean grade, self-consistency that
of the single ones. Pairs are asked in both orders. Replies that are not in form are counted and
take no part. Nothing is stored.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from random import Random
from statistics import fmean

from localinstruct.judge.agreement import (
    Share,
    all_alike,
    correlation,
    exact,
    weighted_kappa,
    within_one,
)
from localinstruct.judge.grading import Grading, NoGrade, grade_prompt, read_grades
from localinstruct.judge.labels import Labelled, LabelledAnswer, LabelledPair
from localinstruct.judge.pairwise import Verdict, comparison, read_verdict
from localinstruct.records import Completion, JsonObject, Prompt

Ask = Callable[[list[Prompt]], list[Completion]]
_SEATS: dict[tuple[Verdict, Verdict], str] = {
    ("A", "B"): "first",
    ("B", "A"): "second",
    ("A", "A"): "first_seat",
    ("B", "B"): "second_seat",
}
"""Verdicts with the first answer in seat A and in seat B -> better answer, or favoured seat."""


def check(labels: Sequence[Labelled], grading: Grading, repeats: int, ask: Ask) -> JsonObject:
    """Agreement, self-consistency and position bias of a judge, as plain values."""
    answers = [label for label in labels if isinstance(label, LabelledAnswer)]
    pairs = [label for label in labels if isinstance(label, LabelledPair)]
    prompts = _grade_prompts(answers, grading, repeats) + _pair_prompts(pairs)
    replies = ask(prompts)
    border = len(answers) * repeats
    return {
        "rubric": grading.rubric.name,
        "repeats": repeats,
        "replies": len(replies),
        "constrained": sum(reply.decoding == "constrained" for reply in replies),
        "answers": _answers(answers, replies[:border], grading, repeats) if answers else None,
        "pairs": _pairs(pairs, replies[border:]) if pairs else None,
    }


def _grade_prompts(
    answers: Sequence[LabelledAnswer], grading: Grading, repeats: int
) -> list[Prompt]:
    rng = Random(0)
    several = grading.model_copy(update={"samples": repeats})
    prompts = [
        grade_prompt(answer.row, several, f"--- {rng.getrandbits(32):08x} ---")
        for answer in answers
    ]
    return [replace(prompt, n=1) for prompt in prompts for _ in range(repeats)]


def _pair_prompts(pairs: Sequence[LabelledPair]) -> list[Prompt]:
    prompts: list[Prompt] = []
    for pair in pairs:
        prompts.append(comparison(pair.task, pair.first, pair.second))
        prompts.append(comparison(pair.task, pair.second, pair.first))
    return prompts


def _answers(
    answers: Sequence[LabelledAnswer], replies: Sequence[Completion], grading: Grading, repeats: int
) -> JsonObject:
    grades = [read_grades(reply, grading.rubric) for reply in replies]
    failures = Counter(grade.reason for grade in grades if isinstance(grade, NoGrade))
    scores: list[list[float]] = []  # an answer's scores, as many as could be read
    for start in range(0, len(grades), repeats):
        samples = grades[start : start + repeats]
        good = [grade for grade in samples if not isinstance(grade, NoGrade)]
        scores.append([grading.rubric.score(grade) for grade in good])
    by_answer = zip(answers, scores, strict=True)
    graded = [(answer.label, fmean(values)) for answer, values in by_answer if values]
    people, judge = [label for label, _ in graded], [score for _, score in graded]
    return {
        "count": len(answers),
        "graded": len(graded),
        "exact": _share(exact(people, judge)),
        "within_one": _share(within_one(people, judge)),
        "weighted_kappa": asdict(weighted_kappa(people, judge)),
        "correlation": asdict(correlation(people, judge)),
        "leniency": fmean(score - label for label, score in graded) if graded else None,
        "self_consistency": _share(all_alike(scores)),
        "failures": _share(Share(sum(failures.values()), len(grades)))
        | {"reasons": dict(failures)},
    }


def _pairs(pairs: Sequence[LabelledPair], replies: Sequence[Completion]) -> JsonObject:
    verdicts = [
        read_verdict(reply.text) if reply.finish_reason == "stop" else None for reply in replies
    ]
    both = list(zip(verdicts[::2], verdicts[1::2], strict=True))
    better = [_SEATS.get((a, b), "tie") if a and b else "unreadable" for a, b in both]
    counts = Counter(better)
    read = len(better) - counts["unreadable"]
    agreed = sum(pair.better == answer for pair, answer in zip(pairs, better, strict=True))
    seats = counts["first_seat"] + counts["second_seat"]
    decided = seats + counts["first"] + counts["second"]
    excess = counts["first_seat"] - counts["second_seat"]
    return {
        "count": len(pairs),
        "read": read,
        "agreed": _share(Share(agreed, read)),
        "same_seat": _share(Share(seats, decided)),
        "first_seat": counts["first_seat"],
        "second_seat": counts["second_seat"],
        "position_bias": excess / decided if decided else None,
        "failures": _share(Share(verdicts.count(None), len(verdicts))),
    }


def _share(share: Share) -> JsonObject:
    low, high = share.interval
    return {"count": share.count, "of": share.of, "value": share.value, "low": low, "high": high}
