"""The student as a model of its own: the adapter added to its base, safetensors in the base's own
precision.

Before it is handed out it is loaded again from the folder, as a stranger would, and its logits are
compared with those of base and adapter on a few prompts. Rounding to a 16-bit precision moves them
a little; a merge that lost something moves them by as much as the adapter does, and is refused. Not
covered: how well it answers, which `evaluate` measures.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct.errors import TrainerError
from localinstruct.export.chat_template import chat_template
from localinstruct.export.request import Exported, ExportRequest, weight_bytes
from localinstruct.progress import Progress
from localinstruct.records import Instance
from localinstruct.templates import prompt_ids
from localinstruct.training import student
from localinstruct.training.merging import save_whole

ASKED = (
    Instance("What is the opposite of hot?"),
    Instance("Name three colours."),
    Instance("Sort these words in alphabetical order.", "stone, apple, river"),
    Instance("Write one sentence about the sea."),
)
"""What the two are compared on; their logits at every place of the prompt."""
EXACT, ROUNDED = 1e-3, 0.05
"""Largest difference accepted, as a share of the logits' own largest value: in float32, and in 16
bits."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The largest differences between logits over all prompts and places."""

    merged: float
    """Of the merged student to base and adapter."""
    base: float
    """Of the bare base to base and adapter; nan for a whole model."""
    scale: float
    """Largest logit of base and adapter, without its sign."""


def size(wanted: ExportRequest) -> int:
    """Bytes: as many as the base."""
    return weight_bytes(wanted.base_folder())


def write(wanted: ExportRequest, folder: Path, progress: Progress) -> Exported:
    """Merge, write, load again, compare; TrainerError when the two do not agree."""
    base, device = wanted.base_folder(), student.choose_device()
    tokenizer = student.load_tokenizer(
        base if wanted.trained.kind == "adapter" else wanted.trained.folder
    )
    tokenizer.chat_template = chat_template(wanted.template, tokenizer)
    asked = [prompt_ids(row, wanted.template, tokenizer) for row in ASKED]
    progress.update("loading base and adapter", 0, 4)
    model = student.load_trained(base, wanted.trained, device)
    trained, bare = _logits(model, asked), _bare_logits(model, asked, wanted)
    progress.update("merging", 1, 4)
    kind = save_whole(model, base, tokenizer, folder)
    del model
    student.release()
    progress.update("loading the merged student again", 2, 4)
    again = _logits(student.load_base(folder, device), asked)
    progress.update("comparing", 3, 4)
    found = _difference(again, trained, bare)
    _require_same(found, ROUNDED if kind != "float32" or device.dtype != "float32" else EXACT)
    progress.update("comparing", 4, 4)
    return Exported(
        (("weights", f"safetensors, {kind}"), ("checked", _said(found))),
        "localinstruct models add NAME {}",
    )


def _logits(model: Any, asked: list[list[int]]) -> list[Any]:
    """For each prompt, logits (tokens, vocabulary) in float32 on the CPU."""
    import torch

    model.eval()
    with torch.no_grad():
        return [
            model(input_ids=torch.tensor([ids], device=model.device)).logits[0].float().cpu()
            for ids in asked
        ]


def _bare_logits(model: Any, asked: list[list[int]], wanted: ExportRequest) -> list[Any]:
    if wanted.trained.kind != "adapter":
        return []
    with model.disable_adapter():
        return _logits(model, asked)


def _difference(merged: list[Any], trained: list[Any], bare: list[Any]) -> Difference:
    def largest(ours: list[Any]) -> float:
        return max(
            (float((one - other).abs().max()) for one, other in zip(ours, trained, strict=True)),
            default=float("nan"),
        )

    return Difference(
        largest(merged),
        largest(bare) if bare else float("nan"),
        max(float(t.abs().max()) for t in trained),
    )


def _require_same(found: Difference, share: float) -> None:
    limit = share * found.scale
    if (
        found.base > EXACT * found.scale
    ):  # an adapter that moves logits less is lost in rounding, and nothing with it
        limit = min(limit, found.base / 2)
    if not found.merged <= limit:
        raise TrainerError(
            "The merged student does not compute what base and adapter do: logits differ by up "
            f"to {found.merged:.4g}, "
            f"expected at most {limit:.4g} (largest logit {found.scale:.3g}).",
            "Nothing was written. Use --format adapter, which needs no merge, and please report "
            "this.",
        )


def _said(found: Difference) -> str:
    beside = (
        "" if found.base != found.base else f"; without the adapter they differ by {found.base:.3g}"
    )
    return (
        "loaded again: logits differ from those of the trained student by at most "
        f"{found.merged:.3g} "
        f"(largest logit {found.scale:.3g}) on {len(ASKED)} prompts{beside}"
    )
