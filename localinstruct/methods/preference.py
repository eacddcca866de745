"""Preference pairs: several graded answers to a task, the best one against the worst.

The best becomes the output, the worst the rejected answer. A method over the tasks of the recipe's
seed file, and the step `then.preference` after any other. The answers come from one model or
several (`models.rivals`), as in UltraFeedback (Cui et al. 2023). Answers that are too close tell a
student nothing and are dropped as near ties. The pairs train with `train.objective: dpo`. Not
covered: comparing two answers side by side.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from localinstruct.config import Section
from localinstruct.judge.grading import Grade, Grading, Verdict, grades
from localinstruct.methods.answer import ask, no_answer, problem, with_answer
from localinstruct.methods.judge import no_grade, require_on_scale, row_text
from localinstruct.records import Episode, EpisodeShape, Instance, Lineage, PoolView, Reject

Role = Annotated[str, StringConstraints(pattern=r"^(teacher|answerer|rival-[1-9]\d?)$")]


class PreferenceOptions(Section):
    """Options of `preference`, as a method and as a step."""

    answers: int = Field(4, ge=1, le=64)
    """Answers asked of each model."""
    by: list[Role] = Field(default=["answerer"], min_length=1)
    """Roles that answer: answerer, teacher, rival-1, rival-2 … (models.rivals in order).

    The answerer is the teacher where the recipe names none.
    """
    own_answer: bool = False
    """The answer that the row already has competes as well."""
    margin: float = Field(1.0, ge=0)
    """Grades by which the best must be above the worst; closer pairs are near ties."""
    at_least: float | None = None
    """Score that the best must have; None asks for none."""
    system: str = ""
    """System turn for the answering models; not kept in the rows."""
    grading: Grading = Field(default_factory=Grading)
    """Grading of the answers; one without a grade takes no part, whatever `on_failure` says."""

    @model_validator(mode="after")
    def _can_be_compared(self) -> "PreferenceOptions":
        require_on_scale("at_least", self.at_least, self.grading)
        if self.answers * len(self.by) + self.own_answer < 2:
            raise ValueError(
                "expected two answers or more to compare; found one (answers, by, own_answer)"
            )
        return self

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode."""
        return EpisodeShape(prompts=len(self.by), sees_kept=False)

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
    asked = [(row, role) for row in rows for role in options.by]
    replies = iter((yield [ask(row, role, options.answers, options.system) for row, role in asked]))
    contests: list[list[Instance]] = []
    rejects: list[Instance | Reject] = []
    for row in rows:
        completions = [(role, reply) for role in options.by for reply in next(replies)]
        own = [row] if options.own_answer and row.output else []
        usable = [(role, reply) for role, reply in completions if not problem(reply)]
        answers = distinct(own + [with_answer(row, reply, role) for role, reply in usable])
        if len(answers) > 1:
            contests.append(answers)
        elif answers:
            text, detail = (
                row_text(answers[0]),
                f"{len(completions)} asked, all the same or cut off",
            )
            rejects.append(Reject("preference", "one answer only", text, detail))
        else:
            rejects.append(no_answer(row, completions[0][1]))
    candidates = [answer for answers in contests for answer in answers]
    verdicts = iter((yield from grades(candidates, options.grading, rng)))
    graded = [[(answer, next(verdicts)) for answer in answers] for answers in contests]
    return rejects + [pair(contest, options) for contest in graded]


def distinct(answers: Sequence[Instance]) -> list[Instance]:
    """The first of every group of answers that say the same."""
    first: dict[str, Instance] = {}
    for answer in answers:
        first.setdefault(answer.output, answer)
    return list(first.values())


def pair(
    contest: Sequence[tuple[Instance, Verdict]], options: PreferenceOptions
) -> Instance | Reject:
    """Best and worst of the graded answers as one row."""
    rated = [
        (verdict.score, -place, row.with_scores(**verdict.scores))
        for place, (row, verdict) in enumerate(contest)
        if isinstance(verdict, Grade)
    ]
    rated.sort(key=lambda entry: entry[:2])
    if len(rated) < 2:
        failures = ((row, verdict) for row, verdict in contest if not isinstance(verdict, Grade))
        return no_grade(*next(failures))
    (low, _, worst), (high, _, chosen) = rated[0], rated[-1]
    detail = f"best {high:g}: {chosen.output!r}; worst {low:g}: {worst.output!r}"
    if high - low < options.margin or high == low:
        return Reject("preference", "near tie", chosen.instruction, detail, high - low)
    if options.at_least is not None and high < options.at_least:
        return Reject("preference", "best too low", chosen.instruction, detail, high)
    rubric, missing = options.grading.rubric.name, len(contest) - len(rated)
    scores = {f"{rubric}.rejected": low}
    if missing:
        scores[f"{rubric}.ungraded"] = float(missing)
    lineage = replace(chosen.lineage, rejected_by=worst.lineage.answered_by)
    return replace(chosen, rejected=worst.output, lineage=lineage).with_scores(**scores)
