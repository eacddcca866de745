"""Rejection by rule, before any embedding: a table of named functions.

Each takes an instance and returns the reason against it, or None. Three sets. `localinstruct` looks
at the whole request and at the answer: length, garbled starts, requests that a text model cannot
fulfil, empty, echoed or refused answers. `alpaca` has exactly the effect of Stanford Alpaca's own
list (18 blacklisted words, "Write a program", first character, 4 to 150 words), `self-instruct`
that of Self-Instruct's first and fourth steps, for people who compare. Not covered: whether an
answer is right (a judge's task), and likeness to other rows (`novelty.py`). The rules read English.
"""

import re
import string
from collections.abc import Callable
from functools import cache
from typing import Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section, did_you_mean
from localinstruct.curate import unanswerable
from localinstruct.errors import RunConflict, UsageError
from localinstruct.own_code import MEND, OwnFunction, failed_at, file_of, line_of
from localinstruct.records import Instance, Reject


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
    own: OwnFilter | None = Field(None, exclude_if=lambda value: value is None)
    """A filter that came from Python (docs/python.md), asked last: how a run keeps it."""

    @field_validator("disable", "enable")
    @classmethod
    def _known(cls, names: list[str]) -> list[str]:
        unknown = [name for name in names if name not in FILTERS]
        problems = [f"no filter {name!r}, {did_you_mean(name, FILTERS)}" for name in unknown]
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
        names = (SETS[self.set] | {*self.enable}) - {*self.disable}
        return [name for name in FILTERS if name in names]


Filter = Callable[[Instance, Filters], str | None]
"""A rule: None if the instance passes, else the fault in words."""


def first_reason(instance: Instance, filters: Filters) -> Reject | None:
    """Ask the active rules in the order of the table; the first that objects gives the Reject."""
    for name in filters.active:
        detail = FILTERS[name](instance, filters)
        if detail is not None:
            return Reject("filter", name.replace("_", " "), _as_text(instance), detail)
    objection = filters.own.objection(instance) if filters.own else None
    return Reject("filter", "own filter", _as_text(instance), objection) if objection else None


def count_words(text: str) -> int:
    """Count words between spaces.

    In scripts without spaces (Chinese, Japanese, Thai) every character is one.
    """
    return len(_WORD.findall(text))


_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]+")
_ODD_START = re.compile(r"[,;:!?)\]}>|&%^~=\ufffd]|[.\-+*/_\\#@](?!\w)")
_CANNOT = r"(?:can['’]?t|cannot|can not|won['’]?t|will not|am (?:not able|unable) to)"
_SERVE = (
    r"(?:assist|help you|help with|provide|fulfil|fulfill|comply|complete (?:this|your)"
    r"|answer (?:this|that|your)|generate|create|access|open|view|see (?:the|any|this|an)"
    r"|browse|watch|listen|process (?:the|this|your)|do that|engage)\b"
)
_REFUSAL = re.compile(
    # at the start of an answer; an apology in a letter has another verb ("I cannot attend")
    rf"(?:(?:i['’]?m|i am) (?:\w+ )?sorry,? |sorry,? |unfortunately,? |i apologi[sz]e,? )?(?:but )?"
    rf"i(?:['’]m (?:not able|unable) to| {_CANNOT}) (?:\w+ ){{0,2}}?{_SERVE}"
    r"|i (?:do not|don['’]?t) have (?:the (?:ability|capability|means)|access)\b",
    re.IGNORECASE,
)
_AS_AN_AI = re.compile(
    r"\b(?:as|i am|i['’]m|being) an? (?:ai|artificial intelligence|(?:\w+ )?language model)\b",
    re.IGNORECASE,
)
_IDENTITY_IS_FINE = re.compile(
    r"\b(?:(?:sort|order|arrang|rank|revers|correct|fix|proofread|edit|gramma|spell|punctuat"
    r"|capital|upper|lower|format|clean|remov|delet|replac|repeat|cop[iy]|echo|convert"
    r"|normali[sz])\w*|if (?:needed|necessary))\b",
    re.IGNORECASE,
)
_SELF_INSTRUCT_BLACKLIST = r"images?|graphs?|pictures?|files?|maps?|draw|plot|go to"
_ALPACA_BLACKLIST = rf"{_SELF_INSTRUCT_BLACKLIST}|video|audio|music|flowchart|diagram"


def _too_short(instance: Instance, filters: Filters) -> str | None:
    words, least = count_words(instance.instruction), filters.min_words
    return f"{words} words, expected at least {least}" if words < least else None


def _too_long(instance: Instance, filters: Filters) -> str | None:
    words, most = count_words(instance.instruction), filters.max_words
    return f"{words} words, expected at most {most}" if words > most else None


def _garbled(instance: Instance, _: Filters) -> str | None:
    """Reject a start that no sentence has, or no words at all.

    Quotes, brackets and letters of any script are fine.
    """
    text = instance.instruction.strip()
    if _ODD_START.match(text):
        return f"starts with {text[:3]!r}"
    return None if sum(character.isalpha() for character in text[:400]) >= 2 else "no letters in it"


def _asks_for_media(instance: Instance, _: Filters) -> str | None:
    return unanswerable.media(instance.instruction, instance.input)


def _missing_attachment(instance: Instance, _: Filters) -> str | None:
    return unanswerable.attachment(instance.instruction, instance.input)


def _real_world_action(instance: Instance, _: Filters) -> str | None:
    return unanswerable.action(instance.instruction)


def _blacklisted(instance: Instance, filters: Filters) -> str | None:
    return _contains(instance.instruction, *map(re.escape, filters.blacklist))


def _empty_output(instance: Instance, _: Filters) -> str | None:
    return None if instance.output.strip() else "nothing in the output"


def _output_too_long(instance: Instance, filters: Filters) -> str | None:
    words, most = count_words(instance.output), filters.max_output_words
    return f"{words} words, expected at most {most}" if words > most else None


def _echo(instance: Instance, _: Filters) -> str | None:
    """Reject a question given back as the answer.

    Tasks such as sorting may rightly leave their input as it is.
    """
    output = _bare(instance.output)
    if count_words(output) >= 3 and output.casefold() == _bare(instance.instruction).casefold():
        return "the output is the instruction"
    if count_words(output) < 4 or _IDENTITY_IS_FINE.search(instance.instruction):
        return None
    return "the output is the input" if output == _bare(instance.input) else None


def _refusal(instance: Instance, _: Filters) -> str | None:
    """Reject an answer that declines, or early on speaks of itself as an AI without being asked."""
    start = instance.output.strip()[:300]
    question = f"{instance.instruction} {instance.input}"
    as_an_ai = None if _AS_AN_AI.search(question) else _AS_AN_AI.search(start)
    match = _REFUSAL.match(start) or as_an_ai
    return f"says {match[0]!r}" if match else None


def _invented_url(instance: Instance, _: Filters) -> str | None:
    return unanswerable.invented_url(instance.instruction, instance.input, instance.output)


def _not_latin(instance: Instance, _: Filters) -> str | None:
    """Reject other scripts, coarsely, if enabled: fewer than half of the letters are Latin."""
    letters = [character for character in instance.instruction if character.isalpha()]
    latin = sum(character < "\u0250" for character in letters)
    return f"{latin} of {len(letters)} letters are Latin" if latin * 2 < len(letters) else None


def _alpaca_length(instance: Instance, _: Filters) -> str | None:
    words = len(instance.instruction.split())
    return f"{words} words, Alpaca takes 4 to 150" if words <= 3 or words > 150 else None


def _alpaca_blacklist(instance: Instance, filters: Filters) -> str | None:
    return _contains(instance.instruction, _ALPACA_BLACKLIST, *map(re.escape, filters.blacklist))


def _alpaca_program(instance: Instance, _: Filters) -> str | None:
    is_program = instance.instruction.startswith("Write a program")
    return "starts with 'Write a program'" if is_program else None


def _alpaca_punctuation(instance: Instance, _: Filters) -> str | None:
    first = instance.instruction[:1]
    return f"starts with {first!r}" if first and first in string.punctuation else None


def _alpaca_non_ascii(instance: Instance, _: Filters) -> str | None:
    first = instance.instruction[:1]
    return None if first.isascii() else f"starts with {first!r}"


def _self_instruct_blacklist(instance: Instance, filters: Filters) -> str | None:
    more = map(re.escape, filters.blacklist)
    return _contains(instance.instruction, _SELF_INSTRUCT_BLACKLIST, *more)


def _input_equals_output(instance: Instance, _: Filters) -> str | None:
    repeats = instance.input and instance.input == instance.output
    return "the output is the input" if repeats else None


def _trailing_colon(instance: Instance, _: Filters) -> str | None:
    """Reject a field that announces something which does not come."""
    fields = {"input": instance.input, "output": instance.output}
    ends = [name for name, text in fields.items() if text.rstrip().endswith(":")]
    return f"{' and '.join(ends)} ends with a colon" if ends else None


FILTERS: dict[str, Filter] = {
    "too_short": _too_short,
    "too_long": _too_long,
    "garbled": _garbled,
    "blacklisted": _blacklisted,
    "asks_for_media": _asks_for_media,
    "missing_attachment": _missing_attachment,
    "real_world_action": _real_world_action,
    "empty_output": _empty_output,
    "output_too_long": _output_too_long,
    "echo": _echo,
    "refusal": _refusal,
    "invented_url": _invented_url,
    "not_latin": _not_latin,
    "alpaca_length": _alpaca_length,
    "alpaca_blacklist": _alpaca_blacklist,
    "alpaca_program": _alpaca_program,
    "alpaca_punctuation": _alpaca_punctuation,
    "alpaca_non_ascii": _alpaca_non_ascii,
    "self_instruct_blacklist": _self_instruct_blacklist,
    "input_equals_output": _input_equals_output,
    "trailing_colon": _trailing_colon,
}
"""Every rule by name, in the order in which they are asked."""

_ALPACA = frozenset(name for name in FILTERS if name.startswith("alpaca_"))
_STEP_4 = frozenset({"self_instruct_blacklist", "input_equals_output", "trailing_colon"})
SETS: dict[str, frozenset[str]] = {
    "localinstruct": frozenset(FILTERS) - _ALPACA - _STEP_4 - {"not_latin"},
    "alpaca": _ALPACA,
    "self-instruct": _ALPACA - {"alpaca_blacklist"} | _STEP_4 | {"empty_output"},
    "none": frozenset(),
}
"""Named sets a recipe chooses from."""


def _contains(text: str, *patterns: str) -> str | None:
    match = _whole_words(patterns).search(text) if patterns else None
    return f"contains {match[0]!r}" if match else None


@cache
def _whole_words(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)", re.IGNORECASE)


def _bare(text: str) -> str:
    """One line without quotes around it and without a full stop at its end."""
    return " ".join(text.split()).strip("\"'“”‘’`.!?: ")


def _as_text(instance: Instance) -> str:
    fields = {
        "Instruction": instance.instruction,
        "Input": instance.input,
        "Output": instance.output,
    }
    return "\n".join(f"{name}: {value}" for name, value in fields.items() if value)
