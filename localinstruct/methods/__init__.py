"""How instructions are made. One file per method, its prompts as text files beside it, one line in `METHODS`.

A method is a generator without I/O: it yields prompts, is sent the completions, returns rows and rejects
(`records.Episode`). It has no model, no disk and no clock, so it is tested by sending it scripted completions. A step
is the same thing with rows to start from: it works on what any method wrote, in the same episode.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pydantic import model_validator

from localinstruct.config import Section
from localinstruct.methods.alpaca import AlpacaOptions, alpaca
from localinstruct.methods.evol_instruct import EvolInstructOptions, evol_instruct
from localinstruct.methods.magpie import MagpieOptions, magpie
from localinstruct.methods.rewrite import RewriteOptions, rewrite
from localinstruct.methods.self_instruct import SelfInstructOptions, self_instruct
from localinstruct.records import Episode, Instance, PoolView, Reject

METHODS: dict[str, Callable[[PoolView, Any, Random], Episode]] = {
    "alpaca": alpaca,
    "self_instruct": self_instruct,
    "evol_instruct": evol_instruct,
    "magpie": magpie,
    "rewrite": rewrite,
}
"""Name in a recipe -> the generator."""
FINITE: dict[str, Callable[[Sequence[Instance], Any], int]] = {}
"""Methods that end by themselves: (seeds, options) -> how many episodes there are. The others go on for ever."""
STEPS: dict[str, Callable[[Sequence[Instance], Any, Random], Episode]] = {}
"""Name under `then` in a recipe -> the step, in the order in which they are done."""


class MethodSection(Section):
    """How instructions are made: exactly one method, by name, with its options."""

    alpaca: AlpacaOptions | None = None
    """Stanford Alpaca's numbered list (Taori et al. 2023)."""
    self_instruct: SelfInstructOptions | None = None
    """Self-Instruct's instructions first, then examples of each (Wang et al. 2022)."""
    evol_instruct: EvolInstructOptions | None = None
    """WizardLM's rewriting of tasks into harder and rarer ones (Xu et al. 2023)."""
    magpie: MagpieOptions | None = None
    """A chat model writes both sides of a talk (Xu et al. 2024)."""
    rewrite: RewriteOptions | None = None
    """Seeds said again in clearer, fuller words, and answered."""

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

    @property
    def options(self) -> Any:
        """Its options."""
        return getattr(self, self.name)

    def episodes(self, seeds: Sequence[Instance]) -> int | None:
        """How many episodes there are at most; None when there is no end."""
        return FINITE[self.name](seeds, self.options) if self.name in FINITE else None


class Then(Section):
    """What is done with the rows of an episode, whichever method wrote them; every step is optional."""


def play(method: MethodSection, then: Then, pool: PoolView, rng: Random) -> Episode:
    """One episode: the method, then the recipe's steps on its rows."""
    results = yield from METHODS[method.name](pool, method.options, rng)
    for name, step in STEPS.items():
        options, rows = getattr(then, name), [row for row in results if isinstance(row, Instance)]
        if options is not None and rows:
            results = [reject for reject in results if isinstance(reject, Reject)]
            results += yield from step(rows, options, rng)
    return results
