"""What happens beside the steps of a training: metrics, progress, held-out loss, seals, stopping.
Not a stage.

The methods `on_...` are events of transformers' TrainerCallback; `trainers.py` hands them over.
Where several processes train together, all of them measure and decide alike; only the first writes
and speaks.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localinstruct.errors import TrainerError
from localinstruct.interrupt import StopRequest
from localinstruct.progress import Progress
from localinstruct.store.integrity import require_space
from localinstruct.training import checkpoints, metrics, ranks, student
from localinstruct.training.best import Best

LOGGED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "rewards/accuracies": "preferred",
    "rewards/margins": "margin",
}
"""TRL's name -> ours in the metrics."""


@dataclass
class Watch:
    """What is done before, between and after the steps."""

    metrics: Path
    progress: Progress
    measure: Callable[[Any], float | None]
    """The model's held-out loss, or None when nothing is held out."""
    inputs: str
    device: student.Device
    best: Best
    learnt: int = 0
    """Bytes of the weights that are learnt."""
    stop: StopRequest = field(default_factory=StopRequest)
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    paused: float = 0.0
    model: Any = None
    tokens_at_start: int = 0
    loss: float = float("nan")
    rate: float = 0.0

    def seconds(self) -> float:
        """Seconds of training, with those before a resume, without the held-out passes."""
        return self.seconds_before + time.monotonic() - self.started - self.paused

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any, **_: Any) -> None:
        """Start the clock; measure the untrained student, or an epoch's end whose measurement was
        lost to a kill."""
        self.model, self.tokens_at_start = model, state.num_input_tokens_seen
        self.started, self.paused = time.monotonic(), 0.0
        if float(state.epoch or 0).is_integer():
            self.measure_end(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Show where we are; save and stop when asked to."""
        speed = (state.num_input_tokens_seen - self.tokens_at_start) / max(
            self.seconds() - self.seconds_before, 1e-9
        )
        memory = student.peak_memory_gib(self.device)
        note = (
            f"loss {self.loss:.3f}, rate {self.rate:.1e}, {speed:,.0f} tokens/s, {memory:.1f} GiB"
        )
        self.progress.update(
            "training", state.global_step, state.max_steps, note.removeprefix("loss nan, ")
        )
        if ranks.any_of(self.stop.asked, self.device.name):
            self.stop.asked = control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **_: Any) -> None:
        """One line of metrics; TrainerError when the loss is no number."""
        if "loss" not in logs:
            return
        self.loss, self.rate = float(logs["loss"]), float(logs.get("learning_rate", 0))
        if not math.isfinite(self.loss):
            raise TrainerError(
                f"The loss became {self.loss} at step {state.global_step} of {state.max_steps}.",
                f"Try a smaller step: --set train.learning_rate={args.learning_rate / 4:g}",
            )
        line: dict[str, Any] = {ours: logs[key] for key, ours in LOGGED.items() if key in logs}
        counted = {"tokens": int(state.num_input_tokens_seen), "seconds": round(self.seconds(), 3)}
        if ranks.first():
            metrics.append(
                self.metrics, {"step": state.global_step, "epoch": state.epoch, **line, **counted}
            )

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Held-out loss after each epoch, and the end when it has not fallen for long enough."""
        if self.stop.asked:
            return
        self._held_out(state.global_step)
        if (
            ranks.any_of(self.best.is_over(), self.device.name)
            and state.global_step < state.max_steps
        ):
            control.should_save = control.should_training_stop = True
            self.progress.say(
                f"Stopped early at step {state.global_step}: the held-out loss no longer falls."
            )

    def before_save(self) -> None:
        """StoreError, before transformers writes a checkpoint, when the disk has no room for
        one."""
        if ranks.first():
            require_space(self.metrics.parent, int(checkpoints.one(self.learnt)))

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint that transformers has just written, and drop the oldest."""
        parent = Path(args.output_dir)
        ranks.wait()  # every process has a file of its own in it
        if ranks.first():
            checkpoints.seal(
                parent / f"checkpoint-{state.global_step}", self.inputs, {"seconds": self.seconds()}
            )
            checkpoints.prune(parent)

    def measure_end(self, step: int) -> None:
        """Make sure that the held-out loss at this step is among the metrics."""
        if not ranks.any_of(
            ranks.first() and metrics.held_out_loss(self.metrics, step) is not None,
            self.device.name,
        ):
            self._held_out(step)

    def _held_out(self, step: int) -> None:
        began = time.monotonic()
        loss = self.measure(self.model)
        if loss is not None:
            if step:
                self.best.offer(step, loss)
            if ranks.first():
                metrics.append(self.metrics, {"step": step, "held_out_loss": loss})
            self.progress.say(f"Held-out loss {loss:.4f} at step {step}.")
        self.paused += time.monotonic() - began
