"""`then.judge`: every row of an episode graded after a rubric.

The judge is the model in `models.judge`, or the teacher itself. The grades stand in the row's
lineage; rows below `at_least` are rejects. A judge that gives no grade in form makes a counted
reject, or a row without grades, as the recipe says. The rubrics are in `judge/rubrics/`.
"""

from collections.abc import Sequence
from random import Random

from pydantic import Field, model_validator

from localinstruct.config import Section
from localinstruct.judge.grading import Grading, NoGrade, Verdict, grades
from localinstruct.records import Episode, Instance, Reject


class JudgeOptions(Section):
    """Options of the step `judge`."""

    at_least: float | None = None
    """Score that a row must have to be kept, on the rubric's scale; None only records scores."""
    grading: Grading = Field(default_factory=Grading)
    """Grading of the rows."""

    @model_validator(mode="after")
    def _on_the_scale(self) -> "JudgeOptions":
        require_on_scale("at_least", self.at_least, self.grading)
        return self

    @property
    def chats(self) -> tuple[str, ...]:
        """Roles that are asked in a chat."""
        return ("judge",)


def judge(rows: Sequence[Instance], options: JudgeOptions, rng: Random) -> Episode:
    """Every row with its grades, or a reject."""
    verdicts = yield from grades(rows, options.grading, rng)
    return [
        after_verdict(row, verdict, options) for row, verdict in zip(rows, verdicts, strict=True)
    ]


def after_verdict(row: Instance, verdict: Verdict, options: JudgeOptions) -> Instance | Reject:
    """The row after its verdict: with its scores, without grades, or a reject."""
    if isinstance(verdict, NoGrade):
        return row if options.grading.on_failure == "keep" else no_grade(row, verdict)
    if options.at_least is not None and verdict.score < options.at_least:
        parts = ", ".join(f"{name} {value:g}" for name, value in verdict.by_criterion.items())
        detail = (
            f"{verdict.score:g} where {options.at_least:g} was wanted; "
            f"{verdict.rubric.name}: {parts}"
        )
        return Reject("judge", "judged too low", row_text(row), detail, verdict.score)
    return row.with_scores(**verdict.scores)


def no_grade(row: Instance, verdict: NoGrade) -> Reject:
    """The reject of a row for which the judge gave no grade.

    Its reason is the judge's failure, its detail the judge's words.
    """
    reason, _, more = verdict.reason.partition(": ")
    detail = f"{more + ' · ' if more else ''}the judge said: {verdict.text[:300]!r}"
    return Reject("judge", reason, row_text(row), detail)


def require_on_scale(key: str, score: float | None, grading: Grading) -> None:
    """ValueError when a threshold lies off the rubric's scale."""
    scale = grading.rubric.scale
    if score is not None and not scale.lowest <= score <= scale.highest:
        raise ValueError(
            f"{key}: expected a score from {scale.lowest} to {scale.highest}; found {score:g}"
        )


def row_text(row: Instance) -> str:
    """The row as a reject shows it."""
    parts = {"Instruction": row.instruction, "Input": row.input, "Output": row.output}
    return "\n".join(f"{name}: {value}" for name, value in parts.items() if value)
