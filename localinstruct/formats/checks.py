"""Checks that a task file can ask of an answer, one named function each, as in IFEval. Pure.

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
from localinstruct.records import JsonObject

Argument = Any
"""A check's argument as the file gives it; `_ARGUMENTS` has seen to its type."""
NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?|[-+]?\.\d+")
BULLET = re.compile(r"^\s*(?:[-*•–]|\d+[.)])\s+\S", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """A rule: the kind of its argument, and the function that says whether an answer keeps it."""

    argument: str
    """"none", "number", "text", "texts" (one or several) or "schema"."""
    holds: Callable[[str, Argument], bool]


def last_number(text: str) -> float | None:
    """The last number in a text, without thousands separators: "so 1,250.50 in all" is 1250.5."""
    numbers = NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


def first_choice(text: str, choices: list[str]) -> str | None:
    """The choice that stands first in the text as a word of its own, in any case."""
    places = {}
    for choice in choices:
        if match := re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text, re.IGNORECASE):
            places[choice] = (match.start(), -len(choice))
    return min(places, key=lambda choice: places[choice]) if places else None


_SAID = re.compile(r"(?i:answer|option|choice)(?:\s+is)?\W{0,6}([A-Z])(?!\w)")
_LEADING = re.compile(r"\W*([A-Z])(?:[).:\],*]|\s*$|\s*\n)")


def chosen_option(text: str, options: list[str]) -> int | None:
    """The place of the option that an answer names, by its letter (A, B …) or by its words."""
    letters = {chr(ord("A") + place): place for place in range(len(options))}
    if (alone := text.strip(" ().*:").upper()) in letters:
        return letters[alone]
    for letter in [match[1] for match in (_LEADING.match(text), *_SAID.finditer(text)) if match]:
        if letter in letters:
            return letters[letter]
    choice = first_choice(text, options)
    return None if choice is None else options.index(choice)


def json_value(text: str) -> object:
    """The JSON value a text is, alone or in one fenced block; ValueError when it is none."""
    fenced = re.fullmatch(r"```(?:json)?\s*\n(.*?)\n?```", text.strip(), re.DOTALL)
    return json.loads(fenced[1] if fenced else text)


def _is_json(text: str, _: object = None) -> bool:
    try:
        json_value(text)
    except (ValueError, RecursionError):
        return False
    return True


def _fits_schema(text: str, schema: JsonObject) -> bool:
    import jsonschema

    return _is_json(text) and jsonschema.Draft202012Validator(schema).is_valid(json_value(text))


def _texts(argument: str | list[str]) -> list[str]:
    return [argument] if isinstance(argument, str) else argument


def _contained(text: str, argument: str | list[str]) -> list[bool]:
    """Yes or no for each text of an argument: it stands in `text`, in any case."""
    return [part.casefold() in text.casefold() for part in _texts(argument)]


def _has_letters(text: str) -> bool:
    return any(letter.isalpha() for letter in text)


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _paragraphs(text: str) -> list[str]:
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _is_quoted(text: str, _: object) -> bool:
    return len(text) > 1 and text[0] + text[-1] in ('""', "“”", "«»", "「」")


def _has_title(text: str, _: object) -> bool:
    return re.search(r"<<[^>\n]+>>|^#{1,6} \S", text, re.MULTILINE) is not None


CHECKS: dict[str, Check] = {
    "words": Check("number", lambda text, n: len(text.split()) == n),
    "min_words": Check("number", lambda text, n: len(text.split()) >= n),
    "max_words": Check("number", lambda text, n: len(text.split()) <= n),
    "max_characters": Check("number", lambda text, n: len(text) <= n),
    "lines": Check("number", lambda text, n: len(_lines(text)) == n),
    "paragraphs": Check("number", lambda text, n: len(_paragraphs(text)) == n),
    "bullets": Check("number", lambda text, n: len(BULLET.findall(text)) == n),
    "placeholders": Check("number", lambda text, n: len(re.findall(r"\[[^\]\n]+\]", text)) >= n),
    "contains": Check("texts", lambda text, parts: all(_contained(text, parts))),
    "contains_one_of": Check("texts", lambda text, parts: any(_contained(text, parts))),
    "not_contains": Check("texts", lambda text, parts: not any(_contained(text, parts))),
    "starts_with": Check("text", lambda text, start: text.startswith(start)),
    "ends_with": Check("text", lambda text, end: text.endswith(end)),
    "uppercase": Check("none", lambda text, _: _has_letters(text) and text == text.upper()),
    "lowercase": Check("none", lambda text, _: _has_letters(text) and text == text.lower()),
    "no_commas": Check("none", lambda text, _: "," not in text),
    "quoted": Check("none", _is_quoted),
    "title": Check("none", _has_title),
    "json": Check("none", _is_json),
    "json_schema": Check("schema", _fits_schema),
}
"""Name in a task file -> the rule, which looks at the answer alone."""


def _same_choice(answer: str, expected: str, choices: list[str]) -> bool:
    choice = first_choice(expected, choices)
    return choice is not None and first_choice(answer, choices) == choice


def _same_option(answer: str, expected: str, options: list[str]) -> bool:
    place = chosen_option(expected, options)
    return place is not None and chosen_option(answer, options) == place


AGAINST_OUTPUT: dict[str, Callable[[str, str, Argument], bool]] = {
    "exact": lambda answer, expected, _: answer.split() == expected.split(),
    "number": lambda answer, expected, _: last_number(answer) == last_number(expected),
    "choice": _same_choice,
    "option": _same_option,
}
"""Name in a task file -> comparison of the answer with the task's expected output.

"number" compares the last numbers, "choice" the first choices, "option" the option of a multiple
choice that is named by its letter or its words.
"""


def keeps(checks: Mapping[str, Argument], answer: str, expected: str) -> bool:
    """True when an answer keeps every rule of a task."""
    text = answer.strip()
    return all(
        AGAINST_OUTPUT[name](text, expected, argument)
        if name in AGAINST_OUTPUT
        else CHECKS[name].holds(text, argument)
        for name, argument in checks.items()
    )


def read_checks(value: object, expected: str) -> JsonObject:
    """A row's `check` in its full form, {name: argument}.

    ValueError with 'expected …, found …' when it is none.
    """
    checks = {value: None} if isinstance(value, str) else value
    if not isinstance(checks, dict) or not checks:
        raise ValueError(
            "expected check to be the name of a check or an object of checks, found something else"
        )
    for name, argument in checks.items():
        if name in AGAINST_OUTPUT:
            _require_output(name, argument, expected)
        elif name not in CHECKS:
            advice = did_you_mean(name, [*CHECKS, *AGAINST_OUTPUT])
            raise ValueError(f"expected a known check, found {name!r}; {advice}")
        elif not _ARGUMENTS[kind := CHECKS[name].argument](argument):
            problem = f"expected check {name} to have {_WORDS[kind]}, found {argument!r}"
            raise ValueError(problem[:300])
    return checks


def _require_output(name: str, argument: object, expected: str) -> None:
    if not expected.strip():
        raise ValueError(f"expected an output to check {name} against, found none")
    if name == "option":
        if not isinstance(argument, list) or not _is_texts(argument):
            raise ValueError("expected check option to have the list of options, found none")
        if chosen_option(expected, argument) is None:
            problem = f"expected the output to be one of the options, found {expected[:40]!r}"
            raise ValueError(problem)
    if name == "choice":
        if not isinstance(argument, list) or not _is_texts(argument):
            problem = "expected check choice to have a list of the possible answers, found none"
            raise ValueError(problem)
        if first_choice(expected, argument) is None:
            problem = f"expected the output to be one of the choices, found {expected[:40]!r}"
            raise ValueError(problem)
    if name == "number" and last_number(expected) is None:
        raise ValueError(f"expected a number in the output, found {expected[:40]!r}")


def _is_texts(value: object) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(text, str) and text for text in texts)


def _is_schema(value: Argument) -> bool:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(value)
    except jsonschema.SchemaError:
        return False
    return isinstance(value, dict) and "$ref" not in json.dumps(value)


_ARGUMENTS: dict[str, Callable[[Argument], bool]] = {
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
