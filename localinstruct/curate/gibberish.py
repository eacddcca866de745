"""A cheap score of gibberish: words that English spelling does not have, and too few small words.

A word is odd when it has two or more groups of three letters that stand nowhere in the shipped
seeds (`trigrams.txt`, 3,202 groups, made by `groups_of`), or a capital in its middle. Of every 30
words, odd ones count for and common ones ("the", "of") against: SCORE was chosen between what a
small model writes at a high temperature and what people wrote; docs/guide.md has the figures. Code,
other languages, names and lists are left alone. Not covered: fluent nonsense.
"""

import re
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from localinstruct.curate.languages import about_language, common_words, language, names_language

WINDOW = 30
"""Words that are judged together."""
SCORE = 0.1
"""Share of odd words, less half the share of common ones, above which 30 words are gibberish."""
FEWEST = 12
"""Words that a text must have to be judged."""
LONGEST = 6_000
_WORD = re.compile(r"[A-Za-z]+")
_PART = re.compile(r"[A-Za-z]+|(?<=[A-Za-z])[\]\[{}|;^~\\\\$%#@=<>!?]+(?=[A-Za-z])")
"""A word, or marks that join two."""
_RUN = re.compile(r"[A-Za-z'’-]+(?: [A-Za-z'’-]+){24,}")
_NO_WORDS = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+|\b\w+_\w+|<[^<>\n]{1,200}>|\b\w+\.\w+\(|&\w+;"
    r"|\b\w*\d\w*\b|\]\([^()\s]{1,300}\)",
    re.DOTALL,
)
_CODE = re.compile(r"[;{}]\s*$|^\s*(?:def|class|import|from|#include|function)\b|=>|\w\(\)", re.M)


def groups_of(text: str) -> set[str]:
    """Groups of three letters of a text's words, a blank at both ends of a word."""
    words = {f" {word} " for word in _WORD.findall(text.casefold())}
    return {word[place : place + 3] for word in words for place in range(len(word) - 2)}


@cache
def _known() -> frozenset[str]:
    text = Path(__file__).with_name("trigrams.txt").read_text("ascii").replace("\n", "")
    return frozenset(text[place : place + 3].replace("_", " ") for place in range(0, len(text), 3))


@lru_cache(maxsize=50_000)
def _weight(word: str) -> float:
    """1 for an odd word, -0.5 for a common one, else 0."""
    folded = word.casefold()
    if not word[0].isalpha():
        return 1.0
    if folded in common_words():
        return -0.5
    if len(word) <= 3 or word.isupper():
        return 0.0
    if any(one.islower() and two.isupper() for one, two in zip(word, word[1:], strict=False)):
        return 0.8
    padded, known = f" {folded} ", _known()
    odd = sum(padded[place : place + 3] not in known for place in range(len(padded) - 2))
    return float(odd >= 2 or (odd == 1 and len(word) > 12) or len(word) > 24)


def score(text: str, known: str = "") -> float:
    """The highest score of 30 words of a text, from -0.5 to 1; -1 if it has too few words.

    A word counts as odd once, and not if it stands in `known`.
    """
    found = _score(_PART.findall(text[:LONGEST]), known)
    if found < SCORE:
        return found
    return _score(_PART.findall(_NO_WORDS.sub(" ", text[:LONGEST])), known)


def _score(words: Sequence[str], known: str) -> float:
    if len(words) < FEWEST:
        return -1.0
    weights, seen, spared = list[float](), set[str](), known.casefold()
    for word in words:
        weight = _weight(word)
        if weight > 0:
            if word in seen or word.casefold() in spared:
                weight = 0.0
            seen.add(word)
        weights.append(weight)
    return max(_windows(weights))


def _windows(weights: Sequence[float]) -> list[float]:
    width = min(WINDOW, len(weights))
    total = sum(weights[:width])
    totals = [total]
    for place in range(width, len(weights)):
        total += weights[place] - weights[place - width]
        totals.append(total)
    return [one / width for one in totals]


def gibberish(instruction: str, given: str, output: str) -> str | None:
    """Say why an answer is no text that people write, or None."""
    if _is_noise(output):
        return "hardly any words"
    reached = score(output, f"{instruction} {given[:LONGEST]}")
    salad = _salad(output) if reached > -0.06 else ""
    if (reached < SCORE and not salad) or _CODE.search(output) or names_language(instruction):
        return None
    if reached < 3 * SCORE and about_language(instruction):
        return None
    if language(output) not in ("", "en") or score(instruction) >= SCORE / 2:
        return None
    return salad or f"score {reached:.2f}, at most {SCORE} expected"


def _salad(text: str) -> str:
    """25 words or more in a row without a mark, hardly a common one among them."""
    for run in _RUN.findall(text[:LONGEST]):
        words = run.casefold().split(" ")
        if sum(word in common_words() for word in words) < 0.06 * len(words):
            return f"no small words in {' '.join(words[:6])!r} …"
    return ""


def _is_noise(text: str) -> bool:
    """Tell whether a text of some length is made of marks, digits and single letters."""
    if len(text) < 60 or "\n" in text or not text.isascii():
        return False
    kept = sum(len(word) for word in _WORD.findall(text) if len(word) > 2)
    marks = sum(not (character.isalnum() or character in " .,-+=/*()|") for character in text)
    return kept < 0.1 * len(text) and marks > 0.25 * len(text)
