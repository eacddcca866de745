"""Answers that repeat themselves: words, phrases, sentences, lines, and loops at the end.

A refrain, a table and a list of short labels repeat rightly; what is measured is how little is left
when each line, sentence or group of four words counts once. Linear in the length of the text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from operator import eq

from localinstruct.curate.texts import different_pieces, folded, pieces

_NUMBER = re.compile(r"\d+")
_LIST_MARK = re.compile(r"^\W*(?:\d{1,3}[.):]|[-*•])?\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_RULES = frozenset("-=_*#.~+|<>/\\ :─━═│")
LONGEST = 20_000
"""Letters of a text that are looked at, from its start and as many from its end."""


def repeated(text: str, request: str) -> str | None:
    """Say how a text repeats itself, or None; `request` is the instruction and the input."""
    if len(text) > 2 * LONGEST:
        text = f"{text[:LONGEST]}\n{text[-LONGEST:]}"
    words = pieces(text)
    found = _long_token(words) or _loop(words)
    if found or different_pieces(text) > 0.7 * len(words):
        return found  # too few words come twice for the rest
    return _lines(text, request) or _sentences(text) or _stutter(words) or _groups(words)


def _long_token(words: Sequence[str]) -> str | None:
    for word in words if max(map(len, words), default=0) >= 60 else ():
        if len(word) >= 60 and len(kinds := set(word[-60:])) <= 4:
            least = 130 if kinds <= _RULES or kinds <= set("01") else 60
            if len(word) >= least and not {"|", "-"} <= kinds:
                return f"{word[-4:]!r} again and again"
    return None


def _loop(words: Sequence[str]) -> str | None:
    """A few words at the end that are there again and again."""
    if 6 <= len(words) < 40 and len(set(words)) == 1 and words[0][:1].isalpha():
        return f"{words[0][:60]!r} {len(words)} times"
    if len(words) < 12:
        return None
    if words[-1].rstrip(".,;:!?") not in " ".join(words[-14:-1]):
        return None
    last = [word.rstrip(".,;:!?") for word in words[-14:]]
    if last[-1] not in last[:-1]:
        return None
    words = [word.rstrip(".,;:!?") for word in words[-400:]]
    for period in range(1, 13):
        run, place = 0, len(words) - 1
        while place >= period and words[place] == words[place - period]:
            run, place = run + 1, place - 1
        times = run / period + 1
        if run and times >= (10 if period == 1 else 5 if period < 4 else 4) and run >= 8:
            phrase = " ".join(words[-period:])
            if any(character.isalpha() for character in phrase):
                return f"{phrase[:60]!r} {int(times)} times at the end"
    return None


def _lines(text: str, request: str) -> str | None:
    if text.count("\n") < 3:
        return None
    ends = [line.rstrip(" .,;!")[-3:] for line in folded(text).splitlines()]
    if len(set(ends)) > len(ends) - 3:
        return None  # no line comes 4 times
    lines = [_LIST_MARK.sub("", line).casefold().rstrip(" .,;!") for line in text.splitlines()]
    lines = [line for line in lines if sum(map(str.isalpha, line)) >= 3]
    if len(lines) < 4:
        return None
    line, times = Counter(lines).most_common(1)[0]
    distinct = len(set(lines))
    if times < 4 or line.startswith(("|", "<", "@", "end", "return", "else", "pass")):
        return None
    if len(line.split()) < 3 and _items(request) >= len(lines) - 1:
        return None  # labels of the items that were given
    if times >= 0.7 * len(lines) or distinct <= 0.34 * len(lines):
        return f"{line[:60]!r} on {times} of {len(lines)} lines"
    return None


def _items(request: str) -> int:
    return max(request.count("\n"), request.count(","), request.count(";")) + 1


def _sentences(text: str) -> str | None:
    if "\n|" in text or text.count(".") + text.count("!") + text.count("?") < 3:
        return None
    sentences = [one.casefold().strip().rstrip(".!?") for one in _SENTENCE_END.split(text)]
    if len(sentences) == 3 and len(set(sentences)) == 1 and len(sentences[0].split()) > 1:
        return f"{sentences[0][:60]!r} 3 times"
    if len(sentences) < 8 and len(set(sentences)) > len(sentences) - 3:
        return None  # none comes 4 times
    sentences = [one for one in sentences if len(one.split()) >= 3]
    if len(sentences) < 4:
        return None
    found = _most_common(sentences, 4, 0.5)
    if found or len(sentences) < 8:
        return found
    counted = [_NUMBER.sub("0", one) for one in sentences if len(re.findall(r"[a-z]{2,}", one)) > 4]
    return _most_common(counted, 8, 0.8) if len(counted) >= 8 else None


def _most_common(sentences: Sequence[str], least: int, share: float) -> str | None:
    sentence, times = Counter(sentences).most_common(1)[0]
    if times >= least and (
        times >= share * len(sentences) or len(set(sentences)) <= 0.34 * len(sentences)
    ):
        return f"{sentence[:60]!r} {times} times"
    return None


def _stutter(words: Sequence[str]) -> str | None:
    if len(words) < 12:
        return None
    if sum(map(eq, words, words[1:])) < 0.3 * len(words):
        return None
    twice = sum(one == two and one.isalpha() for one, two in pairwise(words))
    return f"{twice} words twice" if twice >= 0.3 * len(words) else None


def _groups(words: Sequence[str]) -> str | None:
    """Prose of whose groups of four words few are new."""
    if len(words) < 60:
        return None
    folded = [word for word in words if word[0].isalpha()]
    if len(folded) < 60 or len(folded) < 0.7 * len(words):
        return None
    groups = list(zip(folded, folded[1:], folded[2:], folded[3:], strict=False))
    share = len(set(groups)) / len(groups)
    return f"{share:.0%} of its groups of four words are new" if share < 0.4 else None
