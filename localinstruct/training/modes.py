"""How much of the student is learnt: an adapter, an adapter on 4-bit weights, or all of it; loading
and saving each.

What is saved is complete or not there: written beside, synced, renamed. Not covered: merging an
adapter into its base.
"""

import shutil
from pathlib import Path
from typing import Any

from localinstruct.recipe.train import Train
from localinstruct.store.durable import sync_tree
from localinstruct.training import student
from localinstruct.training.choices import Setup


def kind(section: Train) -> student.Kind:
    """Which of `student.ARTEFACTS` this training makes."""
    return "model" if section.mode == "full" else "adapter"


def load(section: Train, folder: Path, setup: Setup) -> Any:
    """Load the student, ready for its mode: 4-bit for qlora, float32 where all weights are
    learnt."""
    how: dict[str, Any] = {"attn_implementation": setup.attention}
    device = setup.device
    if section.mode == "qlora":
        how |= {"quantization_config": quantization(device.dtype), "device_map": {"": device.name}}
    elif (
        section.mode == "full"
    ):  # 16-bit weights lose small updates; the steps compute in setup.device.dtype
        device = student.Device(device.name, "float32", device.reason)
    return student.load_base(folder, device, **how)


def quantization(dtype: str) -> Any:
    """4-bit NormalFloat with doubly quantised constants (Dettmers et al. 2023, arXiv
    2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def adapter(section: Train) -> Any:
    """PEFT's description of the adapter; None where all weights are learnt."""
    if section.mode == "full":
        return None
    from peft import LoraConfig

    lora = section.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        bias="none",
        task_type="CAUSAL_LM",
        use_dora=lora.use_dora,
        use_rslora=lora.use_rslora,
    )


def write(model: Any, tokenizer: Any, section: Train, folder: Path) -> None:
    """Write what was learnt into `folder`, synced: an adapter, or a model with its tokenizer that
    loads by itself."""
    shutil.rmtree(folder, ignore_errors=True)
    if section.mode == "full":
        model.save_pretrained(str(folder))
        tokenizer.save_pretrained(str(folder))
    else:  # no embedding layers: PEFT would look the base up to see whether they changed
        model.save_pretrained(str(folder), save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
    sync_tree(folder)


def put(fresh: Path, folder: Path) -> None:
    """Move a written folder to its place, instead of what was there."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def weights(folder: Path) -> list[Path]:
    """The files of learnt weights, in order."""
    return sorted(folder.glob("*.safetensors"))
