"""Preference pairs: several answers to a task, graded; the best becomes the output, the worst the
rejected answer.

A method over the tasks of the recipe's seed file, and the step `then.preference` after any other.
The answers come from one model or several (`models.rivals`), as in UltraFeedback (Cui et al. 2023).
Answers that are too close tell a student nothing and are dropped as near ties. What comes out
trains with `train.objective: dpo`. Not covered: comparing two answers side by side.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from localinstruct.config import Section
from localinstruct.judge.grading import Grade, Grading, Verdict, grades
from localinstruct.methods.answer import answered, ask, problem, unanswered
from localinstruct.methods.judge import no_grade, require_on_scale, told
from localinstruct.records import Episode, Instance, Lineage, PoolView, Reject

Role = Annotated[str, StringConstraints(pattern=r"^(teacher|answerer|rival-[1-9]\d?)$")]


class PreferenceOptions(Section):
    """Options of `preference`, as a method and as a step."""

    answers: int = Field(4, ge=1, le=64)
    """Answers asked of each model."""
    by: list[Role] = Field(default=["answerer"], min_length=1)
    """Who answers: answerer (or the teacher, if none is named), teacher, rival-1, rival-2 …
    (models.rivals in order)."""
    own_answer: bool = False
    """The answer that the row already has competes as well."""
    margin: float = Field(1.0, ge=0)
    """Grades by which the best must be above the worst; closer pairs are near ties."""
    at_least: float | None = None
    """Score that the best must have; None asks for none."""
    system: str = ""
    """A system turn for those who answer; not kept in the rows."""
    grading: Grading = Field(default_factory=Grading)
    """How answers are graded. An answer without a grade takes no part, whatever `on_failure`
    says."""

    @model_validator(mode="after")
    def _can_be_compared(self) -> "PreferenceOptions":
        require_on_scale("at_least", self.at_least, self.grading)
        if self.answers * len(self.by) + self.own_answer < 2:
            raise ValueError(
                "expected two answers or more to compare; found one (answers, by, own_answer)"
            )
        return self

    @property
    def chats(self) -> tuple[str, ...]:
        """Roles that are asked in a chat."""
        return (*self.by, "judge")


def preference(pool: PoolView, options: PreferenceOptions, rng: Random) -> Episode:
    """The method: episode k compares answers to task k of the seed file."""
    seed = pool.seeds[pool.number]
    row = replace(seed, lineage=Lineage(method="preference", parents=(seed.id,)))
    return (yield from preference_rows([row], options, rng))


def preference_rows(rows: Sequence[Instance], options: PreferenceOptions, rng: Random) -> Episode:
    """The step: every row as a pair, or a reject that says why it is none."""
    replies = yield [
        ask(row, role, options.answers, options.system) for row in rows for role in options.by
    ]
    said = iter(zip([role for _ in rows for role in options.by], replies, strict=True))
    fields = [
        [(role, reply) for role, some in (next(said) for _ in options.by) for reply in some]
        for _ in rows
    ]
    contests = [
        distinct(
            [row] * (options.own_answer and bool(row.output))
            + [answered(row, reply, role) for role, reply in field if not problem(reply)]
        )
        for row, field in zip(rows, fields, strict=True)
    ]
    found: list[Instance | Reject] = [
        unanswered(row, field[0][1])
        if not some
        else Reject(
            "preference",
            "one answer only",
            told(some[0]),
            f"{len(field)} asked, all the same or cut off",
        )
        for row, field, some in zip(rows, fields, contests, strict=True)
        if len(some) < 2
    ]
    contests = [some for some in contests if len(some) >= 2]
    verdicts = iter(
        (yield from grades([one for some in contests for one in some], options.grading, rng))
    )
    return found + [pair([(one, next(verdicts)) for one in some], options) for some in contests]


def distinct(answers: Sequence[Instance]) -> list[Instance]:
    """The first of every group of answers that say the same."""
    first: dict[str, Instance] = {}
    for one in answers:
        first.setdefault(one.output, one)
    return list(first.values())


def pair(
    contest: Sequence[tuple[Instance, Verdict]], options: PreferenceOptions
) -> Instance | Reject:
    """Best and worst of the graded answers as one row."""
    rated = sorted(
        [
            (verdict.score, -place, row.with_scores(**verdict.scores))
            for place, (row, verdict) in enumerate(contest)
            if isinstance(verdict, Grade)
        ],
        key=lambda one: one[:2],
    )
    if len(rated) < 2:
        row, failed = next(
            (row, verdict) for row, verdict in contest if not isinstance(verdict, Grade)
        )
        return no_grade(row, failed)
    (low, _, worst), (high, _, chosen) = rated[0], rated[-1]
    said = f"best {high:g}: {chosen.output!r}; worst {low:g}: {worst.output!r}"
    if high - low < options.margin or high == low:
        return Reject("preference", "near tie", chosen.instruction, said, high - low)
    if options.at_least is not None and high < options.at_least:
        return Reject("preference", "best too low", chosen.instruction, said, high)
    missing = (
        {f"{options.grading.rubric.name}.ungraded": float(n)}
        if (n := len(contest) - len(rated))
        else {}
    )
    scores = {f"{options.grading.rubric.name}.rejected": low, **missing}
    lineage = replace(chosen.lineage, rejected_by=worst.lineage.answered_by)
    return replace(chosen, rejected=worst.output, lineage=lineage).with_scores(**scores)
