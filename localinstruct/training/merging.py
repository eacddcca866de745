"""An adapter added to its base: a model of its own, for exports and for a vLLM that cannot serve
this adapter. Not a stage.

The weights get the base's own precision. Not covered: whether the sum computes what base and
adapter do, which exports check.
"""

import shutil
from pathlib import Path
from typing import Any

from localinstruct.store.durable import sha256, sync_tree, write_text
from localinstruct.store.integrity import require_space
from localinstruct.training import modes, student

FOLDER, MADE_FROM = "merged", "made_from"
"""In a run: the merged student, and in that the digest of the adapter's weights."""


def merged_in_run(run_path: Path, base: Path, trained: student.Artefact) -> Path:
    """The run's adapter merged into its base, as a folder of the run: the one that is there, or
    made now."""
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
    modes.put(fresh, folder)
    return folder


def save_whole(model: Any, base: Path, tokenizer: Any, folder: Path) -> str:
    """Write a trained student (base with adapter, or a whole model) as one model with its
    tokenizer; its precision's name."""
    import torch
    from transformers import AutoConfig

    whole = model.merge_and_unload(safe_merge=True) if hasattr(model, "merge_and_unload") else model
    kind = (
        getattr(AutoConfig.from_pretrained(str(base), local_files_only=True), "dtype", None)
        or torch.float32
    )
    whole = whole.to(kind)
    whole.config.dtype = kind
    end_with(whole, tokenizer.eos_token_id)
    whole.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))
    return str(kind).removeprefix("torch.")


def end_with(model: Any, end: int) -> None:
    """Have generation stop at the token that the student learnt to end with, whatever else ends
    it."""
    before = model.generation_config.eos_token_id
    known = before if isinstance(before, list) else [] if before is None else [before]
    if end not in known:
        model.generation_config.eos_token_id = [*known, end] if known else end
