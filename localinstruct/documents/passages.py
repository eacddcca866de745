"""A text in passages: whole paragraphs while they fit, long ones cut at sentences.

Each is a piece of the text as it stands.
"""

import re
from collections.abc import Iterator

from localinstruct.methods.support import sentences

_BREAK = re.compile(r"\n[ \t]*\n\s*")
_LETTERS_PER_WORD = 12
"""Letters that count as a word, so that a text without blanks does not become one passage."""

Span = tuple[int, int]


def passages(text: str, words: int, shortest: int) -> list[Span]:
    """(start, end) of every passage in letters, in order.

    A passage has about `words` words at most; those below `shortest` words are left out.
    """
    packed: list[Span] = []
    for start, end in _pieces(text, words):
        if packed and _fits(text[packed[-1][0] : end], words):
            packed[-1] = (packed[-1][0], end)
        else:
            packed.append((start, end))
    return [span for span in packed if _count(text[slice(*span)]) >= shortest]


def _pieces(text: str, words: int) -> Iterator[Span]:
    """Paragraphs; sentences of those that are too long; pieces of those that still are."""
    for start, end in paragraphs(text):
        if _fits(text[start:end], words):
            yield start, end
            continue
        for first, last in sentences(text[start:end]):
            yield from _cut(text, start + first, start + last, words)


def paragraphs(text: str) -> Iterator[Span]:
    """(start, end) of the text between blank lines."""
    place = 0
    for match in (*_BREAK.finditer(text), None):
        end = match.start() if match else len(text)
        body = text[place:end]
        if body.strip():
            yield place + len(body) - len(body.lstrip()), place + len(body.rstrip())
        place = match.end() if match else end


def _cut(text: str, start: int, end: int, words: int) -> Iterator[Span]:
    """Pieces of a text that is too long, each cut at the last blank before it is too much."""
    while not _fits(text[start:end], words):
        most = min(start + words * _LETTERS_PER_WORD, end)
        while not _fits(text[start:most], words):
            most -= max(1, (most - start) // 8)
        blank = text.rfind(" ", start + 1, most)
        stop = blank if blank > start else most
        yield start, stop
        start = stop + (blank > start)
    if text[start:end].strip():
        yield start, end


def _fits(piece: str, words: int) -> bool:
    return len(piece) <= words * _LETTERS_PER_WORD and _count(piece) <= words


def _count(text: str) -> int:
    from localinstruct.curate.rules import count_words  # `show` and `fit` need no rules

    return count_words(text)
