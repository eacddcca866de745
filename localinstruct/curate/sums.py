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

from localinstruct.curate.arithmetic import (
    NUMBER,
    PLAIN,
    SIGN,
    WORD,
    is_right,
    value_of,
    worked_out,
    written,
    wrong,
)
from localinstruct.curate.texts import Signs, has, words_in_order

_MAGNITUDE = r"\s?(?:(?:[mb]|tr)illion|hundred|thousand|dozen|[kKM])\b"
_SUM = re.compile(
    # not in the middle of a longer sum, a mixed number, a clock, a date or a name
    r"(?=[$€£\d])(?<![\w.,^)\]}%:+*×·/÷=<>(−–'_\"\\$€£-])"
    rf"(?=[$€£]?\s?\d[\d,.]*\s*{SIGN})(?<![+*×/÷^−–)%x-]\s)(?<!\d[ \t])"
    r"(?<![^A-Za-z]\s=\s)(?<![^\s]=\s)(?<!\d,\s)"
    r"(?<![^,]\sand\s)(?<!\bof\s)(?<!plus\s)(?<!times\s)(?<!minus\s)"
    rf"(?P<left>(?:{NUMBER})(?:\s*{SIGN}\s*(?:{NUMBER})){{1,12}})\s*(?:[=≈≅]|equals"
    rf"|is equal to)\s*"
    rf"(?P<right>[-−]?\s?(?:{NUMBER}))"
    r"(?!\w|\s*[%+*×·/÷^=:¢]|\s*\((?!(?:rounded|approx))|\s*[-−–x]\s*[\d$(]|[.,]\d|\s*x\b"
    r"|\s\d{3}\b|\s\d+/\d|\s?cents?\b"
    rf"|{_MAGNITUDE})"
)
_ALL_IN_BRACKETS = re.compile(
    rf"(?<![\w)\]+*×/÷=-])(?<![\w)\]+*×/÷=-]\s)\("
    rf"(?P<left>(?:{NUMBER})(?:\s*{SIGN}\s*(?:{NUMBER})){{1,6}})"
    rf"\s*=\s*(?P<right>[-−]?\s?(?:{NUMBER}))\)(?!\s*[+*×/÷=^-])"
)
_IN_BRACKETS = re.compile(
    rf"(?:^|[.,:;!?]\s|\n|\b(?:is|are|so|get|gives) )\("
    rf"(?P<left>(?:{NUMBER})(?:\s*{SIGN}\s*(?:{NUMBER})){{1,6}})\)\s*=\s*(?P<right>[-−]?\s?(?:{NUMBER}))(?!\w|\s*[%+*×·/÷^=:(¢]|\s*[-−–x]\s*[\d$(]|[.,]\d)"
)
_SPOKEN = re.compile(
    rf"(?<![\w.,^%:+*/=-])(?<!of )(?<!minus )(?<!plus )(?<!times )(?<!by )"
    rf"(?P<left>(?:{NUMBER}) {WORD} (?:{NUMBER})),?\s?(?:=|\b(?:equals|is equal to|is|makes"
    rf"|gives)\b)\s?"
    rf"(?P<right>-?\s?(?:{NUMBER}))(?!\w|\s*[%+*×/÷^=:]|[.,]\d| {WORD}| percent)"
)
_TERM = (
    rf"(?:\((?:{NUMBER})(?:\s?{SIGN}\s?(?:{NUMBER})){{1,3}}\)|(?:{NUMBER})"
    rf"(?:\s?(?:%|percent)|\((?:{NUMBER})(?:\s?{SIGN}\s?(?:{NUMBER})){{1,3}}\))?)"
)
_COMPOUND = re.compile(
    # brackets or a percentage among plain numbers, the whole of a sum and not its end
    r"(?=[$€£\d(])(?<![\w.,^)\]}%:+*×·/÷=<>(−–_\\$€£-])(?<![\d+*×·/÷^−–)%=-]\s)(?<!\bof\s)"
    r"(?<!plied by\s)(?<!vided by\s)(?<!\d by\s)"
    rf"(?P<left>{_TERM}(?:(?:\s*{SIGN}\s*|\sof\s){_TERM}){{0,6}})\s*(?:=|equals|is equal to"
    rf"|is)\s*"
    rf"(?P<right>[-−]?\s?(?:{NUMBER}))(?!\w|\s*[%+*×·/÷^=:(]|\s*[-−–x]\s*[\d$(]|[.,]\d"
    rf"|\s(?:percent|more|less|times|of|cents?|x)\b|{_MAGNITUDE})"
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
_COMPOUND_MARKS = ("%", ")", "percent", "equals")
_IS_OR_OF = re.compile(r"\d\s*(?:is[\W\d]|of\s)")
_SHOWN = (
    r",?\s?(?:=|is(?: equal to)?|equals|gives(?: (?:you|us))?|makes|leaves(?: (?:you|us))?"
    rf"(?: with)?|(?:to|you|we) get|results in|comes to|yields)\s?(?P<right>[-−]?\s?(?:{NUMBER}))"
    r"(?!\w|\s*[%+*×·/÷^=:]|\s[-−–]\s|[.,]\d| (?:percent|times|more|less|of|and a half|\d)\b)"
)
_NAMED = re.compile(
    rf"\b(?:(?P<name>sum|product|difference|quotient) (?:of|between)|(?P<verb>add|subtract"
    rf"|multiply|divid|tak|deduct)(?:e|ing)?) (?P<one>{NUMBER}),? (?P<link>and|to|from|by|with)"
    rf" (?P<two>{NUMBER}){_SHOWN}",
    re.IGNORECASE,
)
_PART_OF = re.compile(
    rf"\b(?P<part>half of|twice|double|triple|a (?:third|quarter) of) (?P<whole>{NUMBER}){_SHOWN}",
    re.IGNORECASE,
)
_CHANGED_BY = re.compile(
    rf"\b(?:(?P<share>{NUMBER})(?:%| percent) (?P<off>discount|reduction|off|increase|tax|tip)"
    rf" (?:on|of|from|in)? ?(?P<price>{NUMBER})|(?P<base>{NUMBER}) (?P<way>increased|reduced"
    rf"|decreased|raised|lowered) by (?P<by>{NUMBER})(?:%| percent)){_SHOWN}",
    re.IGNORECASE,
)
_SAYS_A_SIGN = re.compile(rf"\d {WORD} ")
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

_GOES_ON = rf"(?:{SIGN}|[%(=]|percent|of\s|equals|is)"
"""What stands behind the first number of a sum."""
_UNITS = re.compile(r"\d [a-z]{1,12} [+×÷*/−-] [$€£]?\s?\d")
_STARTS = re.compile(
    r"[$€£\d(](?<![\w.,^%:+*×/÷=<>(−–$€£-].)"
    rf"(?:(?<=\()|(?<=\d)[\d,.]*\s*{_GOES_ON}|(?<=[$€£])\s?\d[\d,.]*\s*{_GOES_ON})",
    re.DOTALL,
)
"""Where the first number of a sum may stand: at no place inside another number or sum."""
_SHOWS = re.compile(r"[=≈≅sotnuh]\s*[-−]?\s?[$€£]?\s?\d")
"""The end of "=", "is", "equals", "to get" and the like, and a number."""
_NO_UNITS = frozenset({"and", "or", "to", "of", "is", "x", "times", "plus", "minus", "by", "from"})
_SHARE = re.compile(rf"({NUMBER})\s?(?:%|percent)")
_WITH_UNITS = re.compile(
    # one unit for all numbers of a sum, and for none or the first of a product
    r"(?<![\w.,^%:+*×/÷=<>(−–$€£-])(?<![\d+*×·/÷^−–)%=-]\s)(?<!\b(?:of|by|or)\s)(?<!(?:and|per)\s)"
    rf"(?<!(?:plus|less)\s)(?<!(?:minus|times)\s)(?P<one>(?:{NUMBER})) "
    rf"(?P<unit>[a-z]{{1,12}}) "
    rf"(?P<sign>[+×÷*/−-]) (?P<two>(?:{NUMBER}))(?P<again> (?P=unit))?\s?(?:=|equals|is)\s?"
    rf"(?P<right>(?:{NUMBER}))(?: (?P=unit)(?! [+×÷*/−-])"
    r"|(?=[.!,;:]?(?:\s*\Z|\s*\n|\s[A-Z])|[.,;] ))"
)
_DIGIT = re.compile(r"\d")
_FRACTION = re.compile(r"\d+/\d+")
_OTHER_RULES = re.compile(
    r"\b(?:binary|hex\w*|octal|base|mod|modulo|modular|clock|xor|roman numerals?|bit\w*|wrong"
    r"|incorrect\w*|false"
    r"|mistakes?|errors?|correct (?:the|this)|matrix|puzzle|riddle|strings?|concat\w*|joke|trick"
    r"|complex|vectors?)\b",
    re.IGNORECASE,
)
_ROUNDED = re.compile(r"[≈≅~]|\b(?:round\w*|approx\w*|estimat\w*)\b", re.I)
ROUGH = (0.1, 0.02, 0.002)
"""Share by which a number may be off where rounded or estimated, by its digits behind the point."""
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
        right = wrong(match["left"], match["right"])
        if right is not None and not _spared(match["right"], right, match[0], request, text):
            return f"{match[0].strip()[:80]!r}, it is {right}"
    for words, left, shown in chain(_compound(text, starts), _worded(text)):
        plain = worked_out(left)
        right = wrong(plain, shown) if plain else None
        if right is not None and not _spared(shown, right, words, request, text):
            return f"{words.strip()[:80]!r}, it is {right}"
    return None


def _spared(shown: str, right: str, words: str, request: str, text: str) -> bool:
    """Tell whether a row reckons by other rules, or rounds to about what is right."""
    whole = f"{request[:2000]} {text[:2000]}"
    if _OTHER_RULES.search(whole):
        return True
    if not _ROUNDED.search(f"{words} {whole}"):
        return False
    digits = len(shown.rpartition(".")[2]) if "." in shown else 0
    off = abs(float(shown.translate(PLAIN)) - float(right))
    return off <= ROUGH[min(digits, 2)] * abs(float(right))


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
    if has(text, ("=", "≈", "≅", "equal")):
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
    if name == "difference" and not is_right(f"{two}-{one}", match["right"]):
        return f"{one}-{two}"
    return ""


def _changed_by(match: re.Match[str]) -> str:
    rate = value_of(match["share"] or match["by"])
    price = match["price"] or match["base"]
    if rate is None or _is_share(price, rate, match):
        return ""
    sign = -1 if (match["off"] or match["way"]).lower() in _LESS else 1
    return f"{price}*{written(100 + sign * rate)}/100"


_LESS = frozenset({"discount", "reduction", "off", "reduced", "decreased", "lowered"})


def _is_share(price: str, rate: Fraction, match: re.Match[str]) -> bool:
    """Tell whether what is shown is the share itself, and not what is left or comes of it."""
    return bool(match["off"]) and is_right(f"{price}*{written(rate)}/100", match["right"])
