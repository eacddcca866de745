"""Answers with their support: the form asked for, strict reading, the look-up in the passage.

A quotation must stand in the passage word for word; only blanks and the shape of quotation marks
may differ. That an answer follows from it cannot be computed; that most of its words and all of its
numbers stand in the passage can. Not covered: whether the quotation answers the question (the
judge's `grounded` rubric).
"""

import re
from dataclasses import dataclass
from typing import Literal

from localinstruct.curate.invisible import clean
from localinstruct.formats import Malformed
from localinstruct.formats.strict_json import parse
from localinstruct.records import Completion, JsonObject

Support = Literal["quote", "sentences"]
SHORTEST_QUOTE = 10
"""Letters: fewer stand in a text by chance."""
_KEYS: dict[Support, str] = {"quote": "quotes", "sentences": "sentences"}
_ENDINGS = {
    "length": "answer truncated",
    "stop": "answer not in form",
    "not in form": "answer not in form",
}
_END = re.compile(
    # a full stop, and a capital or figure after it
    r"(?<=[.!?])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W_a-z])"
    # paragraphs, items of a list
    r"|(?<=[。！？])\s*|\s*\n\s*\n\s*|\s*\n(?=\s*(?:[-*•]|\d+[.)])\s)"
)
_MARKS = str.maketrans("“”„«»‘’‚", '"""""\'\'\'')
_NO_CLAIM = re.compile(r"^\s*\d+[.)]\s|(?<!\S)\(?\d{1,2}\)\s|\[\d{1,3}\]", re.MULTILINE)
"""Numbers that count items, or name sentences as `number_sentences` does."""
_EMPTY_WORDS = frozenset(
    {"yes", "not", "none", "true", "false", "the", "and", "are", "was", "has", "had", "for"}
)
_ITEM = re.compile(r"^\s*\d+[.)]\s", re.MULTILINE)
_COMMON = (
    "about after also because been before being between both could does each from have having here "
    "into itself more most must only other over same should some such than that their them then "
    "there these they this those through under until very were what when where which while whom "
    "with would your passage text says said document according"
)


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of every sentence or list item."""
    spans, place = [], 0
    for match in (*_END.finditer(text), None):
        end = match.start() if match else len(text)
        if match and match[0].strip():  # quotation marks that close it
            end += len(match[0]) - len(match[0].lstrip("\"'”’)]"))
        body = text[place:end]
        if body.strip():
            spans.append((place + len(body) - len(body.lstrip()), place + len(body.rstrip())))
        place = match.end() if match else end
    return spans


def number_sentences(text: str) -> str:
    """Every sentence on a line of its own, behind its number."""
    lines = [" ".join(text[start:end].split()) for start, end in sentences(text)]
    return "\n".join(f"[{number}] {line}" for number, line in enumerate(lines, 1))


@dataclass(frozen=True, slots=True)
class SupportedAnswer:
    """An answer as it was read: its words, the passage's words that support it, and its problem.

    `problem` says why it cannot be used; "" when it can.
    """

    answer: str = ""
    evidence: tuple[str, ...] = ()
    problem: str = ""


def answer_schema(support: Support, passage: str, letters: int) -> JsonObject:
    """The JSON schema of an answer: its support first, so that the answer is written from it."""
    words = {"type": "string", "maxLength": letters}
    numbers = {"enum": list(range(1, len(sentences(passage)) + 1))}
    by_support: dict[Support, JsonObject] = {
        "quote": {"type": "array", "items": words, "maxItems": 3},
        "sentences": {"type": "array", "items": numbers, "maxItems": 6},
    }
    keys = {_KEYS[support]: by_support[support], "answer": words}
    return {
        "type": "object",
        "properties": keys,
        "required": list(keys),
        "additionalProperties": False,
    }


def read_answer(reply: Completion, passage: str, support: Support) -> SupportedAnswer:
    """The answer and the pieces of the passage it names; nothing is guessed or mended."""
    try:
        value = parse(reply.text) if reply.finish_reason == "stop" else None
    except Malformed:
        value = None
    pieces = value.get(_KEYS[support]) if isinstance(value, dict) else None
    kind = str if support == "quote" else int
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("answer"), str)
        or not isinstance(pieces, list)
        or not all(type(piece) is kind for piece in pieces)
    ):
        return SupportedAnswer(problem=_ENDINGS.get(reply.finish_reason, "not answered"))
    answer = clean(value["answer"]).strip()
    if support == "quote":
        texts = [find_quote(piece, passage) for piece in pieces]
    else:
        texts = _by_number(pieces, passage)
    evidence = tuple(dict.fromkeys(text for text in texts if text))
    problem = "quote not in the passage" if None in texts else ""
    short = any(len(text) < SHORTEST_QUOTE for text in evidence) and support == "quote"
    return SupportedAnswer(answer, evidence, problem or ("quote too short" if short else ""))


def _by_number(numbers: list[int], passage: str) -> list[str | None]:
    spans = dict(enumerate(sentences(passage), 1))
    return [passage[slice(*spans[number])] if number in spans else None for number in numbers]


def find_quote(quote: str, passage: str) -> str | None:
    """The quotation as it stands in the passage; None when it does not."""
    whole, text = quote.translate(_MARKS), passage.translate(_MARKS)
    # with quotation marks of its own, or between such
    for words in (whole.split(), whole.strip(" \t\n\"'").split()):
        pattern = r"\s+".join(re.escape(word) for word in words)
        if words and (match := re.search(rf"(?<!\w){pattern}(?!\w)", text)):
            return passage[match.start() : match.end()]
    return None


def unsupported_part(
    answer: str, passage: str, question: str, least: float, faithful: bool = False
) -> str | None:
    """Words of the answer that stand neither in the passage nor in the question, if too many.

    `least` is the share of its words that must stand there; 0 asks nothing. A question that has no
    word of the passage allows none of its own; `faithful` counts as release 0.1.0 did.
    """
    words, known, asked = stems(_no_claims(answer, faithful)), stems(passage), stems(question)
    missing = sorted(words - known - (asked if faithful or asked & known else set()))
    numbers = [word for word in missing if any(letter.isdigit() for letter in word)]
    if least and (numbers or len(words) - len(missing) < least * len(words)):
        return f"not in the passage: {', '.join((numbers or missing)[:8])}"
    return None


def support_problem(supported: SupportedAnswer, passage: str, may_be_whole: bool) -> str | None:
    """The reason why an answer and its support do not belong together, or None."""
    answer = _no_claims(supported.answer, faithful=False)
    if not any(
        word not in _EMPTY_WORDS
        for word in re.findall(r"\w{3,}|\d|[^\W\x00-\u024f]", answer.casefold())
    ):
        return "answer without content"
    evidence = " ".join(supported.evidence)
    if (said := stems(answer)) and not said & stems(evidence):
        return "support is beside the answer"
    count = len(sentences(passage))
    named = len(sentences("\n\n".join(supported.evidence)))
    return (
        "support is the whole text" if count > 3 and named >= count and not may_be_whole else None
    )


def _no_claims(answer: str, faithful: bool) -> str:
    return (_ITEM if faithful else _NO_CLAIM).sub(" ", answer)


def stems(text: str) -> set[str]:
    """Numbers, and the beginnings of words that mean something.

    A beginning (5 letters) makes a plural or a tense not matter.
    """
    common, words = _COMMON.split(), re.findall(r"\d[\d.,]*\d|\w+", text.casefold())
    numbers = {word for word in words if any(letter.isdigit() for letter in word)}
    others = {word for word in words if len(word) >= 4 and word not in common} - numbers
    return numbers | {word[:5] for word in others}
