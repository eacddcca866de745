"""A rubric: criteria and scale for grading answers, as a YAML file.

Three come with the program, anybody can write one. Each criterion gets a grade of its own; the
score is their weighted mean, on the rubric's scale. The form of the judge's reply follows from the
criteria and the scale. Not covered: comparing two answers (`pairwise.py`), reference answers.
"""

from functools import cache
from importlib import resources
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from localinstruct.config import Section, did_you_mean, load_yaml
from localinstruct.records import JsonObject

PLACES = ("task", "answer")
"""Placeholders that a wording of one's own must have."""
_LONGEST_REASON = 400


class Criterion(Section):
    """One thing an answer is graded for."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    """Key of its grade in the judge's reply and in the row's scores."""
    asks: str = Field(min_length=1)
    """Question that the judge is to answer about it."""
    weight: float = Field(1.0, gt=0)
    """Weight in the score."""


class Scale(Section):
    """Grades from the worst to the best."""

    lowest: int = 1
    """The worst grade."""
    highest: int = 5
    """The best grade."""
    meaning: dict[int, str] = Field(default_factory=dict)
    """Meaning of some of the grades, or all."""

    @model_validator(mode="after")
    def _some_grades(self) -> "Scale":
        if not 1 <= self.highest - self.lowest <= 100:
            raise ValueError(f"expected 2 to 101 grades; found {self.lowest} to {self.highest}")
        off = [grade for grade in self.meaning if not self.lowest <= grade <= self.highest]
        if off:
            raise ValueError(
                f"expected meanings of grades from {self.lowest} to {self.highest}; found {off[0]}"
            )
        return self


class Rubric(Section):
    """Criteria and scale for grading: a packaged rubric's name, a YAML file, or these keys."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")
    """Name of its score in a row's lineage, and beginning of the names of the score's parts."""
    about: str = ""
    """Purpose in one sentence."""
    criteria: list[Criterion] = Field(min_length=1, max_length=12)
    """Criteria in the order in which they are looked at."""
    scale: Scale = Scale()
    """The grades each criterion gets."""
    prompt: str = ""
    """A wording of one's own with {task} and {answer}; empty takes the program's.

    It may also have {criteria}, {lowest}, {highest}, {meaning}, {form} and {mark} (a line that the
    task and the answer cannot contain).
    """

    @model_validator(mode="after")
    def _can_be_asked(self) -> "Rubric":
        names = [criterion.name for criterion in self.criteria]
        if len(set(names)) < len(names) or "why" in names:
            raise ValueError("expected every criterion under a name of its own, none of them why")
        missing = [place for place in PLACES if "{" + place + "}" not in self.prompt]
        if self.prompt and missing:
            raise ValueError(f"prompt: expected a place for {{{missing[0]}}}; found none")
        return self

    def form(self, reason: bool) -> JsonObject:
        """The JSON schema of a reply: with `reason` a sentence why, then a grade per criterion."""
        grades = list(range(self.scale.lowest, self.scale.highest + 1))
        why = {"why": {"type": "string", "maxLength": _LONGEST_REASON}} if reason else {}
        keys = why | {part.name: {"type": "integer", "enum": grades} for part in self.criteria}
        return {
            "type": "object",
            "properties": keys,
            "required": list(keys),
            "additionalProperties": False,
        }

    def example(self, reason: bool) -> str:
        """The form as a person would write it down."""
        why = ['"why": one sentence'] if reason else []
        grades = [f'"{criterion.name}": grade' for criterion in self.criteria]
        return "{" + ", ".join(why + grades) + "}"

    def score(self, grades: dict[str, float]) -> float:
        """The weighted mean of the criteria."""
        total = sum(grades[criterion.name] * criterion.weight for criterion in self.criteria)
        return total / sum(criterion.weight for criterion in self.criteria)


def rubric_names() -> list[str]:
    """Names of the rubrics that came with the program."""
    folder = resources.files("localinstruct.judge") / "rubrics"
    files = [entry.name for entry in folder.iterdir()]
    return sorted(name.removesuffix(".yaml") for name in files if name.endswith(".yaml"))


@cache
def packaged(name: str) -> Rubric:
    """A rubric that came with the program."""
    file = resources.files("localinstruct.judge") / "rubrics" / f"{name}.yaml"
    with resources.as_file(file) as path:
        return Rubric.model_validate(load_yaml(path))


def _by_name(value: object) -> object:
    """A packaged rubric in the place of its name (files are read with the recipe)."""
    if not isinstance(value, str):
        return value
    if value not in rubric_names():
        advice = did_you_mean(value, rubric_names())
        raise ValueError(f"no such rubric; {advice}; or the path of a .yaml file")
    return packaged(value)


NamedRubric = Annotated[Rubric, BeforeValidator(_by_name)]
"""A rubric that may also be given by its name."""
