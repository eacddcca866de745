"""`improve` with stages in processes of their own, a played teacher and student: a round that was
killed goes on, and a round is an ordinary run.
Run: pytest tests/improve/test_improve_processes.py"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from localinstruct.errors import UsageError
from localinstruct.pipeline import recipe_of
from localinstruct.store.run import read_run
from tests.support import played_improve

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
ROOT = Path(__file__).parents[2]
IMPROVE = ("improve", "first", "--rounds", "1", "--rows", "30", "--weakest", "2", "--json")


def begin(folder: Path, *words: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.played_improve", *words],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def until_trained(path: Path, program: "subprocess.Popen[str]") -> None:
    for _ in range(1200):
        if (path / "run.sqlite").exists():
            with suppress(UsageError), read_run(path) as run:  # just being made
                if run.stage("train"):
                    return
        assert program.poll() is None, program.communicate()
        time.sleep(0.1)
    raise AssertionError("no round came to its training")


def test_a_round_that_was_killed_goes_on_and_is_an_ordinary_run(tmp_path: Path) -> None:
    recipe = played_improve.workspace(tmp_path)
    first = begin(tmp_path, "generate", str(recipe))  # improve does the rest of it
    said = first.communicate(timeout=300)
    assert first.returncode == 0, said
    killed = begin(tmp_path, *IMPROVE)
    try:
        until_trained(tmp_path / "runs" / "first-round-1", killed)
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate(timeout=60)
    state = json.loads((tmp_path / "runs" / "first" / "improve" / "state.json").read_text())
    assert [one["gain"] for one in state["rounds"]] == [None]
    with read_run(tmp_path / "runs" / "first-round-1") as run:
        before = run.kept_ids()
    assert len(before) >= 30
    again = begin(tmp_path, *IMPROVE)
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    result = json.loads(output)
    assert [side["name"] for side in result["rounds"][0]["sides"]] == ["tea", "moss"]
    one = result["rounds"][0]
    assert one["gain"]["interval"][0] > 0
    assert one["train"] > 30
    with read_run(tmp_path / "runs" / "first-round-1") as run:
        assert run.kept_ids() == before
        assert {row.lineage.topic for row in run.kept()} == {"tea", "moss"}
        recipe_of_it, _ = recipe_of(run)
    assert [source.path for source in recipe_of_it.dataset.sources] == ["runs/first"]
    for path in ("report.html", "recipe.yaml", "dataset/sources.jsonl"):
        assert (tmp_path / "runs" / "first-round-1" / path).is_file()
    assert "improve" in (tmp_path / result["page"]).read_text()
