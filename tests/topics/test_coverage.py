"""Steering for coverage: the topic of an episode, quotas, domains kept apart; with a scripted
teacher."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import RecipeError
from localinstruct.formats import read_instances, write
from localinstruct.recipe import Recipe, load_recipe
from localinstruct.records import Instance, Lineage
from localinstruct.store.run import open_run
from localinstruct.topics.coverage import (
    Coverage,
    episode_view,
    is_covered,
    leaves,
    require_seeds,
    sparse_half,
    topic_counts,
)
from tests.generation.test_scheduler import play
from tests.support.scripted import ScriptedTeacher

SEEDS = [Instance(f"Name {n} kinds of tea", output="…", name=f"tea_{n}") for n in range(3)] + [
    Instance(f"Tie knot {n}", output="…", name=f"knot_{n}") for n in range(3)
]
TOPICS: list[Any] = [
    {"topic": "tea", "quota": 25, "seeds": ["tea_*"]},
    {"topic": "knots", "quota": 30, "seeds": ["knot_*"]},
]


def recipe(coverage: dict[str, Any], **generate: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "t",
            "models": {"teacher": "t", "student": "s"},
            "method": {"alpaca": {"kept_demonstrations": 1}},
            "generate": {"target": 500, "in_flight": 6} | generate,
            "novelty": {"threshold": 0.99},
            "coverage": coverage,
        }
    )


def rows_of(topic: str, count: int, mean: float = 0.0) -> list[Instance]:
    lineage = Lineage(topic=topic, scores={"novelty_mean": mean})
    return [Instance(f"{topic} {n}", output="x", lineage=lineage) for n in range(count)]


def test_quotas_are_honoured_to_the_row_and_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.generation.test_scheduler.SEEDS", SEEDS)
    chosen = recipe({"topics": TOPICS})
    with open_run(tmp_path) as run:
        play(run, chosen, ScriptedTeacher())
        kept = list(run.kept())
        over = [reject.detail for _, reject in run.rejects("quota full")]
        prompts = {episode: prompt["text"] for episode, _, _, prompt, _ in run.completion_log()}
    assert Counter(row.lineage.topic for row in kept) == {"tea": 25, "knots": 30}
    assert is_covered(chosen.coverage, kept)
    assert [(one.topic, one.kept, one.quota) for one in topic_counts(chosen.coverage, kept)] == [
        ("tea", 25, 25),
        ("knots", 30, 30),
    ]
    assert {"tea: 25 rows", "knots: 30 rows"} >= set(over) != set()
    own = {"tea": {row.id for row in SEEDS[:3]}, "knots": {row.id for row in SEEDS[3:]}}
    for row in kept:
        own[row.lineage.topic].add(row.id)
    assert all(set(row.lineage.parents) <= own[row.lineage.topic] for row in kept)
    topics = {row.lineage.episode: row.lineage.topic for row in kept}
    assert all(f"this domain: {topic}." in prompts[episode] for episode, topic in topics.items())


def test_the_result_does_not_depend_on_timing_or_on_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.generation.test_scheduler.SEEDS", SEEDS)
    coverage = {
        "topics": [*TOPICS[:1], "rope"],
        "demonstrations": "sparse",
        "personas": ["a cook", "a sailor"],
    }
    results = []
    for name, delay in (("fast", 0.0), ("slow", 0.02)):
        with open_run(tmp_path / name) as run:
            results.append(play(run, recipe(coverage, target=90), ScriptedTeacher(delay=delay)))
    with open_run(tmp_path / "stopped") as run:
        play(run, recipe(coverage, target=40), ScriptedTeacher())
        results.append(play(run, recipe(coverage, target=90), ScriptedTeacher()))
    assert results[0] == results[1] == results[2]
    assert len(results[0]) >= 90


def test_the_topic_with_fewest_rows_for_its_weight_is_likeliest() -> None:
    coverage = Coverage.model_validate({"topics": ["a", {"topic": "b", "weight": 3}]})
    drawn = Counter(episode_view(coverage, SEEDS, rows_of("a", 30), k, 1).topic for k in range(400))
    assert drawn["b"] > 380
    level = Counter(episode_view(coverage, SEEDS, (), k, 1).topic for k in range(400))
    assert 0.15 < level["a"] / 400 < 0.35
    assert episode_view(Coverage(), SEEDS, (), 3, 1).steer == ""


def test_sparse_regions_are_shown_first() -> None:
    dense, sparse = rows_of("a", 3, 0.6), rows_of("b", 3, 0.1)
    assert sparse_half([*dense, *sparse]) == sparse
    assert sparse_half([]) == []


def test_a_tree_is_its_leaves() -> None:
    tree = {
        "Cooking": ["bread", {"soups": ["cold", "hot"]}],
        "Sea": None,
        "Rope": [{"topic": "knots", "quota": 4}],
    }
    names = [leaf["topic"] for leaf in leaves(tree) if isinstance(leaf, dict)]
    assert names == [
        "Cooking: bread",
        "Cooking: soups: cold",
        "Cooking: soups: hot",
        "Sea",
        "Rope: knots",
    ]
    assert Coverage.model_validate({"topics": tree}).topics[-1].quota == 4
    with pytest.raises(ValueError, match="found twice: a"):
        Coverage.model_validate({"topics": ["a", "b", "a"]})


def test_files_are_read_into_the_recipe_and_missing_ones_named(tmp_path: Path) -> None:
    text = (
        "name: t\nmodels: {teacher: t, student: s}\nmethod: {alpaca: {}}\ncoverage: {topics: "
        "tree.yaml, personas: who.txt}\n"
    )
    (tmp_path / "models.yaml").write_text("models: {}\n")
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=r"coverage.topics: tree.yaml: no such file"):
        load_recipe(tmp_path / "r.yaml")
    (tmp_path / "tree.yaml").write_text("Cooking: [bread, soups]\n")
    (tmp_path / "who.txt").write_text("a cook\n\n a sailor\n")
    coverage = load_recipe(tmp_path / "r.yaml").coverage
    assert [one.topic for one in coverage.topics] == ["Cooking: bread", "Cooking: soups"]
    assert coverage.personas == ["a cook", "a sailor"]


def test_a_topic_that_would_never_be_said_is_refused() -> None:
    data = {
        "name": "t",
        "models": {"teacher": "t", "student": "s"},
        "method": {"alpaca": {"prompt": "alpaca_nano"}},
    }
    with pytest.raises(ValueError, match="topic 'rope' would never reach the teacher"):
        Recipe.model_validate({**data, "coverage": {"topics": ["rope"]}})
    assert Recipe.model_validate({**data, "coverage": {"topics": TOPICS}}).coverage.topics[
        0
    ].seeds == ["tea_*"]
    for method in ("self_instruct", "magpie"):
        options = {"system": "You know {topic}."} if method == "magpie" else {}
        assert Recipe.model_validate(
            {**data, "method": {method: options}, "coverage": {"topics": ["rope"]}}
        )


def test_topics_without_their_seeds_are_all_named() -> None:
    coverage = Coverage.model_validate(
        {"topics": [{"topic": "a", "seeds": ["x"]}, {"topic": "b", "seeds": ["y*"]}]}
    )
    with pytest.raises(RecipeError, match=r"(?s)2 problems.*a: x.*b: y\*"):
        require_seeds(coverage, SEEDS)


def test_the_topic_travels_with_the_row(tmp_path: Path) -> None:
    write(rows_of("tea", 2), "jsonl", tmp_path / "rows.jsonl")
    assert [row.lineage.topic for row in read_instances(tmp_path / "rows.jsonl")] == ["tea", "tea"]
