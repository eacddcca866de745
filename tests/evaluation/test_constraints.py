"""Held-out requests with seen and held-out kinds: what is asked, and what is counted."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import constraints as study
from localinstruct.errors import RecipeError
from localinstruct.evaluation.constraints import constraint_tasks, form_scores
from localinstruct.evaluation.scores import Row
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.formats import write
from localinstruct.formats.checks_of_form import FAMILY_OF
from localinstruct.formats.tasks import Task
from localinstruct.methods.constraints import HELD_OUT, is_held_out
from localinstruct.recipe import Recipe, load_recipe
from localinstruct.records import Instance, Lineage
from localinstruct.report.evaluation import form
from tests.support.tiny_student import recipe_data

ROOT = Path(__file__).parents[2]
SEEDS = [Instance(f"Describe thing {n} in the house.", output="So.") for n in range(60)]


def recipe(tmp_path: Path, count: int = 30, **options: Any) -> Recipe:
    write(SEEDS, "jsonl", tmp_path / "seeds.jsonl")
    data = recipe_data(evaluate={"constraints": count}, novelty={"against": "kept"})
    return Recipe.model_validate(
        data | {"seeds": "seeds.jsonl", "method": {"constraints": options}}
    )


def test_tasks_are_held_out_requests_with_kinds_of_both_groups(tmp_path: Path) -> None:
    tasks = constraint_tasks(recipe(tmp_path), tmp_path)
    assert [task.family for task in tasks] == ["seen kinds"] * 30 + ["held-out kinds"] * 30
    held = {seed.instruction for seed in SEEDS if is_held_out(seed, 0.2)}
    assert held
    for task in tasks:
        assert any(task.instance.instruction.startswith(words) for words in held)
        assert task.check
        assert (task.family == "held-out kinds") is (not task.check.keys() - set(HELD_OUT))
        assert not task.is_right("")
    assert constraint_tasks(recipe(tmp_path), tmp_path) == tasks
    assert constraint_tasks(recipe(tmp_path, 0), tmp_path) == []


def test_without_a_held_out_request_the_recipe_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        constraint_tasks(recipe(tmp_path, held_out_requests=0), tmp_path)
    assert "held_out_requests" in (caught.value.hint or "")


def test_only_a_recipe_with_constraints_asks_for_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"evaluate\.constraints: expected method\.constraints"):
        Recipe.model_validate(recipe_data(evaluate={"constraints": 5}))
    step = recipe_data(evaluate={"constraints": 5}) | {"then": {"constraints": {}}}
    write(SEEDS, "jsonl", tmp_path / "seeds.jsonl")
    tasks = constraint_tasks(Recipe.model_validate(step | {"seeds": "seeds.jsonl"}), tmp_path)
    assert len(tasks) == 10


def row(check: dict[str, Any], base: str, student: str, family: str) -> Row:
    task = Task("t", family, Instance("Say."), check)
    return Row(task.instance, task, base, student)


ROWS = [
    row({"no_commas": True, "max_words": 2}, "a, b c", "a b", "seen kinds"),
    row({"no_commas": True}, "a, b", "Sure, so:\na", "seen kinds"),
    row({"title_case": True}, "A B", "a b", "held-out kinds"),
    row({"exact": None}, "x", "x", "seen kinds"),
]


def test_shares_are_strict_and_loose_by_group_family_and_kind() -> None:
    scores = form_scores(ROWS)
    assert scores is not None
    assert set(scores["groups"]) == {"all", "seen kinds", "held-out kinds"}
    seen = scores["groups"]["seen kinds"]
    assert seen["count"] == 2
    assert (seen["strict"]["base"], seen["strict"]["student"]) == (0, 0.5)
    assert (seen["loose"]["base"], seen["loose"]["student"]) == (0, 1)
    assert seen["strict"]["interval"] == list(gain_interval(1, 0, 2))
    assert set(scores["families"]) == {"casing", "length", "punctuation"}
    assert scores["kinds"]["no_commas"]["count"] == 2
    assert scores["groups"]["held-out kinds"]["strict"]["gain"] == -1
    assert all(FAMILY_OF[name] for name in scores["kinds"])


def test_the_report_has_a_table_of_each() -> None:
    (whole, groups), (_, families) = form({"form": form_scores(ROWS)})
    assert whole.startswith("all constraints")
    assert [name for name, *_ in groups] == ["all", "held-out kinds", "seen kinds"]
    assert groups[2][1:4] == (2, "0%", "50.0%")
    assert groups[2][5] == "0% → 100%"
    assert len(families) == 3
    assert form({}) == []


def test_tasks_of_one_family_and_tasks_without_a_form() -> None:
    one = form_scores([row({"words": 1}, "a", "a b", "ifeval")])
    assert one is not None
    assert set(one["groups"]) == {"all"}
    assert form_scores([row({"exact": None}, "x", "x", "")]) is None


def test_a_held_out_row_is_held_against_its_own_constraints() -> None:
    instance = Instance("Say.", output="a", lineage=Lineage(constraints={"max_words": 1}))
    held = Row(instance, None, "a b", "b")
    assert (held.mark("base"), held.mark("student")) == (False, True)


@pytest.mark.parametrize("arm", study.ARMS)
def test_every_arm_of_the_study_is_a_recipe(arm: str) -> None:
    words = study.command(arm, 2, "nano-chat", 50)
    made = load_recipe(ROOT / words[1], tuple(words[5::2]))
    assert made.name == "real"
    assert made.evaluate.constraints >= 1200
    assert (made.seed, made.dataset.max_rows) == (2, 50)
    assert constraint_tasks(made, ROOT)


def test_the_table_of_the_study_has_both_groups() -> None:
    loss = {"perplexity": 12.0}
    evaluated = {"form": form_scores(ROWS), "forgetting": {"base": loss, "student": loss}}
    assert len(study.cells(evaluated)) == 5
    assert study.cells(evaluated)[4] == "12.0 → 12.0"
