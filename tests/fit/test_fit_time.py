"""How long it will take: from an earlier run, or measured by the real parts; and two trainings
whose memory is measured."""

import json
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import memory, results
from localinstruct.cli.app import app
from localinstruct.errors import UsageError
from localinstruct.fit.pace import Pace, earlier, estimate
from localinstruct.store.run import open_run
from tests.support import sample_run
from tests.support.nano_server import nano_workspace
from tests.support.openai_server import Reply, completion, serving_script
from tests.support.scripted import numbered_list

WRITING = Pace("a test", 200.0, 50.0, 30.0)
LEARNING = Pace("a test", 1000.0, 100.0, 30.0)


def test_a_straight_line_through_what_was_measured() -> None:
    recipe = sample_run.recipe(
        generate={"target": 1000}, dataset={"held_out": 0.1}, train={"epochs": 2}
    )
    generate, train = estimate(recipe, WRITING, LEARNING)
    assert (generate.rows, generate.tokens, generate.seconds) == (1000, 50_000, 250)
    assert (train.rows, train.tokens, train.seconds) == (900, 180_000, 180)
    assert [one.stage for one in estimate(recipe, None, LEARNING)] == ["train"]
    few = sample_run.recipe(
        generate={"target": 1000}, dataset={"max_rows": 10}, train={"epochs": 1}
    )
    assert estimate(few, None, LEARNING)[0].rows == 10


def test_an_earlier_run_is_asked_only_about_its_own_models(tmp_path: Path) -> None:
    assert earlier(sample_run.recipe(), tmp_path) == (None, None)
    recipe = sample_run.make(tmp_path / "before")
    with open_run(tmp_path / "before") as run:
        run.put("recipe", recipe.to_yaml())
        run.finish_stage("generate", {**sample_run.RESULTS["generate"], "kept": 450})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.sqlite").write_text("no store")
    generate, train = earlier(recipe, tmp_path)
    assert generate
    assert train
    assert str(tmp_path / "before") in generate.source
    assert generate.tokens_per_row == sample_run.RESULTS["generate"]["output_tokens"] / 450
    assert (train.tokens_per_second, train.tokens_per_row) == (1186.0, 61_200 / (400 * 3))
    other = sample_run.recipe(models={"teacher": "another", "student": "nano-student"})
    assert earlier(other, tmp_path) == (None, train)
    full = sample_run.recipe(train={"mode": "full"})
    assert earlier(full, tmp_path) == (generate, None)


def test_another_machine_cannot_be_measured_here() -> None:
    done = CliRunner().invoke(app, ["fit", "nano", "--machine", "vram=24", "--calibrate"])
    assert isinstance(done.exception, UsageError)


@pytest.mark.slow
def test_calibrate_runs_the_real_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scripted server writes, the real store, encoder and trainer work; nothing stays in
    runs/."""

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        return 200, completion(numbered_list(Random(count), first=request["prompt"].count("###")))

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    monkeypatch.chdir(nano_workspace(tmp_path / "here", f"unix://{socket}"))
    monkeypatch.setattr("localinstruct.fit.calibrate.calibrate.__defaults__", (2.0,))
    with serving_script(socket, reply):
        told = CliRunner().invoke(
            app,
            [
                "fit",
                "recipes/nano.yaml",
                "--calibrate",
                "--json",
                "--set",
                "filters.set=none",
                "--set",
                "generate.in_flight=4",
            ],
        )
    assert told.exception is None, told.output
    generate, train = json.loads(told.stdout)["time"]
    assert (generate["stage"], generate["rows"]) == ("generate", 400)
    assert (train["stage"], train["rows"]) == ("train", 360)
    for one in (generate, train):
        assert one["pace"]["seconds"] > 0
        assert one["seconds"] == pytest.approx(one["tokens"] / one["pace"]["tokens_per_second"])
    assert not (tmp_path / "here" / "runs").exists()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_two_trainings_take_the_memory_that_was_calculated() -> None:
    cases = (memory.Case("30M", 4, 128, {"mode": "full"}), memory.Case("30M", 4, 128))
    for row in memory.compare(cases):
        assert row["ratio"] == pytest.approx(1, abs=memory.BOUND), row


def test_the_cases_cover_what_shapes_memory() -> None:
    sections = [case.section() for case in memory.CASES]
    assert len(memory.CASES) >= 8
    assert len({case.name for case in memory.CASES}) == len(memory.CASES)
    assert {one.mode for one in sections} == {"lora", "full"}
    assert {one.objective for one in sections} == {"sft", "dpo"}
    assert {one.precision for one in sections} == {"auto", "bf16"}
    assert {one.gradient_checkpointing for one in sections} == {True, False}
    assert any(one.lora.use_dora for one in sections)
    assert any(case.accumulate > 1 for case in memory.CASES)


def test_a_case_that_did_less_than_it_should_is_no_measurement(tmp_path: Path) -> None:
    found = {"steps": 1, "held_out_passes": 2, "measured": 10}
    with pytest.raises(Exception, match="expected two steps"):
        memory.compared(memory.CASES[0], tmp_path, found)


def test_the_published_memory_table_is_that_of_a_stored_run() -> None:
    folder = results.HERE / "results" / "memory"
    readme = (results.HERE / "README.md").read_text("utf-8")
    [document] = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    section = document["memory"]
    assert (
        f"{results.MEMORY_START}\n\n{results.heading(document)}\n\n{results._memory(section)}\n"
        in readme
    )
    assert not document["quick"]
    assert len(section["cases"]) >= 8
    assert section["within"] == sum(
        abs(row["calculated"] / row["measured"] - 1) <= 0.2 for row in section["cases"]
    )
    assert memory.BOUND == section["bound"] == 0.2
