"""Final answers: which are the same, which are not, and what most of several say.
Run: pytest tests/methods/test_final_answers.py"""

import pytest

from localinstruct.methods.final_answers import agree, comparable, final_answer, majority

SAME = (
    ("1,250.50", "$1250.5"),
    ("2/4", "0.5"),
    ("seven", "7"),
    ("Seven apples", "7 apple"),
    ("**42**", "The answer is 42."),
    ("-3", "−3"),
    ("5 dollars", "5"),
    ("(B)", "B."),
    ("B) the second", "Option B"),
    ("Yes, it is larger.", "yes"),
    ("The red  fox", "a red fox."),
    ("4, 10, 14", "4 10 14"),
    ('"Paris"', "paris"),
    (r"\boxed{12}", "12"),
)
DIFFERENT = (
    ("7", "8"),
    ("50%", "50 apples"),
    ("12 cm", "12 m"),
    ("B", "C"),
    ("yes", "no"),
    ("1.5, 2", "1, 5, 2"),
    ("10:30", "10"),
    ("2^10", "2"),
    ("x2", "2"),
    ("-3", "3"),
    ("Paris", "Rome"),
    ("14, 10, 4", "4, 10, 14"),
)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_answers_that_say_the_same(one: str, other: str) -> None:
    first, second = comparable(one), comparable(other)
    assert first is not None
    assert second is not None
    assert agree(first, second), (first, second)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_answers_that_say_something_else(one: str, other: str) -> None:
    first, second = comparable(one), comparable(other)
    assert first is not None
    assert second is not None
    assert not agree(first, second), (first, second)


@pytest.mark.parametrize("text", ["", " . ", None, "word " * 13, "*", "9" * 5000])
def test_what_is_empty_or_long_is_compared_with_nothing(text: str | None) -> None:
    assert comparable(text) is None


@pytest.mark.parametrize(
    ("text", "final"),
    [
        ("First 3 + 4 = 7.\nAnswer: 7", "7"),
        ("Answer: 5\nNo, wait.\n**Final answer:** 6\n", "6"),
        ("I add them. The final answer is 12 apples.", "12 apples."),
        ("So we have \\boxed{9} in all, which\nis the sum.", "9"),
        ("Tuesday", "Tuesday"),
        ("First I think.\nThen I think more.", None),
        ("Answer:", None),
        ("Answer:\n\n8", "8"),
        ("word " * 13, None),
        ("", None),
    ],
)
def test_the_final_answer_of_a_reply(text: str, final: str | None) -> None:
    assert final_answer(text) == final


def test_the_majority_counts_a_bare_number_for_one_unit_only() -> None:
    most = majority([comparable(text) for text in ("12", "12 cm", "12 cm", "3", "word " * 13)])
    assert most is not None
    assert most.places == (0, 1, 2)
    most = majority([comparable(text) for text in ("12", "12 cm", "12 m", "12 m")])
    assert most is not None
    assert (most.answer, most.places) == (comparable("12 m"), (0, 2, 3))
    assert majority([None, comparable(" ")]) is None
