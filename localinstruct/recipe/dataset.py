"""What the student sees of the kept rows: the `dataset` section of a recipe."""

from typing import Literal

from pydantic import Field

from localinstruct.config import Section


class Dataset(Section):
    """What the student sees of the kept rows."""

    held_out: float = Field(0.1, ge=0, lt=1)
    """Share of the kept rows set aside for the held-out loss."""
    max_rows: int | None = Field(None, ge=1)
    """Train on at most this many rows, drawn at random; None takes all."""
    include_seeds: bool = False
    """Add the seed tasks to the training rows."""
    decontaminate: bool = True
    """Drop rows whose instruction and input also stand in evaluate.tasks."""
    phrasing: Literal["plain", "self-instruct"] = "plain"
    """How a task is put: as it is, or in one of Self-Instruct's thirteen forms, drawn for each row."""
