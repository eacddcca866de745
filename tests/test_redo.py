"""--redo: what is refused leaves the run as it was; and evaluate heeds --name and --redo when it
compares."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct import pipeline
from localinstruct.cli.app import app
from localinstruct.errors import (
    Interrupted,
    LocalInstructError,
    RunConflict,
    TrainerError,
    UsageError,
)
from localinstruct.evaluation import comparison
from localinstruct.pipeline import (
    STAGES,
    as_before_when_refused,
    inputs_of,
    recipe_of,
    settle_recipe,
)
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.training import student
from localinstruct.worker import StageJob
from tests.support.tiny_student import recipe_data
from tests.support.trained_runs import CPU, train_tiny, workspace

RESULTS: dict[str, dict[str, Any]] = {
    "generate": {},
    "dataset": {"train": 22},
    "train": {"steps": 6, "product": "x"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a run `tiny` that has everything up to train, begun as generate would."""
    home = workspace(tmp_path_factory.mktemp("lab"))
    path = train_tiny(home, "tiny")
    with open_run(path) as run:
        for name, result in RESULTS.items():
            run.start_stage(name, "inputs")
            run.finish_stage(name, result)
        settle_recipe(run, recipe_of(run)[0], home)
    return path


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch, trained: Path) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)
    monkeypatch.chdir(trained.parents[1])


def told(run: Run) -> tuple[Any, ...]:
    """Everything that a redo touches."""
    return (
        run.get("recipe"),
        (run.path / "recipe.yaml").read_text(),
        *(run.stage(name) for name in RESULTS),
    )


def state(path: Path) -> tuple[Any, ...]:
    with read_run(path) as run:
        return told(run)


def test_a_refused_redo_leaves_recipe_and_results_as_they_were(trained: Path) -> None:
    before = state(trained)
    done = CliRunner().invoke(app, ["train", "runs/tiny", "--redo", "--set", "train.mode=qlora"])
    assert isinstance(done.exception, TrainerError)
    assert "qlora needs a GPU" in done.exception.message
    assert "is as it was" in done.exception.hint
    assert state(trained) == before
    assert "mode: lora" in before[0]


def redo(run: Run, recipe: Recipe, problem: Exception, *stages: tuple[str, bool]) -> None:
    """What a command with --redo does that begins these stages, finishes some, and fails."""
    with as_before_when_refused(run):
        settle_recipe(run, recipe, run.path, redo=True)
        for name, finished in stages:
            run.start_stage(name, "new")
            if finished:
                run.finish_stage(name, {})
        raise problem


def test_a_redo_that_is_interrupted_or_has_finished_a_stage_stays(tmp_path: Path) -> None:
    first, changed = (Recipe.model_validate(recipe_data(train={"epochs": n})) for n in (2, 9))
    with open_run(tmp_path / "one") as run:
        run.record(0, 0, 0, {}, "d", [])
        for problem, stages, stays in (
            (Interrupted("stopped"), [("train", False)], True),
            (UsageError("refused"), [("dataset", True), ("train", False)], True),
            (UsageError("refused"), [("evaluate", False)], False),
            (ValueError("a bug"), [("evaluate", False)], False),
        ):
            settle_recipe(run, first, tmp_path, redo=True)
            before = run.get("recipe")
            with pytest.raises(type(problem)):
                redo(run, changed, problem, *stages)
            assert (run.get("recipe") != before) is stays
            assert (run.path / "recipe.yaml").read_text() == run.get("recipe")
        assert run.stage("evaluate") is None


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Any, list[tuple[Path, int]]]:
    """What `evaluate --tasks` ended with, and (run, evaluate.max_tokens) of each comparison."""
    seen: list[tuple[Path, int]] = []

    def compared(recipe: Recipe, run: Run, *_: object) -> dict[str, Any]:
        seen.append((run.path, recipe.evaluate.max_tokens))
        return {"name": "x", "against": "base"}

    monkeypatch.setattr(comparison, "compare_with", compared)
    Path("tasks.jsonl").write_text('{"instruction": "Say a.", "output": "a"}\n')
    return CliRunner().invoke(app, ["evaluate", *words, "--tasks", "tasks.jsonl"]).exception, seen


def test_a_comparison_heeds_name_and_redo(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = str(Path("runs/tiny/recipe.yaml").rename("mine.yaml"))
    before = state_of_recipe(trained)
    refused, seen = asked(monkeypatch, recipe, "--name", "tiny", "--set", "evaluate.max_tokens=17")
    assert isinstance(refused, RunConflict)
    assert seen == []
    problem, seen = asked(
        monkeypatch, recipe, "--name", "tiny", "--set", "evaluate.max_tokens=17", "--redo"
    )
    assert problem is None
    assert [(path.name, tokens) for path, tokens in seen] == [("tiny", 17)]
    assert state_of_recipe(trained) != before
    missing, seen = asked(monkeypatch, recipe, "--name", "nobody")
    assert isinstance(missing, UsageError)
    assert "nobody: no run of this name" in missing.message
    assert not Path("runs/nobody").exists()


def state_of_recipe(path: Path) -> str | None:
    with read_run(path) as run:
        return run.get("recipe")


def test_a_run_has_its_name_already(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, seen = asked(monkeypatch, "runs/tiny", "--name", "other")
    assert isinstance(problem, UsageError)
    assert "--name other: runs/tiny is a run" in problem.message
    assert seen == []


# -- dataset and train as one job, as li.train has them


def job(*settings: str) -> StageJob:
    stages = ("dataset", "train")
    return StageJob(stages, target="runs/tiny", settings=settings, redo=True)


def test_a_training_that_is_refused_leaves_recipe_and_results(trained: Path) -> None:
    with open_run(trained) as run:
        recipe, dataset = recipe_of(run)[0], STAGES[1]
        run.start_stage("dataset", inputs_of(dataset, recipe, run))
        run.finish_stage("dataset", RESULTS["dataset"])
    before = state(trained)
    for setting in ("train.mode=qlora", "models.student=nobody"):
        with pytest.raises(LocalInstructError) as refused:
            job(setting).work(Silent())
        assert "is as it was" in refused.value.hint, setting
        assert state(trained) == before


def test_nothing_is_written_before_all_is_ready_for_the_training(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = list[str]()
    monkeypatch.setattr(pipeline, "run_stage", lambda stage, *rest: ran.append(stage.name))
    before = state(trained)
    with pytest.raises(LocalInstructError, match="nobody"):
        job("models.student=nobody", "dataset.max_rows=20").work(Silent())
    assert (ran, state(trained)) == ([], before)
    monkeypatch.setattr(pipeline, "require_ready", lambda *rest: None)
    job("dataset.max_rows=20").work(Silent())
    assert ran == ["dataset", "train"]
