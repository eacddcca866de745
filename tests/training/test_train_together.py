"""Two processes that train together, as a person starts them: Ctrl-C, SIGTERM, a process killed;
then on to the same end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from localinstruct import pipeline
from localinstruct.dataset import stage as dataset_stage
from localinstruct.recipe import Recipe
from localinstruct.store.durable import write_text
from localinstruct.store.run import open_run
from localinstruct.training import checkpoints, metrics
from tests.support.tiny_student import Recorded, byte_level, keep, recipe_data, rows, save_student
from tests.training.test_train import assert_same_training

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]
STEPS = 50
ENTRY = "tiny:\n  path: {}\n  roles: [student]\n  context: 256\n  licence: Apache-2.0\n"


def make(workspace: Path, name: str, **train: str) -> Path:
    """A run whose dataset is done."""
    recipe = Recipe.model_validate(
        recipe_data(train={"devices": 2, "epochs": STEPS // 5, "save_steps": 4} | train)
    )
    path = workspace / "runs" / name
    with open_run(path) as run:
        keep(run, rows(44))
        pipeline.settle_recipe(run, recipe, workspace)
        for stage in pipeline.STAGES[:2]:
            run.start_stage(stage.name, pipeline.inputs_of(stage, recipe, run))
            result = (
                dataset_stage.run(recipe, run, Recorded(), workspace=workspace)
                if stage.name == "dataset"
                else {}
            )
            run.finish_stage(stage.name, result)
    return path


def start(path: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "localinstruct", "train", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=path.parents[1],
        start_new_session=True,
    )


def children(path: Path) -> list[int]:
    """Pids of the processes that train this run, by rank."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
            if str(path / "train" / "job.json").encode() in words:
                facts = dict(
                    line.split(b"=", 1)
                    for line in (place / "environ").read_bytes().split(b"\0")
                    if b"=" in line
                )
                found[int(facts[b"RANK"])] = int(place.name)
        except OSError:
            continue
    return [found[rank] for rank in sorted(found)]


def step_of(path: Path) -> int:
    lines = metrics.read(path / "train" / "metrics.jsonl")
    return max((line["step"] for line in lines), default=0)


@pytest.fixture
def parents() -> Iterator[list["subprocess.Popen[str]"]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        if one.poll() is None:
            one.kill()
        one.communicate()


def training(
    path: Path, steps: int, parents: list["subprocess.Popen[str]"]
) -> "subprocess.Popen[str]":
    """A training that has come `steps` further."""
    parent, before, until = start(path), step_of(path), time.monotonic() + 240
    parents.append(parent)
    while step_of(path) < before + steps:
        assert parent.poll() is None, parent.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.02)
    return parent


def test_interrupted_and_killed_two_processes_end_and_go_on(
    tmp_path: Path, parents: list["subprocess.Popen[str]"]
) -> None:
    folder = save_student(tmp_path / "model", byte_level())
    write_text(tmp_path / "models.yaml", ENTRY.format(folder))
    calm, torn = make(tmp_path, "calm"), make(tmp_path, "torn")
    undisturbed = start(calm)
    parents.append(undisturbed)
    assert undisturbed.wait(300) == 0, undisturbed.communicate()[0]
    for number in (signal.SIGINT, signal.SIGTERM):
        parent = training(torn, 6, parents)
        assert len(children(torn)) == 2
        began = time.monotonic()
        parent.send_signal(number)
        said = parent.communicate(timeout=240)[0]  # alone on a machine, less than 5
        took = time.monotonic() - began
        print(f"{number.name}: {took:.1f} s, step {step_of(torn)}")
        assert parent.returncode == 130, said
        assert "Training stopped; checkpoint of step" in said
        assert "Continue with: localinstruct " in said
        assert children(torn) == []
        assert checkpoints.completed(torn / "train")[0][0] == step_of(torn), (
            "the step they were at is kept"
        )
    parent = training(torn, 6, parents)
    os.kill(children(torn)[1], signal.SIGKILL)
    said = parent.communicate(timeout=240)[0]
    assert parent.returncode == 4, said
    assert "Training process 2 of 2 was ended by SIGKILL; checkpoint of step" in said
    assert children(torn) == []
    assert not (torn / "adapter").exists()
    last = start(torn)
    parents.append(last)
    assert last.wait(300) == 0, last.communicate()[0]
    assert_same_training(torn, calm)
    assert step_of(torn) == STEPS
