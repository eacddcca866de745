"""Files of release 0.1.0 open: a run, its egress report, recipes, models.yaml and a bundle.

tests/data/releases/0.1.0 was made by that release: `run nano` with 24 rows and a small adapter, and
`bundle pack --run` of it. Nothing in it is ever changed; a test works on a copy.
"""

import asyncio
import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.curate.filters import VERSION, Filters
from localinstruct.curate.rules import SINCE_2, STRICTER_SINCE_2
from localinstruct.errors import NothingNew
from localinstruct.formats import read_instances
from localinstruct.generation.stage import converse, make_job
from localinstruct.models.catalog import load_catalog
from localinstruct.offline import egress_report
from localinstruct.pipeline import STAGES, is_finished, recipe_of, settle_recipe
from localinstruct.progress import Silent
from localinstruct.recipe import load_recipe, packaged_workspace
from localinstruct.records import Completion, Instance, Prompt, Reject
from localinstruct.states import states_of
from localinstruct.store.run import Run, open_run, read_run
from tests.support.scripted import HashEncoder

RELEASE = Path(__file__).parent / "data" / "releases" / "0.1.0"
RECIPES = sorted((RELEASE / "recipes").glob("*.yaml"))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run in runs/small, and standing in it."""
    shutil.copytree(RELEASE / "run", tmp_path / "runs" / "small")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_run_is_read_without_a_change(lab: Path) -> None:
    run_folder = lab / "runs" / "small"
    before = digests(run_folder)
    with read_run(run_folder) as run:
        rows = list(run.kept())
        recipe, _ = recipe_of(run)
        assert len(rows) == run.count_kept() >= recipe.generate.target == 24
        assert run.vectors().shape == (len(rows), 384)
        assert len(list(run.completion_log())) == run.completion_usage()[0] > 0
        assert all(is_finished(stage, recipe, run) for stage in STAGES[:1])
    assert digests(run_folder) == before


@pytest.mark.parametrize(
    "words",
    [
        ("show", "small"),
        ("show", "small", "--rejects"),
        ("show", "small", "--borderline"),
        ("show", "small", "--json"),
        ("verify-report", "runs/small/egress.json"),
    ],
    ids=" ".join,
)
def test_commands_that_look_leave_it_as_it_is(lab: Path, words: tuple[str, ...]) -> None:
    before = digests(lab / "runs" / "small")
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert digests(lab / "runs" / "small") == before


def test_its_results_are_older_than_digests_and_not_stale(lab: Path) -> None:
    shown = CliRunner().invoke(app, ["show", "small"]).output
    assert shown.count("made before digests were kept") == len(STAGES)
    assert "STALE" not in shown
    train = lab / "runs" / "small" / "dataset" / "train.jsonl"
    train.write_text("".join(train.read_text().splitlines(keepends=True)[:-2]))
    shown = " ".join(CliRunner().invoke(app, ["show", "small"]).output.split())
    rows = len(train.read_text().splitlines())
    assert f"{rows} rows; {rows + 2} were written" in shown
    assert "STALE" not in shown


def test_its_verdict_is_stale_once_its_student_is_trained_again(lab: Path) -> None:
    with open_run(lab / "runs" / "small") as run:
        recipe, _ = recipe_of(run)
        entry = run.stage("train")
        assert entry is not None
        run.start_stage("train", entry.inputs)
        run.finish_stage("train", {**entry.result, "product": "another", "read": {}})
        states = states_of(recipe, run)
    assert states["evaluate"].why == ("train has been run since",)
    assert states["dataset"].state == "finished"


def test_its_egress_report_still_proves_what_it_proved(lab: Path) -> None:
    path = lab / "runs" / "small" / "egress.json"
    assert egress_report.verify(path) == []
    text = path.read_text().replace("babaf0a7", "babaf0a8")
    path.write_text(text)
    assert egress_report.verify(path) != []


def test_it_opens_for_writing_and_its_rows_are_exported(lab: Path) -> None:
    with open_run(lab / "runs" / "small") as run:
        run.put("workspace", str(packaged_workspace()))
        recipe, _ = recipe_of(run)
        assert [stage.name for stage in STAGES if is_finished(stage, recipe, run)] == [
            stage.name for stage in STAGES
        ]
    shown = CliRunner().invoke(
        app, ["export", "small", "--format", "alpaca", "--output", "rows.json"]
    )
    assert shown.exit_code == 0, shown.output
    assert len(json.loads((lab / "rows.json").read_text())) >= 24


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_its_recipes_mean_what_they_meant(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert len(RECIPES) == 12


def test_its_catalogue_of_models_is_read() -> None:
    assert len(load_catalog(RELEASE).models) > 25


def test_its_bundle_is_whole_and_can_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = subprocess.run(
        [sys.executable, "-I", str(RELEASE / "bundle" / "VERIFY.py"), str(RELEASE / "bundle")],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["init", "lab"])
    assert shown.exit_code == 0, shown.output
    monkeypatch.chdir(tmp_path / "lab")
    for words in (("verify", str(RELEASE / "bundle")), ("import", str(RELEASE / "bundle"), ".")):
        shown = CliRunner().invoke(app, ["bundle", *words])
        assert shown.exit_code == 0, shown.output
    rows = [path for path in (tmp_path / "lab").rglob("train.jsonl")]
    assert len(rows) == 1
    assert rows[0].read_bytes() == (RELEASE / "run" / "dataset" / "train.jsonl").read_bytes()


def test_its_run_goes_on_under_the_rules_it_began_with(lab: Path) -> None:
    """Its recipe names no version of the rules: the run's is 1, a new run's the newest."""
    asked = load_recipe(packaged_workspace() / "recipes" / "nano.yaml")
    assert asked.filters.rules is None
    with open_run(lab / "runs" / "small") as run:
        begun, _ = recipe_of(run)
        assert begun.filters.rules == 1
        asked = begun.model_copy(update={"filters": asked.filters})
        settled = settle_recipe(run, asked, packaged_workspace())
        assert settled.filters.rules == 1
        assert recipe_of(run)[0] == settled
        assert all(is_finished(stage, settled, run) for stage in STAGES[:1])
    with open_run(lab / "runs" / "new") as run:
        settled = settle_recipe(run, asked, packaged_workspace())
        assert settled.filters.rules == VERSION == 2
        assert recipe_of(run)[0] == settled


class FromTheLog:
    """Says what a completion log has; `spoilt` of its answers are replaced by defective ones."""

    def __init__(self, run: Run, spoil: Callable[[str], str] = str) -> None:
        self._said = {
            prompt["text"]: [replace(one, text=spoil(one.text)) for one in completions]
            for *_, prompt, completions in run.completion_log()
        }

    async def complete(self, prompt: Prompt) -> list[Completion]:
        return self._said.get(prompt.text, [Completion("", "stop", 0)])


def replayed(
    folder: Path, rules: Literal[1, 2], spoil: Callable[[str], str] = str
) -> tuple[dict[str, Instance], list[Reject]]:
    """(instruction -> row kept, rejects) of the release's log under a version of the rules."""
    with read_run(RELEASE / "run") as made:
        recipe, _ = recipe_of(made)
        log, last = FromTheLog(made, spoil), made.completion_usage()[0]
    changes: dict[str, object] = {"filters": Filters(rules=rules)}
    whole = {"in_flight": last, "window": 1, "target": 1000, "stop_window": 100}
    changes |= {"generate": recipe.generate.model_copy(update=whole)}
    seeds = read_instances(RELEASE.parents[3] / "seeds" / "nano_seed_tasks.jsonl")
    with open_run(folder) as run:
        job = make_job(recipe.model_copy(update=changes), seeds, "played")
        with suppress(NothingNew):  # at the log's end
            asyncio.run(converse(job, run, log, HashEncoder(), Silent()))
        return {row.instruction: row for row in run.kept()}, [one for _, one in run.rejects()]


def test_the_new_rules_take_out_of_a_log_what_they_reject_and_nothing_else(tmp_path: Path) -> None:
    with read_run(RELEASE / "run") as made:
        first = {row.instruction for row in made.kept()}
    before, _ = replayed(tmp_path / "1", 1)
    now, rejects = replayed(tmp_path / "2", 2)
    assert before.keys() == now.keys()
    assert len(now.keys() & first) > 24  # hashed words find other rows alike than the encoder did
    assert [one for one in rejects if one.stage == "filter"] == []


def test_each_row_that_is_gone_is_named_by_a_rule_since_version_2(tmp_path: Path) -> None:
    count = iter(range(1000))

    def spoil(text: str) -> str:
        """Every third answer is no answer, or ends with a token of a template."""
        return re.sub(
            r"(?m)^(\d+\. Output:\n)(.+)$",
            lambda found: found[1] + (found[2], "N/A", f"{found[2]}<|im_end|>")[next(count) % 3],
            text,
        )

    before, _ = replayed(tmp_path / "1", 1, spoil)
    count = iter(range(1000))
    now, rejects = replayed(tmp_path / "2", 2, spoil)
    gone = before.keys() - now.keys()
    new = {name.replace("_", " ") for name in (*SINCE_2, *STRICTER_SINCE_2)}
    named = {
        one.text.partition("\n")[0].removeprefix("Instruction: ")
        for one in rejects
        if one.stage == "filter" and one.reason in new
    }
    assert len(gone) > 8
    assert gone <= named
    assert now.keys() <= before.keys()
