r"""Final answers in forms that can be compared, and what most of several answers say.

Pure. An answer is read from behind its last "Answer:" heading, from \boxed{}, or is the whole of a
short text. Numbers are compared by value ("1,250.50", "$1250.5", "2/4" and "0.5", "seven"), with
their units where both sides name one; choices by their letter; short texts by their words, in any
case, without articles and punctuation. Longer texts are compared with nothing. Not covered: two
wordings of one thought, numbers written in other scripts, and conversions between units.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

MOST_WORDS = 12
"""Words of a final answer, at most, that is compared as a text."""
MOST_LETTERS = 200
"""Letters of a final answer, at most."""
MOST_UNITS = 3
"""Words beside a number, at most, that are its unit; more make the answer a text."""
_HEADING = re.compile(
    r"(?:^|(?<=[.!?\n] ))[ \t>*_#]*(?:the\s+)?(?:final\s+)?answer(?:[ \t]*\d{1,2})?[ \t*_]*"
    r"(?::|\bis\b:?|=)[ \t*_]*",
    re.IGNORECASE | re.MULTILINE,
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")
_LEAD = re.compile(
    r"^(?:so|thus|hence|therefore)?,?\s*(?:the\s+)?(?:(?:final|correct|right)\s+)?"
    r"(?:answer|result)\s*(?:is|=|:)+\s*",
    re.IGNORECASE,
)
_CHOICE = re.compile(r"(?:(?i:option|choice)\s+)?\(?([A-H])(?:\s*[).:](?:\s.*)?)?", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:\s*/\s*[1-9]\d*)?|[-+]?\.\d+")
_YES = re.compile(r"(yes|no|true|false)(?:[,.;:!].*)?", re.IGNORECASE | re.DOTALL)
_TOKEN = re.compile(r"[-+]?\d+(?:\.\d+)?|[^\W\d_]+")
_MARKS = str.maketrans("", "", "*_`\"'“”‘’")
_ARTICLES = frozenset({"a", "an", "the"})
_TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_SPELT = [
    *["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"],
    *["eleven", "twelve", *_TEENS, "twenty"],
]


@dataclass(frozen=True, slots=True)
class FinalAnswer:
    """An answer to be compared: a number with its unit ("" for none), or words."""

    value: Fraction | str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Majority:
    """The most frequent answer: its form, and the places of those that give it, in order."""

    answer: FinalAnswer
    places: tuple[int, ...]


def final_answer(text: str) -> str | None:
    """The words of the final answer in a reply; None where it gives none."""
    if headings := list(_HEADING.finditer(text)):
        rest = text[headings[-1].end() :].strip()
        return rest.partition("\n")[0].strip() or None
    if boxed := _BOXED.findall(text):
        return boxed[-1].strip() or None
    whole = text.strip()
    is_short = whole and "\n" not in whole and len(whole.split()) <= MOST_WORDS
    return whole if is_short else None


def comparable(answer: str | None) -> FinalAnswer | None:
    """The form in which an answer is compared; None where it is empty or too long."""
    if answer is None or len(answer) > MOST_LETTERS:
        return None
    text = unicodedata.normalize("NFKC", answer).replace("−", "-").translate(_MARKS).strip()
    boxed = _BOXED.search(text)
    text = _LEAD.sub("", boxed[1] if boxed else text).strip(" \t\n$.!;:")
    if match := _CHOICE.fullmatch(text):
        return FinalAnswer(match[1])
    if match := _YES.fullmatch(text):
        return FinalAnswer(match[1].casefold())
    return _number(text) or _words(text)


def _number(text: str) -> FinalAnswer | None:
    """A text with one number and little else; "$5", "5 dollars" and "5" have units or none."""
    found = list(_NUMBER.finditer(text))
    if not found and text and (first := text.casefold().split()[0]) in _SPELT:
        rest = text.split(maxsplit=1)[1:]
        return _with_unit(Fraction(_SPELT.index(first)), " ".join(rest))
    if len(found) != 1:
        return None
    [match] = found
    before, after = text[: match.start()], text[match.end() :]
    if re.search(r"[\w)]$", before) or re.match(r"[\d(^/:]|\.\d", after):
        return None  # x2, 2^10, 10:30
    return _with_unit(Fraction(match[0].replace(",", "").replace(" ", "")), f"{before} {after}")


def _with_unit(value: Fraction, rest: str) -> FinalAnswer | None:
    sign = re.search(r"[%$€£°]", rest)
    words = [word for word in re.findall(r"[^\W\d_]+", rest.casefold()) if word not in _ARTICLES]
    if len(words) > MOST_UNITS:
        return None
    said = " ".join(word.removesuffix("s") if len(word) > 3 else word for word in words)
    return FinalAnswer(value, said or (sign[0] if sign else ""))


def _words(text: str) -> FinalAnswer | None:
    plain = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text.casefold())
    words = [word for word in _TOKEN.findall(plain) if word not in _ARTICLES]
    return FinalAnswer(" ".join(words)) if 0 < len(words) <= MOST_WORDS else None


def agree(one: FinalAnswer, other: FinalAnswer) -> bool:
    """True where both say the same; a number without a unit agrees with any unit."""
    units = {one.unit, other.unit} - {""}
    return one.value == other.value and len(units) < 2


def majority(answers: Sequence[FinalAnswer | None]) -> Majority | None:
    """The answer that most of them give, the first among equals; None where none can be read.

    A number without a unit counts for the unit that most others of its value name.
    """
    readable = [answer for answer in answers if answer is not None]
    named = [answer for answer in readable if answer.unit]
    best: Majority | None = None
    for answer in dict.fromkeys(readable):
        rivals = [other for other in named if other.value == answer.value]
        if not answer.unit and len({rival.unit for rival in rivals}) > 1:
            places = [place for place, other in enumerate(answers) if other == answer]
        else:
            places = [
                place
                for place, other in enumerate(answers)
                if other is not None and agree(answer, other)
            ]
        if best is None or len(places) > len(best.places):
            best = Majority(answer, tuple(places))
    return best
