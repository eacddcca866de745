"""What the rules share of a text, and patterns whose alternatives are asked one by one."""

import re

import pytest

from benchmarks import defects, defects_fourth, defects_third
from localinstruct.curate import gibberish, texts
from localinstruct.curate.texts import Alternatives, Signs, folded, read_patterns, words_of


def _texts() -> list[str]:
    """Requests and answers of seeds and of two sets of defects."""
    rows = [(row.instruction, row.output) for row in defects.seed_rows()]
    for module in (defects_third, defects_fourth):
        for name in ("missing_attachments", "non_answers", "merged_tasks"):
            rows += [(row["instruction"], row["output"]) for row in module.rows_of(name, 80)]
    return [text for row in rows for text in row] + ["Sorry, I can't help you with that."] * 5


@pytest.mark.parametrize(
    ("name", "section"), [("absent", "absent"), ("absent", "points"), ("answers", "refusal")]
)
def test_alternatives_find_what_one_expression_finds(name: str, section: str) -> None:
    """A sign that an alternative can do without would hide what it finds."""
    choices = read_patterns(name)[section]
    whole = re.compile("|".join(pattern for _, pattern in choices), re.IGNORECASE)
    parts, found = Alternatives(*choices), 0
    for text in _texts():
        one, other = whole.search(text), parts.search(text)
        assert (one and one.span()) == (other and other.span()), text
        found += one is not None
    assert found >= 5


def test_of_two_that_match_the_first_in_the_text_counts_then_the_first_named() -> None:
    parts = Alternatives(("b", "b+c?"), ("a", "ab"), ("c", "^c"), ("b", "bb"))
    assert [(match := parts.search(text)) and match[0] for text in ("xab", "Bbc", "ca", "xc")] == [
        "ab",
        "Bbc",
        "c",
        None,
    ]


@pytest.mark.parametrize("text", ["A b2C, d-e", "Ünd so", "Don't", ""])
def test_words_are_runs_of_plain_letters(text: str) -> None:
    assert words_of(text) == set(re.findall("[a-z]+", text.casefold()))


SIGNS = ("follow", "can't", "my ", " ai", "...", "-us", "in the", "tâche", "x", "q:", "a3t")


@pytest.mark.parametrize("sign", SIGNS)
def test_signs_stand_where_the_text_in_one_case_holds_them(sign: str) -> None:
    signs, found = Signs(sign), set[bool]()
    shown = [f"Now {sign} so", sign.upper(), f"b{sign}b", sign[1:], f"é{sign}", f"{sign}\n"]
    for text in (*shown, *_texts()[:300]):
        found.add(sign in folded(text))
        assert signs.stand_in(text) == (sign in folded(text)), text
    assert found == {True, False}


def test_of_several_signs_one_is_enough_also_in_a_part() -> None:
    signs = Signs("follow", "can't", "...")
    assert signs.stand_in("The FOLLOWING")
    assert signs.stand_in("I can't")
    assert not signs.stand_in("I can see")
    assert signs.stand_in_part("The following text", "the following")
    assert not signs.stand_in_part("The following text", "text")
    assert signs.stand_in_part("I can’t", "i can't")


def test_words_met_know_signs_that_come_later() -> None:
    assert not Signs("zyxw").stand_in("wvuzyx")
    assert Signs("vuzy").stand_in("wvuzyx")


def test_of_words_met_few_are_kept() -> None:
    met = texts._Met()
    for number in range(50_010):
        assert met[f"w{number}"] == 0
    assert len(met) <= 50_000
    assert met["y" * 1_000] == 0
    assert "y" * 1_000 not in met


@pytest.mark.parametrize("text", ["A b2C, d-e don't", "a@b c$d", "x=1 $y", "Ünd so", "a!! b?", ""])
def test_words_of_ascii_are_those_of_the_expression(text: str) -> None:
    assert gibberish._words(text) == gibberish._PART.findall(text)
