"""Sums in an answer that do not add up: `a op b = c` with plain numbers.

Read: + - * x × · / ÷ between numbers, with thousands separators, currency signs and a minus in
front; a chain of operators is worked out by precedence, and accepted too when it is right from left
to right. What is shown with few digits may be rounded or cut. Left alone: powers, brackets, units
between the numbers, percentages, clocks, dates, other bases, and rows that ask for a mistake.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TypeVar

from localinstruct.curate.texts import Signs, has, words_in_order

_NUMBER = r"[$€£]?\s?(?!0\d)\d{1,3}(?:,\d{3})+(?:\.\d+)?|[$€£]?\s?(?!0\d)\d+(?:\.\d+)?"
_SIGN = r"[+\-−–*x×·/÷]"
_WORD = r"(?:plus|minus|times|multiplied by|divided by)"
_SUM = re.compile(
    # not in the middle of a longer sum, a mixed number, a clock, a date or a name
    r"(?=[$€£\d])(?<![\w.,^)\]}%:+*×·/÷=<>(−–'_\"\\$€£-])"
    rf"(?=[$€£]?\s?\d[\d,.]*\s*{_SIGN})(?<![+*×/÷^−–)%x-]\s)(?<!\d[ \t])"
    r"(?<![^A-Za-z]\s=\s)(?<![^\s]=\s)(?<!\d,\s)"
    r"(?<![^,]\sand\s)(?<!\bof\s)(?<!plus\s)(?<!times\s)(?<!minus\s)"
    rf"(?P<left>(?:{_NUMBER})(?:\s*{_SIGN}\s*(?:{_NUMBER})){{1,12}})\s*(?:=|equals"
    rf"|is equal to)\s*"
    rf"(?P<right>[-−]?\s?(?:{_NUMBER}))"
    r"(?!\w|\s*[%+*×·/÷^=:(¢]|\s*[-−–x]\s*[\d$(]|[.,]\d|\s*x\b|\s\d{3}\b|\s\d+/\d|\s?cents?\b)"
)
_ALL_IN_BRACKETS = re.compile(
    rf"(?<![\w)\]+*×/÷=-])(?<![\w)\]+*×/÷=-]\s)\("
    rf"(?P<left>(?:{_NUMBER})(?:\s*{_SIGN}\s*(?:{_NUMBER})){{1,6}})"
    rf"\s*=\s*(?P<right>[-−]?\s?(?:{_NUMBER}))\)(?!\s*[+*×/÷=^-])"
)
_IN_BRACKETS = re.compile(
    rf"(?:^|[.,:;!?]\s|\n|\b(?:is|are|so|get|gives) )\("
    rf"(?P<left>(?:{_NUMBER})(?:\s*{_SIGN}\s*(?:{_NUMBER})){{1,6}})\)\s*=\s*(?P<right>[-−]?\s?(?:{_NUMBER}))(?!\w|\s*[%+*×·/÷^=:(¢]|\s*[-−–x]\s*[\d$(]|[.,]\d)"
)
_SPOKEN = re.compile(
    rf"(?<![\w.,^%:+*/=-])(?<!of )(?<!minus )(?<!plus )(?<!times )(?<!by )"
    rf"(?P<left>(?:{_NUMBER}) {_WORD} (?:{_NUMBER})),?\s?(?:=|\b(?:equals|is equal to|is|makes"
    rf"|gives)\b)\s?"
    rf"(?P<right>-?\s?(?:{_NUMBER}))(?!\w|\s*[%+*×/÷^=:]|[.,]\d| {_WORD}| percent)"
)
_TERM = (
    rf"(?:\((?:{_NUMBER})(?:\s?{_SIGN}\s?(?:{_NUMBER})){{1,3}}\)|(?:{_NUMBER})"
    rf"(?:\s?(?:%|percent)|\((?:{_NUMBER})(?:\s?{_SIGN}\s?(?:{_NUMBER})){{1,3}}\))?)"
)
_COMPOUND = re.compile(
    # brackets or a percentage among plain numbers, the whole of a sum and not its end
    r"(?=[$€£\d(])(?<![\w.,^)\]}%:+*×·/÷=<>(−–_\\$€£-])(?<![\d+*×·/÷^−–)%=-]\s)(?<!\b(?:by|of)\s)"
    rf"(?P<left>{_TERM}(?:(?:\s*{_SIGN}\s*|\sof\s){_TERM}){{0,6}})\s*(?:=|equals|is equal to"
    rf"|is)\s*"
    rf"(?P<right>[-−]?\s?(?:{_NUMBER}))(?!\w|\s*[%+*×·/÷^=:(]|\s*[-−–x]\s*[\d$(]|[.,]\d"
    rf"|\s(?:percent|more|less|times|of|cents?|x)\b)"
)
_SMALL = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_NUMBER_WORDS = frozenset(_SMALL + _TENS)
_IN_WORDS = re.compile(
    rf"\b(?:(?P<tens>{'|'.join(_TENS)})(?:[ -](?P<ones>{'|'.join(_SMALL[1:10])}))?"
    rf"|(?P<small>{'|'.join(_SMALL)}))\b",
    re.IGNORECASE,
)
"""Numbers up to ninety-nine, written as words."""
_OPENS = re.compile(r"\([$€£]?\s?\d")
_INNER = re.compile(r"\(([^()]*)\)")
_COMPOUND_MARKS = ("%", ")", "percent", "equals")
_IS_OR_OF = re.compile(r"\d\s*(?:is[\W\d]|of\s)")
_SHOWN = (
    r",?\s?(?:=|is(?: equal to)?|equals|gives(?: (?:you|us))?|makes|leaves(?: (?:you|us))?"
    rf"(?: with)?|(?:to|you|we) get|results in|comes to|yields)\s?(?P<right>[-−]?\s?(?:{_NUMBER}))"
    r"(?!\w|\s*[%+*×·/÷^=:]|\s[-−–]\s|[.,]\d| (?:percent|times|more|less|of|and a half|\d)\b)"
)
_NAMED = re.compile(
    rf"\b(?:(?P<name>sum|product|difference|quotient) (?:of|between)|(?P<verb>add|subtract"
    rf"|multiply|divid|tak|deduct)(?:e|ing)?) (?P<one>{_NUMBER}),? (?P<link>and|to|from|by|with)"
    rf" (?P<two>{_NUMBER}){_SHOWN}",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    rf"\b(?P<part>half of|twice|double|triple|a (?:third|quarter) of) (?P<whole>{_NUMBER}){_SHOWN}",
    re.IGNORECASE,
)
_CHANGED_BY = re.compile(
    rf"\b(?:(?P<share>{_NUMBER})(?:%| percent) (?P<off>discount|reduction|off|increase|tax|tip)"
    rf" (?:on|of|from|in)? ?(?P<price>{_NUMBER})|(?P<base>{_NUMBER}) (?P<way>increased|reduced"
    rf"|decreased|raised|lowered) by (?P<by>{_NUMBER})(?:%| percent)){_SHOWN}",
    re.IGNORECASE,
)
_SAYS_A_SIGN = re.compile(rf"\d {_WORD} ")
_SPOKEN_SIGNS = Signs(" plus ", " minus ", " times ", "ed by ")
_NAMES = ("sum of", "product of", "difference ", "quotient ", "sum between", "product between")
_VERBS = tuple(
    f"{verb}{ending} "
    for verb in ("add", "subtract", "multiply", "divid", "tak", "deduct")
    for ending in ("", "e", "ing")
)
_CHANGES = (
    *("discount ", "reduction ", "off ", "increase ", "tax ", "tip "),
    *("increased by", "reduced by", "decreased by", "raised by", "lowered by"),
)
_WORDED = (
    (_NAMED, Signs(*_NAMES, *_VERBS)),
    (_PART_OF, Signs("half of ", "twice ", "double ", "triple ", "third of ", "quarter of ")),
    (_CHANGED_BY, Signs(*_CHANGES)),
)
"""Operations by their names, and what they are said to give; signs of a text that may have one."""
_OPERATIONS = {"sum": "+", "add": "+", "product": "*", "multiply": "*", "quotient": "/"}
_PARTS_OF = {"half of": "/2", "twice": "*2", "double": "*2", "triple": "*3", "a third of": "/3"}
_SQUARE = re.compile(r"(?<![\w.,^)/%-])(\d{1,4})(?:\^2(?![\d.])|²| squared)(?!\w)")

_GOES_ON = rf"(?:{_SIGN}|[%(=]|percent|of\s|equals|is)"
"""What stands behind the first number of a sum."""
_UNITS = re.compile(r"\d [a-z]{1,12} [+×÷*/−-] [$€£]?\s?\d")
_STARTS = re.compile(
    r"[$€£\d(](?<![\w.,^%:+*×/÷=<>(−–$€£-].)"
    rf"(?:(?<=\()|(?<=\d)[\d,.]*\s*{_GOES_ON}|(?<=[$€£])\s?\d[\d,.]*\s*{_GOES_ON})",
    re.DOTALL,
)
"""Where the first number of a sum may stand: at no place inside another number or sum."""
_SHOWS = re.compile(r"[=sotnuh]\s*[-−]?\s?[$€£]?\s?\d")
"""The end of "=", "is", "equals", "to get" and the like, and a number."""
_NO_UNITS = frozenset({"and", "or", "to", "of", "is", "x", "times", "plus", "minus", "by", "from"})
_SHARE = re.compile(rf"({_NUMBER})\s?(?:%|percent)")
_WITH_UNITS = re.compile(
    # one unit for all numbers of a sum, and for none or the first of a product
    r"(?<![\w.,^%:+*×/÷=<>(−–$€£-])(?<![\d+*×·/÷^−–)%=-]\s)(?<!\b(?:of|by|or)\s)(?<!(?:and|per)\s)"
    rf"(?<!(?:plus|less)\s)(?<!(?:minus|times)\s)(?P<one>(?:{_NUMBER})) "
    rf"(?P<unit>[a-z]{{1,12}}) "
    rf"(?P<sign>[+×÷*/−-]) (?P<two>(?:{_NUMBER}))(?P<again> (?P=unit))?\s?(?:=|equals|is)\s?"
    rf"(?P<right>(?:{_NUMBER}))(?: (?P=unit))?(?=[.!,;:]?(?:\s*\Z|\s*\n|\s[A-Z])|[.,;] )"
)
N = TypeVar("N", Fraction, float)
_SPLIT = re.compile(r"([+\-*/])")
_ONE_SIGN = {**dict.fromkeys("x×·", "*"), "÷": "/", "−": "-", "–": "-"}
_PLAIN = str.maketrans({**dict.fromkeys("$€£, "), **_ONE_SIGN})
_DIGIT = re.compile(r"\d")
_FRACTION = re.compile(r"\d+/\d+")
_PART = re.compile(rf"({_NUMBER})|({_WORD}|{_SIGN})")
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
_OTHER_RULES = re.compile(
    r"\b(?:binary|hex\w*|octal|base|mod|modulo|modular|clock|xor|roman numerals?|bit\w*|wrong"
    r"|incorrect\w*|false"
    r"|mistakes?|errors?|correct (?:the|this)|matrix|puzzle|riddle|strings?|concat\w*|joke|trick"
    r"|complex|vectors?|round(?:ed|ing)?|approximat\w*|estimat\w*)\b",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(
    r"^[ \t]*(?:[-*+]|\d{1,2}[.)]|[a-z]\))[ \t]+|(?<!\w)\*\*(?=\S)|(?<=\S)\*\*(?!\w)"
    r"|(?<!\w)_(?=\S)|(?<=\S)_(?!\w)|\\[()\[\]]|\$\$|`",
    re.MULTILINE,
)
"""A bullet at the start of a line, and marks of bold text: no part of a sum."""
_MARKS = ("**", "$$", "`", "_", "\\")
_BULLET = re.compile(r"\n[ \t]*(?:[-*+]|\d{1,2}[.)]|[a-z]\))[ \t]")
"""Of _MARKDOWN one of these must be there; they are found much faster."""
LONGEST = 20_000
"""Letters of a text that are looked at."""
SHORT = 2_000
"""Letters of a text whose numbers are also read as words."""


def wrong_sum(output: str, request: str) -> str | None:
    """The first sum of the answer that is wrong, with the right value; None if there is none."""
    text = _plainly(output[:LONGEST])
    if not _SHOWS.search(text):
        return None
    if has(text, ("^2", "²", " squared")):
        text = _SQUARE.sub(r"(\1 * \1)", text)
    starts = [match.start() for match in _STARTS.finditer(text)]
    for match in _plain(text, starts):
        if "equal" in match[0] and _FRACTION.fullmatch(match["left"]):
            continue  # "3/4 is equal to $15", of something
        right = _wrong(match["left"], match["right"])
        if right is not None and not _OTHER_RULES.search(f"{request[:2000]} {text[:2000]}"):
            return f"{match[0].strip()[:80]!r}, it is {right}"
    for words, left, shown in chain(_compound(text, starts), _worded(text)):
        plain = _worked_out(left)
        right = _wrong(plain, shown) if plain else None
        if right is not None and not _OTHER_RULES.search(f"{request[:2000]} {text[:2000]}"):
            return f"{words.strip()[:80]!r}, it is {right}"
    return None


def _plainly(text: str) -> str:
    """The text without marks of Markdown, numbers in digits, if it may hold a sum; else ""."""
    if not (_DIGIT.search(text) or _SPOKEN_SIGNS.stand_in(text)):
        return ""
    marked = has(text, _MARKS) or _BULLET.search(f"\n{text}")
    if marked and has(text, ("=", "equal", " is ")):
        text = _MARKDOWN.sub("", text)
    spoken = len(text) <= SHORT and _SPOKEN_SIGNS.stand_in(text)
    if spoken and not _NUMBER_WORDS.isdisjoint(words_in_order(text)):
        text = _IN_WORDS.sub(_in_digits, text)
    return text


def _in_digits(match: re.Match[str]) -> str:
    if match["small"]:
        return str(_SMALL.index(match["small"].lower()))
    ones = _SMALL.index(match["ones"].lower()) if match["ones"] else 0
    return str(20 + 10 * _TENS.index(match["tens"].lower()) + ones)


def _plain(text: str, starts: Sequence[int]) -> Iterator[re.Match[str]]:
    """Sums of numbers and signs, or of numbers and words for signs."""
    if "=" in text or "equal" in text:
        yield from _at(_SUM, text, starts)
    if ")" in text and _OPENS.search(text):
        yield from _IN_BRACKETS.finditer(text)
        yield from _ALL_IN_BRACKETS.finditer(text)
    if _SPOKEN_SIGNS.stand_in(text) and _SAYS_A_SIGN.search(text):
        yield from _SPOKEN.finditer(text)


def _at(pattern: re.Pattern[str], text: str, starts: Sequence[int]) -> Iterator[re.Match[str]]:
    """Matches of a pattern one behind the other, looked for at these places."""
    end = 0
    for start in starts:
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = match.end()


def _compound(text: str, starts: Sequence[int]) -> Iterator[tuple[str, str, str]]:
    """(text, left side, right side) of sums with brackets, percentages, units or a plain "is"."""
    units = _UNITS.search(text)
    may_be = units or has(text, _COMPOUND_MARKS) or (" is " in text and _IS_OR_OF.search(text))
    for match in _at(_COMPOUND, text, starts) if may_be else ():
        left = match["left"]
        if "%" in left or "percent" in left or " of " in left:
            if not re.search(r"[*×·]|\bof\b", left) or re.search(r"[+/÷−–-]", left):
                continue  # 20 + 5 % is read in more than one way
            left = _SHARE.sub(r"(\1/100)", left).replace(" of ", " * ")
        elif "(" not in left and " is" not in match[0]:
            continue
        if " is" in match[0] and not re.search(r"[+*×·÷]", left):
            continue  # "3 - 4 is" may be a range, "2/3 is" a fraction
        yield match[0], re.sub(r"(?<=[\d)])\(", "*(", left), match["right"]
    for match in _WITH_UNITS.finditer(text) if units else ():
        if bool(match["again"]) == (match["sign"] in "+−-") and match["unit"] not in _NO_UNITS:
            yield match[0], f"{match['one']}{match['sign']}{match['two']}", match["right"]


def _worded(text: str) -> Iterator[tuple[str, str, str]]:
    """(text, left side, right side) of operations that are named: "the sum of 2 and 3 is 5"."""
    found = [
        match
        for pattern, signs in _WORDED
        if signs.stand_in(text)
        for match in pattern.finditer(text)
    ]
    for match in sorted(found, key=re.Match.start):
        if match.re is _CHANGED_BY:
            left = _changed_by(match)
        elif match.re is _PART_OF:
            left = f"{match['whole']}{_PARTS_OF.get(match['part'].lower(), '/4')}"
        else:
            left = _named(match)
        if left:
            yield match[0], left, match["right"]


def _named(match: re.Match[str]) -> str:
    one, two, link = match["one"], match["two"], match["link"].lower()
    name = (match["name"] or match["verb"]).lower()
    if name in _OPERATIONS and link in ("and", "by", "to", "with"):
        return f"{one}{_OPERATIONS[name]}{two}"
    if name == "divid" and link == "by":
        return f"{one}/{two}"
    if link == "from":
        return f"{two}-{one}"
    if name == "difference" and not _is_right(f"{two}-{one}", match["right"]):
        return f"{one}-{two}"
    return ""


def _changed_by(match: re.Match[str]) -> str:
    rate = _value(match["share"] or match["by"])
    price = match["price"] or match["base"]
    if rate is None or _is_share(price, rate, match):
        return ""
    sign = -1 if (match["off"] or match["way"]).lower() in _LESS else 1
    return f"{price}*{_written(100 + sign * rate)}/100"


_LESS = frozenset({"discount", "reduction", "off", "reduced", "decreased", "lowered"})


def _is_share(price: str, rate: Fraction, match: re.Match[str]) -> bool:
    """Tell whether what is shown is the share itself, and not what is left or comes of it."""
    return bool(match["off"]) and _is_right(f"{price}*{_written(rate)}/100", match["right"])


def _worked_out(left: str) -> str | None:
    """The left side with its brackets worked out, as a plain chain; None if it cannot be."""
    while match := _INNER.search(left):
        parts = _parts(match[1])
        value = _by_precedence(*parts) if parts else None
        if value is None or value < 0:
            return None
        left = f"{left[: match.start()]}{_written(value)}{left[match.end() :]}"
    return None if "(" in left or ")" in left else left


def _written(value: Fraction) -> str:
    return f"{float(value):.9f}".rstrip("0").rstrip(".")


def _is_right(left: str, right: str) -> bool:
    """Tell quickly, in floating point, that plain sums are right; False settles nothing."""
    parts = _SPLIT.split(left.translate(_PLAIN))
    try:
        numbers, shown = list(map(float, parts[::2])), float(right.translate(_PLAIN))
    except ValueError:
        return False
    total = _by_precedence(numbers, parts[1::2])
    return total is not None and abs(total - shown) <= 1e-9 * abs(total)


def _wrong(left: str, right: str) -> str | None:
    """The value of the left side as text if the right side is not it, else None."""
    if _is_right(left, right):
        return None
    parts = _parts(left)
    shown = _value(right.replace("−", "-"))
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
        elif (value := _value(number)) is not None:
            numbers.append(value)
        else:
            return None
    return (numbers, signs) if len(numbers) == len(signs) + 1 else None


def _value(number: str) -> Fraction | None:
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
