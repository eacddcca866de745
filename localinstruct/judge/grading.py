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
from localinstruct.judge.rubric import NamedRubric, Rubric, fill, packaged
from localinstruct.records import Completion, Instance, Message, Prompt


class Grading(Section):
    """How the judge (models.judge) grades answers."""

    rubric: NamedRubric = Field(default_factory=lambda: packaged("helpful-correct"))
    """What answers are graded by."""
    samples: int = Field(1, ge=1, le=32)
    """How often the judge is asked about one answer; the grades are averaged."""
    temperature: float | None = Field(None, ge=0, le=5)
    """Of the judge; None is 0 for one sample and 0.7 for several."""
    reason: bool = True
    """Ask for one sentence before the grades; judges grade better so, and slower."""
    max_tokens: int = Field(512, ge=8)
    """Output tokens of one reply, at most; a reasoning model needs more."""
    on_failure: Literal["reject", "keep"] = "reject"
    """What becomes of a row for which the judge gives no grade in form."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What the judge said of one answer: a number per criterion, averaged over the samples that
    could be read."""

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
        """What a row carries: the score under the rubric's name, its parts, and how sure the judge
        was."""
        name = self.rubric.name
        parts = (
            {f"{name}.{key}": value for key, value in self.by_criterion.items()}
            if len(self.by_criterion) > 1
            else {}
        )
        sure = (
            {f"{name}.samples": float(self.samples), f"{name}.spread": self.spread}
            if self.asked > 1
            else {}
        )
        return {name: self.score, **parts, **sure}


@dataclass(frozen=True, slots=True)
class NoGrade:
    """The judge gave no grade: why, and what it said."""

    reason: str
    text: str


Verdict = Grade | NoGrade


def grades(
    answers: Sequence[Instance], grading: Grading, rng: Random
) -> Generator[list[Prompt], list[list[Completion]], list[Verdict]]:
    """Part of an episode: have every answer graded."""
    replies = yield [
        grade_prompt(answer, grading, f"--- {rng.getrandbits(32):08x} ---") for answer in answers
    ]
    return [graded(one, grading.rubric) for one in replies]


def grade_prompt(answer: Instance, grading: Grading, mark: str) -> Prompt:
    """Ask for the grades of a row's output."""
    rubric, scale = grading.rubric, grading.rubric.scale
    meaning = "".join(f"\n{grade}: {words}" for grade, words in sorted(scale.meaning.items()))
    text = fill(
        rubric.prompt or _words(),
        mark=mark,
        task=task_of(answer),
        answer=answer.output.strip(),
        criteria="\n".join(f"- {one.name}: {one.asks}" for one in rubric.criteria),
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
    """What was asked, with the system turn and the earlier turns where there are any."""
    before = ([Message("system", row.system)] if row.system else []) + list(row.history)
    turns = [f"{turn.role}: {turn.content.strip()}" for turn in before]
    return "\n\n".join([*turns, f"user: {user_turn(row)}"]) if turns else user_turn(row)


def graded(replies: Sequence[Completion], rubric: Rubric) -> Verdict:
    """The mean of the samples that can be read; NoGrade, with the first reason, when none can."""
    read = [read_grades(one, rubric) for one in replies]
    good = [one for one in read if not isinstance(one, NoGrade)]
    if not good:
        return next(
            (one for one in read if isinstance(one, NoGrade)), NoGrade("judge was not asked", "")
        )
    means = {
        criterion.name: fmean(one[criterion.name] for one in good) for criterion in rubric.criteria
    }
    return Grade(rubric, means, len(good), len(read), pstdev([rubric.score(one) for one in good]))


def read_grades(reply: Completion, rubric: Rubric) -> dict[str, float] | NoGrade:
    """One reply as a grade per criterion, or why it is none; nothing is guessed or mended."""
    if reply.finish_reason != "stop":
        return NoGrade(
            "judge cut off" if reply.finish_reason == "length" else f"judge {reply.finish_reason}",
            reply.text,
        )
    try:
        value = parse(reply.text)
    except Malformed:
        return NoGrade(
            "judge wrote no JSON" if reply.text.strip() else "judge said nothing", reply.text
        )
    names = {one.name for one in rubric.criteria}
    if not isinstance(value, dict) or set(value) - {"why"} != names:
        return NoGrade("judge wrote another form", reply.text)
    found = {name: value[name] for name in names}
    if not all(type(grade) is int for grade in found.values()):
        return NoGrade("judge wrote another form", reply.text)
    if not all(rubric.scale.lowest <= grade <= rubric.scale.highest for grade in found.values()):
        return NoGrade("judge left the scale", reply.text)
    return {name: float(grade) for name, grade in found.items()}


@cache
def _words() -> str:
    words = resources.files("localinstruct.judge").joinpath("prompts", "grading.txt")
    return words.read_text(encoding="utf-8").removesuffix("\n")
