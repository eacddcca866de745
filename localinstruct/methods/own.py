"""A method of the user's own, held to what every method keeps to: a generator without I/O.

It is a callable `(pool, options, rng)` that yields lists of prompts, is sent a list of completions
for each, and returns rows and rejects. It comes from the workspace's `methods/NAME.py`, or from a
Python program. What it does wrong ends the run with the file and the line: unlike a teacher's
words, code can be mended. An attribute `episodes(seeds, options)` of the callable says how many
episodes there are; without it there is no end.
"""

import inspect
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import ClassVar

from pydantic import Field, PrivateAttr, model_validator

from localinstruct.config import Section, parse
from localinstruct.errors import LocalInstructError, RecipeError, RunConflict, UsageError
from localinstruct.own_code import MEND, OwnFunction, failed_at, file_of, line_of, load
from localinstruct.records import (
    Completion,
    Episode,
    EpisodeShape,
    Instance,
    JsonObject,
    PoolView,
    Prompt,
    Reject,
)

PARAMETERS = ("pool", "options", "rng")
MOST_CALLS = 1_000
"""Times that one episode may yield; a method that goes on for ever would never keep a row."""
FOLDER = "methods"
"""Where own methods lie in a workspace."""


class OwnMethod(OwnFunction):
    """A method of your own: in a recipe `method: {NAME: {option: value}}` for `methods/NAME.py`."""

    options: JsonObject = Field(default_factory=dict)
    """Its options, checked by the method itself when it is loaded."""
    says_topic: ClassVar[bool] = True
    """True: nobody can know before it runs, so it may be given topics."""
    shape: ClassVar[EpisodeShape] = EpisodeShape()
    """One row, one prompt, and a look at kept rows: nobody can know before it runs."""
    _options: object = PrivateAttr(None)

    @model_validator(mode="after")
    def _in_its_folder(self) -> "OwnMethod":
        # A recipe that came from elsewhere must not name other code: `bundle import` asks about
        # this folder only.
        if self.file not in ("", f"{FOLDER}/{self.name}.py"):
            raise ValueError(f"expected file: {FOLDER}/{self.name}.py; found {self.file}")
        return self

    @property
    def given_options(self) -> object:
        """The options as the method takes them: its Section, or a plain mapping."""
        return self.options if self._options is None else self._options

    def episodes(self, seeds: Sequence[Instance]) -> int | None:
        """How many episodes there are; None when there is no end, or nobody knows yet."""
        says = getattr(self.function, "episodes", None)
        if says is None:
            return None
        number = says(seeds, self.given_options)
        if not isinstance(number, int) or number < 0:
            raise self.wrong(f"{self.name}.episodes returned {_short(number)}", "a whole number")
        return number

    def wrong(self, what: str, expected: str, line: int = 0) -> UsageError:
        """The error for what the method did in place of what was expected."""
        assert self.function is not None
        at = f"{file_of(self.function)}:{line or line_of(self.function)}"
        return UsageError(f"{at}: expected {expected}, found that {what}.", MEND)


def loaded(method: OwnMethod, workspace: Path) -> OwnMethod:
    """The method ready to be played, with its options checked; its file is executed here.

    RecipeError names what is wrong with file or options; RunConflict when the method was a function
    of a Python program, which is not here.
    """
    if method.function is None and not method.file:
        raise RunConflict(
            f"method.{method.name}: a function of the Python program that began this run; it "
            "cannot be loaded from here.",
            f"Go on from Python: localinstruct.generate(RUN, method={method.name}). What is kept "
            "is kept; later stages run from anywhere.",
        )
    ready = method if method.function else load(method, workspace, PARAMETERS)
    assert ready.function is not None
    section = _section_of(ready.function)
    ready = ready.model_copy()
    if section is not None:
        ready._options = parse(section, method.options, f"method.{method.name}")
    return ready


def _section_of(function: Callable[..., object]) -> type[Section] | None:
    """The Section that a method's second parameter is annotated with, if it is."""
    kind, problem = _second_annotation(function)
    if problem is not None:
        raise RecipeError(
            f"{file_of(function)}:{line_of(function)}: expected annotations that can be read, "
            f"found {type(problem).__name__}: {problem}",
            "Import what they name outside of `if TYPE_CHECKING`, or leave them out.",
        )
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _second_annotation(function: Callable[..., object]) -> tuple[object, Exception | None]:
    """(the annotation of the second parameter, why it is only a text)."""
    problem = None
    try:
        parameters = inspect.signature(function, eval_str=True).parameters
    except Exception as error:  # another annotation may be the one that cannot be read
        problem, parameters = error, inspect.signature(function).parameters
    kind = [*parameters.values()][1].annotation if len(parameters) > 1 else None
    return kind, problem if isinstance(kind, str) else None


def own(pool: PoolView, method: OwnMethod, rng: Random) -> Episode:
    """One episode of the user's method; UsageError with file and line for what it does wrong."""
    assert method.function is not None
    episode = _call(method, partial(method.function, pool, method.given_options, rng))
    if not isinstance(episode, Generator):
        raise method.wrong(f"{method.name} returned {_short(episode)}", "a generator (use yield)")
    try:
        results = yield from _prompts(method, episode)
    finally:
        episode.close()
    return _rows(method, results)


def _prompts(
    method: OwnMethod, episode: "Generator[object, object, object]"
) -> Generator[list[Prompt], list[list[Completion]], object]:
    """Pass prompts out and completions in; returns what the method returns at its end."""
    answers: object = None
    for call in count():
        try:
            asked = _call(method, partial(episode.send, answers))
        except StopIteration as end:
            return end.value
        if not isinstance(asked, list) or not all(isinstance(one, Prompt) for one in asked):
            line = getattr(getattr(episode, "gi_frame", None), "f_lineno", 0)
            what = f"{method.name} yielded {_short(asked)}"
            raise method.wrong(what, "a list of Prompt, as in yield [Prompt('…')]", line)
        if call >= MOST_CALLS:
            line = getattr(getattr(episode, "gi_frame", None), "f_lineno", 0)
            what = f"{method.name} yielded {call:,} times and did not return"
            raise method.wrong(what, "an episode that ends, with return [rows and rejects]", line)
        answers = yield asked
    raise AssertionError("count() does not end")


def _call(method: OwnMethod, call: Callable[[], object]) -> object:
    """Call the user's code; UsageError with the line at which it raised."""
    assert method.function is not None
    try:
        return call()
    except (StopIteration, LocalInstructError):
        raise
    except (Exception, SystemExit) as error:  # exit code 0 would pass for a run that is done
        file = file_of(method.function)
        raise UsageError(
            f"{file}:{failed_at(error, file)}: {method.name} raised {type(error).__name__}: "
            f"{error}",
            MEND,
        ) from error


def _rows(method: OwnMethod, results: object) -> list[Instance | Reject]:
    """Rows and rejects that the method returned, its name in each row that has none."""
    if not isinstance(results, list | tuple):
        raise method.wrong(
            f"{method.name} returned {_short(results)}", "a list of rows and rejects"
        )
    rows: list[Instance | Reject] = []
    for row in results:
        if not isinstance(row, Instance | Reject):
            what = f"{method.name} returned {_short(row)} in its list"
            raise method.wrong(what, "Instance and Reject only")
        rows.append(_named(method, row) if isinstance(row, Instance) else row)
    return rows


def _named(method: OwnMethod, row: Instance) -> Instance:
    for field in ("instruction", "input", "output", "system", "rejected", "thinking"):
        if not isinstance(value := getattr(row, field), str):
            raise method.wrong(f"a row's {field} is {_short(value)}", "text")
    if row.lineage.method:
        return row
    return replace(row, lineage=replace(row.lineage, method=method.name))


def _short(value: object) -> str:
    shown = repr(value)
    return f"{type(value).__name__} {shown if len(shown) <= 60 else shown[:59] + '…'}"
