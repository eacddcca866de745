"""Batches of a step: rows ordered by length, or glued into one row without padding.

Neither way changes what a step learns. The rows of a step are drawn at random; only within the step
are they put side by side by length (transformers' `group_by_length` draws steps of one length,
which biases their gradients). For answers transformers' `batch_rebalance` does so, in batches of
unequal size and about equal cost: it pads less than equal batches, and its largest one is smaller.
`StepOrder` is ours. It stays for pairs (TRL takes the mean over a batch, so in batches of unequal
size a pair's weight depended on its length), for a last step of fewer rows than batches (the other
repeats rows there), and for trainings that began under it. Glued batches are TRL's: one long row
whose position ids start anew. A model and attention that let its rows see each other are recognised
by trying, on the loaded model itself, and refused: a list of good architectures would grow old. Not
covered: gluing rows of several steps (packing into blocks), which would change how many rows a step
holds.
"""

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

REBALANCED = "batch_rebalance"
"""transformers' name of its order of rows, noted in the checkpoints that were made under it."""


def rebalances(objective: str, rows: int, step: int, batches: int) -> bool:
    """Tell whether a new training takes transformers' order of its `rows`.

    `step` is the rows of a step, `batches` the batches they are shared by on all devices.
    """
    return objective == "sft" and not 0 < rows % step < batches


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


def refuse_leak(model: "PreTrainedModel") -> None:
    """TrainerError when glued rows would see each other in this model's attention."""
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
    from accelerate.utils import send_to_device
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    glue = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)
    glued = glue([{"input_ids": row} for row in rows])
    del glued["labels"]
    return model(**send_to_device(glued, model.device), use_cache=False).logits
