"""--sealed on every command that touches data, and `sealed: true` for commands that only look at a
run."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer

from localinstruct.cli.app import app
from localinstruct.recipe import Recipe, load_recipe
from localinstruct.records import Instance, Kept
from localinstruct.store.run import open_run
from tests.support.sealing import ROOT, needs_namespaces, python

EXCEPT = {
    "init": "copies recipes, seeds and models.yaml that came with the program",
    "doctor": "looks at the machine and the environment",
    "models list": "shows models.yaml and whether folders are there",
    "judge list": "shows rubrics",
    "open": "copies bytes from a port to the unix socket of a sealed page, and reads none",
    "recipes list": "shows recipes and whether folders are there",
    "bundle keygen": "writes random bytes",
    "bundle programs": "writes programs that came with it",
}
"""Command -> why it may do without: it reads no rows, prompts, weights or results."""


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command with the names of its parameters."""
    for one in group.registered_commands:
        assert one.callback is not None
        name = one.name or one.callback.__name__.strip("_").replace("_", "-")
        yield f"{before}{name}", set(inspect.signature(one.callback).parameters)
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{before}{inner.name} ")


def test_every_command_that_touches_data_can_be_sealed() -> None:
    found = dict(commands(app))
    assert len(found) >= 23
    assert {name for name, parameters in found.items() if "sealed" not in parameters} == set(EXCEPT)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: `open`, and `closed`, whose recipe says `sealed: true`."""
    folder = tmp_path_factory.mktemp("lab")
    recipe = load_recipe(ROOT / "recipes" / "nano.yaml")
    for name, sealed in (("open", False), ("closed", True)):
        chosen: Recipe = recipe.model_copy(update={"sealed": sealed})
        with open_run(folder / "runs" / name) as run:
            run.put("recipe", chosen.to_yaml())
            run.put("workspace", str(ROOT))
            run.commit_episode(
                0, [Kept(Instance("Say a.", output="a"), (), np.ones(2, np.float32))], [], 1
            )
    return folder


def told(folder: Path, *words: str, before: str = "") -> tuple[dict[str, object], str]:
    """How the process that ran this command stood at its end, and what it said."""
    code = f"""
import atexit, json, os, sys
os.chdir({str(folder)!r})
from localinstruct.cli import app
from localinstruct.offline import seal
{before}
sys.argv = ["localinstruct", *{list(words)!r}]
try: app.main()
except SystemExit as end:
    print("STATE", json.dumps({{"sealed": seal.status().sealed, "code": end.code}}))
"""
    done = python(code)
    said = done.stdout + done.stderr
    [state] = [line for line in done.stdout.splitlines() if line.startswith("STATE ")] or [
        f"STATE {json.dumps({'x': said})}"
    ]
    return json.loads(state.removeprefix("STATE ")), said


LOOKS = (
    ("show", "{run}"),
    ("export", "{run}", "--format", "jsonl", "--output", "rows.jsonl"),
)


@needs_namespaces
@pytest.mark.parametrize("words", LOOKS, ids=" ".join)
def test_looking_at_a_run_is_sealed_when_asked_or_when_its_recipe_says_so(
    words: tuple[str, ...], made: Path
) -> None:
    asked, said = told(made, *(word.format(run="open") for word in words), "--sealed")
    assert (asked["sealed"], asked["code"]) == (True, 0), said
    assert "sealed: own namespaces" in said
    by_recipe, said = told(made, *(word.format(run="closed") for word in words))
    assert (by_recipe["sealed"], by_recipe["code"]) == (True, 0), said
    neither, said = told(made, *(word.format(run="open") for word in words))
    assert (neither["sealed"], neither["code"]) == (False, 0), said


@needs_namespaces
@pytest.mark.parametrize(
    "words",
    [
        ("models", "verify", "nano-teacher"),
        ("bundle", "verify", "nothing"),
        ("bundle", "pack", "out", "--python", "3.11"),
        ("verify-report", "nothing.json"),
        ("chat", "open", "--prompt", "Hi"),
        ("report", "open"),
    ],
    ids=" ".join,
)
def test_other_commands_are_sealed_before_they_work(words: tuple[str, ...], made: Path) -> None:
    state, said = told(made, *words, "--sealed")
    assert state["sealed"] is True, said
    assert "sealed: own namespaces" in said
    assert "Traceback" not in said


@needs_namespaces
def test_packing_with_pip_is_refused_inside_the_seal(made: Path) -> None:
    state, said = told(made, "bundle", "pack", "out", "--python", "3.11", "--sealed")
    assert state["code"] == 2
    assert "--wheels DIR" in said


def test_degraded_is_told_in_full_and_never_called_sealed(made: Path) -> None:
    """Where only the socketless backend is left, `show` may go on, says so, and generate stops."""
    last = (
        "from localinstruct.offline import kernel, backends; backends.BACKENDS = "
        "backends.BACKENDS[-1:]; kernel.open_doors = lambda: []"
    )
    state, said = told(made, "show", "open", "--sealed", before=last)
    assert (state["sealed"], state["code"]) == (False, 0), said
    lines = [line.strip() for line in said.splitlines()]
    assert "not sealed: no internet sockets (seccomp, Landlock)" in lines
    assert [line for line in lines if line.startswith("sealed")] == []
    assert [line for line in lines if line.startswith("covers: every socket but unix sockets")]
    assert [line for line in lines if line.startswith("does not cover: ")]
    state, said = told(made, "generate", "nano", "--sealed", before=last)
    assert (state["sealed"], state["code"]) == (False, 6), said
