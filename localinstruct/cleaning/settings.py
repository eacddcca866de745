"""Settings of a cleaning: rules, likeness, repeated questions, tasks that may not be in it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from localinstruct.config import Section
from localinstruct.curate.filters import Filters
from localinstruct.formats import Reading


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
    keep: Literal["first", "longest"] = "first"
    """Which of rows that are alike stays: the first, or the one with the longest answer."""
    encoder: str = "all-minilm-l6-v2"
    """Name of the sentence encoder in models.yaml."""
    static: bool = False
    """Have a static encoder, distilled from that one here, propose the pairs that it decides."""
    tasks: list[Path] = Field(default_factory=list)
    """Evaluation files whose tasks may not be in the output."""
    against: list[Path] = Field(default_factory=list)
    """Files whose rows are there already: what is like them is left out."""
