"""What the rules ask of a text again and again, worked out once for all of them.

The last few texts are kept, so that the rules of one row share them. A rule that needs a regular
expression asks first for a sign without which it cannot match, such as a word or a part of one:
`Signs` know from one look at the words of a text which signs of all rules it may have.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache, reduce
from operator import or_
from pathlib import Path

_KEPT = 8
"""Texts that are kept: a row has three, and its request as one text."""
_WORDS = re.compile("[a-z]+")
_ONLY_LETTERS = bytes(
    ord(chr(code).lower()) if code < 128 and chr(code).isalpha() else 32 for code in range(256)
)
"""Table of bytes: letters of ASCII in lower case, a blank for any other byte."""
_BEYOND_LATIN = re.compile(r"[^\x00-\u024f\u2000-\u206f]")


@lru_cache(maxsize=_KEPT)
def folded(text: str) -> str:
    """The text in one case."""
    return in_one_case(text)


def in_one_case(text: str) -> str:
    """The text casefolded: of ASCII that is `lower`, which takes a twentieth of the time."""
    return text.lower() if text.isascii() else text.casefold()


@lru_cache(maxsize=_KEPT)
def pieces(text: str) -> tuple[str, ...]:
    """Parts of a text between its blanks."""
    return tuple(text.split())


@lru_cache(maxsize=_KEPT)
def words_in_order(text: str) -> tuple[str, ...]:
    """Runs of the letters a to z in one case, as they follow each other."""
    if text.isascii():
        return tuple(text.encode().translate(_ONLY_LETTERS).decode().split())
    return tuple(_WORDS.findall(folded(text)))


def words_of(text: str) -> frozenset[str]:
    """Runs of the letters a to z in one case, each once."""
    return frozenset(words_in_order(text))


@lru_cache(maxsize=_KEPT)
def different_pieces(text: str) -> int:
    """How many different parts between its blanks a text has."""
    return len(set(pieces(text)))


@lru_cache(maxsize=_KEPT)
def beyond_latin(text: str) -> bool:
    """Tell whether a text has letters of another script than the Latin one."""
    return not text.isascii() and _BEYOND_LATIN.search(text) is not None


def count_of(text: str, marks: bytes) -> int:
    """How many of these marks of ASCII stand in a text."""
    coded = text.encode("utf-8", "replace")
    return len(coded) - len(coded.translate(None, marks))


def has(text: str, signs: Sequence[str]) -> bool:
    """Tell whether one of these stands in the text."""
    return any(map(text.__contains__, signs))


_BITS = {"": 1}
"""Part of a sign -> its bit: a run of letters, with a blank where the sign goes on before it or
behind it, so that "ai " can stand at the end of a word only. "" may stand in any text."""
_BEGINNINGS = dict[str, set[str]]()
"""Three letters -> parts of signs that begin with them."""


class _Met(dict[str, int]):
    """Word -> bits of the parts of signs that stand in it, of the words met so far."""

    def __missing__(self, word: str) -> int:
        padded, bits = f" {word} ", 0
        for start in range(len(padded) - 2):
            for part in _BEGINNINGS.get(padded[start : start + 3], ()):
                if padded.startswith(part, start):
                    bits |= _BITS[part]
        if len(self) >= 50_000:
            self.clear()
        if len(word) <= _LONG:
            self[word] = bits
        return bits


_MET = _Met()
_LONG = 30
"""Letters of a word above which it is not kept: it hardly comes again."""


@lru_cache(maxsize=_KEPT)
def _met_in(text: str) -> int:
    bits = map(_MET.__getitem__, words_in_order(text))
    return reduce(or_, filter(None, bits), _BITS[""])  # most words have none


class Signs:
    """Words, parts of words or phrases in lower case, of which a rule wants to see one in a text.

    The words of the text tell which may stand in it; those that are more than letters are then
    looked for. `bits` are those of `_BITS` of which a text with one of these has one.
    """

    def __init__(self, *signs: str) -> None:
        self.bits, self._plain, self._of_bit = 0, 0, dict[int, list[str]]()
        for sign in signs:
            part = _part_of(sign)
            bit = _BITS.setdefault(part, 1 << len(_BITS))
            _BEGINNINGS.setdefault(part[:3], set()).add(part)
            self._of_bit.setdefault(bit, []).append(sign)
            self.bits |= bit
            self._plain |= bit if sign == part and part.isalpha() else 0
        _MET.clear()  # the words met before did not know of these
        _met_in.cache_clear()

    def stand_in(self, text: str) -> bool:
        """Tell whether one of these stands in a text."""
        met = _met_in(text) & self.bits
        if met & self._plain or not met:
            return met > 0
        return self._found(met, folded(text))

    def stand_in_part(self, text: str, part: str) -> bool:
        """Tell whether one of these stands in a part of a text, which is in one case."""
        return self._found(_met_in(text) & self.bits, part)

    def _found(self, met: int, text: str) -> bool:
        while met:
            lowest = met & -met
            if has(text, self._of_bit[lowest]):
                return True
            met ^= lowest
        return False


def _part_of(sign: str) -> str:
    """The longest run of letters of a sign as in `_BITS`; "" if it is too short to tell."""
    run = max(_WORDS.finditer(sign), key=lambda run: len(run[0]), default=None)
    part = f"{' ' * (run.start() > 0)}{run[0]}{' ' * (run.end() < len(sign))}" if run else ""
    return part if len(part) > 2 else ""


def quoted(text: str) -> str:
    """The words found, on one line and in quotation marks, cut at 80 letters."""
    return repr(" ".join(text.split())[:80])


class Alternatives:
    """A regular expression in its alternatives, each asked only where one of its signs stands.

    A choice is (signs between |, in lower case; pattern). Of what matches, the first in the text
    counts, and of several that begin there the choice named first: as with `|` between them.
    """

    def __init__(self, *choices: tuple[str, str]) -> None:
        self._choices = [(Signs(*signs.split("|")), _finder(pattern)) for signs, pattern in choices]

    def search(self, text: str) -> re.Match[str] | None:
        """The first match in a text."""
        met, best = _met_in(text), None
        for signs, find in self._choices:
            match = find(text) if met & signs.bits and signs.stand_in(text) else None
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
