"""Runs with a real, tiny, trained student in a workspace of their own: what exports, serving and chats are tested on."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from localinstruct.recipe import Recipe
from localinstruct.run import open_run
from localinstruct.stages import dataset, student, train
from tests.tiny_student import Recorded, byte_level, keep, recipe_data, rows, save_student

CPU = student.Device("cpu", "float32", "test")


def workspace(folder: Path, tokenizer: Any = None, dtype: str = "float32", **entry: Any) -> Path:
    """A folder with models.yaml and the student `tiny`."""
    model = save_student(folder / "tiny", tokenizer or byte_level())
    if dtype != "float32":
        in_precision(model, dtype)
    spec = {"path": "tiny", "roles": ["student"], "context": 256, "licence": "Apache-2.0"}
    (folder / "models.yaml").write_text(yaml.safe_dump({"tiny": spec | entry}), "utf-8")
    return folder


def in_precision(model: Path, dtype: str) -> None:
    """Write a model directory again in another precision."""
    import torch
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).save_pretrained(model)


def train_tiny(place: Path, name: str = "first", **sections: Any) -> Path:
    """A run in `place`/runs whose tiny student is trained; as the pipeline would leave it after train."""
    recipe = Recipe.model_validate(recipe_data(**sections))
    with pytest.MonkeyPatch.context() as patch, open_run(place / "runs" / name) as run:
        patch.setattr(student, "choose_device", lambda: CPU)
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(place))
        keep(run, rows(24))
        dataset.run(recipe, run, Recorded(), workspace=place)
        train.train(recipe, run, Recorded(), place / "tiny")
        return run.path
