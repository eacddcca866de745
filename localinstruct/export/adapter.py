"""The adapter as PEFT, vLLM and others load it: with its base named, the tokenizer, and the
template it was trained with."""

import json
import shutil
from pathlib import Path

from localinstruct.errors import DataError
from localinstruct.export.chat_template import chat_template
from localinstruct.export.request import Exported, ExportRequest, weight_bytes
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.training.student import load_tokenizer

CONFIG = "adapter_config.json"


def require_adapter(wanted: ExportRequest) -> None:
    """DataError for a student that is a whole model."""
    if wanted.trained.kind != "adapter":
        raise DataError(
            f"{wanted.trained.folder}: the student is a whole model (train.mode=full); there is "
            "no adapter.",
            "Use --format merged",
        )


def size(wanted: ExportRequest) -> int:
    """Bytes."""
    return weight_bytes(wanted.trained.folder)


def write(wanted: ExportRequest, folder: Path, progress: Progress) -> Exported:
    """Copy the adapter, name its base in its configuration, and add the tokenizer with the chat
    template."""
    base = wanted.base_folder()
    shutil.copytree(wanted.trained.folder, folder, dirs_exist_ok=True)
    named = wanted.base.source or str(base)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8")) | {
        "base_model_name_or_path": named
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer = load_tokenizer(base)
    tokenizer.chat_template = chat_template(wanted.template, tokenizer)
    tokenizer.save_pretrained(str(folder))
    return Exported(
        (("base", f"{wanted.base.name} ({named}); load that first"),),
        'in Python: AutoPeftModelForCausalLM.from_pretrained("{}"), or vLLM: --enable-lora '
        "--lora-modules student={}",
    )
