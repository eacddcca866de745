"""Training modes: an adapter (lora), one on 4-bit weights (qlora), all weights (full).

The student is loaded and saved for its mode here. Saved files are complete or not there: written
beside, synced, renamed. Not covered: merging an adapter into its base.
"""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.recipe.train import Train
from localinstruct.store.durable import sync_tree
from localinstruct.training import student
from localinstruct.training.setup import Setup

if TYPE_CHECKING:
    from peft import LoraConfig, PeftModel
    from torch import Tensor
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase


def kind(section: Train) -> student.Kind:
    """The one of `student.ARTEFACTS` that this training makes."""
    return "model" if section.mode == "full" else "adapter"


def load(section: Train, folder: Path, setup: Setup) -> "PreTrainedModel":
    """Load the student for its mode: 4-bit for qlora, float32 where all weights are learnt."""
    device = setup.device
    if section.sharding == "fsdp" and not setup.padding_free:
        # each GPU gets its part of it later; glued rows are tried out on the whole (`refuse_leak`)
        device = replace(device, name="cpu")
    options: dict[str, object] = {"attn_implementation": setup.attention}
    if section.mode == "qlora":
        options["quantization_config"] = quantization(device.dtype)
        options["device_map"] = {"": device.name}
    elif section.mode == "full":
        # 16-bit weights lose small updates; the steps compute in setup.device.dtype
        device = student.Device(device.name, "float32", device.reason)
    return student.load_base(folder, device, **options)


def quantization(dtype: str) -> "BitsAndBytesConfig":
    """4-bit NormalFloat, doubly quantised constants (Dettmers et al. 2023, arXiv 2305.14314)."""
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


def adapter(section: Train) -> "LoraConfig | None":
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


def write(
    model: "PreTrainedModel | PeftModel",
    tokenizer: "PreTrainedTokenizerBase",
    section: Train,
    folder: Path,
    state: "dict[str, Tensor] | None" = None,
) -> None:
    """Write what was learnt into `folder`, synced: an adapter, or a model with its tokenizer.

    `state` are its weights where the model's own lie in parts on several devices.
    """
    shutil.rmtree(folder, ignore_errors=True)
    if section.mode == "full":
        model.save_pretrained(str(folder), state_dict=state)
        tokenizer.save_pretrained(str(folder))
    else:  # no embedding layers: PEFT would look the base up to see whether they changed
        model.save_pretrained(str(folder), save_embedding_layers=False, state_dict=state)
        (folder / "README.md").unlink(missing_ok=True)
    sync_tree(folder)


def move_into_place(fresh: Path, folder: Path) -> None:
    """Rename a written folder to its place, instead of the one that was there."""
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def weights(folder: Path) -> list[Path]:
    """The files of learnt weights, in order."""
    return sorted(folder.glob("*.safetensors"))
