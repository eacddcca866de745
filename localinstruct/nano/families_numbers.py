"""Task families about numbers, dates and units.

Ranges are small on purpose: a model of three million parameters learns them as look-ups, not as
arithmetic.
"""

from collections.abc import Callable
from random import Random

from localinstruct.nano import lexicon
from localinstruct.nano.rules import Rule, Slots, lookup

THINGS = tuple(
    lexicon.plurals()[noun] for noun in lexicon.categories() if noun in lexicon.plurals()
)
NAMES = tuple(lexicon.names())
WORDS = lexicon.listed("number_words")
TENS = lexicon.column("tens", 1)
MONTHS, DAYS = lexicon.listed("months"), lexicon.listed("weekdays")
UNITS = {big: (int(size), small) for big, size, small in lexicon.rows(lexicon.raw()["units"])}


def number_word(number: int) -> str:
    """Write 0..99 in words."""
    if number < len(WORDS):
        return WORDS[number]
    tens, ones = divmod(number, 10)
    return TENS[str(tens * 10)] + (f"-{WORDS[ones]}" if ones else "")


def three_numbers(rng: Random, top: int) -> list[int]:
    """Draw three different numbers that are not already in order."""
    while True:
        numbers = rng.sample(range(1, top + 1), 3)
        if numbers != sorted(numbers):
            return numbers


def numbers_of(slots: Slots) -> list[int]:
    """The numbers of the slot."""
    return [int(number) for number in slots["numbers"].split(", ")]


def joined(numbers: list[int]) -> str:
    """Write numbers as "3, 7, 12"."""
    return ", ".join(map(str, numbers))


def triple(top: int) -> Callable[[Random], Slots]:
    """Three different numbers up to top."""
    return lambda rng: {"numbers": joined(three_numbers(rng, top))}


def operands(low: int, high: int) -> Callable[[Random], Slots]:
    """Two operands between low and high, and somebody who has things."""
    return lambda rng: _pair(rng, rng.randint(low, high), rng.randint(low, high))


def _pair(rng: Random, a: int, b: int) -> Slots:
    return {"a": str(a), "b": str(b), "things": rng.choice(THINGS), "name": rng.choice(NAMES)}


def make_subtraction(rng: Random) -> Slots:
    """Two operands whose difference is at least 1."""
    a = rng.randint(2, 20)
    return _pair(rng, a, rng.randint(1, min(a - 1, 12)))


def make_compare(rng: Random) -> Slots:
    """Two different numbers up to 20."""
    return _pair(rng, *rng.sample(range(1, 21), 2))


def make_sequence(rng: Random) -> Slots:
    """Three numbers with equal steps."""
    start, step = rng.randint(1, 10), rng.choice((1, 2, 3, 5, 10))
    return {"numbers": joined([start, start + step, start + 2 * step])}


def next_in_sequence(slots: Slots) -> str:
    """Continue equal steps."""
    first, second, third = numbers_of(slots)
    if third - second != second - first:
        raise ValueError(slots["numbers"])
    return str(third + third - second)


def make_units(rng: Random) -> Slots:
    """A few large units and the small unit they consist of."""
    big = rng.choice(list(UNITS))
    n = rng.randint(2, 10 if UNITS[big][0] < 20 else 5)
    return {"big": big, "small": UNITS[big][1], "n": str(n), "name": rng.choice(NAMES)}


def convert(slots: Slots) -> str:
    """Count the small units."""
    size, small = UNITS[slots["big"]]
    if slots["small"] != small:
        raise KeyError(slots["small"])
    return str(int(slots["n"]) * size)


def following(names: tuple[str, ...], step: int) -> dict[str, str]:
    """Map each name of a cycle to the one `step` places on."""
    return {name: names[(place + step) % len(names)] for place, name in enumerate(names)}


def counted(low: int, high: int) -> Callable[[Random], Slots]:
    """One number, and things that there are so many of."""
    return lambda rng: {"n": str(rng.randint(low, high)), "things": rng.choice(THINGS)}


SMALL_NUMBERS = {number_word(number): str(number) for number in range(0, 61)}

RULES: dict[str, Rule] = {
    "sort_numbers": Rule(triple(20), lambda slots: joined(sorted(numbers_of(slots))), 4.0),
    "largest": Rule(triple(20), lambda slots: str(max(numbers_of(slots))), 2.0),
    "smallest": Rule(triple(20), lambda slots: str(min(numbers_of(slots))), 2.0),
    "addition": Rule(operands(1, 12), lambda slots: str(int(slots["a"]) + int(slots["b"])), 3.5),
    "subtraction": Rule(
        make_subtraction, lambda slots: str(int(slots["a"]) - int(slots["b"])), 2.5
    ),
    "multiplication": Rule(
        operands(2, 10), lambda slots: str(int(slots["a"]) * int(slots["b"])), 2.0
    ),
    "next_number": Rule(counted(1, 99), lambda slots: str(int(slots["n"]) + 1), 1.5),
    "parity": Rule(counted(1, 60), lambda slots: ("even", "odd")[int(slots["n"]) % 2], 1.0, True),
    "compare": Rule(
        make_compare, lambda slots: "yes" if int(slots["a"]) > int(slots["b"]) else "no", 2.0, True
    ),
    "number_word": Rule(counted(0, 60), lambda slots: number_word(int(slots["n"])), 1.5),
    "word_number": lookup("words", SMALL_NUMBERS, 1.3),
    "sequence": Rule(make_sequence, next_in_sequence, 2.0),
    "next_day": lookup("day", following(DAYS, 1)),
    "previous_day": lookup("day", following(DAYS, -1)),
    "next_month": lookup("month", following(MONTHS, 1), 0.8),
    "month_days": lookup(
        "month", dict(zip(MONTHS, lexicon.listed("month_days"), strict=True)), 0.7
    ),
    "units": Rule(make_units, convert, 1.5),
    "unit_symbol": lookup("unit", lexicon.column("short_units", 1), 0.6),
}
