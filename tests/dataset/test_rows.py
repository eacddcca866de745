"""Rows are rows wherever they came from: a run of files alone, and one that is partly mixed, are
shown, counted, exported and compared like any other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import localinstruct as li
from localinstruct import pipeline
from localinstruct.cli import display
from localinstruct.cli.app import app
from localinstruct.dataset import stage
from localinstruct.dataset.mixing import mix
from localinstruct.dataset.rows import NO_EPISODE, RunRows
from localinstruct.formats import read_instances, write
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.dataset import Dataset
from localinstruct.records import Instance, Reject
from localinstruct.report import stage as report
from localinstruct.report.cards import dataset_card
from localinstruct.report.facts import run_facts
from localinstruct.store.run import Run, open_run, read_run
from tests.support.nano_server import nano_workspace
from tests.support.tiny_student import keep, recipe_data, rows

FILE = rows(40, seed=3)
OWN = rows(15)


def made(folder: Path, name: str, own: list[Instance], **dataset: Any) -> Recipe:
    """A run in folder/runs whose generate and dataset stages are done; two files are mixed in.

    The second file repeats 7 rows of the first.
    """
    section = {"from": ["a.jsonl", "b.jsonl"], "similar": None, **dataset}
    target = {"target": len(own)}
    recipe = Recipe.model_validate(recipe_data(name=name, dataset=section, generate=target))
    with open_run(folder / "runs" / name) as run:
        pipeline.settle_recipe(run, recipe, folder)
        run.start_stage("generate", "i")
        if own:
            keep(run, own)
            run.commit_episode(1, [], [Reject("filter", "too short", "Hm")], 0)
        told = {"kept": len(own), "candidates": len(own) + bool(own), "tokens_per_second": 0.0}
        run.finish_stage("generate", told)
        chosen = next(one for one in pipeline.STAGES if one.name == "dataset")
        pipeline.run_stage(chosen, recipe, run, Silent(), folder)
    return recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = nano_workspace(tmp_path_factory.mktemp("lab") / "w", "http://127.0.0.1:9/v1")
    write(FILE[:30], "jsonl", folder / "a.jsonl")
    write(FILE[23:], "jsonl", folder / "b.jsonl")
    made(folder, "mixed", [])
    made(folder, "partly", OWN)
    made(folder, "rephrased", OWN, phrasing="self-instruct")
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


@pytest.fixture(params=[("mixed", 0), ("partly", 15), ("rephrased", 15)], ids=lambda one: one[0])
def opened(request: pytest.FixtureRequest) -> Iterator[tuple[Run, int]]:
    """A run, and how many of its rows it wrote itself."""
    name, own = request.param
    with read_run(Path("runs") / name) as run:
        yield run, own


def shown(*words: str) -> Any:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


def test_rows_rejects_and_sources_are_counted_whoever_brought_them(opened: tuple[Run, int]) -> None:
    run, own = opened
    every = RunRows(run)
    assert (every.count(), len(list(every)), len(every.mixed)) == (own + 40, own + 40, 40)
    assert every.asked == 47
    assert [one["source"] for one in every.sources] == ["a.jsonl", "b.jsonl"]
    assert sorted(every.source_of.values()) == ["a.jsonl"] * 30 + ["b.jsonl"] * 10
    assert {(stage, reason): n for stage, reason, n in every.reject_counts()} == {
        ("mix", "in another source"): 7,
        **({("filter", "too short"): 1} if own else {}),
    }
    brought = [episode for episode, _ in every.rejects("in another source")]
    assert brought == [NO_EPISODE] * 7


def test_the_facts_agree_with_each_other(opened: tuple[Run, int]) -> None:
    run, own = opened
    data = run_facts(run, pipeline.recipe_of(run)[0])["data"]
    assert (data["kept"], data["mixed"], data["rows"]) == (own, 40, own + 40)
    assert data["candidates"] == 47 + (own + 1 if own else 0)
    assert data["rejected"] == sum(data["rejected_by_stage"].values()) == (8 if own else 7)
    assert data["share_kept"] == data["rows"] / data["candidates"]
    assert data["train"] + data["held_out"] == data["rows"]


def test_show_names_rows_rejects_and_sources() -> None:
    said = shown("show", "mixed")
    assert "runs/mixed: 40 rows mixed in" in said
    assert "no teacher was asked" in said
    assert "from    a.jsonl" in said
    assert "30 of 30 rows asked of a.jsonl · 10 of 17 rows asked of b.jsonl" in said
    assert "15 of 15 rows kept, 40 rows mixed in" in shown("show", "partly")
    for limit in ("1", "4", "9", "60"):
        shown_rows = shown("show", "partly", "--limit", limit).count("\nrow ")
        assert shown_rows == min(int(limit), 55)
    facts = shown("show", "mixed", "--json")
    assert (facts["kept"], facts["mixed"], len(facts["sources"])) == (0, 40, 2)
    assert facts["rejects"] == [{"stage": "mix", "reason": "in another source", "count": 7}]
    assert "7 rejects by reason" in shown("show", "mixed", "--rejects")
    assert "7 rejects: in another source" in shown("show", "mixed", "--reason", "in another source")
    assert len(shown("show", "partly", "--rejects", "--json")) == 8


def test_the_last_lines_of_a_run_speak_of_the_rows_that_are_there(
    opened: tuple[Run, int], capsys: pytest.CaptureFixture[str]
) -> None:
    run, own = opened
    display.summary(run)
    said = capsys.readouterr().out
    assert "rows asked of a.jsonl" in said
    assert ("candidates" in said) == bool(own)
    assert "export " in said


def test_lineage_of_a_row_of_a_file_names_the_file() -> None:
    said = shown("show", "mixed", "--lineage", FILE[0].id)
    assert "mixed in" in said
    assert "a.jsonl" in said
    assert shown("show", "mixed", "--lineage", FILE[35].id, "--json")["from"] == "b.jsonl"


@pytest.mark.parametrize("format", ["alpaca", "jsonl", "messages", "sharegpt", "parquet"])
@pytest.mark.parametrize(("name", "count"), [("mixed", 40), ("partly", 55)])
def test_export_writes_all_of_them(format: str, name: str, count: int, tmp_path: Path) -> None:
    path = tmp_path / f"rows.{'parquet' if format == 'parquet' else 'jsonl'}"
    path = path.with_suffix(".json") if format == "alpaca" else path
    told = shown("export", name, "--format", format, "--output", str(path), "--json")
    assert told["rows"] == count == len(read_instances(path))
    assert f"{count} rows" in Path(told["card"]).read_text()


def test_cards_and_report_say_where_rows_came_from(folder: Path) -> None:
    for name, own in (("mixed", 0), ("partly", 15)):
        with read_run(Path("runs") / name) as run:
            recipe, workspace = pipeline.recipe_of(run)
            files = {part: run.path / f"dataset/{part}.jsonl" for part in ("train", "held_out")}
            split = {"train": files["train"], "test": files["held_out"]}
            card = dataset_card(run, recipe, workspace, "jsonl", split)
            page = report.render(recipe, run, f"runs/{name}")
        assert "Mixed in: a.jsonl, 30 of 30 rows" in card
        assert ("| teacher |" in card) == bool(own)
        assert ("from the files and runs named below" in card) == (not own)
        assert "in another source" in card
        assert ("Method:" in card, "Seeds" in card, "synthetic" in card) == (bool(own),) * 3
        assert ("this run, 15 of 15 rows" in card) == bool(own)
        assert "0 of 0 rows" not in card
        assert "in another source" in page
        found = re.findall(r"<th[^>]*>([ab].jsonl)</th>(?:<td[^>]*>([0-9]+)</td>){2}", page)
        assert found == [("a.jsonl", "30"), ("b.jsonl", "17")]  # the last number is what was asked
        if not own:
            assert "40 rows mixed in, of 47 that files brought" in page
            assert "localinstruct generate" not in page
            assert page.count("Not there yet") == 2  # training and evaluation
            assert "mixed in from" in page
        else:
            assert "55 rows kept of 63 candidates, 40 of them mixed in" in page


def test_compare_and_the_api_count_them() -> None:
    said = shown("compare", "mixed", "partly")
    assert [line.split()[-2:] for line in said.splitlines() if "rows mixed in" in line] == [
        ["40", "40"]
    ]
    run = li.open_run("mixed")
    assert len(list(run.rows())) == 40
    assert {one.reason for one in run.rejects()} == {"in another source"}
    assert len(run.to_dataset()) == 40
    assert run.lineage(FILE[0].id).row == FILE[0]


def test_a_run_of_files_is_a_source_for_others(folder: Path) -> None:
    section = Dataset.model_validate({"from": ["runs/partly", "a.jsonl"], "similar": None})
    mixed = mix([], section, 1, folder, None, Silent())
    assert [part.taken for part in mixed.contributions] == [0, 55, 0]


def test_sources_that_are_gone_from_the_recipe_are_no_longer_counted(tmp_path: Path) -> None:
    write(FILE, "jsonl", tmp_path / "a.jsonl")
    write(FILE[:1], "jsonl", tmp_path / "b.jsonl")
    recipe = made(tmp_path, "once", OWN)
    alone = recipe.model_copy(update={"dataset": Dataset()})
    with open_run(tmp_path / "runs/once") as run:
        run.start_stage("dataset", "other")
        assert RunRows(run).count() == 15  # an unfinished data set counts for nothing
        run.finish_stage("dataset", stage.run(alone, run, Silent(), workspace=tmp_path))
        assert RunRows(run).count() == 15
        assert not RunRows(run).dropped
