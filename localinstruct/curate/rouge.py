"""ROUGE-L (Lin 2004) as Alpaca and Self-Instruct ask it.

It is the F-measure of the longest common subsequence of words. Words are lower-cased runs of ASCII
letters and digits, as in the rouge_score package without stemming. Every word gets a letter of its
own, so that rapidfuzz's bit-parallel search over strings answers for words; exact, many rows at
once.
"""

import re
from collections.abc import Sequence
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_WORD = re.compile(r"[a-z0-9]+")
_SURROGATES = range(0xD800, 0xE000)


def words(text: str) -> list[str]:
    """The words that are compared."""
    return _WORD.findall(text.lower())


class Alphabet:
    """A letter for each word: texts become strings as long as they have words.

    A million words find a place.
    """

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}
        self._codes = (code for code in count(1) if code not in _SURROGATES)

    def spell(self, text: str) -> str:
        """The text with a letter for each word."""
        return "".join(self._letter(word) for word in words(text))

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
