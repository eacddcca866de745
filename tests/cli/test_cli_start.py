"""The command starts fast, imports nothing heavy, and says so when a signal ends it."""

import resource
import signal
import subprocess
import sys

import pytest

from localinstruct import __version__

PROBE = """
import sys
from localinstruct.cli.app import main
sys.argv = ["localinstruct", %r]
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "vllm", "transformers", "trl", "peft", "datasets", "sentence_transformers"}
heavy |= {"numpy", "openai"}
print("LOADED", sorted(heavy & set(sys.modules)))
"""


def test_help_imports_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROBE % "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "LOADED []" in shown
    assert "generate" in shown


def test_version_imports_nothing_heavy() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", PROBE % "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert shown.splitlines() == [f"localinstruct {__version__}", "LOADED []"]


def cpu_seconds(*words: str) -> float:
    """User and system time of one Python."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_little_cpu_time() -> None:
    """Measured against what it is built of, in turn, because a busy machine computes slower."""
    parts = "import pydantic, rich.console, typer, yaml"
    turns = [
        (cpu_seconds("-m", "localinstruct", "--help"), cpu_seconds("-c", parts)) for _ in "123"
    ]
    ours, theirs = (min(column) for column in zip(*turns, strict=True))
    assert ours < 4 * theirs, turns


INTERRUPTED = """
import os, signal, sys
from localinstruct.cli import app
@app.app.command()
def outside() -> None:
    os.kill(os.getpid(), signal.%s)
    signal.pause()
sys.argv = ["localinstruct", "outside"]
app.main()
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_outside_of_a_run_ends_with_a_sentence(name: str) -> None:
    ignored = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a background shell's children ignore Ctrl-C
    try:
        ended = subprocess.run(
            [sys.executable, "-c", INTERRUPTED % name], capture_output=True, text=True
        )
    finally:
        signal.signal(signal.SIGINT, ignored)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "stopped while no run was open: what was counted as kept is kept.\n"
