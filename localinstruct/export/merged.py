"""The student as a whole model: its adapter merged into the base, in the base's precision.

Before it is handed out it is loaded again from the folder, as a stranger would, and its logits are
compared with those of base and adapter on a few prompts. Rounding to a 16-bit precision moves them
a little; a merge that lost something moves them by as much as the adapter does, and is refused. Not
covered: how well it answers, which `evaluate` measures.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.export.chat_template import give_chat_template
from localinstruct.export.request import ExportRequest, ExportResult, weight_bytes
from localinstruct.progress import Progress
from localinstruct.records import Instance
from localinstruct.templates import prompt_ids
from localinstruct.training import student
from localinstruct.training.merging import save_whole

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

PROBES = (
    Instance("What is the opposite of hot?"),
    Instance("Name three colours."),
    Instance("Sort these words in alphabetical order.", "stone, apple, river"),
    Instance("Write one sentence about the sea."),
)
"""Prompts on which the two are compared, by their logits at every position."""
EXACT, ROUNDED = 1e-3, 0.05
"""Largest difference accepted, as a share of the largest logit: in float32, and in 16 bits."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest differences between logits over all prompts and positions."""

    merged: float
    """Merged student against base with adapter."""
    base: float
    """Bare base against base with adapter; nan for a whole model."""
    scale: float
    """Largest logit of base with adapter, without its sign."""


def size(request: ExportRequest) -> int:
    """Bytes: as many as the base."""
    return weight_bytes(request.base_folder())


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Merge, write, load again, compare; TrainerError when the two do not agree."""
    base, device = request.base_folder(), student.choose_device()
    is_adapter = request.trained.kind == "adapter"
    tokenizer = student.load_tokenizer(base if is_adapter else request.trained.folder)
    give_chat_template(request.template, tokenizer)
    prompts = [prompt_ids(row, request.template, tokenizer) for row in PROBES]
    progress.update("loading base and adapter", 0, 4)
    model = student.load_trained(base, request.trained, device)
    trained = _logits(model, prompts)
    bare = _logits_without_adapter(model, prompts) if is_adapter else []
    progress.update("merging", 1, 4)
    kind = save_whole(model, base, tokenizer, folder)
    del model
    student.release()
    progress.update("loading the merged student again", 2, 4)
    again = _logits(student.load_base(folder, device), prompts)
    progress.update("comparing", 3, 4)
    difference = _difference(again, trained, bare)
    exact = kind == device.dtype == "float32"
    _require_same(difference, EXACT if exact else ROUNDED)
    progress.update("comparing", 4, 4)
    return ExportResult(
        (("weights", f"safetensors, {kind}"), ("checked", _describe(difference))),
        "localinstruct models add NAME {}",
    )


def _logits(model: "PreTrainedModel | PeftModel", prompts: list[list[int]]) -> "list[torch.Tensor]":
    """The logits of each prompt, (tokens, vocabulary) in float32 on the CPU."""
    import torch

    model.eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float().cpu()
            for ids in prompts
        ]


def _logits_without_adapter(model: "PeftModel", prompts: list[list[int]]) -> "list[torch.Tensor]":
    with model.disable_adapter():
        return _logits(model, prompts)


def _difference(
    merged: "list[torch.Tensor]", trained: "list[torch.Tensor]", bare: "list[torch.Tensor]"
) -> Difference:
    def largest(logits: "list[torch.Tensor]") -> float:
        return max(float((a - b).abs().max()) for a, b in zip(logits, trained, strict=True))

    return Difference(
        largest(merged),
        largest(bare) if bare else math.nan,
        max(float(logits.abs().max()) for logits in trained),
    )


def _require_same(difference: Difference, share: float) -> None:
    limit = share * difference.scale
    # An adapter that moves logits less than this is lost in rounding, and nothing with it.
    if difference.base > EXACT * difference.scale:
        limit = min(limit, difference.base / 2)
    if not difference.merged <= limit:
        raise TrainerError(
            "The merged student does not compute what base and adapter do: logits differ by up to "
            f"{difference.merged:.4g}, expected at most {limit:.4g} "
            f"(largest logit {difference.scale:.3g}).",
            "Nothing was written. Use --format adapter, which needs no merge, "
            "and please report this.",
        )


def _describe(difference: Difference) -> str:
    bare = f"; without the adapter they differ by {difference.base:.3g}"
    return (
        "loaded again: logits differ from those of the trained student by at most "
        f"{difference.merged:.3g} (largest logit {difference.scale:.3g}) "
        f"on {len(PROBES)} prompts{'' if math.isnan(difference.base) else bare}"
    )
