"""What a task file can ask of an answer, checked by code: one named function per check, in the
style of IFEval. Pure.

A check gets the answer with its ends stripped and the argument the file gives, and says yes or no.
A task holds when all of its checks do. Words are what white space separates, so that the rules know
no language; case rules look at letters that have a case. The idea is IFEval's (Zhou et al. 2023,
arXiv 2311.07911), the checks are our own. Not covered: whether an answer that keeps the rules is
also good; regular expressions, because a bad one never ends.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from localinstruct.config import did_you_mean

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?|[-+]?\.\d+")
BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """A rule: what its argument must be, and whether an answer keeps it."""

    argument: str
    """"none", "number", "text", "texts" (one or several) or "schema"."""
    holds: Callable[[str, Any], bool]


def last_number(text: str) -> float | None:
    """The last number in a text, without thousands separators: "so 1,250.50 in all" is 1250.5."""
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def first_choice(text: str, choices: list[str]) -> str | None:
    """Which of the choices stands first in the text as a word of its own, in any case."""
    places = {}
    for choice in choices:
        if match := re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE):
            places[choice] = (match.start(), -len(choice))
    return min(places, key=lambda choice: places[choice]) if places else None


def json_value(text: str) -> Any:
    """The JSON value a text is, alone or in one fenced block; ValueError when it is none."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", text.strip(), re.DOTALL)
    return json.loads(fenced[1] if fenced else text)


def _is_json(text: str, _: Any = None) -> bool:
    try:
        json_value(text)
    except (ValueError, RecursionError):
        return False
    return True


def _fits_schema(text: str, schema: Any) -> bool:
    import jsonschema

    return _is_json(text) and jsonschema.Draft202012Validator(schema).is_valid(json_value(text))


def _texts(argument: str | list[str]) -> list[str]:
    return [argument] if isinstance(argument, str) else argument


def _has(text: str, wanted: str) -> bool:
    return wanted.casefold() in text.casefold()


def _cased(text: str, upper: bool) -> bool:
    return any(letter.isalpha() for letter in text) and text == (
        text.upper() if upper else text.lower()
    )


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


CHECKS: dict[str, Check] = {
    "words": Check("number", lambda text, n: len(text.split()) == n),
    "min_words": Check("number", lambda text, n: len(text.split()) >= n),
    "max_words": Check("number", lambda text, n: len(text.split()) <= n),
    "max_characters": Check("number", lambda text, n: len(text) <= n),
    "lines": Check("number", lambda text, n: len(_lines(text)) == n),
    "paragraphs": Check(
        "number", lambda text, n: len([p for p in re.split(r"\n\s*\n", text) if p.strip()]) == n
    ),
    "bullets": Check("number", lambda text, n: len(BULLET.findall(text)) == n),
    "placeholders": Check("number", lambda text, n: len(re.findall(r"\[[^\]\n]+\]", text)) >= n),
    "contains": Check("texts", lambda text, wanted: all(_has(text, one) for one in _texts(wanted))),
    "contains_one_of": Check(
        "texts", lambda text, wanted: any(_has(text, one) for one in _texts(wanted))
    ),
    "not_contains": Check(
        "texts", lambda text, banned: not any(_has(text, one) for one in _texts(banned))
    ),
    "starts_with": Check("text", lambda text, start: text.startswith(start)),
    "ends_with": Check("text", lambda text, end: text.endswith(end)),
    "uppercase": Check("none", lambda text, _: _cased(text, True)),
    "lowercase": Check("none", lambda text, _: _cased(text, False)),
    "no_commas": Check("none", lambda text, _: "," not in text),
    "quoted": Check(
        "none", lambda text, _: len(text) > 1 and text[0] + text[-1] in ('""', "“”", "«»", "「」")
    ),
    "title": Check(
        "none", lambda text, _: bool(re.search(r"<<[^>\n]+>>|^#{1,6} \S", text, re.MULTILINE))
    ),
    "json": Check("none", _is_json),
    "json_schema": Check("schema", _fits_schema),
}
"""Name in a task file -> the rule. All of them look at the answer alone."""
AGAINST_OUTPUT: dict[str, Callable[[str, str, Any], bool]] = {
    "exact": lambda answer, expected, _: answer.split() == expected.split(),
    "number": lambda answer, expected, _: last_number(answer) == last_number(expected),
    "choice": lambda answer, expected, of: (
        first_choice(answer, of) == first_choice(expected, of) is not None
    ),
}
"""Name in a task file -> comparison of answer and the task's expected output: with the last number,
the first choice."""


def keeps(checks: Mapping[str, Any], answer: str, expected: str) -> bool:
    """Whether an answer keeps every rule of a task."""
    text = answer.strip()
    return all(
        AGAINST_OUTPUT[name](text, expected, argument)
        if name in AGAINST_OUTPUT
        else CHECKS[name].holds(text, argument)
        for name, argument in checks.items()
    )


def read_checks(value: Any, expected: str) -> dict[str, Any]:
    """A row's `check` in its full form, {name: argument}; ValueError with 'expected …, found …'
    when it is none."""
    given = {value: None} if isinstance(value, str) else value
    if not isinstance(given, dict) or not given:
        raise ValueError(
            "expected check to be the name of a check or an object of checks, found something else"
        )
    for name, argument in given.items():
        if name in AGAINST_OUTPUT:
            _require_output(name, argument, expected)
        elif name not in CHECKS:
            raise ValueError(
                f"expected a known check, found {name!r}; "
                f"{did_you_mean(name, [*CHECKS, *AGAINST_OUTPUT])}"
            )
        elif not _ARGUMENTS[CHECKS[name].argument](argument):
            raise ValueError(
                f"expected check {name} to have {_WORDS[CHECKS[name].argument]}, found "
                f"{argument!r}"[:300]
            )
    return given


def _require_output(name: str, argument: Any, expected: str) -> None:
    if not expected.strip():
        raise ValueError(f"expected an output to check {name} against, found none")
    if name == "choice":
        if not _is_texts(argument) or isinstance(argument, str):
            raise ValueError(
                "expected check choice to have a list of the possible answers, found none"
            )
        if first_choice(expected, argument) is None:
            raise ValueError(
                f"expected the output to be one of the choices, found {expected[:40]!r}"
            )
    if name == "number" and last_number(expected) is None:
        raise ValueError(f"expected a number in the output, found {expected[:40]!r}")


def _is_texts(value: Any) -> bool:
    several = (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, str) and one for one in value)
    )
    return several or (isinstance(value, str) and bool(value))


def _is_schema(value: Any) -> bool:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(value)
    except jsonschema.SchemaError:
        return False
    return isinstance(value, dict) and "$ref" not in json.dumps(value)


_ARGUMENTS: dict[str, Callable[[Any], bool]] = {
    "none": lambda value: value in (None, True),
    "number": lambda value: type(value) is int and value >= 0,
    "text": lambda value: isinstance(value, str) and bool(value),
    "texts": _is_texts,
    "schema": _is_schema,
}
_WORDS = {
    "none": "no argument",
    "number": "a whole number",
    "text": "a text",
    "texts": "a text or a list of texts",
    "schema": "a JSON schema without $ref",
}
