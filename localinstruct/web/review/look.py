"""A row as a page shows it: differences, quotations marked, pairs without their names."""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from localinstruct.dataset.reviewed import parts_of
from localinstruct.judge.rubric import Rubric
from localinstruct.progress import percent
from localinstruct.records import Instance, JsonObject, digest
from localinstruct.store.reviews import MENDED, Decision, Review
from localinstruct.web.review.index import Found

Pieces = list[tuple[str, str]]
"""(kind, text) in order: "same", "new" or "gone" of a difference, "quote" of a passage."""
LABELS = {"rejected": "worse answer", "system": "system prompt"}
_WORDS = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_SENTENCES = re.compile(r"[^.!?\n]*[.!?\n]+\s*|[^.!?\n]+")
MOST_PAIRS = 20_000
"""Pairs of equal words, of the old and the new text, up to which differences are looked for."""


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
    """Words that stayed, came and went, in the order of the new text.

    Where little of it stayed, or looking would take long, the whole text went and came.
    """
    pieces = _changes(before, after, _WORDS) or _by_sentences(before, after)
    stayed = sum(len(re.findall(r"\w+", text)) for kind, text in pieces if kind == "same")
    words = min(len(re.findall(r"\w+", text)) for text in (before, after))
    if 2 * stayed < words:
        pieces = [("gone", before), ("new", after)]
    return [piece for piece in pieces if piece[1]]


def _by_sentences(before: str, after: str) -> Pieces:
    """The same of a long text: sentences first, words only in those that are not equal."""
    whole: Pieces = [("gone", before), ("new", after)]
    pieces: Pieces = []
    gone = ""
    for kind, text in _changes(before, after, _SENTENCES) or whole:
        if kind == "new" and gone:
            pieces += _changes(gone, text, _WORDS) or [("gone", gone), ("new", text)]
            gone = ""
            continue
        pieces += [("gone", gone)]
        gone = text if kind == "gone" else ""
        pieces += [] if gone else [(kind, text)]
    return [*pieces, ("gone", gone)]


def _changes(before: str, after: str, cut: re.Pattern[str]) -> Pieces:
    """What stayed, went and came of the parts of two texts; nothing where that would take long."""
    old, new = cut.findall(before), cut.findall(after)
    first = _equal(old, new)
    last = _equal(old[first:][::-1], new[first:][::-1])
    pieces: Pieces = [("same", "".join(new[:first]))]
    tail = "".join(new[len(new) - last :])
    old, new = old[first : len(old) - last], new[first : len(new) - last]
    there = Counter(old)
    if sum(there[part] for part in new) > MOST_PAIRS:
        return []
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(("same", "".join(old[a:b])))
            continue
        pieces += [("gone", "".join(old[a:b]))] if b > a else []
        pieces += [("new", "".join(new[c:d]))] if d > c else []
    return [*pieces, ("same", tail)]


def _equal(old: Sequence[str], new: Sequence[str]) -> int:
    """Parts that are equal from the beginning on."""
    pairs = zip(old, new, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))


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


def near_of_reject(found: Found) -> list[JsonObject]:
    """The row that a reject was too similar to, where its detail is that row's text."""
    if found.data["stage"] != "novelty":
        return []
    return [{"text": found.data["detail"], "score": found.likeness or 0.0, "n": None}]


def relative(key: str, one: Found | Instance | None) -> JsonObject:
    """A parent or child: its number in the index if it has one, and its first words."""
    if isinstance(one, Instance):
        return {"n": None, "key": key, "text": one.instruction or one.input, "what": "seed"}
    if one is None:
        return {"n": None, "key": key, "text": key, "what": "not in this run any more"}
    data = one.data
    return {"n": one.n, "key": key, "text": data["instruction"] or data["input"], "what": ""}


def sample_words(sample: object) -> str:
    """How far the sample is, and the share of good rows that it tells."""
    decided, of = sample.decided, sample.of  # type: ignore[attr-defined]
    if not of:
        return ""
    said = f"sample: {decided} of {of} decided"
    if sample.share is None:  # type: ignore[attr-defined]
        return said
    low, high, share = sample.low, sample.high, sample.share  # type: ignore[attr-defined]
    return (
        f"{said}; {percent(share)} of all rows are good (95 %: {percent(low)} to {percent(high)})"
    )


def log_line(entry: Decision) -> JsonObject:
    """A decision as the page shows it."""
    action = {"insist": "kept all the same"}.get(entry.action, entry.action)
    return {"action": action, "who": entry.who, "at": entry.at, "number": entry.number}
