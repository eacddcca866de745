"""Letters of several scripts, or one syllable, thrown together: what no word of people has."""

import re
from itertools import pairwise

from localinstruct.curate.languages import common_words
from localinstruct.curate.texts import beyond_latin, pieces

LONGEST = 6_000
"""Letters of a text that are looked at."""
SHORTEST = 10
"""Letters of a word that may hold a syllable five times."""
STUTTER = 24
"""Letters of one such word alone that are enough."""
APART, SMALL = 0.6, 0.9
"""Shares of letters that stand alone, and of small words, that no text has."""
_STUTTER = re.compile(r"(?!(?:h[aeo]|la|na|bla|da|xo|lo|j[ae])+)([a-z]{2,8})\1{4,}", re.IGNORECASE)
_INSERTED = re.compile(r"[a-z][\u0370-\u1fff\u3040-\uffdc]{1,3}[a-z]")
_LETTERS = re.compile(r"[^\W\d_]+")
_LAST = "\u024f\u03ff\u052f\u05ff\u06ff\u0dff\u0e7f\u10ff\ud7ff"
"""Last letters of groups of scripts; Chinese, Japanese and Korean are one."""


def inside_words(text: str) -> str:
    """Say that words hold a syllable again and again, or letters of other scripts."""
    # of a syllable five times most letters are the same; the search for one is slow
    long = [one for one in pieces(text) if len(one) >= SHORTEST and len({*one}) <= len(one) - 4]
    stutters = [match[0] for piece in long for match in _STUTTER.finditer(piece[:LONGEST])]
    if len(stutters) >= 2 or max(map(len, stutters), default=0) >= STUTTER:
        return "syllables again and again inside words"
    inserted = len(_INSERTED.findall(text)) if beyond_latin(text) else 0
    if inserted >= max(3, 0.1 * len(pieces(text))):
        return "letters of other scripts inside words"
    return ""


def thrown_together(text: str) -> str:
    """Say that letters stand alone, or that there are hardly any but small words."""
    words = pieces(text[:LONGEST]) if len(text) > LONGEST else pieces(text)
    if len(words) < 10:
        return ""
    alone = [word.lower() for word in words if len(word) == 1 and not word.isdigit()]
    letters = [mark for mark in alone if mark.isalpha()]
    if len(alone) >= APART * len(words) and len(set(letters)) >= 8 and "=" not in text:
        return "" if letters == sorted(letters) else "letters that stand alone"
    lettered = [word for word in words if word.isalpha()]
    small = sum(word.casefold() in common_words() for word in lettered)
    if len(lettered) >= 24 and small >= SMALL * len(lettered):
        return "hardly any but small words"
    return ""


def words_change_script(text: str) -> bool:
    """Tell whether words of three scripts or more follow each other in turn."""
    scripts = [
        next((n for n, last in enumerate(_LAST) if word[0] <= last), 9)
        for word in _LETTERS.findall(text[:LONGEST])
    ]
    changes = sum(one != two for one, two in pairwise(scripts))
    if len(scripts) < 10 or len(set(scripts)) < 2:
        return False
    glossary = any(map(text.__contains__, (":", "(", " - ", "–", "—", "|", "\n")))
    least = 0.25 if len(set(scripts)) > 2 else 1.0 if glossary else 0.3
    return changes >= least * len(scripts)


def letters_change_script(text: str) -> bool:
    """Tell whether letters of three scripts or more alternate inside words."""
    changes, letters, seen = 0, 0, set[int]()
    for word in _LETTERS.findall(text):
        scripts = [next((n for n, last in enumerate(_LAST) if mark <= last), 9) for mark in word]
        letters += len(scripts)
        changes += sum(one != two for one, two in pairwise(scripts))
        seen.update(scripts)
    return letters >= 12 and len(seen) >= 3 and changes > 0.25 * letters
