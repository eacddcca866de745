"""A rubric: what answers are graded by, as a YAML file. Three come with the program, anybody can
write one.

Each criterion gets a grade of its own; the score is their weighted mean, on the rubric's scale. The
form of the judge's reply follows from the criteria and the scale. Not covered: comparing two
answers (`pairwise.py`), reference answers.
"""

import re
from functools import cache
from importlib import resources
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from localinstruct.config import Section, did_you_mean, load_yaml

PLACES = ("task", "answer")
"""What a wording of one's own must have a place for."""
_LONGEST_REASON = 400


class Criterion(Section):
    """One thing an answer is graded for."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")
    """Its key in the judge's reply and in the row's scores."""
    asks: str = Field(min_length=1)
    """What the judge is to look at."""
    weight: float = Field(1.0, gt=0)
    """How much it counts in the score."""


class Scale(Section):
    """The grades."""

    lowest: int = 1
    """The worst grade."""
    highest: int = 5
    """The best grade."""
    meaning: dict[int, str] = Field(default_factory=dict)
    """What some of the grades, or all, stand for."""

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
    """What answers are graded by: the name of a packaged rubric, a YAML file, or these keys in
    place."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,40}$")
    """Begins the names of its scores in a row's lineage."""
    about: str = ""
    """One sentence."""
    criteria: list[Criterion] = Field(min_length=1, max_length=12)
    """What is looked at, in this order."""
    scale: Scale = Scale()
    """The grades each criterion gets."""
    prompt: str = ""
    """A wording of one's own with {task} and {answer}, and where wanted {criteria}, {lowest},
    {highest}, {meaning}, {form} and {mark} (a line that the task and the answer cannot contain);
    empty takes the program's."""

    @model_validator(mode="after")
    def _can_be_asked(self) -> "Rubric":
        names = [one.name for one in self.criteria]
        if len(set(names)) < len(names) or "why" in names:
            raise ValueError("expected every criterion under a name of its own, none of them why")
        missing = [
            place for place in PLACES if self.prompt and "{" + place + "}" not in self.prompt
        ]
        if missing:
            raise ValueError(f"prompt: expected a place for {{{missing[0]}}}; found none")
        return self

    def form(self, reason: bool) -> dict[str, Any]:
        """The JSON schema of a reply: with `reason`, why it was graded so, then a grade for each
        criterion."""
        grades = list(range(self.scale.lowest, self.scale.highest + 1))
        why = {"why": {"type": "string", "maxLength": _LONGEST_REASON}} if reason else {}
        keys = why | {one.name: {"type": "integer", "enum": grades} for one in self.criteria}
        return {
            "type": "object",
            "properties": keys,
            "required": list(keys),
            "additionalProperties": False,
        }

    def example(self, reason: bool) -> str:
        """The form as a person would write it down."""
        why = ['"why": one sentence'] if reason else []
        return "{" + ", ".join([*why, *(f'"{one.name}": grade' for one in self.criteria)]) + "}"

    def score(self, grades: dict[str, float]) -> float:
        """The weighted mean of the criteria."""
        weights = {one.name: one.weight for one in self.criteria}
        return sum(grades[name] * weight for name, weight in weights.items()) / sum(
            weights.values()
        )


def rubric_names() -> list[str]:
    """Names of the rubrics that came with the program."""
    folder = resources.files("localinstruct.judge") / "rubrics"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


@cache
def packaged(name: str) -> Rubric:
    """A rubric that came with the program."""
    with resources.as_file(
        resources.files("localinstruct.judge") / "rubrics" / f"{name}.yaml"
    ) as path:
        return Rubric.model_validate(load_yaml(path))


def fill(text: str, **values: str | int) -> str:
    """`text` with every {name} of `values` replaced in one pass; braces in what is put in stay as
    they are."""
    return re.sub(r"\{(\w+)\}", lambda match: str(values.get(match[1], match[0])), text)


def _by_name(value: Any) -> Any:
    """A packaged rubric in the place of its name (files are read with the recipe)."""
    if not isinstance(value, str):
        return value
    if value not in rubric_names():
        raise ValueError(
            f"no such rubric; {did_you_mean(value, rubric_names())}; or the path of a .yaml file"
        )
    return packaged(value)


NamedRubric = Annotated[Rubric, BeforeValidator(_by_name)]
"""A rubric that may also be given by its name."""
