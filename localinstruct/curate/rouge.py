"""ROUGE-L (Lin 2004), the F-measure of the longest common subsequence of words.

Words are lower-cased runs of letters and digits of any script; in scripts that put no blanks
between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) every character is one. Alpaca
and Self-Instruct take runs of ASCII letters and digits (the rouge_score package, without stemming),
and see nothing else: `ascii_words`. On ASCII texts both are the same. Every word gets a letter of
its own, so that rapidfuzz's bit-parallel search over strings answers for words; exact, many rows at
once.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_WORD = re.compile(r"[a-z0-9]+")
_SURROGATES = range(0xD800, 0xE000)


_UNSPACED = (
    "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u1950-\u19ff\u1a20-\u1aaf\u3005-\u3007"
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf"
    "\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Scripts without blanks between words, as ranges: Thai, Lao, Tibetan, Burmese, Khmer, Tai, Kana,
Han."""


def words(text: str) -> list[str]:
    """The words of any script that are compared."""
    if text.isascii():
        return ascii_words(text)
    return _any_word().findall(unicodedata.normalize("NFKC", text).lower())


def ascii_words(text: str) -> list[str]:
    """The words that Alpaca and Self-Instruct compare: ASCII letters and digits."""
    return _WORD.findall(text.lower())


@cache
def _any_word() -> re.Pattern[str]:
    """A character of an unspaced script, or a run of others; marks belong to what they follow."""
    planes = range(0x300, 0x20000)
    marks = "".join(chr(code) for code in planes if unicodedata.category(chr(code))[0] == "M")
    return re.compile(rf"(?![_\W])[{_UNSPACED}][{marks}]*|(?:(?![{_UNSPACED}])[^\W_][{marks}]*)+")


class Alphabet:
    """A letter for each word: texts become strings as long as they have words.

    A million words find a place; `cut` takes a text apart.
    """

    def __init__(self, cut: Callable[[str], list[str]] = words) -> None:
        self._cut = cut
        self._letters: dict[str, str] = {}
        self._codes = (code for code in count(1) if code not in _SURROGATES)

    def spell(self, text: str) -> str:
        """The text with a letter for each word."""
        return "".join(self._letter(word) for word in self._cut(text))

    def _letter(self, word: str) -> str:
        if word not in self._letters:
            self._letters[word] = chr(next(self._codes))
        return self._letters[word]


def f_measures(candidates: Sequence[str], rows: Sequence[str]) -> "np.ndarray":
    """(m, n) float64 ROUGE-L of m spelt candidates with n spelt rows, 0 to 1.

    0 where one of the two has no words.
    """
    import numpy as np
    from rapidfuzz.distance import LCSseq
    from rapidfuzz.process import cdist

    common = cdist(candidates, rows, scorer=LCSseq.similarity, dtype=np.int32)  # (m, n) words
    ours = np.array([len(text) for text in candidates])[:, None]  # (m, 1)
    theirs = np.array([len(text) for text in rows])  # (n,)
    # float64: 0.7 is 0.7, which passes a threshold of 0.7
    return 2 * common / np.maximum(ours + theirs, 1)
