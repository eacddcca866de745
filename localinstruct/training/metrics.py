"""runs/NAME/train/metrics.jsonl: the loss curve as lines, kept in step with the checkpoints. Not a
stage.

Two kinds of lines: {"step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds"}
while training (tokens and seconds since the first step, resumed or not, without the held-out
passes), and {"step", "held_out_loss"}. A resumed training first drops the lines after its
checkpoint, so that no step stands there twice. Not covered: the time and tokens of steps that were
lost to a kill and done again.
"""

import json
from pathlib import Path
from typing import Any

from localinstruct.store.durable import read_json_lines, write_text


def append(path: Path, line: dict[str, Any]) -> None:
    """Add one line."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines, in order; a torn last line (the program was killed) is left out."""
    return read_json_lines(path)


def rewind(path: Path, step: int) -> None:
    """Keep the lines up to and including `step`."""
    write_text(
        path, "".join(json.dumps(line) + "\n" for line in read(path) if line["step"] <= step)
    )


def held_out_loss(path: Path, step: int) -> float | None:
    """The held-out loss measured at `step`, or None."""
    found = [
        line["held_out_loss"]
        for line in read(path)
        if line["step"] == step and "held_out_loss" in line
    ]
    return float(found[-1]) if found else None


def last_epoch_loss(path: Path, epochs: float) -> float | None:
    """Mean of the training losses logged during the last epoch of `epochs`."""
    losses = [line["loss"] for line in read(path) if "loss" in line and line["epoch"] > epochs - 1]
    return sum(losses) / len(losses) if losses else None
