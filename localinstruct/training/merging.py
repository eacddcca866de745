"""The student as one model: its adapter merged into the base, as exactly as its effect needs.

Exports need it, and a vLLM that cannot serve this adapter. All is computed in float32. The weights
are then written in the base's precision where that keeps the training's effect, else in float32:
twice the size of 16 bits, exact, and read by every tool (float16 would be finer than bfloat16, but
models made for bfloat16 may overflow in it; random rounding keeps the mean effect and adds noise).
What was written is loaded again, as a stranger would, and measured. A training of all weights is
measured in the same way: its weights are float32, and a server rounds them. Not covered: how well
the student answers, which `evaluate` measures.
"""

import contextlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from localinstruct.errors import StoreError, TrainerError
from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256, sync_tree, write_text
from localinstruct.store.integrity import require_space
from localinstruct.templates import Encoded, Template
from localinstruct.templates.rendered import end_ids
from localinstruct.training import modes, student
from localinstruct.training.effect import (
    LARGEST_LOSS,
    Effect,
    effect,
    log_probabilities,
    measured_rows,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from peft import PeftModel
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

FOLDER, MADE_FROM = "merged", "made_from"
"""Folder of the merged student in a run, and the file in it with the digest of the adapter."""
MEASURED = "whole_student.json"
"""File of a run with the precision that its student needs, and the measurement behind it."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Whole:
    """A student as one model: the precision of its weights, and the effect they keep."""

    precision: str
    kept: Effect
    rounded: Effect | None = None
    """What the base's precision would keep, where that is too little."""
    narrow: str = ""
    """The base's precision."""

    def __str__(self) -> str:
        if self.rounded:
            return f"{self.precision}, as rounding to {self.narrow} would lose {self.rounded}"
        return f"{self.precision}, which loses {self.kept}"


@dataclass(frozen=True, slots=True)
class Measured:
    """A student in memory as one model, in the precision that was found good."""

    model: "PreTrainedModel"
    whole: Whole
    rows: "Sequence[Encoded]"
    base: "torch.Tensor"
    student: "torch.Tensor"
    """Log-probabilities of the rows' answers by base and trained student."""


def whole_student(home: Path, base: Path, trained: student.Artefact, template: Template) -> Whole:
    """The precision that the student of the run in `home` needs; measured once for a training."""
    product = sha256(modes.weights(trained.folder)[0])
    if known := _known(home / MEASURED, product):
        return known
    with student.quiet(home / "logs" / "merge.log"):
        whole = on_exact_device(
            lambda device: _measured(home, base, trained, template, device)
        ).whole
    return _remember(home / MEASURED, product, whole)


def merged_in_run(
    home: Path, base: Path, trained: student.Artefact, template: Template
) -> tuple[Path, Whole]:
    """Folder of the run's adapter merged into its base: the one that is there, or made now."""
    folder, made_from = home / FOLDER, sha256(modes.weights(trained.folder)[0])
    marker, known = folder / MADE_FROM, _known(home / MEASURED, made_from)
    if known and marker.is_file() and marker.read_text(encoding="utf-8") == made_from:
        return folder, known
    fresh = folder.with_name(f".{FOLDER}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    require_space(home, whole_bytes(base, trained))
    with student.quiet(home / "logs" / "merge.log"):
        tokenizer = student.load_tokenizer(base)
        whole = write_whole(home, base, trained, template, tokenizer, fresh)
    write_text(fresh / MADE_FROM, made_from)
    sync_tree(fresh)
    modes.move_into_place(fresh, folder)
    return folder, whole


def whole_bytes(base: Path, trained: student.Artefact) -> int:
    """Bytes that the student takes as one model: as its base, or in float32 if it may need that."""
    stored = sum(file.stat().st_size for file in modes.weights(base))
    product = sha256(modes.weights(trained.folder)[0])
    known = _known(trained.folder.parent / MEASURED, product)
    narrow = precision_of(base)
    return stored * (2 if narrow != (known.precision if known else "float32") else 1)


def write_whole(
    home: Path,
    base: Path,
    trained: student.Artefact,
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
) -> Whole:
    """Write the student of the run in `home` as one model into `folder`, with its tokenizer.

    It is loaded again and measured; TrainerError where it does not keep the effect.
    """

    def write(device: student.Device) -> Whole:
        found = _measured(home, base, trained, template, device)
        if found.whole.rounded:  # its weights are rounded, and exact ones are needed
            model = merged(student.load_trained(base, trained, device))
            found = replace(found, model=model)
        save(found.model, tokenizer, folder, found.whole.precision)
        whole, rows, seen = found.whole, found.rows, (found.base, found.student)
        del found
        student.release()
        again = log_probabilities(student.load_base(folder, device), rows)
        return replace(whole, kept=_require_kept(effect(*seen, again, len(rows)), whole.precision))

    whole = on_exact_device(write)
    return _remember(home / MEASURED, sha256(modes.weights(trained.folder)[0]), whole)


def on_exact_device(work: Callable[[student.Device], T]) -> T:
    """The work done in float32 on the first GPU, or in main memory where that is too small."""
    device = replace(student.choose_device(), dtype="float32")
    try:
        with student.memory_errors("train.device_batch_size=1"):
            return work(device)
    except student.OutOfMemory:
        if device.name == "cpu":
            raise
    student.release()
    return work(student.Device("cpu", "float32", "the GPU's memory is too small for float32"))


def merged(model: "PreTrainedModel | PeftModel") -> "PreTrainedModel":
    """One model that computes what base and adapter do; a whole model as it is."""
    if not hasattr(model, "merge_and_unload"):
        return model
    untie(model)
    return model.merge_and_unload(safe_merge=True)


def untie(model: "PeftModel") -> None:
    """Give an adapter's input or output embedding weights of its own.

    Tied ones would both change when the adapter of one is merged.
    """
    from torch.nn import Parameter

    base = model.get_base_model()
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    layers = [getattr(end, "base_layer", end) for end in ends]
    adapted = any(layer is not end for layer, end in zip(layers, ends, strict=True))
    if adapted and layers[1] is not None and layers[0].weight is layers[1].weight:
        layers[1].weight = Parameter(layers[0].weight.detach().clone())
        base.config.tie_word_embeddings = False


def save(
    whole: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", folder: Path, precision: str
) -> None:
    """Write a whole model with its tokenizer, its weights in this precision."""
    import torch

    dtype: torch.dtype = getattr(torch, precision)
    whole = whole.to(dtype)
    whole.config.dtype = dtype
    end_with(whole.generation_config, tokenizer)
    whole.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


def end_with(generation: "GenerationConfig", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Add the tokens that the student learnt to end with to those that end its generation."""
    before = generation.eos_token_id
    known = before if isinstance(before, list) else [] if before is None else [before]
    ends = list(dict.fromkeys([*known, *end_ids(tokenizer)]))
    generation.eos_token_id = ends if len(ends) > 1 else ends[0]


def precision_of(folder: Path) -> str:
    """The precision of a model's weights, as its config.json has it."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(folder), local_files_only=True)
    dtype = getattr(config, "dtype", None) or torch.float32
    return str(dtype).removeprefix("torch.")


def _measured(
    home: Path, base: Path, trained: student.Artefact, template: Template, device: student.Device
) -> Measured:
    """The student as one model, rounded to the base's precision where that keeps the effect."""
    is_adapter = trained.kind == "adapter"
    tokenizer = student.load_tokenizer(base if is_adapter else trained.folder)
    rows = measured_rows(home, template, tokenizer)
    if not is_adapter:
        before = log_probabilities(student.load_base(base, device), rows)
        student.release()
    model = student.load_trained(base, trained, device)
    after = log_probabilities(model, rows)
    if is_adapter:
        with model.disable_adapter():
            before = log_probabilities(model, rows)
    one = merged(model)
    exact = effect(before, after, log_probabilities(one, rows), len(rows))
    _require_kept(exact, "float32")
    narrow = precision_of(base)
    if narrow == "float32":
        return Measured(one, Whole(narrow, exact), rows, before, after)
    _round(one, narrow)
    rounded = effect(before, after, log_probabilities(one, rows), len(rows))
    whole = Whole(narrow, rounded, narrow=narrow)
    if rounded.lost > LARGEST_LOSS:
        whole = Whole("float32", exact, rounded, narrow)
    return Measured(one, whole, rows, before, after)


def _round(model: "PreTrainedModel", precision: str) -> None:
    """Round every weight to this precision, in place, and go on computing in its own."""
    import torch

    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, precision)).to(weight.dtype)


def _require_kept(found: Effect, precision: str) -> Effect:
    if found.lost <= LARGEST_LOSS:
        return found
    cause = (
        "Rounding is not the cause: all was computed in float32."
        if precision == "float32"
        else f"Rounding to {precision} alone would have lost less."
    )
    raise TrainerError(
        f"The merged student does not compute what base and adapter do: it lost {found}. {cause}",
        "Nothing was written. Use --format adapter, which needs no merge, and please report this.",
    )


def _known(path: Path, product: str) -> Whole | None:
    try:
        found: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        if found["product"] != product:
            return None
        rounded = Effect(**found["rounded"]) if found["rounded"] else None
        return Whole(found["precision"], Effect(**found["kept"]), rounded, found["narrow"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(path: Path, product: str, whole: Whole) -> Whole:
    found = {
        "product": product,
        "precision": whole.precision,
        "kept": whole.kept.to_dict(),
        "rounded": whole.rounded.to_dict() if whole.rounded else None,
        "narrow": whole.narrow,
    }
    with contextlib.suppress(OSError, StoreError):  # a run on a read-only disk is measured again
        write_text(path, json.dumps(found, indent=2) + "\n")
    return whole
