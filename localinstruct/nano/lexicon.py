"""The words the task grammar is made of, read from lexicon.yaml.

The grammar computes right answers from these tables, so they hold facts and regular forms, nothing
that can be argued about. Not covered: word senses, and any language but English.
"""

from functools import lru_cache
from pathlib import Path

import yaml

from localinstruct.records import JsonObject

HERE = Path(__file__).parent


@lru_cache
def raw() -> JsonObject:
    """Give lexicon.yaml as it is written: strings of "a, b" and "left: right, left: right"."""
    return yaml.load((HERE / "lexicon.yaml").read_text("utf-8"), Loader=yaml.CSafeLoader)


def words(text: str) -> tuple[str, ...]:
    """Split "a, b, c"."""
    return tuple(text.split(", "))


def rows(text: str) -> list[list[str]]:
    """Split "a: b: c, d: e: f" into rows of cells."""
    return [part.split(": ") for part in text.split(", ")]


def column(name: str, number: int) -> dict[str, str]:
    """Map the first cell of each row of a table to its cell `number`."""
    return {row[0]: row[number] for row in rows(raw()[name])}


def listed(name: str) -> tuple[str, ...]:
    """Give the words of one list."""
    return words(raw()[name])


@lru_cache
def categories() -> dict[str, str]:
    """Map each noun to the one category it stands in."""
    return {noun: label for label, nouns in raw()["nouns"].items() for noun in words(nouns)}


@lru_cache
def plurals() -> dict[str, str]:
    """Map each countable noun to its plural: irregular ones from the table, the rest by rule."""
    nouns = dict.fromkeys([*categories(), *listed("objects")])
    skipped = {*listed("uncountable")}
    for category in ("colour", "metal", "sport"):
        skipped.update(words(raw()["nouns"][category]))
    return {noun: plural(noun) for noun in nouns if noun not in skipped} | column("plurals", 1)


def plural(noun: str) -> str:
    """Form a regular plural unless the table knows better."""
    irregular = column("plurals", 1)
    if noun in irregular:
        return irregular[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


@lru_cache
def opposites() -> dict[str, str]:
    """Map both ways; a word that would have two opposites keeps the first."""
    pairs = rows(raw()["opposites"])
    both: dict[str, str] = {}
    for left, right in [*pairs, *[(right, left) for left, right in pairs]]:
        both.setdefault(left, right)
    return both


def names() -> dict[str, str]:
    """Map each first name to "She" or "He"."""
    return {
        name: pronoun.title()
        for pronoun, listing in raw()["names"].items()
        for name in words(listing)
    }


def vocabulary() -> set[str]:
    """Every word of the lexicon with its derived plural forms, lower-cased."""
    every: set[str] = set()
    for value in raw().values():
        for text in value.values() if isinstance(value, dict) else [value]:
            every.update(text.replace(",", " ").replace(":", " ").lower().split())
    every.update(plurals().values())
    return {word for word in every if word.isalpha()}
