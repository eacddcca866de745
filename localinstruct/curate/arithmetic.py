"""Values of plain sums such as "2 + 3 × 4", and whether what is shown for one is right.

Read are numbers with thousands separators, currency signs and a minus, and + - * x × · / ÷ between
them. A chain is worked out by precedence, and accepted too when it is right from left to right.
"""

import re
from fractions import Fraction
from typing import TypeVar

NUMBER = r"[$€£]?\s?(?!0\d)\d{1,3}(?:,\d{3})+(?:\.\d+)?|[$€£]?\s?(?!0\d)\d+(?:\.\d+)?"
SIGN = r"[+\-−–*x×·/÷]"
WORD = r"(?:plus|minus|times|multiplied by|divided by)"
_INNER = re.compile(r"\(([^()]*)\)")
N = TypeVar("N", Fraction, float)
_SPLIT = re.compile(r"([+\-*/])")
_ONE_SIGN = {**dict.fromkeys("x×·", "*"), "÷": "/", "−": "-", "–": "-"}
PLAIN = str.maketrans({**dict.fromkeys("$€£, "), **_ONE_SIGN})
_PART = re.compile(rf"({NUMBER})|({WORD}|{SIGN})")
_SIGNS = {
    "plus": "+",
    "minus": "-",
    "−": "-",
    "–": "-",
    "times": "*",
    "multiplied by": "*",
    "x": "*",
    "×": "*",
    "·": "*",
    "divided by": "/",
    "÷": "/",
}


def worked_out(left: str) -> str | None:
    """The left side with its brackets worked out, as a plain chain; None if it cannot be."""
    while match := _INNER.search(left):
        parts = _parts(match[1])
        value = _by_precedence(*parts) if parts else None
        if value is None or value < 0:
            return None
        left = f"{left[: match.start()]}{written(value)}{left[match.end() :]}"
    return None if "(" in left or ")" in left else left


def written(value: Fraction) -> str:
    """A number with at most nine digits behind the point."""
    return f"{float(value):.9f}".rstrip("0").rstrip(".")


def is_right(left: str, right: str) -> bool:
    """Tell quickly, in floating point, that plain sums are right; False settles nothing."""
    parts = _SPLIT.split(left.translate(PLAIN))
    try:
        numbers, shown = list(map(float, parts[::2])), float(right.translate(PLAIN))
    except ValueError:
        return False
    total = _by_precedence(numbers, parts[1::2])
    return total is not None and abs(total - shown) <= 1e-9 * abs(total)


def wrong(left: str, right: str) -> str | None:
    """The value of the left side as text if the right side is not it, else None."""
    if is_right(left, right):
        return None
    parts = _parts(left)
    shown = value_of(right.replace("−", "-"))
    if shown is None or parts is None:
        return None
    numbers, signs = parts
    by_rule, in_order = _by_precedence(numbers, signs), _in_order(numbers, signs)
    if by_rule is None or in_order is None or shown == _with_fractions(numbers, signs):
        return None
    digits = len(right.rpartition(".")[2]) if "." in right else 0
    exact = by_rule * 10**digits
    step = Fraction(1, 10**digits)
    if exact.denominator == 1 and shown != by_rule and not ("/" in signs or "." in left):
        close = False
    else:
        close = abs(by_rule - shown) < step if exact.denominator != 1 else shown == by_rule
    if close or shown == in_order:
        return None
    return f"{float(by_rule):.10g}"


def _parts(left: str) -> tuple[list[Fraction], list[str]] | None:
    numbers, signs = list[Fraction](), list[str]()
    for number, sign in _PART.findall(left):
        if sign:
            signs.append(_SIGNS.get(sign, sign))
        elif (value := value_of(number)) is not None:
            numbers.append(value)
        else:
            return None
    return (numbers, signs) if len(numbers) == len(signs) + 1 else None


def value_of(number: str) -> Fraction | None:
    """The value of a number as it is written; None above 18 letters."""
    plain = number.translate({ord(mark): None for mark in "$€£, "})
    return Fraction(plain) if len(plain) <= 18 else None


def _by_precedence(numbers: list[N], signs: list[str]) -> N | None:
    total, term, plus = numbers[0] * 0, numbers[0], 1
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign in "*/":
            if sign == "/" and number == 0:
                return None
            term = term * number if sign == "*" else term / number
        else:
            total, term, plus = total + plus * term, number, 1 if sign == "+" else -1
    return total + plus * term


def _in_order(numbers: list[Fraction], signs: list[str]) -> Fraction | None:
    total = numbers[0]
    for sign, number in zip(signs, numbers[1:], strict=True):
        if sign == "/" and number == 0:
            return None
        if sign in "+-":
            total = total + number if sign == "+" else total - number
        else:
            total = total * number if sign == "*" else total / number
    return total


def _with_fractions(numbers: list[Fraction], signs: list[str]) -> Fraction | None:
    """The value where a division at the end stands for a fraction: 50 / 1/2 is 100."""
    if signs[-2:] != ["/", "/"] or numbers[-2] == 0 or numbers[-1] == 0:
        return None
    return _by_precedence([*numbers[:-2], numbers[-2] / numbers[-1]], signs[:-1])
