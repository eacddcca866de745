"""`runs` and `runs remove`: every run in a line, also an unreadable one; nothing else goes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.report.glance import glance, size_of
from localinstruct.store.folder import remove_run
from localinstruct.store.run import open_run
from tests.support import sample_run
from tests.test_last_release import RELEASE, digests


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """runs/: one of the last release, one in the middle, one damaged, a folder that is none."""
    runs = tmp_path / "runs"
    shutil.copytree(RELEASE / "run", runs / "released")
    sample_run.make(runs / "middle", upto="generate")
    with open_run(runs / "middle") as run:
        run.put("recipe", sample_run.recipe().to_yaml())
        run.start_stage("train", "x")
    shutil.copytree(runs / "middle", runs / "torn")
    (runs / "torn" / "run.sqlite").write_bytes(b"SQLite format 3\0" + bytes(5000))
    (runs / "mine").mkdir()
    (runs / "mine" / "notes.txt").write_text("keep")
    monkeypatch.chdir(tmp_path)
    return runs


def said(*words: str, code: int = 0, typed: str | None = None) -> str:
    result = CliRunner().invoke(app, [*words], input=typed)
    problem = result.exception
    if code:
        assert getattr(problem, "exit_code", result.exit_code) == code
        return f"{getattr(problem, 'message', '')} {getattr(problem, 'hint', '')}"
    assert result.exit_code == 0, result.output
    return result.output


def test_all_runs_at_a_glance(lab: Path) -> None:
    before = digests(lab)
    rows: dict[str, Any] = {row["name"]: row for row in json.loads(said("runs", "--json"))}
    assert list(rows) == ["middle", "released", "torn"]
    assert (rows["middle"]["state"], rows["released"]["state"]) == ("train begun", "all done")
    assert rows["torn"]["state"] == "unreadable"
    assert rows["torn"]["remarks"]
    assert rows["released"]["rows"] == 33
    assert rows["released"]["bytes"] == size_of(lab / "released") > 100_000
    assert "points of 234 tasks" in rows["released"]["score"]
    assert not rows["released"]["stale"]
    shown = said("runs")
    assert all(name in shown for name in rows)
    assert digests(lab) == before


def test_one_at_work_is_called_running(lab: Path) -> None:
    with open_run(lab / "middle"):
        assert glance(lab / "middle").state == "running train"


def test_what_is_stale_is_said(lab: Path) -> None:
    with open_run(lab / "middle") as run:
        run.put("recipe", sample_run.recipe(novelty={"threshold": 0.5}).to_yaml())
        run.forget_stage("train")
    one = glance(lab / "middle")
    assert one.stale == any(" is stale: " in words for words in one.remarks)


def test_a_run_is_removed_whole_and_the_size_is_said(lab: Path) -> None:
    others = {name: digests(lab / name) for name in ("middle", "torn", "mine")}
    size = size_of(lab / "released")
    assert "removed, " in said("runs", "remove", "released", "--yes")
    assert not (lab / "released").exists()
    assert json.loads(said("runs", "remove", "torn", "--yes", "--json"))["bytes"] > 0
    assert size > 0
    for name in ("middle", "mine"):
        assert digests(lab / name) == others[name]


def test_without_a_yes_nothing_goes(lab: Path) -> None:
    before = digests(lab)
    assert "nothing was removed" in said("runs", "remove", "middle", code=2)
    assert "nothing was removed" in said("runs", "remove", "middle", code=2, typed="no\n")
    assert digests(lab) == before


def test_neither_a_run_at_work_nor_what_is_no_run_is_removed(lab: Path, tmp_path: Path) -> None:
    (lab / "linked").symlink_to(lab / "middle")
    before = digests(lab)
    assert "no run of this name" in said("runs", "remove", "mine", "--yes", code=2)
    assert "no run of this name" in said("runs", "remove", "..", "--yes", code=2)
    assert "found a link" in said("runs", "remove", "linked", "--yes", code=2)
    with pytest.raises(Exception, match="expected a run"):
        remove_run(lab / "mine")
    import subprocess
    import sys

    holder = "import sys,time,pathlib\nfrom localinstruct.store.run import open_run\n"
    holder += "with open_run(pathlib.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    command = [sys.executable, "-c", holder, str(lab / "middle")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert f"in use by process {child.pid}" in said(
            "runs", "remove", "middle", "--yes", code=75
        )
        child.kill()
    after = digests(lab)
    assert {name for name in before if not name.startswith("middle/run")} <= set(after)
