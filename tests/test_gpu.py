"""What only a GPU can show: the demo on it, and its memory free again when each stage has ended.
Run: make test-gpu."""

import json
import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from localinstruct.machine import gpus
from localinstruct.records import Instance
from localinstruct.training import metrics
from tests.test_real import localinstruct

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="no NVIDIA GPU on this machine"),
]


def used_mib() -> int:
    shown = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(int(line) for line in shown.stdout.split())


def test_the_demo_runs_on_the_gpu_and_gives_its_memory_back(tmp_path: Path) -> None:
    assert gpus()
    before = used_mib()
    for stage in ("generate", "dataset", "train", "evaluate"):
        shown = localinstruct(tmp_path, stage, "nano")
        assert shown.returncode == 0, shown.stderr
        assert used_mib() <= before + 200, stage
    results = json.loads(localinstruct(tmp_path, "show", "nano", "--json").stdout)["stages"]
    assert results["train"]["result"]["device"].startswith("cuda")
    assert results["generate"]["result"]["kept"] >= 300


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ((), ("precision", "bfloat16")),
        (("train.mode=qlora",), ("mode", "qlora")),
        (("train.mode=full",), ("mode", "full")),
        (("train.batching=padding_free",), ("batching", "padding_free")),
        (("train.precision=fp16",), ("precision", "float16")),
    ],
)
def test_the_student_trains_in_every_mode_of_a_gpu(
    tmp_path: Path, settings: tuple[str, ...], value: tuple[str, str]
) -> None:
    """On rows of the nano grammar; the held-out loss must fall, and the mode be the one asked
    for."""
    from localinstruct.dataset import stage as dataset_stage
    from localinstruct.nano.grammar import make_task
    from localinstruct.recipe import find_recipe, load_recipe, packaged_workspace
    from localinstruct.store.run import open_run
    from localinstruct.training import stage as training_stage
    from localinstruct.training.setup import installed
    from tests.support.tiny_student import Recorded, keep

    if "train.mode=qlora" in settings and not installed("bitsandbytes"):
        pytest.skip("bitsandbytes is not installed")
    draw = Random(1)
    rows: dict[tuple[str, str], Instance] = {}
    while len(rows) < 200:
        task = make_task(draw)
        rows[task.instruction, task.input] = Instance(task.instruction, task.input, task.output)
    recipe = load_recipe(find_recipe("nano"), ("train.epochs=2", *settings))
    with open_run(tmp_path / "run") as run:
        keep(run, list(rows.values()))
        dataset_stage.run(recipe, run, Recorded(), workspace=packaged_workspace())
        result = training_stage.run(recipe, run, Recorded(), workspace=packaged_workspace())
        lines = metrics.read(run.path / "train" / "metrics.jsonl")
    before = next(line["held_out_loss"] for line in lines if "held_out_loss" in line)
    assert result["held_out_loss"] < before / 2
    assert result["device"].startswith("cuda")
    assert value in {(choice["setting"], choice["value"]) for choice in result["choices"]}


@pytest.mark.parametrize("package", ["flash", "liger"])
def test_what_is_installed_is_used(package: str) -> None:
    from localinstruct.recipe.train import Train
    from localinstruct.training import student
    from localinstruct.training.setup import FLASH, choose_setup, installed

    if not installed(package):
        pytest.skip(f"{package} is not installed")
    setup = choose_setup(Train(), student.choose_device())
    assert setup.liger if package == "liger" else setup.attention == FLASH
