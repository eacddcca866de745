"""The command starts fast, imports nothing heavy, and says so when a signal ends it."""

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer

from localinstruct import __version__
from localinstruct.cli.app import app

PROBE = """
import sys
from localinstruct.cli.app import main
sys.argv = ["localinstruct", %r]
try:
    main()
except SystemExit:
    pass
heavy = {"torch", "vllm", "transformers", "trl", "peft", "datasets", "numpy", "openai"}
heavy.add("sentence_transformers")
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


def test_who_only_looks_at_a_run_does_not_wait_for_the_rules() -> None:
    """Their expressions take long to compile."""
    code = (
        "import sys; from localinstruct.cli import app, display; from localinstruct import pipeline"
    )
    code += "; print('localinstruct.curate.rules' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


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
    command = [sys.executable, "-c", INTERRUPTED % name]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "stopped while no run was open: what was counted as kept is kept.\n"


def commands(group: typer.Typer, path: str = "") -> Iterator[tuple[str, str]]:
    """(name, help) of every command."""
    for one in group.registered_commands:
        assert one.callback
        yield f"{path}{one.name or one.callback.__name__}", one.help or ""
    for inner in group.registered_groups:
        assert inner.typer_instance
        yield from commands(inner.typer_instance, f"{path}{inner.name} ")


def test_help_breaks_its_lines_where_the_terminal_ends() -> None:
    every = dict(commands(app))
    assert {"clean", "watch", "runs remove"} <= every.keys()
    assert [name for name, text in every.items() if not text] == []
    broken = [name for name, text in every.items() if "\n" in text.replace("\n\n", "")]
    assert broken == []
