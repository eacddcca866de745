"""Read back what Self-Instruct's third step asks for: examples of one task, as (input, output)
pairs and rejects.

A header counts only at the start of a line, and "Example 2" only when it is the whole line, so an
answer may speak of examples. Step 4's rules about a whole task are here as well: nothing of an
answer that was cut off, nothing twice, and no input that has two different outputs. Not covered:
rules about one row (`curate/filters.py`).
"""

import re
from collections.abc import Sequence

from localinstruct.curate.invisible import clean
from localinstruct.records import Reject

_HEADER = re.compile(
    r"^[ \t]*(?:\d+[.)][ \t]*)?(?:(?P<next>Example(?:[ \t]*\d+)?[.:]?)[ "
    r"\t]*$|(?P<field>Input|Output|Class label)[ \t]*:[ \t]*)"
    r"|^[ \t]*(?P<end>Task[ \t]*:)",
    re.MULTILINE | re.IGNORECASE,
)
_NO_INPUT = re.compile(r"<?\(?(?:no ?input|none|n/a)\)?>?\.?", re.IGNORECASE)
Example = tuple[str, str]
"""Input ("" for none) and output."""


def read_examples(
    text: str, finish_reason: str, at_most: int
) -> tuple[list[Example], list[Reject]]:
    """The first `at_most` sound examples in a text that begins with the open slot of its prompt.
    Never raises."""
    found = _fields(clean(text))
    rejects: list[Reject] = []
    if finish_reason != "stop" and found:
        rejects.append(
            _reject("truncated", _example(found.pop()), f"finish_reason {finish_reason!r}")
        )
    elif not any("output" in fields for fields in found):
        return [], [
            Reject("parse", "no example", text, f"no output found; finish_reason {finish_reason!r}")
        ]
    rejects += [
        _reject("missing output", _example(one), "an input alone")
        for one in found
        if "output" not in one
    ]
    examples, repeated = _distinct([_example(one) for one in found if "output" in one])
    examples, contradicting = _consistent(examples)
    rejects += repeated + contradicting
    rejects += [
        _reject("beyond the examples", example, f"{at_most} were asked for")
        for example in examples[at_most:]
    ]
    return examples[:at_most], rejects


def _fields(text: str) -> list[dict[str, str]]:
    """The fields of every example, whichever comes first; what follows another "Task:" is left."""
    marks = list(_HEADER.finditer(text))
    last = next((place for place, mark in enumerate(marks) if mark["end"]), len(marks))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    examples: list[dict[str, str]] = [{}]
    first = ""
    for mark, end in zip(marks[:last], ends[:last], strict=True):
        field = (
            "" if mark["next"] else ("input" if mark["field"].casefold() == "input" else "output")
        )
        first = first or field
        if not field or field in examples[-1] or (field == first and examples[-1]):
            examples.append({})
        if field:
            examples[-1][field] = text[mark.end() : end].strip()
    return [fields for fields in examples if fields]


def _example(fields: dict[str, str]) -> Example:
    return _given(fields.get("input", "")), fields.get("output", "")


def _given(text: str) -> str:
    return "" if _NO_INPUT.fullmatch(text) else text


def _distinct(found: Sequence[Example]) -> tuple[list[Example], list[Reject]]:
    kept = list(dict.fromkeys(found))
    again = [example for place, example in enumerate(found) if example in found[:place]]
    return kept, [
        _reject("repeated example", example, "the same input and output twice") for example in again
    ]


def _consistent(found: list[Example]) -> tuple[list[Example], list[Reject]]:
    """All of them, or none when one input has two outputs: then nobody knows which of the task's
    answers to trust."""
    given = [example[0] for example in found if example[0]]
    twice = next((text for text in given if given.count(text) > 1), None)
    if twice is None:
        return found, []
    return [], [
        _reject("same input, other output", example, f"input {twice[:80]!r}") for example in found
    ]


def _reject(reason: str, example: Example, detail: str) -> Reject:
    return Reject("parse", reason, f"Input: {example[0]}\nOutput: {example[1]}", detail)
