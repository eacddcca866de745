"""A training killed again and again ends with the loss curve of one that nobody touched.

On a student of a few thousand random parameters, and on the nano student that ships. `make test`
kills once, `make test-all` twice; TRAIN_KILLS=20 kills more often, TRAIN_KILLS_SEED draws other
moments.
"""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from localinstruct.dataset import stage
from localinstruct.models import catalog
from localinstruct.recipe import Recipe
from localinstruct.store.run import open_run
from localinstruct.training import checkpoints, metrics, student
from localinstruct.training import stage as training_stage
from tests.support.killable_training import SETTINGS
from tests.support.tiny_student import Recorded, byte_level, keep, recipe_data, rows, save_student
from tests.training.test_train import assert_same_training

KILLS, SEED = (
    int(os.environ.get(f"TRAIN_KILLS{which}", usual))
    for which, usual in (("", "2"), ("_SEED", "7"))
)
ROOT = Path(__file__).parents[2]


def start(path: Path, folder: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.support.killable_training", str(path), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def make(path: Path) -> Path:
    recipe = Recipe.model_validate(recipe_data(train=SETTINGS))
    with open_run(path) as run:
        keep(run, rows(44))
        stage.run(recipe, run, Recorded(), workspace=path)
    return path


def kill_after(path: Path, folder: Path, word: str, times: int, delay: float) -> str:
    """Kill the training `delay` seconds after it has said `word` (or any step) so many times; the
    last word it said."""
    last = ""
    with start(path, folder) as child:
        assert child.stdout
        for line in child.stdout:
            last = line.strip()
            times -= last == word or (word == "step" and last.isdigit())
            if times == 0 and word:
                timer = threading.Timer(delay, child.send_signal, [signal.SIGKILL])
                timer.start()
                word = ""
        code = child.wait()
    assert code in (-signal.SIGKILL, 0)
    return last if code else "done"


def tiny(folder: Path) -> Path:
    return save_student(folder, byte_level())


def nano(_: Path) -> Path:
    return catalog.checked(catalog.load_catalog(ROOT).get("nano-student"))


def undisturbed(path: Path, folder: Path) -> None:
    """The training of `killable_training`, in this process and to its end."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student, "choose_device", lambda: student.Device("cpu", "float32", "test"))
        recipe = Recipe.model_validate(recipe_data(train=SETTINGS))
        training_stage.train_in_this_process(recipe, path, Recorded(), folder, None)
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of", "kills_wanted"),
    [
        (tiny, 1),
        pytest.param(tiny, KILLS, marks=pytest.mark.exhaustive),
        pytest.param(nano, KILLS, marks=pytest.mark.exhaustive),
    ],
)
def test_a_killed_training_ends_with_the_same_curve(
    tmp_path: Path, of: Callable[[Path], Path], kills_wanted: int
) -> None:
    folder = of(tmp_path / "student")
    calm, torn = make(tmp_path / "calm"), make(tmp_path / "torn")
    undisturbed(calm, folder)
    # the last step; the held-out loss stands behind it
    line = metrics.read(calm / "train" / "metrics.jsonl")[-2]
    draw, pace, kills, incomplete = random.Random(SEED), line["seconds"] / line["step"], 0, 0
    reached: set[int] = set()
    while kills < kills_wanted:
        word = "saving" if kills % 2 else "step"
        delay = draw.uniform(0, 0.004) if word == "saving" else draw.uniform(0, pace)
        last = kill_after(torn, folder, word, draw.randint(1, 3) if kills else 2, delay)
        kills += 1
        newest = max(
            (torn / "train").glob("checkpoint-*"),
            key=lambda found: int(found.name.split("-")[1]),
            default=None,
        )
        incomplete += newest is not None and not (newest / "complete.json").is_file()
        reached |= {step for step, _ in checkpoints.completed(torn / "train")[:1]}
        assert last != "done", "it ended before it was killed"
        assert not (torn / "adapter").exists()
    undisturbed(torn, folder)
    assert_same_training(torn, calm)
    assert kills == kills_wanted
    print(
        f"{kills} kills, {incomplete} of them in the middle of saving; resumed from steps "
        f"{sorted(reached)}"
    )
    assert len(reached) >= kills_wanted // 2, (
        "kills that always strike the first step show no resuming"
    )
    assert incomplete >= kills_wanted // 5
