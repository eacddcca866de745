"""Repair, rejection by rule, and secrets: what is asked of every row before any embedding.

The rules are a table (`rules.py`) of which a recipe takes a set. `localinstruct` looks at the whole
request and at the answer, whoever wrote them. `alpaca` has exactly the effect of Stanford Alpaca's
own list (18 blacklisted words, "Write a program", first character, 4 to 150 words), `self-instruct`
that of Self-Instruct's first and fourth steps, for people who compare; with these two and `none`,
nothing is repaired or masked unless the recipe says so. Whoever only reads a recipe does not wait
for the rules: they are imported when they are asked.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, Literal, get_args

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section, did_you_mean
from localinstruct.errors import RunConflict, UsageError
from localinstruct.own_code import MEND, OwnFunction, failed_at, file_of, line_of
from localinstruct.records import Instance, Reject

if TYPE_CHECKING:
    from localinstruct.curate.rules import Filter


class OwnFilter(OwnFunction):
    """A filter of your own: `row -> True` keeps, False or a text (the reason) rejects."""

    def objection(self, instance: Instance) -> str | None:
        """Reason for which the filter rejects this row, or None.

        UsageError with the filter's line for what it does wrong.
        """
        if self.function is None:
            raise RunConflict(
                f"filters.own: {self.name} is a function of the Python program that began this "
                "run; it cannot be loaded from here.",
                f"Go on from Python: localinstruct.generate(RUN, keep={self.name}).",
            )
        file = file_of(self.function)
        try:
            verdict = self.function(instance)
        except (Exception, SystemExit) as error:
            raise UsageError(
                f"{file}:{failed_at(error, file)}: the filter {self.name} raised "
                f"{type(error).__name__}: {error}",
                MEND,
            ) from error
        if not isinstance(verdict, bool | str):
            raise UsageError(
                f"{file}:{line_of(self.function)}: expected True, False or a reason from the "
                f"filter {self.name}, found {type(verdict).__name__}.",
                MEND,
            )
        return None if verdict is True else verdict or f"{self.name} said no"


VERSION = 2
"""Of the rules. A run goes on under the version it began with; release 0.1.0 had version 1."""
Secrets = Literal["mask", "drop", "report", "off"]
Kind = Literal["keys", "cards", "accounts", "ids", "phones", "emails"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Kinds of secrets, see `secrets.py`."""


class Filters(Section):
    """Rules by which rows are rejected."""

    set: Literal["localinstruct", "alpaca", "self-instruct", "none"] = "localinstruct"
    """Rules that apply: ours, exactly Alpaca's, exactly Self-Instruct's (steps 1, 4), or none."""
    disable: list[str] = Field(default_factory=list)
    """Rules of the set to leave out, by name."""
    enable: list[str] = Field(default_factory=list)
    """Rules to add to the set, by name."""
    min_words: int = Field(3, ge=1)
    """Words an instruction must have (too_short). Alpaca's own rule is fixed at 4."""
    max_words: int = Field(150, ge=1)
    """Words an instruction may have (too_long). Alpaca's own rule is fixed at 150."""
    max_output_words: int = Field(600, ge=1)
    """Words an output may have (output_too_long)."""
    blacklist: list[str] = Field(default_factory=list)
    """More words or phrases that an instruction may not contain, whole and in any case.

    They join Alpaca's in its set.
    """
    rules: Literal[1, 2] | None = Field(None, exclude_if=lambda value: value in (None, 1))
    """Version of the rules: 1 as in release 0.1.0, 2 as now. Left out: that of a run that goes on,
    else the newest."""
    repairs: list[str] | None = Field(None, exclude_if=lambda value: value is None)
    """Faults of form that are mended before the rules look, by name: unseen (characters), escapes,
    no_input (markers). Left out: all of them with the set localinstruct, none with others."""
    secrets: Secrets | None = Field(None, exclude_if=lambda value: value is None)
    """What becomes of keys, card numbers and the like in a row: mask, drop (the row), report, off.
    Left out: mask with the set localinstruct, off with others."""
    secret_kinds: list[Kind] = Field(
        list(KINDS[:-1]), exclude_if=lambda value: value == list(KINDS[:-1])
    )
    """Kinds that are looked for: keys, cards, accounts, ids (of persons), phones; and, if named,
    emails."""
    own: OwnFilter | None = Field(None, exclude_if=lambda value: value is None)
    """A filter that came from Python (docs/python.md), asked last: how a run keeps it."""

    @field_validator("disable", "enable")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        if not names:
            return names
        from localinstruct.curate.rules import FILTERS

        unknown = [name for name in names if name not in FILTERS]
        problems = [f"no filter {name!r}, {did_you_mean(name, FILTERS)}" for name in unknown]
        if problems:
            raise ValueError("; ".join(problems))
        return names

    @field_validator("repairs")
    @classmethod
    def _known_repairs(cls, names: list[str] | None) -> list[str] | None:
        if not names:
            return names
        from localinstruct.curate.repairs import REPAIRS

        unknown = [name for name in names if name not in REPAIRS]
        problems = [f"no repair {name!r}, {did_you_mean(name, REPAIRS)}" for name in unknown]
        if problems:
            raise ValueError("; ".join(problems))
        return names

    @model_validator(mode="after")
    def _range(self) -> "Filters":
        if self.min_words > self.max_words:
            raise ValueError(
                f"expected min_words up to max_words; found {self.min_words} and {self.max_words}"
            )
        return self

    @property
    def active(self) -> list[str]:
        """Names of the rules that apply, in the order of the table."""
        return list(_active(self.set, self.version, tuple(self.enable), tuple(self.disable)))

    @property
    def version(self) -> int:
        """Version of the rules that apply."""
        return self.rules or VERSION

    @property
    def repairs_made(self) -> list[str]:
        """Names of the repairs that are made, in their order."""
        from localinstruct.curate.repairs import REPAIRS

        if self.repairs is None:
            return list(REPAIRS) if self._is_ours else []
        return [name for name in REPAIRS if name in self.repairs]

    @property
    def on_secrets(self) -> Secrets:
        """Treatment of secrets: mask, drop, report or off."""
        return self.secrets or ("mask" if self._is_ours else "off")

    @property
    def faithful(self) -> bool:
        """True for the sets of the papers, and under the rules of release 0.1.0."""
        return _is_faithful(self.set, self.version)

    @property
    def _is_ours(self) -> bool:
        return self.set == "localinstruct" and self.version > 1


@lru_cache(maxsize=16)
def _active(
    rules: str, version: int, enable: tuple[str, ...], disable: tuple[str, ...]
) -> tuple[str, ...]:
    from localinstruct.curate.rules import FILTERS, SETS, SINCE_2

    known = SETS[rules] if version > 1 else SETS[rules] - SINCE_2.keys()
    names = (known | {*enable}) - {*disable}
    return tuple(name for name in FILTERS if name in names)


@lru_cache(maxsize=16)
def _asked(
    rules: str, version: int, enable: tuple[str, ...], disable: tuple[str, ...]
) -> "tuple[tuple[str, tuple[Filter, ...]], ...]":
    """Names of the rules with their functions: the second holds from version 2 on."""
    from localinstruct.curate.rules import FILTERS, STRICTER_SINCE_2

    later = {} if _is_faithful(rules, version) else STRICTER_SINCE_2
    names = _active(rules, version, enable, disable)
    return tuple(
        (name, (FILTERS[name], later[name]) if name in later else (FILTERS[name],))
        for name in names
    )


def _is_faithful(rules: str, version: int) -> bool:
    return version == 1 or rules in ("alpaca", "self-instruct")


TEACHERS_ONLY = frozenset({"invented_url"})
"""Rules that are right of what a model wrote, and hit too much of what people wrote."""


def for_files(filters: Filters) -> Filters:
    """The rules for rows of files: without TEACHERS_ONLY, unless the recipe names them."""
    out = [name for name in sorted(TEACHERS_ONLY) if name not in filters.enable]
    disabled = [*filters.disable, *(name for name in out if name not in filters.disable)]
    return filters.model_copy(update={"disable": disabled})


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict on a row: the row as it is to be kept, or why it is not."""

    row: Instance
    reject: Reject | None = None
    repairs: tuple[str, ...] = ()
    """Names of the repairs that were made."""
    secrets: tuple[Kind, ...] = ()
    """Kinds of secrets that it has, or had."""


def examine(instance: Instance, filters: Filters, seconds: Counter[str] | None = None) -> Verdict:
    """Repair a row, ask the rules about it, and look for secrets in what passes.

    `seconds` adds up the time of the repairs, each rule and the search, by name.
    """
    from localinstruct.curate.repairs import on_texts, repaired

    began = perf_counter()
    row, made = repaired(instance, filters.repairs_made)
    _note(seconds, "repairs", began)
    reject = first_reason(row, filters, seconds)
    mode = filters.on_secrets
    if reject is not None or mode == "off":
        return Verdict(_noted(row, made), reject, made)
    began = perf_counter()
    found = tuple(dict.fromkeys(_secrets_of(row, filters)))
    if found and mode != "report":
        hidden = on_texts(row, lambda text: _masked(text, filters))
        if mode == "drop":
            reject = Reject("filter", "secrets", _as_text(hidden), ", ".join(found))
        row = hidden if mode == "mask" else row
    _note(seconds, "secrets", began)
    done = "masked" if mode == "mask" else "found"
    return Verdict(
        _noted(row, (*made, *(f"{done}: {kind}" for kind in found))), reject, made, found
    )


def _noted(row: Instance, changes: tuple[str, ...]) -> Instance:
    """The row with these changes in its lineage."""
    if not changes:
        return row
    return replace(row, lineage=replace(row.lineage, changes=row.lineage.changes + changes))


def _note(seconds: Counter[str] | None, name: str, began: float) -> None:
    if seconds is not None:
        seconds[name] += perf_counter() - began  # type: ignore[assignment]


def _secrets_of(row: Instance, filters: Filters) -> Iterator[Kind]:
    from localinstruct.curate.secrets import find, may_hold

    fields = (row.instruction, row.input, row.output, row.system, row.rejected, row.thinking)
    texts = [text for text in fields if text] + [turn.content for turn in row.history]
    for text in texts if may_hold(texts, filters.secret_kinds) else ():
        yield from (one.kind for one in find(text, filters.secret_kinds))


def _masked(text: str, filters: Filters) -> str:
    from localinstruct.curate.secrets import find, masked

    return masked(text, find(text, filters.secret_kinds))


def first_reason(
    instance: Instance, filters: Filters, seconds: Counter[str] | None = None
) -> Reject | None:
    """Ask the active rules in the order of the table; the first that objects gives the Reject."""
    for name, rules in _asked(
        filters.set, filters.version, tuple(filters.enable), tuple(filters.disable)
    ):
        began = perf_counter() if seconds is not None else 0.0
        detail = None
        for rule in rules:
            if (detail := rule(instance, filters)) is not None:
                break
        if seconds is not None:
            _note(seconds, name, began)
        if detail is not None:
            return Reject("filter", name.replace("_", " "), _as_text(instance), detail)
    objection = filters.own.objection(instance) if filters.own else None
    return Reject("filter", "own filter", _as_text(instance), objection) if objection else None


def _as_text(instance: Instance) -> str:
    fields = {
        "Instruction": instance.instruction,
        "Input": instance.input,
        "Output": instance.output,
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
