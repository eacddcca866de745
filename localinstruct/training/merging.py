"""An adapter added to its base: a model of its own.

Exports need it, and a vLLM that cannot serve this adapter. The weights get the base's own
precision. Not covered: whether the sum computes what base and adapter do, which exports check.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.store.durable import sha256, sync_tree, write_text
from localinstruct.store.integrity import require_space
from localinstruct.templates.rendered import end_ids
from localinstruct.training import modes, student

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

FOLDER, MADE_FROM = "merged", "made_from"
"""Folder of the merged student in a run, and the file in it with the digest of the adapter."""


def merged_in_run(run_path: Path, base: Path, trained: student.Artefact) -> Path:
    """Folder of the run's adapter merged into its base: the one that is there, or made now."""
    folder, made_from = run_path / FOLDER, sha256(modes.weights(trained.folder)[0])
    marker = folder / MADE_FROM
    if marker.is_file() and marker.read_text(encoding="utf-8") == made_from:
        return folder
    fresh = folder.with_name(f".{FOLDER}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    require_space(run_path, sum(file.stat().st_size for file in modes.weights(base)))
    with student.quiet(run_path / "logs" / "merge.log"):
        model = student.load_trained(base, trained, student.choose_device())
        save_whole(model, base, student.load_tokenizer(base), fresh)
        del model
        student.release()
    write_text(fresh / MADE_FROM, made_from)
    sync_tree(fresh)
    modes.move_into_place(fresh, folder)
    return folder


def save_whole(
    model: "PreTrainedModel | PeftModel",
    base: Path,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
) -> str:
    """Write a trained student as one model with its tokenizer; the name of its precision."""
    import torch
    from transformers import AutoConfig

    whole = model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model
    config = AutoConfig.from_pretrained(str(base), local_files_only=True)
    dtype = getattr(config, "dtype", None) or torch.float32
    whole = whole.to(dtype)
    whole.config.dtype = dtype
    end_with(whole.generation_config, tokenizer)
    whole.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return str(dtype).removeprefix("torch.")


def end_with(generation: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Add the tokens that the student learnt to end with to those that end its generation."""
    before = generation.eos_token_id
    known = before if isinstance(before, list) else [] if before is None else [before]
    ends = list(dict.fromkeys([*known, *end_ids(tokenizer)]))
    generation.eos_token_id = ends if len(ends) > 1 else ends[0]
