"""runs/NAME/train/metrics.jsonl: the loss curve as lines, kept in step with the checkpoints.

Two kinds of lines: {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds"}
while training (tokens and seconds since the first step, resumed or not, without the held-out
passes), and {"step", "held_out_loss"}. A resumed training first drops the lines after its
checkpoint, so that no step stands there twice. Not covered: the time and tokens of steps that were
lost to a kill and done again.
"""

import json
from pathlib import Path

from localinstruct.records import Json, JsonObject
from localinstruct.store.durable import read_json_lines, write_text


def append(path: Path, line: Json) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[JsonObject]:
    """All whole lines, in order; a torn last line (the program was killed) is left out."""
    return read_json_lines(path)


def rewind(path: Path, step: int) -> None:
    """Keep the lines up to and including `step`."""
    kept = [line for line in read(path) if line["step"] <= step]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def held_out_losses(path: Path) -> list[tuple[int, float]]:
    """(step, held-out loss) of every measurement, in order."""
    lines = [line for line in read(path) if "held_out_loss" in line]
    return [(line["step"], float(line["held_out_loss"])) for line in lines]


def held_out_loss(path: Path, step: int) -> float | None:
    """The held-out loss measured at `step`, or None."""
    losses = [loss for measured_at, loss in held_out_losses(path) if measured_at == step]
    return losses[-1] if losses else None


def last_epoch_loss(path: Path, epochs: float) -> float | None:
    """Mean of the training losses logged during the last epoch of `epochs`."""
    losses = [line["loss"] for line in read(path) if "loss" in line and line["epoch"] > epochs - 1]
    return sum(losses) / len(losses) if losses else None
