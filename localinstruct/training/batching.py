"""Batches of a step: rows ordered by length, or glued into one row without padding.

Neither way changes what a step learns. The rows of a step are drawn at random; only within the step
are they put side by side by length (transformers' own grouping draws steps of one length, which
biases their gradients). Padding-free batches are one long row whose position ids start anew; a
model and attention that let such rows see each other are recognised by trying, on the loaded model
itself, and refused: a list of good architectures would grow old. Not covered: gluing rows of
several steps (packing into blocks), which would change how many rows a step holds.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.templates import IGNORED

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

TokenRow = Mapping[str, Sequence[int]]
"""Row as the trainer's dataset has it: {"input_ids", "labels"}, equally long."""


class StepOrder:
    """The order of rows in an epoch: steps drawn from (seed, epoch), longest row first within each.

    It has what transformers and accelerate ask of a sampler: iteration, length, `set_epoch`. So a
    resumed training draws the order it had.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self.lengths, self.step, self.seed, self.epoch = lengths, step, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        order = list(range(len(self.lengths)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)
        for start in range(0, len(order), self.step):
            yield from sorted(order[start : start + self.step], key=lambda row: -self.lengths[row])


def glue(rows: Sequence[TokenRow]) -> "dict[str, Tensor]":
    """Rows as one row without padding, (1, tokens): {"input_ids", "labels", "position_ids"}.

    There is no attention mask; positions tell where a row begins.
    """
    import torch

    ids = [token for row in rows for token in row["input_ids"]]
    # no row predicts the start of the next one
    labels = [label for row in rows for label in (IGNORED, *row["labels"][1:])]
    positions = [place for row in rows for place in range(len(row["input_ids"]))]
    named = {"input_ids": ids, "labels": labels, "position_ids": positions}
    return {name: torch.tensor([values]) for name, values in named.items()}


def refuse_leak(model: "PreTrainedModel") -> None:
    """TrainerError when rows glued by `glue` would see each other in this model's attention."""
    import torch

    was_training = model.training
    model.eval()
    with torch.no_grad():
        first, second, other = _ids(model, 11, 0), _ids(model, 9, 1), _ids(model, 11, 2)
        beside, beside_other = (_logits(model, [row, second])[:, -9:] for row in (first, other))
        alone = _logits(model, [second])
    model.train(was_training)
    scale = float(alone.abs().max()) or 1.0
    exact = alone.dtype == torch.float32
    leak, shift = float((beside - beside_other).abs().max()), float((beside - alone).abs().max())
    if leak > 1e-4 * scale or shift > (1e-3 if exact else 5e-2) * scale:
        raise TrainerError(
            f"train.batching: padding_free would mix rows: {type(model).__name__} with "
            f"{model.config._attn_implementation} attention lets a row see the one before it.",
            "Use --set train.batching=grouped",
        )


def _ids(model: "PreTrainedModel", count: int, seed: int) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(model.config.get_text_config().vocab_size) for _ in range(count)]


def _logits(model: "PreTrainedModel", rows: Sequence[list[int]]) -> "Tensor":
    glued = glue([{"input_ids": row, "labels": row} for row in rows])
    del glued["labels"]
    inputs = {name: value.to(model.device) for name, value in glued.items()}
    return model(**inputs, use_cache=False).logits


def collator(padding_free: bool, pad: int) -> "Callable[[Sequence[TokenRow]], dict[str, Tensor]]":
    """The function that makes a batch of rows: glued, or padded on the right."""
    if padding_free:
        return glue
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    padded: Callable[[Sequence[TokenRow]], dict[str, Tensor]]
    padded = DataCollatorForLanguageModeling(pad_token_id=pad)
    return padded
