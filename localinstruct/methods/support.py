"""Answers with their support: asked for, read strictly, and looked up in the passage.

A quotation must stand in the passage word for word; only blanks and the shape of quotation marks
may differ. That an answer follows from it cannot be computed; that most of its words and all of its
numbers stand in the passage can. Not covered: whether the quotation answers the question (the
judge's `grounded` rubric).
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from localinstruct.curate.invisible import clean
from localinstruct.formats import Malformed
from localinstruct.formats.strict_json import parse
from localinstruct.records import Completion

Support = Literal["quote", "sentences"]
SHORTEST_QUOTE = 10
"""Letters: fewer stand in a text by chance."""
_ENDINGS = {
    "length": "answer truncated",
    "stop": "answer not in form",
    "not in form": "answer not in form",
}
_END = re.compile(
    r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])"  # a full stop, and a capital or figure after it
    r"|(?<=[。！？])\s*|\s*\n\s*\n\s*|\s*\n(?=\s*(?:[-*•]|\d+[.)])\s)"  # paragraphs, items of a list
)
_MARKS = str.maketrans("“”„«»‘’‚", '"""""\'\'\'')
_ITEM = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_COMMON = (
    "about after also because been before being between both could does each from have having "
    "here into itself more most "
    "must only other over same should some such than that their them then there these they this "
    "those through under until "
    "very were what when where which while whom with would your passage text says said document "
    "according"
)


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence or list item."""
    spans, place = [], 0
    for found in (*_END.finditer(text), None):
        end = found.start() if found else len(text)
        if found and text[found.start() : found.end()].strip():  # quotation marks that close it
            end += len(found[0]) - len(found[0].lstrip("\"'”’)]"))
        body = text[place:end]
        if body.strip():
            spans.append((place + len(body) - len(body.lstrip()), place + len(body.rstrip())))
        place = found.end() if found else end
    return spans


def numbered(text: str) -> str:
    """Every sentence on a line of its own, behind its number."""
    return "\n".join(
        f"[{n}] {' '.join(text[a:b].split())}" for n, (a, b) in enumerate(sentences(text), 1)
    )


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as it was read: its words, the passage's words that support it, or why it cannot be
    used."""

    answer: str = ""
    evidence: tuple[str, ...] = ()
    problem: str = ""


def answer_form(support: Support, passage: str, letters: int) -> dict[str, Any]:
    """The JSON schema of an answer: its support first, so that the answer is written from it."""
    words = {"type": "string", "maxLength": letters}
    pieces: dict[str, Any] = {"type": "array", "items": words, "maxItems": 3}
    if support == "sentences":
        pieces = {
            "type": "array",
            "items": {"enum": list(range(1, len(sentences(passage)) + 1))},
            "maxItems": 6,
        }
    keys = {"quotes" if support == "quote" else "sentences": pieces, "answer": words}
    return {
        "type": "object",
        "properties": keys,
        "required": list(keys),
        "additionalProperties": False,
    }


def read_answer(reply: Completion, passage: str, support: Support) -> Said:
    """The answer and the pieces of the passage it names; nothing is guessed or mended."""
    key = "quotes" if support == "quote" else "sentences"
    try:
        value = parse(reply.text) if reply.finish_reason == "stop" else None
    except Malformed:
        value = None
    named = value.get(key) if isinstance(value, dict) else None
    kind = str if support == "quote" else int
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("answer"), str)
        or not isinstance(named, list)
        or not all(type(one) is kind for one in named)
    ):
        return Said(problem=_ENDINGS.get(reply.finish_reason, "not answered"))
    answer = clean(value["answer"]).strip()
    found = (
        [located(one, passage) for one in named]
        if support == "quote"
        else _by_number(named, passage)
    )
    evidence = tuple(dict.fromkeys(one for one in found if one))
    problem = "quote not in the passage" if None in found else ""
    short = any(len(one) < SHORTEST_QUOTE for one in evidence) and support == "quote"
    return Said(answer, evidence, problem or ("quote too short" if short else ""))


def _by_number(numbers: list[int], passage: str) -> list[str | None]:
    spans = dict(enumerate(sentences(passage), 1))
    return [passage[slice(*spans[number])] if number in spans else None for number in numbers]


def located(quote: str, passage: str) -> str | None:
    """The quotation as it stands in the passage; None when it does not."""
    whole = quote.translate(_MARKS)
    for words in (
        whole.split(),
        whole.strip(" \t\n\"'").split(),
    ):  # with quotation marks of its own, or in such
        pattern = r"\s+".join(re.escape(word) for word in words)
        if words and (found := re.search(rf"(?<!\w){pattern}(?!\w)", passage.translate(_MARKS))):
            return passage[found.start() : found.end()]
    return None


def unsupported(answer: str, passage: str, question: str, least: float) -> str | None:
    """What of the answer stands neither in the passage nor in the question, when it is too much;
    `least` 0 asks nothing."""
    told = stems(passage) | stems(question)
    words = stems(_ITEM.sub("", answer))
    missing = sorted(words - told)
    numbers = [word for word in missing if any(letter.isdigit() for letter in word)]
    if least and (numbers or len(words) - len(missing) < least * len(words)):
        return f"not in the passage: {', '.join((numbers or missing)[:8])}"
    return None


def stems(text: str) -> set[str]:
    """Numbers, and the beginnings of words that mean something, so that a plural or a tense does
    not matter."""
    common = _COMMON.split()
    found = re.findall(r"\d[\d.,]*\d|\w+", text.casefold())
    return {
        word if any(letter.isdigit() for letter in word) else word[:5]
        for word in found
        if any(letter.isdigit() for letter in word) or (len(word) >= 4 and word not in common)
    }
