"""The rule of a task family: how its slots are filled, and how its answer is computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

Slots = dict[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Two functions: one fills the slots of a task, one answers it from the filled slots alone."""

    make: Callable[[Random], Slots]
    answer: Callable[[Slots], str]
    weight: float = 1.0
    """Frequency in training, relative to an easy family."""
    classification: bool = False


def lookup(
    slot: str, table: Mapping[str, str], weight: float = 1.0, classification: bool = False
) -> Rule:
    """A family that asks for the other side of a table."""
    keys = list(table)
    return Rule(
        lambda rng: {slot: rng.choice(keys)},
        lambda slots: table[slots[slot]],
        weight,
        classification,
    )


def known(word: str, words: Mapping[str, object] | Sequence[str]) -> str:
    """Give the word back, or KeyError when it is not in the lexicon."""
    if word not in words:
        raise KeyError(word)
    return word
