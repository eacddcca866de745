"""Training loop of the nano models: weighted loss, Muon and AdamW, warm-up and decay.

Plain torch on purpose: a run of half an hour on two cores needs nothing else. Weights and
optimizers stay in float32; the forward pass is computed in bfloat16 on a GPU and on a CPU with
units for it (a third faster there, and the same loss). Not covered: several devices.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from localinstruct.machine import cpu_has_bf16
from localinstruct.nano.muon import new_muon
from localinstruct.nano.pages import Piece, Role

if TYPE_CHECKING:
    import torch
    from transformers import LlamaForCausalLM, LlamaModel

LOSS_ON: dict[Role, float] = {"preamble": 0.0, "text": 0.25, "answer": 1.0}
"""Chance that a token counts in the loss, by role; answers are computable, questions are free."""
EVERY = 10  # steps between two progress reports


Encode = Callable[[list[str]], list[list[int]]]
Write = Callable[[Random], list[Piece]]
Batch = tuple["torch.Tensor", "torch.Tensor"]  # ids, chances: (rows, length + 1)
Progress = Callable[[int, float, float], None]  # step, loss, tokens per second


@dataclass(frozen=True, slots=True)
class Stage:
    """One stretch of training."""

    steps: int
    rows: int
    """Sequences per step."""
    length: int
    """Tokens per sequence."""
    warmup: int = 50
    decay: int = 0
    """Steps at the end in which the learning rate falls to zero."""
    rate: float = 5e-3

    @property
    def tokens(self) -> int:
        """Tokens of the whole stage."""
        return self.steps * self.rows * self.length


def learning_rate(stage: Stage, step: int) -> float:
    """Warm up linearly, stay, fall linearly."""
    rise = min(1.0, (step + 1) / stage.warmup)
    fall = min(1.0, (stage.steps - step) / stage.decay) if stage.decay else 1.0
    return stage.rate * min(rise, fall)


@dataclass(slots=True)
class Row:
    """Token ids in a line, and for each the chance that it counts in the loss."""

    ids: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)

    def add(self, ids: list[int], chance: float) -> None:
        """Append tokens that all count with the same chance."""
        self.ids += ids
        self.chances += [chance] * len(ids)

    def take(self, count: int) -> tuple[list[int], list[float]]:
        """Remove the first tokens and give them."""
        taken = self.ids[:count], self.chances[:count]
        del self.ids[:count], self.chances[:count]
        return taken


def batches(encode: Encode, eos: int, write: Write, stage: Stage, rng: Random) -> Iterator[Batch]:
    """Yield (rows, length + 1) token ids and chances; every text ends in `eos`, which is learnt."""
    import torch

    width = stage.length + 1
    row = Row()
    while True:
        while len(row.ids) < stage.rows * width:
            pieces = write(rng)
            encoded = encode([text for text, _ in pieces])
            if pad_before(row, width, sum(map(len, encoded)) + 1, eos):
                for tokens, (_, role) in zip(encoded, pieces, strict=True):
                    row.add(tokens, LOSS_ON[role])
                row.add([eos], 1.0)
        ids, chances = row.take(stage.rows * width)
        yield torch.tensor(ids).view(-1, width), torch.tensor(chances).view(-1, width)


def pad_before(row: Row, width: int, size: int, eos: int) -> bool:
    """Pad so that a text of `size` tokens that fills most of a row begins on a new one.

    Short texts are packed. False when the text is too long for any row.
    """
    filled = len(row.ids) % width
    if width // 2 < size <= width and filled + size > width:
        row.add([eos] * (width - filled), 0.0)
    return size <= width


def optimizers(model: "LlamaForCausalLM") -> "list[torch.optim.Optimizer]":
    """Muon for the matrices inside the layers, AdamW for embeddings and norms."""
    import torch

    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    outer = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [new_muon(inner), torch.optim.AdamW(outer, betas=(0.9, 0.97), weight_decay=0.0)]


def train(
    model: "LlamaForCausalLM", data: Iterator[Batch], stage: Stage, progress: Progress
) -> None:
    """Run one stage."""
    import torch

    device = next(model.parameters()).device
    body, tuners = compiled(model.model, stage), optimizers(model)
    fast = device.type != "cpu" or cpu_has_bf16()
    model.train()
    started, losses = time.monotonic(), []
    for step in range(stage.steps):
        ids, chances = (tensor.to(device) for tensor in next(data))
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            loss = weighted_loss(body, model.lm_head, ids, chances)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for tuner in tuners:
            tuner.param_groups[0]["lr"] = learning_rate(stage, step)
            tuner.step()
            tuner.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if (step + 1) % EVERY == 0 or step + 1 == stage.steps:
            speed = (step + 1) * stage.rows * stage.length / (time.monotonic() - started)
            progress(step + 1, sum(losses[-EVERY:]) / len(losses[-EVERY:]), speed)


def weighted_loss(
    body: "LlamaModel", head: "torch.nn.Module", ids: "torch.Tensor", chances: "torch.Tensor"
) -> "torch.Tensor":
    """Mean loss over a draw of positions, each of which counts with its own chance.

    The others never reach the output layer.
    """
    import torch

    hidden = body(input_ids=ids[:, :-1], use_cache=False).last_hidden_state  # (rows, length, width)
    drawn = torch.rand_like(chances[:, 1:]) < chances[:, 1:]
    return torch.nn.functional.cross_entropy(head(hidden[drawn]), ids[:, 1:][drawn])


def compiled(body: "LlamaModel", stage: Stage) -> "LlamaModel":
    """Compile the layers, which fuses small operations, where that pays.

    That is a sixth faster on a CPU; it needs a C++ compiler.
    """
    import shutil

    import torch

    return torch.compile(body) if stage.steps > 200 and shutil.which("g++") else body
