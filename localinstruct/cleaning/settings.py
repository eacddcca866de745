"""Settings of a cleaning: rules, likeness, repeated questions, tasks, and a judge."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from localinstruct.config import Section
from localinstruct.curate.filters import Filters
from localinstruct.formats import Reading
from localinstruct.methods.judge import JudgeOptions
from localinstruct.teacher import Serve


class Judge(JudgeOptions):
    """A judge of rows that are there: the keys of `then.judge` in a recipe, and who it is."""

    model: str
    """Name of a chat model in models.yaml."""
    serve: Serve = Serve()
    """How vLLM is started for it; of no meaning for a server that is there already."""


def _by_name(value: object) -> object:
    return {"model": value} if isinstance(value, str) else value


class Clean(Section):
    """Conditions under which a row stays."""

    NEW = frozenset({"static"})
    reading: Reading = Field(default_factory=Reading)
    """How the files are read."""
    filters: Filters = Field(default_factory=Filters)
    """Rules, repairs, and what becomes of secrets."""
    similar: float | None = Field(0.9, gt=0, le=1)
    """Cosine above which a row is like an earlier one; null compares letter by letter only."""
    answers_per_prompt: int | None = Field(None, ge=1)
    """Different answers to one question that stay; null keeps all."""
    keep: Literal["first", "longest", "best"] = "first"
    """Which of rows that are alike stays: the first, that with the longest answer, or the best.

    The best is the one with the highest grade, so all of them are judged, not only those that stay.
    """
    judge: Annotated[Judge | None, BeforeValidator(_by_name)] = None
    """Grades every row that would stay; a model's name alone takes the defaults."""
    encoder: str = "all-minilm-l6-v2"
    """Name of the sentence encoder in models.yaml."""
    static: bool = False
    """Have a static encoder, distilled from that one here, propose the pairs that it decides."""
    tasks: list[Path] = Field(default_factory=list)
    """Evaluation files whose tasks may not be in the output."""
    against: list[Path] = Field(default_factory=list)
    """Files whose rows are there already: what is like them is left out."""

    @model_validator(mode="after")
    def _best_of_grades(self) -> "Clean":
        if self.keep == "best" and self.judge is None:
            raise ValueError("keep: best is that with the highest grade; expected a judge as well")
        return self
