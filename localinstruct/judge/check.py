"""`judge check`: a judge asked about answers that people have labelled, and what its grades are
worth. Not a stage.

Every answer is graded `repeats` times; agreement is that of the mean grade, self-consistency that
of the single ones. Pairs are asked in both orders. Replies that are not in form are counted and
take no part. Nothing is stored.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from random import Random
from statistics import fmean
from typing import Any

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
from localinstruct.records import Completion, Prompt

Ask = Callable[[list[Prompt]], list[Completion]]
_SEATS: dict[tuple[Verdict, Verdict], str] = {
    ("A", "B"): "first",
    ("B", "A"): "second",
    ("A", "A"): "first_seat",
    ("B", "B"): "second_seat",
}
"""The verdicts with the first answer in seat A and in seat B -> the better answer, or the seat that
was preferred."""


def check(labels: Sequence[Labelled], grading: Grading, repeats: int, ask: Ask) -> dict[str, Any]:
    """Everything that can be told from the labels, as plain values."""
    answers = [one for one in labels if isinstance(one, LabelledAnswer)]
    pairs = [one for one in labels if isinstance(one, LabelledPair)]
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
    asked = [
        grade_prompt(one.row, several, f"--- {rng.getrandbits(32):08x} ---") for one in answers
    ]
    return [replace(prompt, n=1) for prompt in asked for _ in range(repeats)]


def _pair_prompts(pairs: Sequence[LabelledPair]) -> list[Prompt]:
    return [
        prompt
        for one in pairs
        for prompt in (
            comparison(one.task, one.first, one.second),
            comparison(one.task, one.second, one.first),
        )
    ]


def _answers(
    answers: Sequence[LabelledAnswer], replies: Sequence[Completion], grading: Grading, repeats: int
) -> dict[str, Any]:
    read = [read_grades(reply, grading.rubric) for reply in replies]
    failures = Counter(one.reason for one in read if isinstance(one, NoGrade))
    scores = [
        [
            grading.rubric.score(one)
            for one in read[start : start + repeats]
            if not isinstance(one, NoGrade)
        ]
        for start in range(0, len(read), repeats)
    ]
    graded = [(one.label, fmean(some)) for one, some in zip(answers, scores, strict=True) if some]
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
        "failures": _share(Share(sum(failures.values()), len(read))) | {"reasons": dict(failures)},
    }


def _pairs(pairs: Sequence[LabelledPair], replies: Sequence[Completion]) -> dict[str, Any]:
    verdicts = [
        read_verdict(reply.text) if reply.finish_reason == "stop" else None for reply in replies
    ]
    both = list(zip(verdicts[::2], verdicts[1::2], strict=True))
    said = [_SEATS.get((a, b), "tie") if a and b else "unreadable" for a, b in both]
    counts = Counter(said)
    read = len(said) - counts["unreadable"]
    agreed = sum(one.better == word for one, word in zip(pairs, said, strict=True))
    seats = counts["first_seat"] + counts["second_seat"]
    decided = seats + counts["first"] + counts["second"]
    return {
        "count": len(pairs),
        "read": read,
        "agreed": _share(Share(agreed, read)),
        "same_seat": _share(Share(seats, decided)),
        "first_seat": counts["first_seat"],
        "second_seat": counts["second_seat"],
        "position_bias": (counts["first_seat"] - counts["second_seat"]) / decided
        if decided
        else None,
        "failures": _share(Share(verdicts.count(None), len(verdicts))),
    }


def _share(found: Share) -> dict[str, Any]:
    low, high = found.interval
    return {"count": found.count, "of": found.of, "value": found.value, "low": low, "high": high}
