"""Rounds of `improve` with scripted stages: where they lead, when they end, and that a killed one
goes on. Run: pytest tests/improve/test_improve.py"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from localinstruct.config import parse
from localinstruct.errors import NothingNew, RunConflict, RunInUse, UsageError
from localinstruct.evaluation.scores import Row, answer_record, score
from localinstruct.evaluation.stage import _names
from localinstruct.evaluation.weak_sides import WeakSide, steering, weak_sides
from localinstruct.formats.tasks import Task
from localinstruct.generation.inputs import seeds_of
from localinstruct.improve.state import State, as_json, gain_over, state_from
from localinstruct.improve.work import Asked, Improvement, forget, recipe_of_round
from localinstruct.pipeline import STAGES, StageFailed, inputs_of
from localinstruct.progress import Silent
from localinstruct.recipe import (
    Recipe,
    find_recipe,
    load_recipe,
    packaged_workspace,
    recipe_from_text,
)
from localinstruct.records import Instance
from localinstruct.report.rounds import confirmation, gain_words, headline
from localinstruct.store.run import open_run, read_run

FAMILIES = ("addition", "opposite", "capital", "plural")
PER_FAMILY = 40
EVALUATE = next(stage for stage in STAGES if stage.name == "evaluate")
Shares = Mapping[str, float]


def nano(*settings: str) -> Recipe:
    return load_recipe(find_recipe("nano"), settings)


def evaluated(shares: Shares) -> list[Row]:
    """Tasks of which the student answers this share of each family right, the first ones."""
    return [
        Row(
            Instance(f"{family} {number}?", output="yes"),
            Task(f"{family} {number}", family, Instance(f"{family} {number}?", output="yes")),
            "no",
            "yes" if number < shares[family] * PER_FAMILY else "no",
        )
        for family in FAMILIES
        for number in range(PER_FAMILY)
    ]


def write_run(recipe: Recipe, path: Path, shares: Shares) -> None:
    """A run as its stages would leave it, with these answers of its student."""
    rows = evaluated(shares)
    with open_run(path) as run:
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(packaged_workspace()))
        (path / "evaluation").mkdir(exist_ok=True)
        lines = [json.dumps(_names(row) | answer_record(row)) for row in rows]
        (path / "evaluation" / "answers.jsonl").write_text("".join(f"{x}\n" for x in lines))
        run.start_stage("evaluate", inputs_of(EVALUATE, recipe, run))
        run.finish_stage("evaluate", {"tasks": score(rows)})


class Stages:
    """Scripted stages: each new run has the next of these shares, or raises the next error."""

    def __init__(self, *outcomes: Shares | BaseException) -> None:
        self.outcomes = list(outcomes)
        self.made: list[tuple[Path, Recipe]] = []

    def __call__(self, recipe: Recipe, workspace: Path, path: Path) -> None:
        if (path / "run.sqlite").exists():
            with read_run(path) as run:
                if run.stage("evaluate"):
                    return
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        self.made.append((path, recipe))
        write_run(recipe, path, outcome)


START = dict(zip(FAMILIES, (0.9, 0.1, 0.8, 0.2), strict=True))
BETTER = START | {"opposite": 0.6, "plural": 0.6}
BEST = BETTER | {"opposite": 0.9, "plural": 0.9}


def improvement(folder: Path, stages: Stages, **asked: int) -> Improvement:
    path = folder / "first"
    if not path.exists():
        write_run(nano(), path, START)
    return Improvement(path, replace(Asked(), **asked), stages, Silent())


def test_rounds_lead_to_the_weakest_sides_and_carry_all_rows(tmp_path: Path) -> None:
    stages = Stages(BETTER, BEST)
    state = improvement(tmp_path, stages, rounds=2, weakest=2, rows=50).work()
    assert [Path(one.run).name for one in state.rounds] == ["first-round-1", "first-round-2"]
    assert [side.name for side in state.rounds[0].sides] == ["opposite", "plural"]
    assert all(side.shown for side in state.rounds[0].sides)
    first, second = (recipe for _, recipe in stages.made)
    assert [topic.seeds for topic in first.coverage.topics] == [["opposite"], ["plural"]]
    assert first.generate.target == second.generate.target == 50
    mixed = [Path(source.path).name for source in second.dataset.sources]
    assert mixed == ["first", "first-round-1"]
    assert second.models.student == nano().models.student
    assert second.evaluate == nano().evaluate
    assert state.ended == "2 of 2 rounds are done"
    assert [Path(one.began_from).name for one in state.rounds] == ["first", "first-round-1"]
    gain, total = state.rounds[1].gain, state.rounds[1].total
    assert gain is not None
    assert total is not None
    assert gain.is_shown
    assert total.gain > gain.gain
    assert gain.weak is not None
    assert gain.weak.count < gain.count


def test_it_ends_where_the_interval_shows_no_gain(tmp_path: Path) -> None:
    stages = Stages(START, BETTER)
    state = improvement(tmp_path, stages).work()
    assert len(state.rounds) == 1
    assert "not shown to gain" in state.ended
    assert len(stages.made) == 1
    longer = improvement(tmp_path, stages, patience=2, rounds=2).work()  # the same state goes on
    assert len(longer.rounds) == 2
    assert longer.ended == "2 of 2 rounds are done"


def test_it_ends_where_nothing_is_weak(tmp_path: Path) -> None:
    write_run(nano(), tmp_path / "first", dict.fromkeys(FAMILIES, 1.0))
    state = improvement(tmp_path, Stages()).work()
    assert (state.rounds, state.ended) == ((), "no family has less than 95 % right answers")
    page = (tmp_path / "first" / "improve" / "rounds.html").read_text()
    assert "None was begun" in page


def test_it_ends_where_the_teacher_brings_nothing_new(tmp_path: Path) -> None:
    stages = Stages(StageFailed("generate", NothingNew.exit_code))
    state = improvement(tmp_path, stages).work()
    assert "brings nothing new" in state.ended
    with pytest.raises(StageFailed):
        improvement(tmp_path, Stages(StageFailed("train", 4))).work()


def test_a_killed_round_goes_on_with_its_own_recipe(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        improvement(tmp_path, Stages(KeyboardInterrupt()), rows=70, weakest=1).work()
    file = tmp_path / "first" / "improve" / "state.json"
    begun = state_from(json.loads(file.read_text()))
    assert begun.begun is not None
    assert begun.finished == []
    stages = Stages(BETTER)
    state = improvement(tmp_path, stages, rounds=1, rows=5, weakest=3).work()
    [(_, recipe)] = stages.made
    assert recipe.to_yaml() == begun.begun.recipe
    assert recipe.generate.target == 70
    assert len(state.finished) == 1
    again = Stages()
    assert improvement(tmp_path, again, rounds=1).work() == state
    assert again.made == []


def test_the_state_on_the_disk_is_the_state(tmp_path: Path) -> None:
    state = improvement(tmp_path, Stages(BETTER, BEST), rounds=2).work()
    stored = json.loads((tmp_path / "first" / "improve" / "state.json").read_text())
    assert state_from(stored) == state
    with pytest.raises(RunConflict, match="expected version"):
        state_from({**stored, "version": 99})


def test_a_first_run_that_has_changed_is_refused_and_fresh_begins_again(tmp_path: Path) -> None:
    improvement(tmp_path, Stages(BETTER), rounds=1).work()
    write_run(nano(), tmp_path / "first", BEST)
    with pytest.raises(RunConflict) as caught:
        improvement(tmp_path, Stages()).work()
    assert "--fresh" in caught.value.hint
    assert [Path(one).name for one in forget(tmp_path / "first")] == ["first-round-1"]
    assert not (tmp_path / "first-round-1").exists()
    assert forget(tmp_path / "first") == []


def test_a_stranger_of_a_rounds_name_is_not_touched(tmp_path: Path) -> None:
    write_run(nano(), tmp_path / "first-round-1", BEST)
    with pytest.raises(RunConflict, match="expected no run of this name"):
        improvement(tmp_path, Stages()).work()


def test_one_improvement_of_a_run_at_a_time(tmp_path: Path) -> None:
    def second(recipe: Recipe, workspace: Path, path: Path) -> None:
        improvement(tmp_path, Stages()).work()

    work = improvement(tmp_path, Stages())
    work.finish = second
    with pytest.raises(RunInUse):
        work.work()


def test_a_run_without_tasks_is_refused_at_once(tmp_path: Path) -> None:
    write_run(nano("evaluate.tasks=null"), tmp_path / "first", START)
    with pytest.raises(UsageError, match="asked tasks"):
        improvement(tmp_path, Stages()).work()


def test_the_page_shows_each_round_beside_what_it_began_from(tmp_path: Path) -> None:
    state = improvement(tmp_path, Stages(BETTER, BEST), rounds=2, weakest=2).work()
    page = (tmp_path / "first" / "improve" / "rounds.html").read_text()
    for one in state.finished:
        assert one.gain is not None
        assert gain_words(as_json(state)["rounds"][one.number - 1]["gain"]) in page
    assert "They were chosen for being low" in page
    assert confirmation(as_json(state)) in page
    assert headline(as_json(state)).startswith("2 rounds: better, +")
    assert "<script" not in page


def test_a_gain_is_counted_on_the_tasks_that_both_answered(tmp_path: Path) -> None:
    write_run(nano(), tmp_path / "a", START)
    write_run(nano(), tmp_path / "b", BETTER)
    gain = gain_over(tmp_path / "a", tmp_path / "b", ["opposite"])
    assert (gain.count, round(gain.before, 3), round(gain.after, 3)) == (160, 0.5, 0.725)
    assert gain.weak is not None
    assert (gain.weak.count, gain.weak.before, gain.weak.after) == (40, 0.1, 0.6)
    (tmp_path / "b" / "evaluation" / "answers.jsonl").write_text("")
    with pytest.raises(RunConflict, match="both answered"):
        gain_over(tmp_path / "a", tmp_path / "b")


def test_sides_are_ranked_by_the_upper_end_of_their_interval() -> None:
    families = {
        "few": {"count": 1, "student": 0.0},
        "many": {"count": 50, "student": 0.3},
        "good": {"count": 50, "student": 0.9},
        "best": {"count": 50, "student": 1.0},
    }
    sides = weak_sides(nano(), {"tasks": {"by_family": families}}, 9)
    assert [side.name for side in sides] == ["many", "few", "good"]
    assert [side.shown for side in sides] == [True, False, False]
    assert weak_sides(nano(), {}, 3) == []


def side(name: str, is_kind: bool = False) -> WeakSide:
    return WeakSide(name, 9, 0.1, 0.0, 0.4, True, is_kind)


def test_a_family_is_reached_by_topic_seeds_or_words() -> None:
    recipe, seeds = nano(), seeds_of(nano(), packaged_workspace())
    found = steering(recipe, [side("opposite"), side("cookery")], seeds)
    assert found.keys == {"coverage": {"topics": [{"topic": "opposite", "seeds": ["opposite"]}]}}
    assert (found.reached, found.unreached) == (("opposite",), ("cookery",))
    says = nano("method.alpaca.prompt=alpaca")
    assert steering(says, [side("cookery_book")], seeds).keys == {
        "coverage": {"topics": [{"topic": "cookery book"}]}
    }
    own = nano("coverage.topics=[{topic: sums, seeds: [add*], quota: 4}]")
    assert steering(own, [side("addition")], seeds).keys == {
        "coverage": {"topics": [{"topic": "sums", "seeds": ["add*"]}]}
    }


def test_a_kind_of_constraint_is_drawn_more_often_and_held_out_ones_never() -> None:
    recipe = load_recipe(find_recipe("constraints"))
    kinds = {
        "no_commas": {"count": 50, "strict": {"student": 0.1}},
        "lowercase": {"count": 50, "strict": {"student": 0.9}},
        "title_case": {"count": 50, "strict": {"student": 0.0}},
    }
    sides = weak_sides(recipe, {"form": {"kinds": kinds}}, 1)
    assert [(one.name, one.is_kind) for one in sides] == [("no_commas", True)]
    found = steering(recipe, sides, [])
    [(kind, weight)] = found.keys["method"]["constraints"]["kinds"].items()
    assert kind == "no_commas"
    assert weight == 8 * recipe.method.options.weights["no_commas"]
    text = recipe_of_round(recipe, 1, "r", 10, ["runs/first"], found.keys)
    again = recipe_from_text(text, "r")
    assert again.method.options.weights["no_commas"] == weight
    assert "title_case" not in again.method.options.weights


def test_a_state_without_rounds_has_a_headline() -> None:
    assert headline(as_json(State("runs/x", ""))) == "No round has finished yet"
    assert parse(Recipe, nano().model_dump(mode="json"), "x") == nano()
