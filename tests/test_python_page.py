"""docs/python.md: every example runs as it stands, in a program of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.nano_server import ROOT, nano_workspace
from tests.support.own_methods import own_workspace

PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")
EXAMPLES = dict(re.findall(r"^## (\d)\. .*?```python\n(.*?)```", PAGE, re.DOTALL | re.MULTILINE))


def ran(number: str, folder: Path) -> str:
    """What an example prints, run in `folder` by a shell that lures outside."""
    lure = {"HTTPS_PROXY": "http://192.0.2.7:3128", "HF_HUB_OFFLINE": "0", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-"],
        input=EXAMPLES[number],
        cwd=folder,
        env={**os.environ, **lure},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    own_workspace(folder)
    return folder


@pytest.fixture(scope="module")
def asking(nano_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose teacher runs already."""
    return nano_workspace(tmp_path_factory.mktemp("asking") / "page", nano_server)


def test_there_are_five_of_which_one_has_three_lines_and_one_a_method_of_fifteen() -> None:
    assert list(EXAMPLES) == ["1", "2", "3", "4", "5"]
    assert lines_of(EXAMPLES["1"]) == 3
    assert lines_of(EXAMPLES["3"].partition("\nrun = ")[0]) <= 15


def lines_of(code: str) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for line in code.splitlines())


@pytest.mark.slow
def test_near_duplicates_in_three_lines(workspace: Path) -> None:
    assert ran("1", workspace) == "['Name a river in Peru.', 'Boil an egg.']\n"


def test_rows_cleaned(workspace: Path) -> None:
    counts, *reasons = ran("2", workspace).splitlines()
    assert "too long" in counts
    assert "own filter" in counts
    assert len(reasons) == 3
    assert (workspace / "clean.parquet").is_file()


@pytest.mark.vllm
@pytest.mark.slow
def test_an_own_method_and_what_is_in_its_run(asking: Path) -> None:
    rows = ran("3", asking).splitlines()
    assert len(rows) >= 20
    assert all(row.count(" | ") == 2 for row in rows)
    shown = ran("5", asking)
    assert "num_rows: 2" in shown
    assert "instruction" in shown


@pytest.mark.exhaustive
@pytest.mark.vllm
@pytest.mark.slow
def test_generate_train_evaluate(asking: Path) -> None:
    """The teacher is asked where it runs; base and student have a vLLM of their own."""
    shown = ran("4", asking)
    assert "kept rows: 6" in shown
    for stage in ("generate", "dataset", "train", "evaluate"):
        assert f"{stage} finished" in shown
    assert "report not started" in shown
    assert "'loss'" in shown
