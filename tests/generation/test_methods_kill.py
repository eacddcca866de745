"""SIGKILL at random moments in runs of every method beside Alpaca's: nothing lost, nothing doubled,
the same bytes."""

import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from localinstruct.store.run import open_run, read_run
from tests.generation.test_kill import export
from tests.generation.test_methods_repeat import OPTIONS, Anybody, play


def killed_after(path: Path, method: str, delay: float) -> bool:
    """Start and SIGKILL `delay` seconds after it began to work; whether the kill struck."""
    command = [sys.executable, "-m", "tests.support.killable_methods", str(path), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        timer = threading.Timer(delay, process.send_signal, [signal.SIGKILL])
        timer.start()
        code = process.wait()
        timer.cancel()
    assert code in (0, -signal.SIGKILL)
    return code != 0


QUICK = {"self_instruct", "grounded"}
"""Methods killed in `make test`: one whose prompts are texts, one that asks in chats and forms."""
EVERY = [
    pytest.param(name, marks=() if name in QUICK else (pytest.mark.exhaustive,)) for name in OPTIONS
]


@pytest.mark.slow
@pytest.mark.parametrize("method", EVERY)
def test_kills_lose_nothing(method: str, tmp_path: Path) -> None:
    path, rng, rows, struck = tmp_path / "killed", Random(method), list[str](), 0
    for _ in range(3):
        struck += killed_after(path, method, rng.uniform(0.02, 0.25))
        with read_run(path) as run:
            now = [row.id for row in run.kept()]
        assert now[: len(rows)] == rows
        rows = now
    with open_run(path) as run:
        rows = play(run, method, Anybody(delay=0.0))
    assert struck > 0
    assert len(rows) >= 40
    assert len(set(rows)) == len(rows)
    if method != "magpie":  # its scripted teacher says something else whenever it is asked the same
        with open_run(tmp_path / "whole") as run:
            play(run, method, Anybody(delay=0.0))
        assert export(path) == export(tmp_path / "whole")
