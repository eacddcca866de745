"""`improve` on the command line: rounds are shown with their intervals, and refusals cost nothing.
Run: pytest tests/cli/test_improve.py"""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import UsageError
from localinstruct.improve import work
from localinstruct.progress import Progress
from tests.improve.test_improve import BETTER, START, Stages, nano, write_run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a finished run; its first round will be better, its second will not."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    write_run(nano(), tmp_path / "runs" / "first", START)
    stages = Stages(BETTER, BETTER)

    def scripted(progress: Progress) -> Stages:
        return stages

    monkeypatch.setattr(work, "finished_here", scripted)
    return tmp_path


def test_rounds_are_shown_with_their_intervals_and_go_to_programs(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["improve", "first", "--weakest", "2"])
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.output.split())
    assert "round 1, runs/first-round-1 against runs/first: better, +22.5 points" in said
    assert "round 2, runs/first-round-2 against runs/first-round-1: not shown to differ" in said
    assert "Ended: the last round was not shown to gain" in said
    assert "localinstruct evaluate runs/first-round-2 --against runs/first --tasks FILE" in said
    again = CliRunner().invoke(app, ["improve", "first", "--json"])
    result = json.loads(again.stdout)
    assert len(result["rounds"]) == 2
    assert Path(result["page"]).is_file()


def test_fresh_begins_again(folder: Path) -> None:
    CliRunner().invoke(app, ["improve", "first", "--rounds", "1"])
    assert (folder / "runs" / "first-round-1").is_dir()
    shown = CliRunner().invoke(app, ["improve", "first", "--rounds", "1", "--fresh"])
    assert "runs/first-round-1: removed" in " ".join(shown.output.split())
    assert (folder / "runs" / "first-round-1").is_dir()


def test_a_run_that_is_not_there_is_refused(folder: Path) -> None:
    refused = CliRunner().invoke(app, ["improve", "nobody"])
    assert isinstance(refused.exception, UsageError)
    assert not (folder / "runs" / "nobody").exists()
