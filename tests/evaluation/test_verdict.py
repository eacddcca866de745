"""One sentence on whether the student is better, and what to type against its weakest side."""

import shlex

import pytest

from localinstruct.evaluation.verdict import (
    remedy,
    topic_remedy,
    verdict,
    weakest,
    weakest_topics,
)
from localinstruct.recipe import Recipe, find_recipe, load_recipe, with_overrides
from tests.support.tiny_student import recipe_data


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (0.1, 0.3, "is better than its base"),
        (-0.1, 0.3, "is not shown to differ"),
        (-0.3, -0.1, "is worse than"),
    ],
)
def test_better_is_only_said_when_the_interval_says_so(low: float, high: float, words: str) -> None:
    tasks = {"gain": (low + high) / 2, "interval": [low, high], "count": 50}
    assert words in verdict({"tasks": tasks}, {}, {}, {})


def test_a_loss_is_no_verdict_and_cost_is_said_where_known() -> None:
    losses = {"base": {"loss": 5.0}, "student": {"loss": 1.0}}
    said = verdict(
        {"held_out": losses},
        {"seconds": 4000, "output_tokens": 12_000},
        {"train": 90},
        {"seconds": 1},
    )
    assert said == (
        "Whether the student is better is not known: only its loss on held-out rows was measured "
        "(base 5.000 → student 1.000). Cost: 1 h 6 min from generate to evaluate, 12,000 output "
        "tokens of the teacher, 90 rows to train on."
    )
    assert verdict({}, {}, {}, {}) == "Whether the student is better was not measured."


def test_a_judge_has_a_word_too_but_not_when_he_cannot_tell() -> None:
    judged = {"rate": 0.4, "interval": [0.3, 0.48], "judge": "j", "pairs": 90}
    assert verdict({"pairwise": judged}, {}, {}, {}).startswith(
        "The student is preferred less than its base’s by j: wins 40.0%"
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
    found = weakest(
        {name: {"count": n, "base": 0.0, "student": share} for name, (n, share) in shares.items()}
    )
    assert [family["family"] for family in found] == ["b", "a", "d"]


def test_the_remedy_is_a_command_that_works() -> None:
    plain = Recipe.model_validate(recipe_data())
    command = remedy(plain, "sort_numbers", "runs/x", "x")
    assert (
        command == "localinstruct generate runs/x/recipe.yaml --name x-sort-numbers --set "
        "'method.alpaca.domain=sort numbers'"
    )
    Recipe.model_validate(recipe_data(method={"alpaca": {"domain": "sort numbers"}}))
    nano = Recipe.model_validate(recipe_data(method={"alpaca": {"prompt": "alpaca_nano"}}))
    assert (
        remedy(nano, "sort_numbers", "runs/x", "x")
        == "localinstruct run runs/x --set generate.target=104000"
    )


def losses(**topics: tuple[int, float]) -> dict[str, dict[str, object]]:
    return {
        name: {"rows": n, "base": {"loss": 5.0}, "student": {"loss": loss}}
        for name, (n, loss) in topics.items()
    }


def test_the_weakest_topics_have_enough_rows_and_at_least_one_is_not_weak() -> None:
    found = weakest_topics(losses(a=(9, 1.0), b=(9, 3.0), few=(4, 9.0), c=(5, 2.0), d=(9, 2.5)))
    assert found == [
        {"topic": "b", "rows": 9, "base": 5.0, "student": 3.0},
        {"topic": "d", "rows": 9, "base": 5.0, "student": 2.5},
        {"topic": "c", "rows": 5, "base": 5.0, "student": 2.0},
    ]
    assert [one["topic"] for one in weakest_topics(losses(a=(9, 1.0), b=(9, 3.0)))] == ["b"]
    assert weakest_topics(losses(a=(9, 1.0))) == weakest_topics({}) == []


@pytest.mark.parametrize(
    ("topic", "entry", "told"),
    [
        ("adding it's", {"quota": 30}, "30"),
        ("lists", {"seeds": ["sort_*"], "weight": 2}, "500"),
        ("sums", {}, "500"),
    ],
)
def test_the_remedy_for_a_topic_steers_a_run_of_its_own_there(
    topic: str, entry: dict[str, object], told: str
) -> None:
    topics = [{"topic": topic, **entry}, {"topic": "other"}]
    recipe = Recipe.model_validate(
        recipe_data(coverage={"topics": topics}, generate={"target": 1000})
    )
    words = shlex.split(topic_remedy(recipe, topic, "runs/x", "x"))
    assert words[:3] == ["localinstruct", "generate", "runs/x/recipe.yaml"]
    assert words[4].startswith("x-")
    settings = tuple(words[place + 1] for place, word in enumerate(words) if word == "--set")
    changed = with_overrides(recipe, tuple(settings), "the recipe")
    assert changed.generate.target == int(told)
    [steered] = changed.coverage.topics
    assert (steered.topic, steered.seeds, steered.quota) == (topic, entry.get("seeds", []), None)


def test_a_topic_that_the_recipe_does_not_know_is_a_subject_like_any_other() -> None:
    plain = Recipe.model_validate(recipe_data())
    assert topic_remedy(plain, "herbs", "runs/x", "x") == remedy(plain, "herbs", "runs/x", "x")


def test_a_weak_family_whose_seeds_belong_to_a_topic_is_made_there() -> None:
    recipe = load_recipe(find_recipe("coverage"))
    command = remedy(recipe, "sort_numbers", "runs/c", "c")
    assert command == topic_remedy(recipe, "lists", "runs/c", "c")
    assert "--name c-lists --set generate.target=20" in command
    assert (
        remedy(recipe, "nothing_known", "runs/c", "c")
        == "localinstruct run runs/c --set generate.target=160"
    )
