"""One sentence on whether the student is better, and what to type against its weakest side."""

import pytest

from localinstruct.recipe import Recipe
from localinstruct.stages.verdict import remedy, verdict, weakest
from tests.tiny_student import recipe_data


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.1, 0.3, "is better than its base"), (-0.1, 0.3, "is not shown to differ"), (-0.3, -0.1, "is worse than")],
)
def test_better_is_only_said_when_the_interval_says_so(low: float, high: float, words: str) -> None:
    tasks = {"gain": (low + high) / 2, "interval": [low, high], "count": 50}
    assert words in verdict({"tasks": tasks}, {}, {}, {})


def test_a_loss_is_no_verdict_and_cost_is_said_where_known() -> None:
    losses = {"base": {"loss": 5.0}, "student": {"loss": 1.0}}
    said = verdict({"held_out": losses}, {"seconds": 4000, "output_tokens": 12_000}, {"train": 90}, {"seconds": 1})
    assert said == ("Whether the student is better is not known: only its loss on held-out rows was measured (base 5.00, "
                    "student 1.00). Cost: 1 h 6 min, 12,000 output tokens of the teacher, 90 rows to train on.")  # fmt: skip
    assert verdict({}, {}, {}, {}) == "Whether the student is better was not measured."


def test_a_judge_has_a_word_too_but_not_when_he_cannot_tell() -> None:
    judged = {"rate": 0.4, "interval": [0.3, 0.48], "judge": "j", "pairs": 90}
    assert verdict({"pairwise": judged}, {}, {}, {}).startswith(
        "The student is preferred less than its base’s by j: wins 40%"
    )
    assert "not measured" in verdict({"pairwise": {**judged, "rate": None}}, {}, {}, {})


def test_the_weakest_are_families_with_enough_tasks_that_are_not_mastered() -> None:
    shares = {
        "a": (9, 0.2),
        "b": (9, 0.1),
        "few": (2, 0.0),
        "mastered": (9, 1.0),
        "c": (9, 0.9),
        "": (9, 0.0),
        "d": (9, 0.8),
    }
    found = weakest({name: {"count": n, "base": 0.0, "student": share} for name, (n, share) in shares.items()})
    assert [family["family"] for family in found] == ["b", "a", "d"]


def test_the_remedy_is_a_command_that_works() -> None:
    plain = Recipe.model_validate(recipe_data())
    command = remedy(plain, "sort_numbers", "runs/x", "x")
    assert (
        command
        == "localinstruct generate runs/x/recipe.yaml --name x-sort-numbers --set 'method.alpaca.domain=sort numbers'"
    )
    Recipe.model_validate(recipe_data(method={"alpaca": {"domain": "sort numbers"}}))
    nano = Recipe.model_validate(recipe_data(method={"alpaca": {"prompt": "alpaca_nano"}}))
    assert remedy(nano, "sort_numbers", "runs/x", "x") == "localinstruct run runs/x --set generate.target=104000"
