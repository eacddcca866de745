"""What the rules ask of a text again and again, worked out once for all of them.

The last few texts are kept, so that the rules of one row share them. A rule that needs a regular
expression asks first for a word without which it cannot match: that costs a hundredth.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

_KEPT = 8
"""Texts that are kept: a row has three, and its request as one text."""
_WORDS = re.compile("[a-z]+")
_ONLY_LETTERS = {code: chr(code).lower() if chr(code).isalpha() else " " for code in range(128)}
_BEYOND_LATIN = re.compile(r"[^\x00-\u024f\u2000-\u206f]")


@lru_cache(maxsize=_KEPT)
def folded(text: str) -> str:
    """The text in one case."""
    return text.casefold()


@lru_cache(maxsize=_KEPT)
def pieces(text: str) -> tuple[str, ...]:
    """Parts of a text between its blanks."""
    return tuple(text.split())


@lru_cache(maxsize=_KEPT)
def words_of(text: str) -> frozenset[str]:
    """Runs of the letters a to z in one case."""
    if text.isascii():
        return frozenset(text.translate(_ONLY_LETTERS).split())
    return frozenset(_WORDS.findall(folded(text)))


@lru_cache(maxsize=_KEPT)
def beyond_latin(text: str) -> bool:
    """Tell whether a text has letters of another script than the Latin one."""
    return not text.isascii() and _BEYOND_LATIN.search(text) is not None


def has(text: str, signs: tuple[str, ...]) -> bool:
    """Tell whether one of these stands in the text."""
    return any(map(text.__contains__, signs))


def quoted(text: str) -> str:
    """The words found, on one line and in quotation marks, cut at 80 letters."""
    return repr(" ".join(text.split())[:80])


class Alternatives:
    """A regular expression in its alternatives, each asked only where one of its signs stands.

    A choice is (signs between |, in lower case; pattern). Of what matches, the first in the text
    counts, and of several that begin there the choice named first: as with `|` between them.
    """

    def __init__(self, *choices: tuple[str, str]) -> None:
        self._choices = [(tuple(signs.split("|")), _finder(pattern)) for signs, pattern in choices]

    def search(self, text: str) -> re.Match[str] | None:
        """The first match in a text."""
        lower, best = folded(text), None
        for signs, find in self._choices:
            match = find(text) if any(map(lower.__contains__, signs)) else None
            if match and (best is None or match.start() < best.start()):
                best = match
        return best


def read_patterns(name: str) -> dict[str, list[tuple[str, str]]]:
    """Sections of NAME.txt beside this file: choices as `Alternatives` takes them.

    `== NAME` begins a section and `= SIGNS` a choice; every other line is one alternative or more.
    {NAME} stands for the first choice of an earlier section, `# ` begins a remark.
    """
    sections = dict[str, list[tuple[str, str]]]()
    choices = list[tuple[str, str]]()
    for line in Path(__file__).with_name(f"{name}.txt").read_text("utf-8").splitlines():
        if line.startswith("== "):
            choices = sections[line[3:]] = []
        elif line.startswith("= "):
            choices.append((line[2:], ""))
        elif not line.startswith("# "):
            signs, known = choices.pop() if choices else ("", "")
            more = re.sub(r"\{([a-z]+)\}", lambda part: f"(?:{sections[part[1]][0][1]})", line)
            choices.append((signs, f"{known}|{more}" if known else more))
    return sections


def _finder(pattern: str) -> Callable[[str], re.Match[str] | None]:
    compiled = re.compile(pattern, re.IGNORECASE)
    return compiled.match if pattern.startswith("^") else compiled.search
