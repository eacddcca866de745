"""Callbacks around the steps: metrics, progress, held-out loss, checkpoints, stopping.

The methods `on_...` are events of transformers' TrainerCallback; `trainers.py` hands them over.
Where several processes train together, all of them measure and decide alike; only the first writes
and shows progress.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.interrupt import StopRequest
from localinstruct.progress import Progress, loss, per_second
from localinstruct.records import JsonObject
from localinstruct.store.integrity import require_space
from localinstruct.training import checkpoints, metrics, ranks, student
from localinstruct.training.best_student import BestStudent

if TYPE_CHECKING:
    from transformers import PreTrainedModel, TrainerControl, TrainerState, TrainingArguments

LOGGED = {
    "loss": "loss",
    "learning_rate": "learning_rate",
    "grad_norm": "grad_norm",
    "rewards/accuracies": "preferred",
    "rewards/margins": "margin",
}
"""TRL's name -> ours in the metrics."""


@dataclass
class Callbacks:
    """Work before, between and after the steps of one training."""

    metrics: Path
    progress: Progress
    measure: "Callable[[PreTrainedModel], float | None]"
    """The model's held-out loss, or None when nothing is held out."""
    inputs: str
    device: student.Device
    best: BestStudent
    learnt: int = 0
    """Bytes of the weights that are learnt."""
    stop: StopRequest = field(default_factory=StopRequest)
    seconds_before: float = 0.0
    started: float = field(default_factory=time.monotonic)
    paused: float = 0.0
    model: "PreTrainedModel | None" = None
    tokens_at_start: int = 0
    loss: float = float("nan")
    rate: float = 0.0

    def seconds(self) -> float:
        """Seconds of training, with those before a resume, without the held-out passes."""
        return self.seconds_before + time.monotonic() - self.started - self.paused

    def on_train_begin(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        model: "PreTrainedModel",
        **_: object,
    ) -> None:
        """Start the clock, and measure at the end of an epoch where that is still missing.

        That is the untrained student, or an epoch's end whose measurement was lost to a kill.
        """
        self.model, self.tokens_at_start = model, state.num_input_tokens_seen
        self.started, self.paused = time.monotonic(), 0.0
        if float(state.epoch or 0).is_integer():
            self.measure_end(state.global_step)

    def on_step_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        """Show how far the training is; save and stop when asked to."""
        tokens = state.num_input_tokens_seen - self.tokens_at_start
        speed = tokens / max(self.seconds() - self.seconds_before, 1e-9)
        memory = student.peak_memory_gib(self.device)
        known = "" if math.isnan(self.loss) else f"loss {loss(self.loss)}, "
        note = f"{known}rate {self.rate:.1e}, {per_second(speed)} tokens/s, {memory:.1f} GiB"
        label = "training (may stop early)" if self.best.may_end else "training"
        self.progress.update(label, state.global_step, state.max_steps, note)
        self._stop_if_asked(control)
        self._require_room(control)

    def on_log(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        logs: dict[str, float],
        **_: object,
    ) -> None:
        """Write one line of metrics; TrainerError when the loss is no number."""
        if "loss" not in logs:
            return
        self.loss, self.rate = float(logs["loss"]), float(logs.get("learning_rate", 0))
        if not math.isfinite(self.loss):
            raise TrainerError(
                f"The loss became {self.loss} at step {state.global_step} of {state.max_steps}.",
                f"Try a smaller step: --set train.learning_rate={args.learning_rate / 4:g}",
            )
        line: JsonObject = {"step": state.global_step, "epoch": state.epoch}
        line |= {ours: logs[key] for key, ours in LOGGED.items() if key in logs}
        line |= {"tokens": int(state.num_input_tokens_seen), "seconds": round(self.seconds(), 3)}
        if ranks.first():
            metrics.append(self.metrics, line)

    def on_epoch_end(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        """Measure the held-out loss, and stop when it has not fallen for long enough."""
        if self._stop_if_asked(control):
            return  # measured when the training goes on: see on_train_begin
        self._held_out(state.global_step)
        is_over = ranks.any_of(self.best.is_over(), self.device.name)
        if is_over and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True
            self.progress.say(
                f"Stopped early at step {state.global_step}: the held-out loss no longer falls."
            )
        self._require_room(control)

    def _require_room(self, control: "TrainerControl") -> None:
        """Raise StoreError, before transformers writes a checkpoint, when the disk has no room."""
        if control.should_save and ranks.first():
            require_space(self.metrics.parent, int(checkpoints.bytes_of_one(self.learnt)))

    def on_save(
        self,
        args: "TrainingArguments",
        state: "TrainerState",
        control: "TrainerControl",
        **_: object,
    ) -> None:
        """Mark the checkpoint that transformers has just written as complete, drop the oldest."""
        parent = Path(args.output_dir)
        folder = parent / f"checkpoint-{state.global_step}"
        ranks.wait()  # every process has a file of its own in it
        if ranks.first():
            checkpoints.mark_complete(folder, self.inputs, {"seconds": self.seconds()})
            checkpoints.prune(parent)

    def _stop_if_asked(self, control: "TrainerControl") -> bool:
        """Save and stop when a process was asked to; all processes get the same answer.

        Also at an epoch's end: who went on from there without its held-out loss would save a later
        step, and the measurement would never be made.
        """
        asked = ranks.any_of(self.stop.asked, self.device.name)
        if asked:
            self.stop.asked = control.should_save = control.should_training_stop = True
        return asked

    def measure_end(self, step: int) -> None:
        """Make sure that the held-out loss at this step is among the metrics."""
        measured = ranks.first() and metrics.held_out_loss(self.metrics, step) is not None
        if not ranks.any_of(measured, self.device.name):
            self._held_out(step)

    def _held_out(self, step: int) -> None:
        began = time.monotonic()
        measured = self.measure(self.model)
        if measured is not None:
            if step:
                self.best.offer(step, measured)
            if ranks.first():
                metrics.append(self.metrics, {"step": step, "held_out_loss": measured})
            self.progress.say(f"Held-out loss {loss(measured)} at step {step}.")
        self.paused += time.monotonic() - began
