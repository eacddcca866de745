"""Runs with a real, tiny, trained student in a workspace of their own: what exports, serving and
chats are tested on."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from localinstruct.dataset import stage as dataset_stage
from localinstruct.recipe import Recipe
from localinstruct.store.run import open_run
from localinstruct.training import stage as training_stage
from localinstruct.training import student
from tests.support.tiny_student import (
    ROLE_TEMPLATE,
    Recorded,
    byte_level,
    keep,
    recipe_data,
    rows,
    save_student,
)

ROOT = Path(__file__).parents[2]
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


def train_tiny(place: Path, name: str = "first", model: str = "tiny", **sections: Any) -> Path:
    """A run in `place`/runs whose student `model` is trained; as the pipeline would leave it after
    train."""
    recipe = Recipe.model_validate(recipe_data(models={"student": model}, **sections))
    with pytest.MonkeyPatch.context() as patch, open_run(place / "runs" / name) as run:
        patch.setattr(student, "choose_device", lambda: CPU)
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(place))
        keep(run, rows(24))
        dataset_stage.run(recipe, run, Recorded(), workspace=place)
        training_stage.train(recipe, run, Recorded(), place / model)
        return run.path


def train_nano(place: Path, name: str = "first", template: str = "alpaca") -> Path:
    """A run in `place`/runs of the nano student, quickly trained on tiny rows, for a real vLLM;
    `chat` gives it a template."""
    model = place / "nano"
    shutil.copytree(ROOT / "localinstruct" / "nano" / "weights" / "student", model)
    if template == "chat":
        (model / "chat_template.jinja").write_text(ROLE_TEMPLATE, "utf-8")
    spec = {
        "path": "nano",
        "roles": ["student"],
        "context": 1024,
        "licence": "Apache-2.0",
        "chat": template == "chat",
    }
    (place / "models.yaml").write_text(yaml.safe_dump({"nano": spec}), "utf-8")
    train_section = {
        "template": template,
        "lora": {"r": 8, "alpha": 16, "dropout": 0.0},
        "max_length": 256,
        "epochs": 4,
    }
    serve = {"max_num_seqs": 16, "max_model_len": 512}
    return train_tiny(
        place, name, "nano", train=train_section, serve=serve, evaluate={"max_tokens": 24}
    )
