"""Answers graded by a judge after a rubric: prompts out, strictly read grades in. Pure.

A judge that is not in form, cut off or off the scale gives no grade, with a reason: never a default
one. Several samples are averaged over those that can be read. Task and answer stand between lines
drawn at random, so that an answer which asks for a good grade is only an answer. Not covered:
judges that know the right answer.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from random import Random
from statistics import fmean, pstdev
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.formats import Malformed, user_turn
from localinstruct.formats.strict_json import parse
from localinstruct.judge.rubric import NamedRubric, Rubric, packaged
from localinstruct.records import Completion, Instance, Message, Prompt, fill


class Grading(Section):
    """Grading of answers by the judge (models.judge)."""

    rubric: NamedRubric = Field(default_factory=lambda: packaged("helpful-correct"))
    """Criteria and scale after which answers are graded."""
    samples: int = Field(1, ge=1, le=32)
    """Times that the judge is asked about one answer; the grades are averaged."""
    temperature: float | None = Field(None, ge=0, le=5)
    """Temperature of the judge; None is 0 for one sample and 0.7 for several."""
    reason: bool = True
    """Ask for one sentence before the grades; judges grade better so, and slower."""
    max_tokens: int = Field(512, ge=8)
    """Output tokens of one reply, at most; a reasoning model needs more."""
    on_failure: Literal["reject", "keep"] = "reject"
    """Fate of a row for which the judge gives no grade in form."""


@dataclass(frozen=True, slots=True)
class Grade:
    """A judge's grade of one answer: a number per criterion, averaged over the readable samples."""

    rubric: Rubric
    by_criterion: dict[str, float]
    samples: int
    asked: int
    spread: float
    """Standard deviation of the score over the samples."""

    @property
    def score(self) -> float:
        """The weighted mean of the criteria, on the rubric's scale."""
        return self.rubric.score(self.by_criterion)

    @property
    def scores(self) -> dict[str, float]:
        """Scores that a row carries: the rubric's, its parts if several, its spread if sampled."""
        name = self.rubric.name
        scores = {name: self.score}
        if len(self.by_criterion) > 1:
            scores |= {f"{name}.{key}": value for key, value in self.by_criterion.items()}
        if self.asked > 1:
            scores |= {f"{name}.samples": float(self.samples), f"{name}.spread": self.spread}
        return scores


@dataclass(frozen=True, slots=True)
class NoGrade:
    """A judge's failure to grade: the reason, and the judge's text."""

    reason: str
    text: str


Verdict = Grade | NoGrade


def grades(
    answers: Sequence[Instance], grading: Grading, rng: Random
) -> Generator[list[Prompt], list[list[Completion]], list[Verdict]]:
    """Have every answer graded, as a part of an episode."""
    replies = yield [
        grade_prompt(answer, grading, f"--- {rng.getrandbits(32):08x} ---") for answer in answers
    ]
    return [verdict_of(samples, grading.rubric) for samples in replies]


def grade_prompt(answer: Instance, grading: Grading, mark: str) -> Prompt:
    """Ask for the grades of a row's output."""
    rubric, scale = grading.rubric, grading.rubric.scale
    meaning = "".join(f"\n{grade}: {words}" for grade, words in sorted(scale.meaning.items()))
    text = fill(
        rubric.prompt or _words(),
        mark=mark,
        task=task_of(answer),
        answer=answer.output.strip(),
        criteria="\n".join(f"- {part.name}: {part.asks}" for part in rubric.criteria),
        lowest=scale.lowest,
        highest=scale.highest,
        meaning=meaning,
        form=rubric.example(grading.reason),
    )
    warm = 0.7 if grading.samples > 1 else 0.0
    return Prompt(
        messages=(Message("user", text),),
        role="judge",
        n=grading.samples,
        max_tokens=grading.max_tokens,
        temperature=warm if grading.temperature is None else grading.temperature,
        schema=rubric.form(grading.reason),
    )


def task_of(row: Instance) -> str:
    """The row's task, with the system turn and the earlier turns where there are any."""
    before = ([Message("system", row.system)] if row.system else []) + list(row.history)
    turns = [f"{turn.role}: {turn.content.strip()}" for turn in before]
    return "\n\n".join([*turns, f"user: {user_turn(row)}"]) if turns else user_turn(row)


def verdict_of(replies: Sequence[Completion], rubric: Rubric) -> Verdict:
    """The mean of the samples that can be read; NoGrade, with the first reason, when none can."""
    samples = [read_grades(reply, rubric) for reply in replies]
    good = [sample for sample in samples if not isinstance(sample, NoGrade)]
    if not good:
        failures = (sample for sample in samples if isinstance(sample, NoGrade))
        return next(failures, NoGrade("judge was not asked", ""))
    means = {part.name: fmean(sample[part.name] for sample in good) for part in rubric.criteria}
    spread = pstdev([rubric.score(sample) for sample in good])
    return Grade(rubric, means, len(good), len(samples), spread)


def read_grades(reply: Completion, rubric: Rubric) -> dict[str, float] | NoGrade:
    """One reply as a grade per criterion, or the reason why it is none.

    Nothing is guessed or mended.
    """
    if reply.finish_reason != "stop":
        cut_off = reply.finish_reason == "length"
        reason = "judge cut off" if cut_off else f"judge {reply.finish_reason}"
        return NoGrade(reason, reply.text)
    try:
        value = parse(reply.text)
    except Malformed:
        reason = "judge wrote no JSON" if reply.text.strip() else "judge said nothing"
        return NoGrade(reason, reply.text)
    names = {criterion.name for criterion in rubric.criteria}
    if not isinstance(value, dict) or set(value) - {"why"} != names:
        return NoGrade("judge wrote another form", reply.text)
    by_name = {name: value[name] for name in names}
    if not all(type(grade) is int for grade in by_name.values()):
        return NoGrade("judge wrote another form", reply.text)
    if not all(rubric.scale.lowest <= grade <= rubric.scale.highest for grade in by_name.values()):
        return NoGrade("judge left the scale", reply.text)
    return {name: float(grade) for name, grade in by_name.items()}


@cache
def _words() -> str:
    words = resources.files("localinstruct.judge").joinpath("prompts", "grading.txt")
    return words.read_text(encoding="utf-8").removesuffix("\n")
