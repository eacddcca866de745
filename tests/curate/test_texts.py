"""What the rules share of a text, and patterns whose alternatives are asked one by one."""

import re

import pytest

from benchmarks import defects, defects_fourth, defects_third
from localinstruct.curate.texts import Alternatives, read_patterns, words_of


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
