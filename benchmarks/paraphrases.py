"""Short rows with planted paraphrases: `python -m benchmarks.paraphrases 100000 FILE`.

A row asks one of 24 things about two or three words of the encoder's vocabulary, with what is said
of them; a tenth of the rows ask again what an earlier row asks, in another of its phrasings, often
with polite words around. Seeded: row n is the same in a short list and in a long one.
"""

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

from benchmarks.setting import load
from localinstruct.records import Instance
from localinstruct.store.durable import atomic_write

PLANTED = 0.1
"""Share of the rows that ask again what an earlier row asks."""
POLITE = ("{}", "{}", "{}", "Please help me with this: {}", "{} Thank you.", "Hello! {}")
WHO = """
a child, a nurse, my neighbour, a farmer, a new student, an engineer, a tourist, a
lawyer, a teacher of music, an old sailor, a baker, the mayor, a chess player, a
gardener, a pilot, a carpenter, a young mother, a journalist, a goalkeeper
"""
PLACES = """
Norway, Peru, a small village, Tokyo, ancient Rome, the Sahara, Canada, a harbour,
Kenya, a mountain hut, Vienna, India, the Arctic, New York, a desert town, Chile,
medieval France, Australia, a suburb, Egypt, Scotland, Korea, a coral island
"""


def rows(count: int, seed: int = 7) -> Iterator[tuple[int | None, Instance]]:
    """(number of the row it asks again, or None; the row), in order."""
    words = _words()
    for number in range(count):
        rng, like = _planted(number, seed)
        task = number if like is None else like
        while (before := _planted(task, seed)[1]) is not None:  # the row that asked it first
            task = before
        yield like, _row(words, seed, task, rng, like is not None)


def _planted(number: int, seed: int) -> tuple[Random, int | None]:
    """The random numbers of a row, and the row that it asks again."""
    rng = Random(f"{seed}:{number}")
    return rng, rng.randrange(number) if number and rng.random() < PLANTED else None


def _row(words: list[str], seed: int, task: int, rng: Random, again: bool) -> Instance:
    own = Random(f"{seed}:task:{task}")
    phrasings, slots = _task(words, own)
    first = own.randrange(len(phrasings))
    phrasing = rng.choice(phrasings[:first] + phrasings[first + 1 :]) if again else phrasings[first]
    text = phrasing.format(**slots)
    text = (rng.choice(POLITE) if again else "{}").format(text)
    return Instance(text[0].upper() + text[1:], "", f"About {slots['a']}: {slots['b']} first.")


def _task(words: list[str], rng: Random) -> tuple[tuple[str, ...], dict[str, str]]:
    things = (f"{rng.choice(words)} {rng.choice(words)}", *(rng.choice(words) for _ in "bc"))
    slots = dict(zip("abc", things, strict=True))
    slots |= {"who": rng.choice(_listed(WHO)), "place": rng.choice(_listed(PLACES))}
    return rng.choice(_asked()), slots


@cache
def _asked() -> list[tuple[str, ...]]:
    """Phrasings of each of the 24 things."""
    lines = Path(__file__).with_suffix(".txt").read_text().splitlines()
    return [tuple(line.split(" | ")) for line in lines]


@cache
def _listed(text: str) -> list[str]:
    return " ".join(text.split()).split(", ")


def _words() -> list[str]:
    """Whole words of five letters and more that the encoder knows, in its order."""
    listed = (load("nano", [], Path(), quick=True).encoder / "vocab.txt").read_text().split()
    return [word for word in listed if word.isascii() and word.isalpha() and len(word) > 4]


def write(count: int, path: Path) -> int:
    """Write so many rows as lines of JSON, and count those that ask again."""
    planted = 0
    with atomic_write(path) as file:
        for like, row in rows(count):
            planted += like is not None
            line = {"instruction": row.instruction, "input": "", "output": row.output}
            file.write(f"{json.dumps(line)}\n".encode())
    return planted


if __name__ == "__main__":
    print(f"{write(int(sys.argv[1]), Path(sys.argv[2])):,} rows ask again what another asks")
