"""Repairs that bring an answer into the form that a constraint asks for, where code can do it.

Each function takes a text and the constraint's argument and gives the text in form, or None. An
answer is cut at whole sentences, paragraphs or items, never in one; words are marked, capitalised
or put around it, never invented, but for the phrase that was asked for. Whoever repairs holds the
result against the check again. Pure.
"""

import re
from collections.abc import Callable
from typing import Any

from localinstruct.curate.languages import common_words
from localinstruct.formats.checks import keeps_one
from localinstruct.formats.measures import ITEM, lines_of, paragraphs_of, sentences_of

_LETTERS = re.compile(r"[^\W\d_][\w'’]*")
_ALONE = re.compile(r"(?<![\w*'’-])[^\W\d_]+(?![\w*'’-])")
MOST_SENTENCES = 60
"""Sentences, the first ones, at whose ends a text may be cut."""
_ENDS = tuple('.!?…"”)')


def sentence_ends(text: str) -> list[int]:
    """The places in a text where its sentences end."""
    ends, place = [], 0
    for sentence in sentences_of(text):
        found = text.find(sentence[:40], place)
        if found < 0:
            break
        place = found + len(sentence)
        ends.append(place)
    return ends


def without_rest(text: str) -> str:
    """A text that was cut, up to its last whole sentence; "" without one."""
    ends = [end for end in sentence_ends(text) if text[:end].endswith(_ENDS)]
    return text[: ends[-1]].rstrip() if ends else ""


def _shortened(name: str) -> Callable[[str, Any], str | None]:
    """Cut a text at the last whole sentence where it keeps the constraint."""

    def repair(text: str, argument: Any) -> str | None:
        best = None
        for end in sentence_ends(text)[:MOST_SENTENCES]:
            part = text[:end].rstrip()
            if keeps_one(name, argument, part):
                best = part
            elif best is not None:
                break  # what is too long stays so
        return best

    return repair


def _first_paragraphs(between: str) -> Callable[[str, int], str | None]:
    def repair(text: str, count: int) -> str | None:
        parts = paragraphs_of(text)
        return between.join(parts[:count]) if len(parts) >= count else None

    return repair


def _first_lines(text: str, count: int) -> str | None:
    lines = lines_of(text)
    return "\n".join(lines[:count]) if len(lines) >= count else None


def _relisted(mark: str, *, is_sorted: bool = False) -> Callable[[str, int], str | None]:
    """Give a list its marks anew, up to `count` items; what follows the list is left out."""

    def repair(text: str, count: int) -> str | None:
        lines = lines_of(text)
        items = [ITEM.sub("", line).strip() for line in lines if ITEM.match(line)]
        if len(items) < (2 if is_sorted else count):
            return None
        first = next(place for place, line in enumerate(lines) if ITEM.match(line))
        items = sorted(items, key=str.casefold) if is_sorted else items[:count]
        marked = [f"{mark.format(n=n)}{item}" for n, item in enumerate(items, 1)]
        return "\n".join([*lines[:first], *marked])

    return repair


def _marked(change: Callable[[str], str]) -> Callable[[str, int], str | None]:
    """Mark the first `count` long words, not the commonest, nor parts of a compound."""

    def repair(text: str, count: int) -> str | None:
        found = dict.fromkeys(word for word in _ALONE.findall(text) if len(word) > 4)
        words = [word for word in found if word.casefold() not in common_words()][:count]
        for word in words:
            alone = rf"(?<![\w*'’-]){re.escape(word)}(?![\w*'’-])"
            text = re.sub(alone, change(word), text, count=1)
        return text if len(words) == count else None

    return repair


def _with_exclamations(text: str, count: int) -> str | None:
    """End the first `count` sentences with an exclamation mark, and no other."""
    calm, there = text.replace("!", "."), 0
    for end in sentence_ends(calm):
        if there < count and calm[end - 1] == ".":
            calm, there = f"{calm[: end - 1]}!{calm[end:]}", there + 1
    return calm if there == count else None


def _first_word(text: str, word: str) -> str:
    first = text.split(maxsplit=1)[0] if text.split() else ""
    keeps_case = first in ("I", "I'm", "I’m") or first[1:] != first[1:].lower()
    return f"{word}, {text if keeps_case else text[:1].lower() + text[1:]}"


def _with_end(text: str, end: str) -> str:
    flows = text.endswith(_ENDS) and not ITEM.match(text.rpartition("\n")[2])
    return f"{text}{' ' if flows else chr(10)}{end}"


def _capitalised(text: str, _: object) -> str:
    return _LETTERS.sub(lambda match: match[0][0].upper() + match[0][1:], text)


REPAIRS: dict[str, Callable[[str, Any], str | None]] = {
    "paragraphs": _first_paragraphs("\n\n"),
    "divided": _first_paragraphs("\n***\n"),
    "lines": _first_lines,
    **{
        name: _shortened(name)
        for name in ("sentences", "max_sentences", "words_between", "max_words", "max_characters")
    },
    "bullets": _relisted("- "),
    "numbered": _relisted("{n}. "),
    "checkboxes": _relisted("- [ ] "),
    "alphabetical": _relisted("- ", is_sorted=True),
    "no_quotations": lambda text, _: re.sub(r"[\"“”«»]", "", text),
    "no_parentheses": lambda text, _: re.sub(r"[()]", "", re.sub(r" ?\([^()\n]*\)", "", text)),
    "exclamations": _with_exclamations,
    "bold": _marked(lambda word: f"**{word}**"),
    "capital_words": _marked(str.upper),
    "starts_with": lambda text, start: f"{start}: {text}",
    "first_word": _first_word,
    "ends_with": _with_end,
    "uppercase": lambda text, _: text.upper(),
    "lowercase": lambda text, _: text.lower(),
    "title_case": _capitalised,
    "lines_start_with": lambda text, start: "\n".join(f"{start}{one}" for one in lines_of(text)),
    "quoted": lambda text, _: '"' + re.sub(r"[\"“”]", "'", text) + '"',
    "tag": lambda text, tag: f"<{tag}>\n{text}\n</{tag}>",
}
"""Kind -> its repair, in the order in which they are made: what cuts first, what wraps last."""
