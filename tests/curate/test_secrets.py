"""Secrets: found by form and checksum, masked, dropped or reported; what only looks so is left.

No secret stands in this file: they are put together where they are needed.
"""

from random import Random

import pytest

from localinstruct.config import parse
from localinstruct.curate import secrets
from localinstruct.curate.filters import KINDS, Filters, Kind, examine
from localinstruct.errors import RecipeError
from localinstruct.records import Instance, Message


def drawn(letters: str, count: int) -> str:
    return "".join(Random(11).choices(letters, k=count))


LOWER, UPPER, DIGITS = "bcdefghjkmnpqrs", "BCDFGHJKLMNPQRST", "23456789"
MIXED = LOWER + UPPER + DIGITS
SECRETS: dict[str, tuple[Kind, str]] = {
    "AWS": ("keys", "AKIA" + drawn(UPPER + DIGITS, 16)),
    "GitHub": ("keys", "ghp_" + drawn(MIXED, 36)),
    "Slack": ("keys", f"xoxb-{drawn(DIGITS, 12)}-{drawn(DIGITS, 12)}-{drawn(LOWER, 24)}"),
    "Google": ("keys", "AIza" + drawn(MIXED, 35)),
    "sk-": ("keys", "sk-" + drawn(MIXED, 48)),
    "private key": (
        "keys",
        f"-----BEGIN RSA PRIVATE KEY-----\n{drawn(MIXED, 200)}\n-----END RSA PRIVATE KEY-----",
    ),
    "URL": ("keys", drawn(MIXED, 14)),
    "card": ("cards", "4539 1488 0343 6467"),
    "card with dashes": ("cards", "5500-0055-5555-5559"),
    "IBAN": ("accounts", "DE89 3704 0044 0532 0130 00"),
    "IBAN, no blanks": ("accounts", "GB82WEST12345698765432"),
    "CPF": ("ids", "529.982.247-25"),
    "codice fiscale": ("ids", "RCCMNL83S18D969H"),
    "phone": ("phones", "+44 20 7946 0958"),
    "phone of the US": ("phones", "(212) 736-5000"),
    "email": ("emails", "jo.lind@lakeside-school.se"),
}
PLACES = {
    "URL": "Open postgres://ana:{}@db.lake.se/fish now.",
    "SSN": "My SSN is {}.",
}
LOOKALIKES = [
    "order 4539 1488 0343 6468 of today",
    "ISBN 978-3-16-148410-0",
    "DE89 3704 0044 0532 0130 01",
    "the number 529.982.247-26",
    "1234567890123456",
    "call (415) 555-0134, as in films",
    "pi is 3.14159265358979323846",
    "commit 3f2a9c4b7d8e1f6a5c4b3d2e1f0a9b8c7d6e5f4a",
    "api_key = os.environ['API_KEY']",
    "token: your-token-here-please",
    "AKIAIOSFODNN7EXAMPLE",
    "+35236450.6 and -17",
    "population of 8 804 190 in 2020, 1,234,567,890 in all",
    "write to ana@example.com or jo@mail.test",
]


@pytest.mark.parametrize("name", SECRETS)
def test_found_and_masked(name: str) -> None:
    kind, secret = SECRETS[name]
    text = PLACES.get(name, "It is {} and no other.").format(secret)
    found = secrets.find(text, KINDS)
    assert [(one.kind, text[one.start : one.end]) for one in found] == [(kind, secret)]
    masked = secrets.masked(text, found)
    assert secret not in masked
    assert f"[removed: {kind.removesuffix('s')}]" in masked
    assert secrets.find(masked, KINDS) == []


@pytest.mark.parametrize("text", LOOKALIKES)
def test_what_only_looks_so_is_left(text: str) -> None:
    assert secrets.find(text, KINDS) == []


def test_a_value_that_is_assigned() -> None:
    value = drawn(MIXED, 24)
    for line in (f'api_key = "{value}"', f"SECRET_KEY: {value}", f"password={value}"):
        [one] = secrets.find(line)
        assert line[one.start : one.end] == value


def row() -> Instance:
    return Instance(
        "Whose number is this?",
        f"{SECRETS['card'][1]}",
        f"It is Ana's. Her phone is {SECRETS['phone'][1]}.",
        history=(Message("user", f"My key is {SECRETS['GitHub'][1]}."),),
    )


def test_a_row_is_masked_dropped_reported_or_left() -> None:
    masked = examine(row(), Filters())
    assert masked.reject is None
    assert masked.row.input == "[removed: card]"
    assert masked.row.output == "It is Ana's. Her phone is [removed: phone]."
    assert masked.row.history[0].content == "My key is [removed: key]."
    assert masked.row.lineage.changes == ("masked: cards", "masked: phones", "masked: keys")
    dropped = examine(row(), Filters(secrets="drop")).reject
    assert dropped is not None
    assert (dropped.reason, dropped.detail) == ("secrets", "cards, phones, keys")
    assert SECRETS["card"][1] not in dropped.text
    reported = examine(row(), Filters(secrets="report"))
    assert reported.row.output == row().output
    assert reported.secrets == ("cards", "phones", "keys")
    assert reported.row.lineage.changes[0] == "found: cards"
    assert examine(row(), Filters(secrets="off")).row == row()
    assert examine(row(), Filters(set="alpaca")).row == row()


def test_emails_only_where_asked_for() -> None:
    mail = Instance("Copy the address.", "Write to jo@lakeside.se.", "jo@lakeside.se")
    assert examine(mail, Filters()).row == mail
    verdict = examine(mail, Filters(secret_kinds=["emails"]))
    assert verdict.row.output == "[removed: email]"


def test_kinds_are_known() -> None:
    with pytest.raises(RecipeError, match="secret_kinds"):
        parse(Filters, {"secret_kinds": ["phone"]}, "recipe")
