"""Checks that a task can ask of an answer: of its form (`checks_of_form`), or against its output.

Pure. A task holds when all of its checks do; strictly, or loosely as in IFEval (Zhou et al. 2023,
arXiv 2311.07911): also without Markdown's asterisks, a first line or a last one, which models like
to add ("Sure, here it is:"). An answer without words keeps no check of its form.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping

from localinstruct.config import did_you_mean
from localinstruct.formats.checks_of_form import CHECKS, LANGUAGES, Argument
from localinstruct.records import JsonObject

NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?|[-+]?\.\d+")


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


def keeps(
    checks: Mapping[str, Argument], answer: str, expected: str = "", *, loose: bool = False
) -> bool:
    """True when an answer keeps every rule of a task; with `loose`, in one of its loose forms."""
    return all(
        keeps_one(name, argument, answer, expected, loose=loose)
        for name, argument in checks.items()
    )


def keeps_one(
    name: str, argument: Argument, answer: str, expected: str = "", *, loose: bool = False
) -> bool:
    """True when an answer keeps this rule."""
    if name in AGAINST_OUTPUT:
        return AGAINST_OUTPUT[name](answer.strip(), expected, argument)
    texts = loose_forms(answer) if loose else [answer.strip()]
    return any(text and CHECKS[name].holds(text, argument) for text in texts)


def loose_forms(answer: str) -> Iterator[str]:
    """The answer as it is and as IFEval's loose reading has it, each with its ends stripped.

    Without its first line, its last line, both, and each of these without asterisks.
    """
    lines = answer.strip().split("\n")
    for part in (lines, lines[1:], lines[:-1], lines[1:-1]):
        text = "\n".join(part).strip()
        yield text
        if "*" in text:
            yield text.replace("*", "").strip()


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
        else:
            fits, words = _ARGUMENTS[CHECKS[name].argument]
            if not fits(argument):
                problem = f"expected check {name} to have {words}, found {argument!r}"
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


def _is_whole(value: Argument, least: int = 0) -> bool:
    return type(value) is int and value >= least


_ARGUMENTS: dict[str, tuple[Callable[[Argument], bool], str]] = {
    "none": (lambda value: value in (None, True), "no argument"),
    "number": (_is_whole, "a whole number"),
    "text": (lambda value: isinstance(value, str) and bool(value), "a text"),
    "texts": (_is_texts, "a text or a list of texts"),
    "list": (
        lambda value: isinstance(value, list) and len(value) > 1 and _is_texts(value),
        "a list of two words or more",
    ),
    "range": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value)),
        "a list of two whole numbers",
    ),
    "counted": (
        lambda value: (
            isinstance(value, list)
            and len(value) == 2
            and _is_texts(value[:1])
            and _is_whole(value[1], 1)
        ),
        "a list of a word and a whole number from 1",
    ),
    "language": (
        lambda value: isinstance(value, str) and value in LANGUAGES,
        f"one of {', '.join(LANGUAGES)}",
    ),
    "schema": (_is_schema, "a JSON schema without $ref"),
}
"""Kind of an argument -> its test, and its words."""
