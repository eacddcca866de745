"""How instructions are made. One file per method, its prompts as text files beside it, one line in
`METHODS`.

A method is a generator without I/O: it yields prompts, is sent the completions, returns rows and
rejects (`records.Episode`). It has no model, no disk and no clock, so it is tested by sending it
scripted completions. A step is the same thing with rows to start from: it works on what any method
wrote, in the same episode.
"""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pydantic import model_validator

from localinstruct.config import Section
from localinstruct.methods.alpaca import AlpacaOptions, alpaca
from localinstruct.methods.answer import AnswerOptions, answer, answer_rows
from localinstruct.methods.evol_instruct import EvolInstructOptions, evol_instruct
from localinstruct.methods.grounded import GroundedOptions, grounded
from localinstruct.methods.judge import JudgeOptions, judge
from localinstruct.methods.magpie import MagpieOptions, magpie
from localinstruct.methods.preference import PreferenceOptions, preference, preference_rows
from localinstruct.methods.rewrite import RewriteOptions, rewrite
from localinstruct.methods.self_instruct import SelfInstructOptions, self_instruct
from localinstruct.records import Episode, Instance, PoolView, Reject

METHODS: dict[str, Callable[[PoolView, Any, Random], Episode]] = {
    "alpaca": alpaca,
    "self_instruct": self_instruct,
    "evol_instruct": evol_instruct,
    "magpie": magpie,
    "grounded": grounded,
    "rewrite": rewrite,
    "answer": answer,
    "preference": preference,
}
"""Name in a recipe -> the generator."""
FINITE: dict[str, Callable[[Sequence[Instance], Any], int]] = {
    "answer": lambda seeds, options: len(seeds),
    "preference": lambda seeds, options: len(seeds),
    "grounded": lambda seeds, options: len(seeds) * options.rounds,
}
"""Methods that end by themselves: (seeds, options) -> how many episodes there are. The others go on
for ever."""
OVER_SEEDS = ("answer", "preference")
"""Methods whose rows are the tasks of the seed file, each once, so that they are like them on
purpose."""
OVER_DOCUMENTS = ("grounded",)
"""Methods whose seeds are the passages of a folder of documents."""
STEPS: dict[str, Callable[[Sequence[Instance], Any, Random], Episode]] = {
    "answer": answer_rows,
    "preference": preference_rows,
    "judge": judge,
}
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
    grounded: GroundedOptions | None = None
    """Questions about passages of a folder of documents, answered with quotations."""
    rewrite: RewriteOptions | None = None
    """Seeds said again in clearer, fuller words, and answered."""
    answer: AnswerOptions | None = None
    """The tasks of the seed file answered, one at a time."""
    preference: PreferenceOptions | None = None
    """The tasks of the seed file with a better and a worse answer, ready for DPO."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "MethodSection":
        given = [name for name in METHODS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one method of: {', '.join(METHODS)}; found {len(given)}"
            )
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
    """What is done with the rows of an episode, whichever method wrote them; every step is
    optional."""

    answer: AnswerOptions | None = None
    """First: answered again, one at a time, by the teacher or by models.answerer."""
    preference: PreferenceOptions | None = None
    """Then: several answers compared, the best against the worst."""
    judge: JudgeOptions | None = None
    """Last: graded, and rejected below a threshold."""


def asked_in_chats(method: MethodSection, then: Then) -> dict[str, str]:
    """Role -> the first key of the recipe that asks it in a chat, so that a base model cannot play
    it."""
    keys = {f"method.{method.name}": method.options} | {
        f"then.{name}": getattr(then, name, None) for name in STEPS
    }
    asked = [(role, key) for key, options in keys.items() for role in getattr(options, "chats", ())]
    return dict(reversed(asked))


def play(method: MethodSection, then: Then, pool: PoolView, rng: Random) -> Episode:
    """One episode: the method, then the recipe's steps on its rows."""
    results = yield from METHODS[method.name](pool, method.options, rng)
    for name, step in STEPS.items():
        options, rows = getattr(then, name), [row for row in results if isinstance(row, Instance)]
        if options is not None and rows:
            results = [reject for reject in results if isinstance(reject, Reject)]
            results += yield from step(rows, options, rng)
    return results
