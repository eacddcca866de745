"""Effect of a training: what it changed in the answers' probabilities, and how much of it is kept.

A student is written as one model in some precision, and rounding can undo small updates: merged
into bfloat16, whose numbers lie up to 0.8 % apart, a lightly trained SmolLM2 kept 62 % of its gain.
So the change is measured where it counts, on the answers of held-out rows: log p of every answer
token by the base, the trained student and the whole model, all computed in float32. What is lost is
the part of the student's change that the whole model does not share (least squares): noise that
goes neither way is not counted. Not covered: the noise of computing in 16 bits, which any server
adds to any model.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.formats import read_instances
from localinstruct.records import Instance, JsonObject
from localinstruct.store.folder import HELD_OUT, TRAIN
from localinstruct.templates import IGNORED, Encoded, Template, encode_all, unsupported

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LARGEST_LOSS = 0.02
"""Share of the effect that a whole model may lose."""
ROWS, ENOUGH, LENGTH = 32, 8, 1024
"""Held-out rows that are measured, at most; rows that are enough; and the tokens of each."""
NOTHING = 1e-5
"""Change of log p (root of the mean square) below which a training did nothing."""
PROBES = (
    Instance("What is the opposite of hot?", output="Cold."),
    Instance("Name three colours.", output="Red, green, blue."),
    Instance("Sort these words.", "stone, apple, river", "apple, river, stone"),
    Instance("Write one sentence about the sea.", output="The sea is wide and deep."),
)
"""Rows for a run that has no dataset any more."""


@dataclass(frozen=True, slots=True)
class Effect:
    """Mean losses per answer token in nats, and the share of the effect that is lost."""

    base: float
    student: float
    whole: float
    lost: float
    rows: int

    def to_dict(self) -> JsonObject:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.lost:.1%} of the training's effect (loss {self.base:.3f} base, "
            f"{self.student:.3f} student, {self.whole:.3f} as one model, on {self.rows} rows)"
        )


def measured_rows(
    home: Path, template: Template, tokenizer: "PreTrainedTokenizerBase"
) -> Sequence[Encoded]:
    """Held-out rows of the run in `home`, filled up with rows it was trained on, else PROBES."""
    found: list[Encoded] = []
    for name, count in ((HELD_OUT, ROWS), (TRAIN, ENOUGH)):
        path = home / "dataset" / name
        if len(found) < count and path.is_file() and path.stat().st_size:
            rows = [row for row in read_instances(path) if not unsupported(row, template)]
            more = rows[: count - len(found)]
            found += encode_all(more, template, tokenizer, LENGTH).examples
    return found or encode_all(PROBES, template, tokenizer, LENGTH).examples


def log_probabilities(
    model: "PreTrainedModel | PeftModel", rows: Sequence[Encoded]
) -> "torch.Tensor":
    """Log p of every answer token, (tokens,) in float32 on the CPU."""
    import torch

    model.eval()
    found = []
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.input_ids], device=model.device)
            logits = model(input_ids=ids).logits[0, :-1].float()
            targets = torch.tensor(row.labels[1:], device=model.device)
            learnt = targets != IGNORED
            every = logits[learnt].log_softmax(-1)
            found.append(every.gather(1, targets[learnt][:, None])[:, 0].cpu())
    return torch.cat(found)


def effect(
    base: "torch.Tensor", student: "torch.Tensor", whole: "torch.Tensor", rows: int
) -> Effect:
    """The effect of a training on the log-probabilities, and what the whole model lost of it."""
    change, kept = (student - base).double(), (whole - base).double()
    size = float(change @ change)
    if size < NOTHING**2 * len(change):
        lost = float((kept - change).abs().max())
    else:
        lost = abs(1 - float(change @ kept) / size)
    before, after, again = (-float(each.mean()) for each in (base, student, whole))
    return Effect(before, after, again, lost, rows)
