"""Secrets and personal data in a row: found by libraries that know their forms and checksums.

    keys      access keys, tokens, private keys (detect-secrets in the fork that is kept), and
              values of 16 letters and digits or more that are assigned to "api_key", "token" …
    cards     card numbers: issuer, length, Luhn's checksum (python-stdnum)
    accounts  IBANs: country, length, checksum (python-stdnum)
    ids       numbers of persons with a checksum or a word that names them (python-stdnum)
    phones    numbers that can be dialled, with + or in the form (415) 555-… (phonenumbers)
    emails    addresses, those of example.com and the like excepted; only where asked for

Numbers that only look so are left. Nothing is verified with anybody. The libraries see short
stretches around what could be one, so that the time grows with the text. Not covered: names,
addresses of houses, passwords in prose.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

from localinstruct.curate.filters import KINDS, Kind
from localinstruct.curate.texts import Signs, folded, has

_AROUND = 300
"""Letters before and after a sign of a key that the scanner sees."""
_MOST = 200
"""Places of a text that are looked at, for each kind."""


@dataclass(frozen=True, slots=True)
class Found:
    """A secret at text[start:end]."""

    kind: Kind
    start: int
    end: int


_PLUGINS = {
    "aws.AWSKeyDetector": ("AKIA", "ASIA", "ABIA", "ACCA", "A3T", "aws"),
    "slack.SlackDetector": ("xox", "hooks.slack"),
    "stripe.StripeDetector": ("k_live_",),
    "jwt.JwtTokenDetector": ("eyJ",),
    "sendgrid.SendGridDetector": ("SG.",),
    "npm.NpmDetector": ("npm_", "_authToken"),
    "square_oauth.SquareOAuthDetector": ("sq0csp",),
    "mailchimp.MailchimpDetector": ("-us",),
    "basic_auth.BasicAuthDetector": ("://",),
    "discord.DiscordBotTokenDetector": ("iscord",),
}
"""Detector of the library -> what a text has where it may find something."""
_MORE_KEYS = re.compile(
    r"\b(?:github_pat_\w{50,90}|gh[pousr]_[A-Za-z0-9]{36,80}|glpat-[\w-]{20,40}|AIza[\w-]{35}|sk-(?:ant-|proj-|or-)?[\w-]{32,200}"
    r"|hf_[A-Za-z]{30,40}|sk_live_\w{24,99}|rk_live_\w{24,99}|xai-\w{60,90}|ya29\.[\w-]{40,200}"
    r"|pypi-[\w-]{60,250}|dop_v1_[0-9a-f]{64}|shpat_[0-9a-f]{32})"
)
_MORE_SIGNS = (
    *("github_pat_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "glpat-", "AIza", "sk-", "hf_"),
    *("k_live_", "xai-", "ya29.", "pypi-", "dop_v1_", "shpat_"),
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[\s\S]{40,}?"
    r"(?:-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|\Z)"
)
_ASSIGNED = re.compile(
    r"(?:api[_-]?key|secret(?:[_-]?(?:access)?[_-]?key)?|access[_-]?key|auth[_-]?token|token|passw(?:or)?d"
    r"|client[_-]?secret)[\"']?\s{0,3}(?:[:=]|=>)\s{0,3}[\"']?([\w+/=.!@#$%^&*-]{12,200})",
    re.IGNORECASE,
)
_ASSIGNED_SIGNS = ("key", "secret", "token", "passw")
_PRETENDED = re.compile(
    r"example|your|xxx|placeholder|dummy|sample|changeme|12345|abcd|test|redacted|insert|foo|\*{3}"
    r"|environ|getenv|config|process\.|\.get",
    re.IGNORECASE,
)

_DIGITS = re.compile(r"(?<![\w.+-])\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)")
_ISSUERS = (
    (("4",), (13, 16, 19)),
    (("51", "52", "53", "54", "55", "22", "23", "24", "25", "26", "27"), (16,)),
    (("34", "37"), (15,)),
    (("6011", "65", "35", "62"), (16,)),
    (("30", "36", "38"), (14,)),
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?:[ ]?[A-Z0-9]{4}){2,7}(?:[ ]?[A-Z0-9]{1,3})?(?!\w)")
_PERSON = (
    ("us.ssn", re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), ("ssn", "social security")),
    ("it.codicefiscale", re.compile(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b"), ()),
    ("br.cpf", re.compile(r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\w)"), ()),
    ("cn.ric", re.compile(r"(?<!\w)[1-9]\d{5}(?:19|20)\d{9}[\dX](?!\w)"), ()),
    ("kr.rrn", re.compile(r"(?<![\w-])\d{6}-[1-8]\d{6}(?![\w-])"), ()),
    ("es.dni", re.compile(r"(?<!\w)\d{8}-?[A-Z](?!\w)"), ("dni", "nif")),
    ("es.nie", re.compile(r"(?<!\w)[XYZ]\d{7}-?[A-Z](?!\w)"), ("nie", "nif")),
    ("fr.nir", re.compile(r"(?<!\w)[12](?: ?\d){14}(?!\w)"), ("sociale", "nir", "sécu", "insee")),
    ("nl.bsn", re.compile(r"(?<!\w)\d{9}(?!\w)"), ("bsn", "burgerservice")),
    ("pl.pesel", re.compile(r"(?<!\w)\d{11}(?!\w)"), ("pesel",)),
    ("in_.aadhaar", re.compile(r"(?<!\w)\d{4} ?\d{4} ?\d{4}(?!\w)"), ("aadhaar", "aadhar")),
    ("gb.nhs", re.compile(r"(?<!\w)\d{3} ?\d{3} ?\d{4}(?!\w)"), ("nhs",)),
    ("de.idnr", re.compile(r"(?<!\w)\d{2} ?\d{3} ?\d{3} ?\d{3}(?!\w)"), ("steuer",)),
    ("imei", re.compile(r"(?<!\w)\d{15}(?!\w)"), ("imei",)),
)
"""(module of stdnum, form, words of which one must stand near; none: the checksum is enough)."""
_PHONE = re.compile(r"(?<![\w+])(?:\+|00)\d[\d ()./-]{6,20}\d(?!\w)|\(\d{3}\) ?\d{3}-\d{4}(?!\w)")
_PHONE_NAMED = re.compile(r"(?<![\w.-])\d{3}[-.]\d{3}[-.]\d{4}(?![\w-])")
_PHONE_WORDS = re.compile(r"\b(?:phone|call|tel|mobile|cell|fax|contact|dial|text me|reach)", re.I)
_NO_PHONE = re.compile(r"555[ .-]?01\d\d$|\.\d$")
"""Numbers kept for fiction, and decimals."""
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,5}[A-Za-z]{2,24}(?![\w-])")
_RESERVED = re.compile(
    r"@(?:[\w-]+\.)*(?:example\.\w+|[\w-]+\.(?:example|test|invalid|localhost)|domain\.com"
    r"|email\.com|company\.com|yourdomain\.\w+)$",
    re.IGNORECASE,
)


@lru_cache(maxsize=32)
def _module(name: str) -> object:
    return import_module(name)


@lru_cache(maxsize=32)
def _detector(name: str) -> Callable[[str], Iterator[str]]:
    """The function of a detector that yields the secrets of a string; it asks nobody."""
    module, _, kind = name.partition(".")
    found: Callable[[str], Iterator[str]] = getattr(
        _module(f"detect_secrets.plugins.{module}"), kind
    )().analyze_string
    return found


def _keys(text: str) -> Iterator[tuple[int, int]]:
    if "PRIVATE KEY" in text:
        yield from (match.span() for match in _PRIVATE_KEY.finditer(text))
    if _has_sign(text):
        yield from (match.span() for match in _MORE_KEYS.finditer(text) if _is_key(match[0]))
        for name, signs in _PLUGINS.items():
            for sign in signs:
                if sign in text:
                    yield from _scanned(text, sign, _detector(name))
    lower = folded(text)
    if has(lower, _ASSIGNED_SIGNS) and len(lower) == len(text):
        for match in _ASSIGNED.finditer(text):
            if _is_key(match[1]) and _is_mixed(match[1]):
                yield match.span(1)


def _scanned(
    text: str, sign: str, detector: Callable[[str], Iterator[str]]
) -> Iterator[tuple[int, int]]:
    """Places of what the detector finds around each place of the sign."""
    place, seen = text.find(sign), 0
    while place >= 0 and seen < _MOST:
        start = max(0, place - _AROUND)
        window = text[start : place + _AROUND]
        for secret in detector(window):
            at = window.find(secret)
            if len(secret) >= 8 and at >= 0 and _is_key(secret):
                yield start + at, start + at + len(secret)
        place, seen = text.find(sign, place + _AROUND), seen + 1


def _is_key(secret: str) -> bool:
    return len(set(secret)) >= 6 and not _PRETENDED.search(secret)


def _is_mixed(secret: str) -> bool:
    """Tell whether a value looks drawn by chance: 16 letters and digits, or marks as well."""
    digits, letters = sum(map(str.isdigit, secret)), sum(map(str.isalpha, secret))
    upper = any(map(str.isupper, secret)) and any(map(str.islower, secret))
    return digits >= 2 and letters >= 2 and (len(secret) >= 16 or (upper and len(secret) >= 12))


def _cards(text: str) -> Iterator[tuple[int, int]]:
    for match in _DIGITS.finditer(text):
        number = match[0].replace(" ", "").replace("-", "")
        issued = any(
            number.startswith(starts) and len(number) in lengths for starts, lengths in _ISSUERS
        )
        if issued and len(set(number)) > 1 and _is_valid("luhn", number):
            yield match.span()


def _accounts(text: str) -> Iterator[tuple[int, int]]:
    for match in _IBAN.finditer(text):
        parts = match[0].split(" ")
        for count in range(len(parts), 0, -1):  # words in capitals may follow it
            number = " ".join(parts[:count])
            if len(number) >= 15 and _is_valid("iban", number):
                yield match.start(), match.start() + len(number)
                break


def _ids(text: str) -> Iterator[tuple[int, int]]:
    for name, form, words in _PERSON:
        for match in form.finditer(text):
            near = text[max(0, match.start() - 60) : match.end() + 20].casefold()
            named = not words or any(word in near for word in words)
            if named and match[0] != "123-45-6789" and _is_valid(name, match[0]):
                yield match.span()


def _is_valid(name: str, number: str) -> bool:
    check: Callable[[str], bool] = getattr(_module(f"stdnum.{name}"), "is_valid")  # noqa: B009
    return check(number)


def _phones(text: str) -> Iterator[tuple[int, int]]:
    for match in _PHONE.finditer(text):
        if _can_be_dialled(match[0]):
            yield match.span()
    for match in _PHONE_NAMED.finditer(text):
        near = text[max(0, match.start() - 60) : match.start()]
        if _PHONE_WORDS.search(near) and _can_be_dialled(match[0]):
            yield match.span()


def _can_be_dialled(number: str) -> bool:
    import phonenumbers

    plain = f"+{number[2:]}" if number.startswith("00") else number
    try:
        parsed = phonenumbers.parse(plain, None if plain.startswith("+") else "US")
    except phonenumbers.NumberParseException:
        return False
    return not _NO_PHONE.search(number) and bool(phonenumbers.is_valid_number(parsed))


def _emails(text: str) -> Iterator[tuple[int, int]]:
    if "@" in text:
        for match in _EMAIL.finditer(text):
            if not _RESERVED.search(match[0]):
                yield match.span()


_FINDERS: dict[Kind, Callable[[str], Iterator[tuple[int, int]]]] = {
    "keys": _keys,
    "cards": _cards,
    "accounts": _accounts,
    "ids": _ids,
    "phones": _phones,
    "emails": _emails,
}


_RUN_OF_DIGITS = re.compile(r"\d" + 7 * r"[ ().-]{0,2}\d")
_LETTERS_AND_DIGITS = re.compile(r"\d\d(?<=[A-Z]{6}..)[A-Z]")
_FORM = bytes(
    48 if chr(code).isdigit() else 65 if chr(code).isupper() else code for code in range(128)
).ljust(256)
"""Table of bytes: 0 for a digit, A for a capital."""
_SIGNS = sorted({*_MORE_SIGNS, *(sign for signs in _PLUGINS.values() for sign in signs)})
_SIGNS_BY_MARK = {
    "_": tuple(sign for sign in _SIGNS if "_" in sign),
    "-": tuple(sign for sign in _SIGNS if "-" in sign and "_" not in sign),
    "": tuple(sign for sign in _SIGNS if "-" not in sign and "_" not in sign),
}
_MAY_BE_KEYS = Signs(*_ASSIGNED_SIGNS, *map(str.lower, _SIGNS))


def _has_sign(text: str) -> bool:
    return any(mark in text and has(text, signs) for mark, signs in _SIGNS_BY_MARK.items())


def _has_numbers(text: str) -> bool:
    """Tell whether there may be a number of a card, an account, a person or a phone in a text."""
    if not text.isascii():
        return bool(_RUN_OF_DIGITS.search(text) or _LETTERS_AND_DIGITS.search(text))
    form = text.encode().translate(_FORM, b" ().-")
    if b"00000000" in form and _RUN_OF_DIGITS.search(text):
        return True
    return b"AAAAAA00A" in form and _LETTERS_AND_DIGITS.search(text) is not None


def may_hold(texts: Iterable[str], kinds: Collection[Kind]) -> bool:
    """Tell quickly whether `find` might find something in one of these texts."""
    emails = "emails" in kinds
    return any(
        _MAY_BE_KEYS.stand_in(text) or _has_numbers(text) or (emails and "@" in text)
        for text in texts
    )


def find(text: str, kinds: Collection[Kind] = KINDS[:-1]) -> list[Found]:
    """Secrets of these kinds in the order of the text; of two that overlap, the kind named first.

    By default all kinds but e-mail addresses.
    """
    found = list[Found]()
    numbers = _has_numbers(text)
    for kind in kinds:
        if numbers or kind in ("keys", "emails"):
            for start, end in sorted(_FINDERS[kind](text), key=lambda span: (span[0], -span[1])):
                if all(end <= one.start or start >= one.end for one in found):
                    found.append(Found(kind, start, end))
    return sorted(found, key=lambda one: one.start)


def masked(text: str, found: Collection[Found]) -> str:
    """The text with each of these, in order, replaced by "[removed: KIND]"."""
    parts, place = list[str](), 0
    for one in found:
        parts += [text[place : one.start], f"[removed: {one.kind.removesuffix('s')}]"]
        place = one.end
    return "".join([*parts, text[place:]])
