"""The adapter as PEFT and vLLM load it: its base named, with tokenizer and chat template."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import DataError
from localinstruct.export.chat_template import give_chat_template
from localinstruct.export.request import ExportRequest, ExportResult, weight_bytes
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.training.merging import end_with
from localinstruct.training.student import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

CONFIG = "adapter_config.json"
NEXT = (
    'in Python: AutoPeftModelForCausalLM.from_pretrained("{}"), '
    "or vLLM: --enable-lora --lora-modules student={}"
)


def require_adapter(request: ExportRequest) -> None:
    """DataError for a student that is a whole model."""
    if request.trained.kind != "adapter":
        raise DataError(
            f"{request.trained.folder}: the student is a whole model (train.mode=full); "
            "there is no adapter.",
            "Use --format merged",
        )


def size(request: ExportRequest) -> int:
    """Bytes of the adapter's weights."""
    return weight_bytes(request.trained.folder)


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Copy the adapter, name its base in its config, add the tokenizer with the chat template."""
    base = request.base_folder()
    shutil.copytree(request.trained.folder, folder, dirs_exist_ok=True)
    name = request.base.source or str(base)
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    write_text(folder / CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")
    tokenizer = load_tokenizer(base, request.base.template)
    give_chat_template(request.template, tokenizer)
    tokenizer.save_pretrained(str(folder))
    _write_ends(base, tokenizer, folder)
    return ExportResult((("base", f"{request.base.name} ({name}); load that first"),), NEXT)


def _write_ends(base: Path, tokenizer: "PreTrainedTokenizerBase", folder: Path) -> None:
    """Write the base's generation_config.json with the tokens that the student ends with."""
    from transformers import GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(str(base), local_files_only=True)
    except OSError:
        generation = GenerationConfig()
    end_with(generation, tokenizer)
    generation.save_pretrained(str(folder))
