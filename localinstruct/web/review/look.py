"""A row as a page shows it: differences, quotations marked, pairs without their names."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from localinstruct.dataset.reviewed import parts_of
from localinstruct.judge.rubric import Rubric
from localinstruct.records import digest
from localinstruct.store.reviews import MENDED, Review
from localinstruct.web.review.index import Found

Pieces = list[tuple[str, str]]
"""(kind, text) in order: "same", "new" or "gone" of a difference, "quote" of a passage."""
LABELS = {"rejected": "worse answer", "system": "system prompt"}
MOST_WORDS = 5000
"""Words of a text up to which differences are looked for; they cost the square of it."""


@dataclass(frozen=True, slots=True)
class Part:
    """A field of a row: its text as it stands now, in pieces."""

    name: str
    label: str
    text: str
    pieces: Pieces


def fields_of(found: Found, review: Review) -> dict[str, str]:
    """Field -> text as it stands now, of a row or of a reject's text."""
    if found.kind == "reject":
        before = parts_of(str(found.data["text"]))
        before = {"instruction": "", "input": "", "output": ""} | before
    else:
        before = {name: str(found.data.get(name, "")) for name in MENDED}
    return before | review.edited


def parts(found: Found, review: Review) -> list[Part]:
    """The fields of a row that hold something, with differences and quotations marked."""
    now = fields_of(found, review)
    before = fields_of(found, Review())
    shown = list[Part]()
    for name in ("system", "instruction", "input", "output", "rejected"):
        text = now.get(name, "")
        if not text and not before.get(name, ""):
            continue
        pieces: Pieces = [("same", text)]
        if name in review.edited:
            pieces = difference(before.get(name, ""), text)
        elif name == "input" and found.kind == "row":
            pieces = quoted(text, found.data["lineage"].get("evidence", ()))
        shown.append(Part(name, LABELS.get(name, name), text, pieces))
    return shown


def difference(before: str, after: str) -> Pieces:
    """Words that stayed, came and went, in the order of the new text."""
    old, new = (re.findall(r"\s+|\w+|[^\w\s]", text) for text in (before, after))
    if max(len(old), len(new)) > MOST_WORDS:
        return [("gone", before), ("new", after)]
    pieces: Pieces = []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(("same", "".join(old[a:b])))
            continue
        pieces += [("gone", "".join(old[a:b]))] if b > a else []
        pieces += [("new", "".join(new[c:d]))] if d > c else []
    return pieces


def quoted(passage: str, evidence: Sequence[str]) -> Pieces:
    """A passage with the words that support the answer marked, whatever their blanks."""
    spans = list[tuple[int, int]]()
    for quote in evidence:
        words = [re.escape(word) for word in quote.split()]
        if words and (match := re.search(r"\s+".join(words), passage)):
            spans.append(match.span())
    pieces: Pieces = []
    place = 0
    for begin, end in sorted(spans):
        if begin >= place:
            pieces += [("same", passage[place:begin]), ("quote", passage[begin:end])]
            place = end
    return [piece for piece in [*pieces, ("same", passage[place:])] if piece[1]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two answers side by side, in an order that the row's key and a seed draw."""

    a: str
    b: str
    a_is_first: bool
    """True where A is the row's output, the one that was chosen."""

    def better(self, letter: str) -> str:
        """`first`, `second` or `tie` for A, B or neither."""
        if letter not in ("a", "b"):
            return "tie"
        return "first" if (letter == "a") == self.a_is_first else "second"


def pair_of(found: Found, review: Review, seed: int) -> Pair | None:
    """The pair of a preference row; None for other rows."""
    now = fields_of(found, review)
    if found.kind != "row" or not now.get("rejected"):
        return None
    first = int(digest([seed, found.key])[:8], 16) % 2 == 0
    answers = (now["output"], now["rejected"])
    return Pair(answers[not first], answers[first], first)


@dataclass(frozen=True, slots=True)
class Claim:
    """A criterion (or the whole) that a person and a judge have graded."""

    name: str
    person: float
    judge: float

    @property
    def differs(self) -> bool:
        """True from a grade apart on."""
        return abs(self.person - self.judge) >= 1


def claims(found: Found, review: Review, rubric: Rubric) -> list[Claim]:
    """The grades of a person beside those of the judge, which a row's scores have."""
    if found.kind == "reject":
        return []
    scores = found.data["lineage"]["scores"]
    names = {"grade": rubric.name}
    names |= {part.name: f"{rubric.name}.{part.name}" for part in rubric.criteria}
    return [
        Claim("the whole" if name == "grade" else name, review.scores[name], scores[score])
        for name, score in names.items()
        if name in review.scores and score in scores
    ]


def facts(found: Found) -> list[tuple[str, str]]:
    """Origin of a row or of a reject, as names and values."""
    if found.kind == "reject":
        data = found.data
        score = "" if data["score"] is None else f"{data['score']:.3f}"
        named = [("rejected by", data["stage"]), ("reason", data["reason"]), ("score", score)]
        return [(name, str(value)) for name, value in named if value]
    lineage = found.data["lineage"]
    scores = ", ".join(f"{name} {value:g}" for name, value in lineage["scores"].items())
    named = [
        ("row", found.key),
        ("made by", lineage["method"] or "a file"),
        ("topic", lineage["topic"]),
        ("from", found.source),
        ("scores", scores),
        ("changed on its way", ", ".join(lineage.get("changes", ()))),
    ]
    return [(name, value) for name, value in named if value]
