"""A training in a process of its own, to be killed: `python -m tests.support.killable_training RUN
STUDENT`.

Each step is announced on stdout when it is done, and "saving" when a checkpoint is about to be
written.
"""

import sys
from pathlib import Path

from localinstruct.recipe import Recipe
from localinstruct.training import checkpoints, stage, student
from tests.support.tiny_student import recipe_data

SETTINGS = {"epochs": 8, "save_steps": 1}


class Announced:
    """A Progress that says the number of each step that is done."""

    def say(self, text: str) -> None:
        pass

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        print(int(done), flush=True)


def main(path: Path, folder: Path) -> None:
    import torch

    torch.set_num_threads(1)
    student.choose_device = lambda: student.Device("cpu", "float32", "test")
    mark_complete = checkpoints.mark_complete

    def announced(*given: object) -> None:
        print("saving", flush=True)  # transformers has written its files, complete.json is to come
        mark_complete(*given)  # type: ignore[arg-type]

    checkpoints.mark_complete = announced  # type: ignore[assignment]
    recipe = Recipe.model_validate(recipe_data(train=SETTINGS))
    stage.train_in_this_process(recipe, path, Announced(), folder, None)
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
