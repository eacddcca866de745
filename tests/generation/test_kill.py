"""SIGKILL at random moments: nothing announced is lost, nothing is doubled, the export is the same
to the byte."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from random import Random

import pytest

from localinstruct.formats import write
from localinstruct.store.run import read_run

KILLS = int(os.environ.get("LOCALINSTRUCT_KILLS", "50"))
TARGET = 400


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.killable", str(path), str(TARGET)],
        stdout=subprocess.PIPE,
        text=True,
    )


def export(path: Path) -> bytes:
    with read_run(path) as run:
        write(run.kept(), "jsonl", path / "export.jsonl")
    return (path / "export.jsonl").read_bytes()


def run_and_kill(path: Path, commits: int, delay: float) -> tuple[int, bool]:
    """Start, SIGKILL `delay` seconds after so many commits (0: after it began to work; on a slow
    machine too a kill comes in the middle); (rows it had announced, whether the kill struck)."""
    announced: list[int] = []
    with start(path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        timer = threading.Timer(delay, process.send_signal, [signal.SIGKILL])
        if commits == 0:
            timer.start()
        for line in process.stdout:
            announced.append(int(line))
            if len(announced) == commits:
                timer.start()
        code = process.wait()
        timer.cancel()
    assert code in (0, -signal.SIGKILL)
    return (announced[-1] if announced else 0), code != 0


@pytest.mark.exhaustive
@pytest.mark.slow
def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    reference = tmp_path / "reference"
    assert run_and_kill(reference, commits=-1, delay=0)[1] is False
    expected = export(reference)
    assert expected.count(b"\n") >= TARGET
    rng, killed, struck_late, number = Random(0), 0, 0, 0
    while killed < KILLS:
        path, finished = tmp_path / f"run-{number}", False
        while not finished:
            announced, struck = run_and_kill(path, rng.randrange(8), rng.uniform(0.0, 0.1))
            finished = not struck
            killed += struck
            struck_late += struck and announced > 0
            with read_run(path) as run:
                ids = [row.id for row in run.kept()]
                assert len(ids) >= announced
                assert len(ids) == len(set(ids))
        assert export(path) == expected
        number += 1
    assert struck_late > KILLS / 4, (
        "most kills came before any row was kept: the test would show little"
    )
