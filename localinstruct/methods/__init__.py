"""How instructions are made. One file per method, its prompts as text files beside it, one line in `METHODS`.

A method is a generator without I/O: it yields prompts, is sent the completions, returns rows and rejects
(`records.Episode`). It has no model, no disk and no clock, so it is tested by sending it scripted completions.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from pydantic import model_validator

from localinstruct.config import Section
from localinstruct.methods.alpaca import AlpacaOptions, alpaca
from localinstruct.records import Episode, PoolView

METHODS: dict[str, Callable[[PoolView, Any, Random], Episode]] = {"alpaca": alpaca}
"""Name in a recipe -> the generator."""


class MethodSection(Section):
    """How instructions are made: exactly one method, by name, with its options."""

    alpaca: AlpacaOptions | None = None
    """Stanford Alpaca's numbered list (Taori et al. 2023)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "MethodSection":
        given = [name for name in METHODS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected exactly one method of: {', '.join(METHODS)}; found {len(given)}")
        return self

    @property
    def name(self) -> str:
        """The chosen method."""
        return next(name for name in METHODS if getattr(self, name) is not None)

    def episode(self, pool: PoolView, rng: Random) -> Episode:
        """One round of the chosen method."""
        return METHODS[self.name](pool, getattr(self, self.name), rng)
