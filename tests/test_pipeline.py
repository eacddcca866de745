"""Which recipe a run accepts, which stages are still owed, and that every shipped recipe can be
used."""

from pathlib import Path

import pytest

from localinstruct import pipeline
from localinstruct.errors import (
    DataError,
    LocalInstructError,
    ModelError,
    RecipeError,
    RunConflict,
)
from localinstruct.models.catalog import load_catalog
from localinstruct.pipeline import (
    STAGES,
    due_stages,
    inputs_of,
    is_finished,
    run_stage,
    settle_recipe,
)
from localinstruct.progress import Silent
from localinstruct.recipe import (
    Recipe,
    changed_keys,
    find_recipe,
    load_recipe,
    packaged_workspace,
    recipe_from_text,
    with_overrides,
)
from localinstruct.records import Completion
from localinstruct.store.run import Run, open_run

RECIPES = sorted((packaged_workspace() / "recipes").glob("*.yaml"))


def nano(*overrides: str) -> Recipe:
    return load_recipe(find_recipe("nano"), overrides)


def settled(run: Run, *overrides: str, redo: bool = False) -> Recipe:
    return settle_recipe(run, nano(*overrides), packaged_workspace(), redo=redo)


def begun(run: Run) -> Recipe:
    """A run whose teacher has been asked something."""
    recipe = settled(run)
    run.record(0, 0, 0, {}, "", [Completion("x")])
    return recipe


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_loads_and_names_known_models_and_files(path: Path) -> None:
    recipe = load_recipe(path)
    catalog = load_catalog(packaged_workspace())
    roles = {
        "teacher": recipe.models.teacher,
        "student": recipe.models.student,
        "encoder": recipe.models.encoder,
    }
    for role, name in roles.items():
        assert role in catalog.get(name).roles
    assert recipe.models.judge is None or "judge" in catalog.get(recipe.models.judge).roles
    assert (packaged_workspace() / recipe.seeds).exists()
    assert recipe.name == path.stem
    text = path.read_text()
    assert f"localinstruct run recipes/{path.name}" in text
    for word in ("What it does", "Needs", "Takes", "Command"):
        assert word in text
    assert recipe_from_text(recipe.to_yaml(), "again") == recipe


def test_there_are_recipes() -> None:
    assert {"nano", "alpaca", "workstation-24gb"} <= {path.stem for path in RECIPES}


def test_all_errors_of_a_recipe_come_at_once_with_the_nearest_key() -> None:
    with pytest.raises(RecipeError) as caught:
        nano(
            "generate.targt=5",
            "novelty.threshold=2",
            "method.alpacca={}",
            "method.alpaca.demonstration=2",
            "filters.set=alpac",
            "filters.disable=[too_shortt]",
        )
    for part in (
        "did you mean 'target'?",
        "novelty.threshold",
        "did you mean 'alpaca'?",
        "'demonstrations'",
        "filters.set",
        "too_short",
    ):
        assert part in caught.value.message
    assert "6 problems" in caught.value.message


def test_models_and_seeds_are_named_beside_the_problems_of_sections() -> None:
    with pytest.raises(RecipeError) as caught:
        nano(
            "generate.target=abc",
            "novelty.threshold=7",
            "models.teacher=nano-techer",
            "models.rivals=[nobody]",
            "seeds=seeds/none.jsonl",
            "train.template=none.jinja",
            "=5",
        )
    title, *lines = caught.value.message.splitlines()
    assert title.endswith("nano.yaml: 7 problems")
    keys = [
        "--set =5",
        "train.template",
        "generate.target",
        "novelty.threshold",
        "models.teacher",
        "models.rivals",
        "seeds",
    ]
    assert [line.removeprefix("  - ").split(": ")[0] for line in lines] == keys
    assert "did you mean 'nano-teacher'?" in caught.value.message


def test_models_are_looked_up_by_a_recipe_only_where_something_else_is_wrong() -> None:
    assert nano("models.teacher=nano-techer").models.teacher == "nano-techer"


def test_a_stored_recipe_is_called_by_its_run_and_not_looked_up() -> None:
    with pytest.raises(RecipeError) as caught:
        with_overrides(nano("models.teacher=gone"), ("generate.target=abc",), "runs/x")
    assert caught.value.message.startswith("runs/x: generate.target: ")
    assert "gone" not in caught.value.message


@pytest.mark.parametrize("override", ["generate.target", "=5", "generate.target=[", "name.x=1"])
def test_a_malformed_override_is_explained(override: str) -> None:
    with pytest.raises(RecipeError, match="--set"):
        nano(override)


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "twice.yaml"
    path.write_text(
        "name: x\nmodels: {teacher: a, student: b}\nmethod: {alpaca: {}}\nsampling:\n  "
        "max_tokens: 900\n  max_tokens: 800\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert (
        f"{path}:6: expected the key 'max_tokens' once, found it again (first on line 5)"
        == caught.value.message
    )
    assert "only the last would count" in caught.value.hint


def test_no_method_or_two_are_refused() -> None:
    with pytest.raises(RecipeError, match="exactly one method"):
        nano("method={}")


def test_the_same_recipe_is_accepted_again(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        settled(run)
        settled(run)
        settled(run, "generate.target=900")
        settled(run, "generate.target=900", "serve.gpu_memory_utilization=0.5", "about=x")
    assert (tmp_path / "recipe.yaml").is_file()


def test_a_changed_recipe_is_refused_with_keys_and_three_ways_out(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        begun(run)
        with pytest.raises(RunConflict) as caught:
            settled(run, "novelty.threshold=0.5", "sampling.temperature=0.1", "generate.target=10")
    error = caught.value
    assert "novelty.threshold: 0.9 in the run, 0.5 now" in error.message
    assert "sampling.temperature" in error.message
    assert "generate.target: 400 in the run, 10 now" in error.message
    for way in ("--name", "--fresh", "go on with the run's own recipe"):
        assert way in error.hint


def test_before_the_first_question_a_run_may_still_become_any_other(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        settled(run)
        assert settled(run, "models.teacher=qwen3-8b").models.teacher == "qwen3-8b"
        assert "qwen3-8b" in (run.get("recipe") or "")


def test_every_missing_model_is_named_before_anything_starts(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        recipe = settled(
            run, "models.teacher=qwen3-8b", "models.student=llama-3.2-1b", "models.judge=nobody"
        )
        with pytest.raises(ModelError) as caught:
            pipeline.require_ready(recipe, due_stages(recipe, run), packaged_workspace(), Silent())
        for name in ("qwen3-8b: looked for", "llama-3.2-1b: looked for", "nobody: no such model"):
            assert name in caught.value.message
        assert "hf download meta-llama" in caught.value.hint


def test_a_missing_task_file_is_found_before_anything_starts(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        recipe = settled(run, "evaluate.tasks=seeds/nope.jsonl")
        with pytest.raises(RecipeError, match=r"nope\.jsonl"):
            pipeline.require_ready(recipe, due_stages(recipe, run), packaged_workspace(), Silent())
        recipe = settled(run, "evaluate.text=seeds/nope.txt")
        with pytest.raises(DataError, match=r"evaluate.text: .*nope\.txt"):
            pipeline.require_ready(recipe, due_stages(recipe, run), packaged_workspace(), Silent())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seeds=seeds/nope.jsonl", r"nope\.jsonl: no such file"),
        ("method={magpie: {}}", "needs an instruction-tuned teacher"),
        ("method={grounded: {}}", "expected a folder of documents, found a file"),
        ("coverage.topics=[{topic: tea, seeds: [nobody]}]", "no seed task has such a name"),
        ("then.judge={}", "base model"),
    ],
)
def test_what_generate_would_refuse_is_found_before_anything_starts(
    override: str, said: str
) -> None:
    recipe = nano(override, "novelty.against=kept", "dataset.include_seeds=false")
    with pytest.raises(LocalInstructError, match=said):
        pipeline.require_ready(recipe, STAGES[:1], packaged_workspace(), Silent())


def test_only_the_models_of_unfinished_stages_are_wanted(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        recipe = settled(run, "models.teacher=qwen3-8b")
        run.start_stage("generate", inputs_of(STAGES[0], recipe, run))
        run.finish_stage("generate", {})
        pipeline.require_ready(recipe, due_stages(recipe, run), packaged_workspace(), Silent())


def test_redo_accepts_changes_that_leave_the_rows_valid(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        begun(run)
        with pytest.raises(RunConflict, match=r"train\.epochs"):
            settled(run, "train.epochs=9")
        settled(run, "train.epochs=9", redo=True)
        with pytest.raises(RunConflict):
            settled(run, "novelty.threshold=0.5", redo=True)


def test_a_stage_is_finished_for_the_inputs_it_had(tmp_path: Path) -> None:
    generate, dataset, train = STAGES[:3]
    with open_run(tmp_path) as run:
        recipe = settled(run)
        for stage in (generate, dataset, train):
            run.start_stage(stage.name, inputs_of(stage, recipe, run))
            assert not is_finished(stage, recipe, run)
            run.finish_stage(stage.name, {})
            assert is_finished(stage, recipe, run)
        assert is_finished(generate, nano("train.epochs=9"), run)
        assert not is_finished(train, nano("train.epochs=9"), run)
        assert not is_finished(generate, nano("generate.target=900"), run)
        run.start_stage("generate", "again")
        run.finish_stage("generate", {})
        assert not is_finished(dataset, recipe, run), (
            "a new result of generate makes the dataset stale"
        )


def test_a_stage_names_the_one_it_needs(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        recipe = settled(run)
        with pytest.raises(RunConflict) as caught:
            run_stage(STAGES[2], recipe, run, Silent(), packaged_workspace())
    assert "needs dataset" in caught.value.message
    assert "localinstruct dataset" in caught.value.hint


def test_changed_keys_are_dotted_paths() -> None:
    assert changed_keys(nano(), nano("train.lora.r=4")) == {"train.lora.r": (32, 4)}
