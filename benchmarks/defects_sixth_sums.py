"""Rows with a sum, right or wrong, for benchmarks/defects_sixth.py."""

import random
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import NamedTuple

from benchmarks.defects_sixth_words import fill

_UNDER_20 = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
_TENS = ("", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


class Sum(NamedTuple):
    """Two numbers, the sign between them, their true result, and the places of all three."""

    first: Decimal
    sign: str
    second: Decimal
    true: Decimal
    places: tuple[int, int, int]


def _sum(
    first: Decimal, sign: str, second: Decimal, places: tuple[int, int, int] = (0, 0, 0)
) -> Sum:
    results = {
        "+": lambda: first + second,
        "-": lambda: first - second,
        "*": lambda: first * second,
        "/": lambda: first / second,
        "%": lambda: first * second / 100,
    }
    return Sum(first, sign, second, results[sign](), places)


def _whole(rng: random.Random, low: int, high: int) -> Decimal:
    return Decimal(rng.randint(low, high))


def _cents(rng: random.Random, low: int, high: int) -> Decimal:
    return Decimal(rng.randint(low * 100 + 5, high * 100)) / 100


def _tenths(rng: random.Random) -> Decimal:
    return Decimal(rng.randint(11, 99)) / 10


def _less(rng: random.Random, low: int, high: int) -> Sum:
    second = _whole(rng, low, high)
    return _sum(second + _whole(rng, low, high), "-", second)


def _shared(rng: random.Random, most: int) -> Sum:
    second = _whole(rng, 3, most)
    return _sum(second * _whole(rng, 4, most * 3), "/", second)


def _percent(rng: random.Random) -> Sum:
    rate = Decimal(rng.choice((5, 8, 12, 15, 18, 20, 25, 30, 35, 40, 60, 75)))
    return _sum(rate, "%", Decimal((50 if rate % 5 else 20) * rng.randint(2, 95)))


def _inexact(rng: random.Random) -> Sum:
    second = Decimal(rng.choice((3, 6, 7, 9, 11, 13)))
    return _sum(second * rng.randint(3, 60) + rng.randint(1, 2), "/", second, (0, 0, 2))


DRAWN: dict[str, Callable[[random.Random], Sum]] = {
    "few": lambda rng: _sum(_whole(rng, 3, 29), "+", _whole(rng, 3, 29)),
    "plus": lambda rng: _sum(_whole(rng, 14, 489), "+", _whole(rng, 14, 489)),
    "thousands": lambda rng: _sum(_whole(rng, 1001, 48999), "+", _whole(rng, 301, 38999)),
    "minus": lambda rng: _less(rng, 12, 390),
    "less": lambda rng: _less(rng, 1010, 44000),
    "times": lambda rng: _sum(_whole(rng, 3, 19), "*", _whole(rng, 3, 19)),
    "product": lambda rng: _sum(_whole(rng, 12, 96), "*", _whole(rng, 13, 96)),
    "shared": lambda rng: _shared(rng, 12),
    "split": lambda rng: _shared(rng, 35),
    "prices": lambda rng: _sum(_cents(rng, 1, 80), "+", _cents(rng, 1, 80), (2, 2, 2)),
    "change": lambda rng: _sum(Decimal("50.00"), "-", _cents(rng, 2, 48), (2, 2, 2)),
    "priced": lambda rng: _sum(_whole(rng, 3, 24), "*", _cents(rng, 1, 30), (0, 2, 2)),
    "tenths": lambda rng: _sum(_tenths(rng), "+", _tenths(rng), (1, 1, 1)),
    "decimals": lambda rng: _sum(_tenths(rng), "*", _tenths(rng), (1, 1, 2)),
    "percent": _percent,
    "inexact": _inexact,
}

# A form: what is drawn, instruction, output, and an input. {x} {s} {y} {z} are the sum; {w} is a
# small number, {zw} their sum and {zv} their difference; {xw}, {yw}, {zww}: the sum in words.
FORMS: tuple[tuple[str, ...], ...] = (
    ("few", "What is {x} plus {y}?", "{x} plus {y} is {z}."),
    ("few", "Add {xw} and {yw}.", "{Xw} plus {yw} equals {zww}."),
    ("plus", "What's {x} + {y}?", "{x} + {y} = {z}"),
    ("plus", "{name} sold {x} {thing} in May and {y} in June. How many is that in all?",
     "In all, {name} sold {x} + {y} = {z} {thing}."),
    ("plus", "Calculate the sum.", "The sum of {x} and {y} is {z}.", "{x}, {y}"),
    ("plus", "how many {thing} do i have if i had {x} and buy {y} more",
     "you'd have {z}! ({x}+{y}={z})"),
    ("plus", "Add the numbers and then add {w}.",
     "Step 1: {x} + {y} = {z}\nStep 2: {z} + {w} = {zw}\nThe answer is {zw}.", "{x} and {y}"),
    ("thousands", "The town had {x} inhabitants and {y} moved in. How many live there now?",
     "There are now {x} + {y} = {z} inhabitants."),
    ("thousands", "Work out the total weight in kilograms that {place} received.",
     "First delivery: {x} kg\nSecond delivery: {y} kg\nTotal: {x} kg + {y} kg = {z} kg",
     "first delivery {x} kg, second delivery {y} kg"),
    ("minus", "{name} had {x} {thing} and gave away {y}. How many are left?",
     "{x} - {y} = {z}, so {name} has {z} {thing} left."),
    ("minus", "What is {x} minus {y}?", "{x} minus {y} equals {z}."),
    ("minus", "Subtract {y} from {x}. Show your work.",
     "We take {y} away from {x}:\n\n{x} − {y} = {z}\n\nThe difference is {z}."),
    ("minus", "On Monday {place} had {x} {thing}. By Friday, {y} were gone. Find the rest.",
     "Let r be the rest. Then r = {x} - {y} = {z}. There are {z} {thing} left."),
    ("less", "A car costs {x} euros and {name} has saved {y}. How much is missing?",
     "What is missing is {x} - {y} = {z} euros."),
    ("less", "Revenue was ${x} and costs were ${y}. What was the profit?",
     "Profit = revenue - costs = ${x} - ${y} = ${z}"),
    ("times", "What is {x} times {y}?", "{x} times {y} is {z}."),
    ("times", "Multiply {x} by {y}.", "{x} x {y} = {z}"),
    ("times", "Give me the area of a room of {x} m by {y} m.",
     "The area is length × width: {x} × {y} = {z} square metres."),
    ("times", "How many hours are {x} shifts of {y} hours?", "{x} * {y} = {z} hours"),
    ("product", "{place} orders {x} boxes with {y} {thing} each. How many {thing} are there?",
     "There are {x} boxes with {y} {thing} each, and {x} × {y} = {z}. So the answer is {z}."),
    ("product", "Compute {x}*{y}", "{x}*{y}={z}"),
    ("product", "Each row of the hall has {x} seats and there are {y} rows. {w} are broken. How "
     "many "
     "can be used?",
     "1. All seats: {x} x {y} = {z}\n2. Without the broken ones: {z} - {w} = {zv}\n"
     "So {zv} seats can be used."),
    ("product", "Explain to {name} how to multiply {x} by {y} in the head.",
     "Break {y} into tens and ones, multiply both by {x}, and add the two results. In the end you "
     "find that {x} multiplied by {y} is {z}."),
    ("shared", "Share {x} {thing} among {y} people.", "{x} ÷ {y} = {z}, so everyone gets {z}."),
    ("shared", "What is {x} divided by {y}?", "{x} divided by {y} is {z}."),
    ("shared", "{name} reads {x} pages in {y} days. How many pages is that a day?",
     "{x} / {y} = {z} pages a day"),
    ("split", "A rope of {x} cm is cut in {y} equal parts. How long is each?",
     "Each part is {x} cm ÷ {y} = {z} cm long."),
    ("split", "Find x: {y}x = {x}",
     "Divide both sides by {y}:\nx = {x} / {y} = {z}"),
    ("prices", "I paid ${x} for lunch and ${y} for dinner. What did I spend?",
     "You spent ${x} + ${y} = ${z}."),
    ("prices", "Add up the receipt.", "- soap: €{x}\n- rice: €{y}\n\n€{x} + €{y} = €{z}",
     "soap {x}\nrice {y}"),
    ("change", "{name} pays for a book of ${y} with a fifty-dollar note. How much change is due?",
     "The change is ${x} - ${y} = ${z}."),
    ("priced", "What do {x} {thing} cost at £{y} each?",
     "{x} {thing} at £{y} each cost {x} × £{y} = £{z}."),
    ("priced", "Estimate nothing, be exact: {x} tickets, ${y} a ticket, total?",
     "Total: {x} x ${y} = ${z}"),
    ("tenths", "Add {x} and {y}.", "{x} + {y} = {z}"),
    ("tenths", "{name} ran {x} km in the morning and {y} km at night. How far is that?",
     "Altogether {x} km + {y} km = {z} km. Well done, {name}!"),
    ("decimals", "What is the area of a rectangle of {x} by {y}?",
     "Area = {x} × {y} = {z}"),
    ("percent", "What is {x}% of {y}?", "{x}% of {y} is {z}."),
    ("percent", "A coat of ${y} is reduced by {x}%. By how many dollars?",
     "It is reduced by {x}% of ${y} = ${z}."),
    ("percent", "{place} sold {x} percent of its {y} {thing}. How many is that?",
     "{x} percent of {y} is {z}, so {z} {thing} were sold."),
    ("few", "Tell a very short story for learning to count.",
     "{name} had {x} {thing} in one bag and {y} in another. \"{x} plus {y} makes {z},\" said "
     "{name}, and went home happy."),
    ("times", "Write three lines of the multiplication table.",
     "{x} × 1 = {x}\n{x} × {y} = {z}\n1 × {y} = {y}"),
    ("plus", "Check the bookkeeping of {place} and write one sentence.",
     "The entries are consistent: {x} in cash plus {y} by card is {z}.", "cash {x}; card {y}"),
    ("minus", "The mill was founded in {y} and burnt down in {x}. How many years lie between?",
     "Between the two lie {x} - {y} = {z} years."),
    ("product", "Write a Python comment that explains the constant.",
     "# {x} * {y} = {z} slots, one per seat and day", "SLOTS = {x} * {y}"),
    ("inexact", "Divide {x} by {y} and round to two places.",
     "{x} ÷ {y} ≈ {z}"),
    ("inexact", "{y} friends split a bill of ${x}. What does each pay?",
     "Each pays about ${x} / {y} = ${z}."),
    ("inexact", "What is the average of {y} measurements that add up to {x}?",
     "The average is the sum divided by the count: {x}/{y} = {z} (rounded)."),
    ("plus", "Sum up the three values.", "{x} + {y} + {w} = {zw}", "{x}; {y}; {w}"),
    ("few", "{name} is {x} years old. How old will {name} be in {y} years?",
     "To find out, add {y} to {x}.\n\n{x} + {y} = {z}\n\n**Answer: {z} years old**"),
    ("times", "Make a word problem with its solution.",
     "Problem: A crate holds {x} {thing}. How many do {y} crates hold?\nSolution: {y} × {x} = {z}"),
    ("thousands", "How many are last year's {x} visitors and this year's {y} together?",
     "Let's see: {x}+{y}={z}. So together they are {z} visitors."),
    ("percent", "How large is the tip of {x}% on {y} dollars?",
     "Multiply: {y} dollars, of which {x}% is {z} dollars. Leave {z} dollars."),
    ("tenths", "A parcel of {x} kg and one of {y} kg: what do they weigh together?",
     "The first weighs {x} kg, the second {y} kg, and {x} plus {y} is {z}, so {z} kg."),
    ("split", "We have {x} {thing} for {y} classes at {place}. Give a reply in one sentence.",
     "Since {x} ÷ {y} = {z}, each class gets {z} {thing}."),
)  # fmt: skip


def _written(value: Decimal, places: int, commas: bool) -> str:
    rounded = value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{rounded:,}" if commas else str(rounded)


def is_wrong(one: Sum, said: Decimal) -> bool:
    """Whether a stated result is off by more than rounding or cutting it off can explain."""
    unit = Decimal(1).scaleb(int(said.normalize().as_tuple().exponent))
    return said != 0 and abs(said - one.true) > (unit if one.sign == "/" else unit / 2)


def _misses(rng: random.Random, one: Sum) -> Decimal:
    step = Decimal(1).scaleb(-one.places[2])
    digits = str(one.true.quantize(step)).replace(".", "")
    at = rng.randrange(max(1, len(digits) - 1))
    swapped = digits[:at] + digits[at : at + 2][::-1] + digits[at + 2 :]
    slips = [one.true + step * by for by in (1, -1, 2, -2, 3, 9, -9, 10, -10, 20, 90, -100)]
    slips += [Decimal(swapped) * step, one.true * 10, one.first + one.second]
    slips += [(one.true * Decimal("1.1")).quantize(step)]
    good = [slip for slip in slips if slip > 0 and is_wrong(one, slip.quantize(step))]
    return rng.choice(good).quantize(step)


def in_words(number: int) -> str:
    """A whole number below a thousand in words."""
    if number < 20:
        return _UNDER_20[number]
    if number < 100:
        ones = number % 10
        return _TENS[number // 10] + (f"-{_UNDER_20[ones]}" if ones else "")
    rest = number % 100
    return f"{_UNDER_20[number // 100]} hundred" + (f" and {in_words(rest)}" if rest else "")


def _row(rng: random.Random, form: tuple[str, ...], wrong: bool) -> dict[str, str]:
    kind, instruction, output, *given = form
    one = DRAWN[kind](rng)
    said = _misses(rng, one) if wrong else one.true
    if is_wrong(one, said) is not wrong:
        raise ValueError(f"not as asked: {one} {said}")
    commas, small = rng.random() < 0.75, Decimal(rng.randint(2, 9))
    first, second, result = one.places
    slots = {
        "x": _written(one.first, first, commas),
        "y": _written(one.second, second, commas),
        "z": _written(said, result, commas),
        "w": str(small),
        "zw": _written(said + small, result, commas),
        "zv": _written(said - small, result, commas),
    }
    if kind == "few":
        slots |= {"xw": in_words(int(one.first)), "yw": in_words(int(one.second))}
        slots |= {"Xw": slots["xw"].capitalize(), "zww": in_words(int(said))}
    parts = fill(rng, "\0".join((instruction, *(given or ("",)), output)))
    for slot, word in slots.items():
        parts = parts.replace("{" + slot + "}", word)
    return dict(zip(("instruction", "input", "output"), parts.split("\0"), strict=True))


def forms(wrong: bool) -> Iterator[Callable[[random.Random], dict[str, str]]]:
    """A maker of rows for each form, with wrong or with right sums."""
    for form in FORMS:
        yield partial(_row, form=form, wrong=wrong)
