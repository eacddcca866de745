"""Selection of pairs: RIP's three bounds, the random arm of equal size, and rows without grades.
Run: pytest tests/dataset/test_selection.py"""

import pytest

from localinstruct.dataset.selection import drawn, graded, rip, select, words
from localinstruct.errors import DataError
from localinstruct.recipe.dataset import Dataset
from localinstruct.records import Instance


def pair(number: int, rejected: float, length: int, chosen: float = 5.0) -> Instance:
    row = Instance(f"Task {number}", output="Good.", rejected="word " * length)
    return row.with_scores(**{"five": chosen, "five.rejected": rejected})


ROWS = [pair(n, rejected=1 + n % 4, length=1 + n // 4) for n in range(40)]


def test_rip_keeps_good_long_rejected_answers_near_the_chosen_one() -> None:
    pairs = [one for row in ROWS if (one := graded(row))]
    kept = rip(pairs, 0.5)
    assert kept
    assert all(one.rejected >= 2.5 and one.words >= 5 and one.gap <= 2.5 for one in kept)
    assert [one for one in pairs if one.rejected >= 3 and one.words >= 6] == kept


def test_the_random_arm_is_of_equal_size_and_the_same_for_one_seed() -> None:
    arms = {}
    for by in ("rip", "random"):
        section = Dataset.model_validate({"select": by})
        rows, rejects, facts = select(ROWS, section, 42)
        assert len(rows) + len(rejects) == len(ROWS)
        assert {one.reason for one in rejects} == {f"not selected by {by}"}
        arms[by] = {row.id for row in rows}
        assert facts["kept"] == len(rows)
    assert len(arms["rip"]) == len(arms["random"]) > 5
    assert arms["rip"] != arms["random"]
    pairs = [one for row in ROWS if (one := graded(row))]
    again = drawn(pairs[::-1], len(arms["random"]), 42)
    assert {one.row.id for one in again} == arms["random"]
    assert {one.row.id for one in drawn(pairs, len(again), 7)} != arms["random"]


def test_both_arms_and_all_pairs_are_measured() -> None:
    _, _, facts = select(ROWS, Dataset.model_validate({"select": "rip"}), 42)
    arms = facts["arms"]
    assert set(arms) == {"rip", "random", "all"}
    assert arms["rip"]["rejected"] > arms["all"]["rejected"]
    assert arms["rip"]["gap"] < arms["all"]["gap"]
    assert "random: rejected answers graded" in words(facts)


def test_rows_without_grades_are_no_pairs() -> None:
    bare = Instance("Plain", output="x")
    ungraded = Instance("Pair", output="x", rejected="y")
    section = Dataset.model_validate({"select": "rip", "select_quantile": 0.3})
    rows, rejects, _ = select([*ROWS, bare, ungraded], section, 42)
    assert bare not in rows
    assert [one.text for one in rejects if one.reason == "no graded pair"] == ["Plain", "Pair"]
    with pytest.raises(DataError, match="expects preference pairs"):
        select([bare, ungraded], section, 42)


def test_without_selection_all_rows_stay_and_old_recipes_are_as_they_were() -> None:
    assert select(ROWS, Dataset(), 42) == (ROWS, [], {})
    assert "select" not in Dataset().model_dump(mode="json")
    assert "select_quantile" not in Dataset().model_dump(mode="json")
