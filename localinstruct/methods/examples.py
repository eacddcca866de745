"""Read the examples of one task that Self-Instruct's third step asks for.

They become (input, output) pairs and rejects. A header counts only at the start of a line, and
"Example 2" only when it is the whole line, so an answer may speak of examples. Step 4's rules about
a whole task are here as well: nothing of an answer that was cut off, nothing twice, and no input
that has two different outputs. Not covered: rules about one row (`curate/filters.py`).
"""

import re
from collections.abc import Sequence

from localinstruct.curate.invisible import clean
from localinstruct.records import Reject

_HEADER = re.compile(
    r"^[ \t]*(?:\d+[.)][ \t]*)?"
    r"(?:(?P<next>Example(?:[ \t]*\d+)?[.:]?)[ \t]*$"
    r"|(?P<field>Input|Output|Class label)[ \t]*:[ \t]*)"
    r"|^[ \t]*(?P<end>Task[ \t]*:)",
    re.MULTILINE | re.IGNORECASE,
)
_NO_INPUT = re.compile(r"<?\(?(?:no ?input|none|n/a)\)?>?\.?", re.IGNORECASE)
Example = tuple[str, str]
"""Input ("" for none) and output."""


def read_examples(
    text: str, finish_reason: str, at_most: int
) -> tuple[list[Example], list[Reject]]:
    """The first `at_most` sound examples in a text, and a reject for each of the others.

    The text begins with the open slot of its prompt. Never raises.
    """
    parsed, ending = _fields(clean(text)), f"finish_reason {finish_reason!r}"
    rejects: list[Reject] = []
    if finish_reason != "stop" and parsed:
        rejects.append(_reject("truncated", _example(parsed.pop()), ending))
    elif not any("output" in fields for fields in parsed):
        return [], [Reject("parse", "no example", text, f"no output found; {ending}")]
    halves = [_example(fields) for fields in parsed if "output" not in fields]
    rejects += [_reject("missing output", example, "an input alone") for example in halves]
    examples, repeated = _distinct([_example(fields) for fields in parsed if "output" in fields])
    examples, contradicting = _consistent(examples)
    rejects += repeated + contradicting
    beyond, detail = examples[at_most:], f"{at_most} were asked for"
    rejects += [_reject("beyond the examples", example, detail) for example in beyond]
    return examples[:at_most], rejects


def _fields(text: str) -> list[dict[str, str]]:
    """The fields of every example, whichever comes first; text after another "Task:" is left."""
    marks = list(_HEADER.finditer(text))
    last = next((place for place, mark in enumerate(marks) if mark["end"]), len(marks))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    examples: list[dict[str, str]] = [{}]
    first = ""
    for mark, end in zip(marks[:last], ends[:last], strict=True):
        field = _field(mark)
        first = first or field
        if not field or field in examples[-1] or (field == first and examples[-1]):
            examples.append({})
        if field:
            examples[-1][field] = text[mark.end() : end].strip()
    return [fields for fields in examples if fields]


def _field(mark: re.Match[str]) -> str:
    """Field that a header opens; "" for "Example 2". A class label is the output."""
    if mark["next"]:
        return ""
    return "input" if mark["field"].casefold() == "input" else "output"


def _example(fields: dict[str, str]) -> Example:
    given = fields.get("input", "")
    return "" if _NO_INPUT.fullmatch(given) else given, fields.get("output", "")


def _distinct(examples: Sequence[Example]) -> tuple[list[Example], list[Reject]]:
    kept, detail = list(dict.fromkeys(examples)), "the same input and output twice"
    again = [example for place, example in enumerate(examples) if example in examples[:place]]
    return kept, [_reject("repeated example", example, detail) for example in again]


def _consistent(examples: list[Example]) -> tuple[list[Example], list[Reject]]:
    """All examples, or none when one input has two outputs.

    Then nobody knows which of the task's answers to trust.
    """
    given = [example[0] for example in examples if example[0]]
    twice = next((text for text in given if given.count(text) > 1), None)
    if twice is None:
        return examples, []
    detail = f"input {twice[:80]!r}"
    return [], [_reject("same input, other output", example, detail) for example in examples]


def _reject(reason: str, example: Example, detail: str) -> Reject:
    return Reject("parse", reason, f"Input: {example[0]}\nOutput: {example[1]}", detail)
