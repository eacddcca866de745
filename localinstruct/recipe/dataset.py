"""Choice of the kept rows that the student sees: the `dataset` section of a recipe."""

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from localinstruct.config import Section
from localinstruct.formats.fields import Reading


class Source(Reading):
    """Another run or a file to mix in, and how it is read."""

    path: str = Field(min_length=1)
    """A run's directory, or rows in any format that can be read: a file, a folder, or a pattern
    (data/*.jsonl)."""
    weight: float | None = Field(None, gt=0)
    """Its share, compared with the other weights; None takes all of it."""
    max_rows: int | None = Field(None, ge=1)
    """Rows at most, drawn at random."""


class Dataset(Section):
    """Selection, mixing and split of the kept rows for the student."""

    ALSO: ClassVar[dict[str, str]] = {"sources": "from"}

    sources: list[Source] = Field(default_factory=list)
    """Also called `from`: other runs and files to mix with the kept rows, as paths or as mappings
    with path, weight, max_rows and how a file is read (docs/formats.md, "Rows"). With
    generate.target: 0 the dataset is made of these alone."""
    similar: float | None = Field(0.9, gt=0, le=1)
    """Drop a row of a source above this cosine to a row of an earlier source; None drops exact
    repetitions only."""
    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the kept rows set aside for the held-out loss."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many rows, drawn at random; None takes all."""
    select: Literal["rip", "random"] | None = Field(None, exclude_if=lambda value: value is None)
    """Choose among graded preference pairs to train on: rip keeps those whose rejected answer is
    good and long enough and not far below the chosen one (arXiv 2501.18578); random keeps as many,
    drawn at random, to compare with. None takes all rows."""
    select_quantile: float = Field(0.5, gt=0, lt=1, exclude_if=lambda value: value == 0.5)
    """Quantile of grade and length that a rejected answer must reach, for rip; its complement
    bounds the gap."""
    include_seeds: bool = False
    """Add the seed tasks to the training rows."""
    decontaminate: bool = True
    """Drop rows whose instruction and input also stand in evaluate.tasks."""
    phrasing: Literal["plain", "self-instruct"] = "plain"
    """How a task is put: as it is, or in one of Self-Instruct's thirteen forms, drawn for each
    row."""

    @model_validator(mode="before")
    @classmethod
    def _from(cls, data: Any) -> Any:
        """`from` is the word people write; a path alone is a source with its defaults."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "from" in data and "sources" not in data:
            data["sources"] = data.pop("from")
        sources = data.get("sources")
        if isinstance(sources, list):
            data["sources"] = [{"path": one} if isinstance(one, str) else one for one in sources]
        return data
