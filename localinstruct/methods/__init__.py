"""How instructions are made: one file per method, its prompts beside it, one line in `METHODS`.

A method is a generator without I/O: it yields prompts, is sent the completions, returns rows and
rejects (`records.Episode`). It has no model, no disk and no clock, so it is tested by sending it
scripted completions. A method of the user's own is of the same shape and needs no line here
(`own.py`). A step is a method with rows to start from: it works on what any method wrote, in the
same episode.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from pydantic import Field, model_validator

from localinstruct.config import Section, did_you_mean
from localinstruct.errors import RecipeError
from localinstruct.methods.alpaca import AlpacaOptions, alpaca
from localinstruct.methods.answer import AnswerOptions, answer, answer_rows
from localinstruct.methods.code import CodeOptions, code
from localinstruct.methods.constraints import (
    ConstraintsOptions,
    constraint_rows,
    constraints,
)
from localinstruct.methods.cot_self_instruct import (
    CotSelfInstructOptions,
    cot_self_instruct,
)
from localinstruct.methods.evol_instruct import EvolInstructOptions, evol_instruct
from localinstruct.methods.grounded import GroundedOptions, grounded
from localinstruct.methods.judge import JudgeOptions, judge
from localinstruct.methods.magpie import MagpieOptions, magpie
from localinstruct.methods.own import FOLDER, OwnMethod, own
from localinstruct.methods.preference import PreferenceOptions, preference, preference_rows
from localinstruct.methods.rewrite import RewriteOptions, rewrite
from localinstruct.methods.self_instruct import SelfInstructOptions, self_instruct
from localinstruct.own_code import NAME
from localinstruct.records import Episode, EpisodeShape, Instance, JsonObject, PoolView, Reject

METHODS: dict[str, Callable[[PoolView, Any, Random], Episode]] = {
    "alpaca": alpaca,
    "self_instruct": self_instruct,
    "evol_instruct": evol_instruct,
    "magpie": magpie,
    "grounded": grounded,
    "rewrite": rewrite,
    "answer": answer,
    "preference": preference,
    "constraints": constraints,
    "cot_self_instruct": cot_self_instruct,
    "code": code,
}
"""Name in a recipe -> the generator."""
FINITE: dict[str, Callable[[Sequence[Instance], Any], int]] = {
    "answer": lambda seeds, options: len(seeds),
    "preference": lambda seeds, options: len(seeds),
    "grounded": lambda seeds, options: len(seeds) * options.rounds,
    "constraints": lambda seeds, options: len(seeds) * options.rounds,
}
"""Methods that end by themselves: (seeds, options) -> how many episodes there are. The others go on
for ever."""
OVER_SEEDS = ("answer", "preference", "constraints")
"""Methods whose rows are the tasks of the seed file, so that they are like them on purpose."""
OVER_DOCUMENTS = ("grounded",)
"""Methods whose seeds are the passages of a folder of documents."""
STEPS: dict[str, Callable[[Sequence[Instance], Any, Random], Episode]] = {
    "answer": answer_rows,
    "constraints": constraint_rows,
    "preference": preference_rows,
    "judge": judge,
}
"""Name under `then` in a recipe -> the step, in the order in which they are done."""


def own_methods(workspace: Path) -> dict[str, Path]:
    """Name -> file of each own method of a workspace; by the files' names, nothing is imported."""
    files = sorted((workspace / FOLDER).glob("*.py"))
    return {path.stem: path for path in files if re.match(NAME, path.stem)}


def with_own_method(section: JsonObject, workspace: Path) -> JsonObject:
    """The `method` section of a recipe, an own method in it as the run keeps it: with its digest.

    RecipeError for a name that is neither ours nor that of a file, where there are own methods, and
    for one that is both. An entry `own` with a file but no digest is given the file's.
    """
    files = own_methods(workspace)
    if not files:
        return section
    for name in {*METHODS, "own"} & files.keys() & section.keys():
        if section[name] is not None and not _is_entry(section[name]):
            raise RecipeError(
                f"method.{name}: expected one meaning of this name, found ours and {files[name]}.",
                f"Rename that file and its function, as in my_{name}, and the key in the recipe.",
            )
    entry = section.get("own")
    if isinstance(entry, dict) and _is_entry(entry) and not entry.get("sha256"):
        source = files.get(str(entry["name"]))
        if source and entry.get("file") == f"{FOLDER}/{source.name}":
            section = {**section, "own": {**entry, "sha256": _sha256(source)}}
    unknown = [name for name in section if name not in MethodSection.model_fields]
    for name in unknown:
        if name not in files:
            near = did_you_mean(str(name), [*METHODS, *files])
            where = workspace / FOLDER / f"{name}.py"
            raise RecipeError(f"method.{name}: unknown key; {near}", f"No file {where}.")
        options = {} if section[name] is None else section[name]
        file, sha256 = f"{FOLDER}/{name}.py", _sha256(files[name])
        entry = {"name": name, "file": file, "sha256": sha256, "options": options}
        section = {key: value for key, value in section.items() if key != name} | {"own": entry}
    return section


def _is_entry(value: object) -> bool:
    """True for an own method as a run keeps it."""
    return isinstance(value, dict) and "name" in value


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


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
    constraints: ConstraintsOptions | None = Field(None, exclude_if=lambda value: value is None)
    """The tasks of the seed file with constraints that code checks; answers that keep them."""
    cot_self_instruct: CotSelfInstructOptions | None = Field(
        None, exclude_if=lambda value: value is None
    )
    """New tasks with a short answer, kept when most fresh answers agree (Yu et al. 2025)."""
    code: CodeOptions | None = Field(None, exclude_if=lambda value: value is None)
    """Small Python functions that pass tests written apart, executed in the seal."""
    own: OwnMethod | None = Field(None, exclude_if=lambda value: value is None)
    """A method of your own: how a run keeps `method: {NAME: {…}}` for the workspace's
    `methods/NAME.py`, or a function that came from Python (docs/python.md)."""

    @model_validator(mode="after")
    def _exactly_one(self) -> "MethodSection":
        given = [name for name in (*METHODS, "own") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"expected exactly one method of: {', '.join(METHODS)}; found {len(given)}"
            )
        return self

    @property
    def name(self) -> str:
        """The chosen method; of an own one, the name of its function."""
        if self.own is not None:
            return self.own.name
        return next(name for name in METHODS if getattr(self, name) is not None)

    @property
    def options(self) -> Any:
        """Its options."""
        return self.own if self.own is not None else getattr(self, self.name)

    @property
    def shape(self) -> EpisodeShape:
        """Rows, prompts and use of kept rows of an episode, as the method's options say it."""
        return getattr(self.options, "shape", EpisodeShape())

    def episodes(self, seeds: Sequence[Instance]) -> int | None:
        """How many episodes there are at most; None when there is no end."""
        if self.own is not None:
            return self.own.episodes(seeds)
        return FINITE[self.name](seeds, self.options) if self.name in FINITE else None


class Then(Section):
    """Steps after the method, on the rows of an episode; each one is optional."""

    answer: AnswerOptions | None = None
    """First: answered again, one at a time, by the teacher or by models.answerer."""
    constraints: ConstraintsOptions | None = Field(None, exclude_if=lambda value: value is None)
    """Then: asked again with constraints that code checks, and kept with an answer that passes."""
    preference: PreferenceOptions | None = None
    """Then: several answers compared, the best against the worst."""
    judge: JudgeOptions | None = None
    """Last: graded, and rejected below a threshold."""


def asked_in_chats(method: MethodSection, then: Then) -> dict[str, str]:
    """Role -> the first key of the recipe that asks it in a chat, which no base model plays."""
    keys = {f"method.{method.name}": method.options} | {
        f"then.{name}": getattr(then, name, None) for name in STEPS
    }
    asked = [(role, key) for key, options in keys.items() for role in getattr(options, "chats", ())]
    return dict(reversed(asked))


def play(method: MethodSection, then: Then, pool: PoolView, rng: Random) -> Episode:
    """One episode: the method, then the recipe's steps on its rows."""
    work = own if method.own is not None else METHODS[method.name]
    results = yield from work(pool, method.options, rng)
    for name, step in STEPS.items():
        options, rows = getattr(then, name), [row for row in results if isinstance(row, Instance)]
        if options is not None and rows:
            results = [reject for reject in results if isinstance(reject, Reject)]
            results += yield from step(rows, options, rng)
    return results
