"""Pace of a recipe, measured: half a minute of its teacher, then of its student.

The teacher writes rows, the student trains on them. All of it lies in a temporary folder. The
stages' own code runs with a progress that ends them when the time is over, so what is measured is
what a run does: loading and starting are outside the clock. At least one episode is committed and
two optimizer steps are made, however long they take. Not covered: how the share of new rows falls
as the pool grows.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import DataError
from localinstruct.fit.pace import Pace
from localinstruct.generation import stage
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Train
from localinstruct.records import Instance
from localinstruct.store.run import Run, open_run
from localinstruct.templates import Encoded, EncodedPair, encode_all, encode_pairs
from localinstruct.templates.beside import with_thoughts
from localinstruct.training import modes, student, trainers
from localinstruct.training.best_student import BestStudent
from localinstruct.training.callbacks import Callbacks
from localinstruct.training.setup import choose_setup

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SECONDS = 30.0
ROWS, EPOCHS = 20_000, 1e6
"""Targets that are not reached in the time."""


class _TimeOver(Exception):
    """Raised by the clock to end the work."""


@dataclass
class _Clock:
    """A Progress that ends the work in time.

    Its clock starts with the first of `label`'s updates, or at `before`.
    """

    progress: Progress
    label: str
    seconds: float
    before: float = 0.0
    """Unix time of the last update with another label, or 0."""
    times: list[float] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Pass a sentence on."""
        self.progress.say(text)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Pass on the time that is used; raise _TimeOver when it is over."""
        now = time.time()
        if label != self.label:
            self.before = now
            self.progress.update(label, done, total, note)
            return
        self.times.append(now)
        spent = now - (self.before or self.times[0])
        self.progress.update(f"measuring {label}", min(spent, self.seconds), self.seconds, note)
        if spent >= self.seconds and len(self.times) >= 2:
            raise _TimeOver


def calibrate(
    recipe: Recipe, workspace: Path, progress: Progress, seconds: float = SECONDS
) -> tuple[Pace, Pace | None]:
    """The paces of generate and train on this machine, measured.

    The second is None where no kept row can be trained on.
    """
    with (
        tempfile.TemporaryDirectory(prefix="calibrate-") as place,
        open_run(Path(place, "run")) as run,
    ):
        written, rows = _generated(recipe, run, workspace, progress, seconds)
        student.release()
        return written, _trained(recipe, rows, Path(place), workspace, progress, seconds)


def _generated(
    recipe: Recipe, run: Run, workspace: Path, progress: Progress, seconds: float
) -> tuple[Pace, list[Instance]]:
    """The teacher's pace, and the rows it left."""
    clock = _Clock(progress, "kept rows", seconds)
    target = {"target": ROWS, "stop_below": 0.0}
    many = recipe.model_copy(update={"generate": recipe.generate.model_copy(update=target)})
    _until_time_is_over(lambda: stage.run(many, run, clock, workspace=workspace))
    kept = run.count_kept()
    if not kept:
        raise DataError(
            f"No row was kept in {seconds:.0f} s.", f"See why: localinstruct preview {recipe.name}"
        )
    _, usage = run.completion_usage()
    end = clock.times[-1]
    spent = end - clock.before
    tokens = sum(count for arrived, count in usage if arrived <= end)
    committed = sum(entry[3] for entry in run.episodes())
    source = f"{kept} rows kept in {spent:.0f} s of {recipe.models.teacher}"
    return Pace(source, tokens / spent, committed / kept, spent), list(run.kept())


def _trained(
    recipe: Recipe,
    rows: list[Instance],
    home: Path,
    workspace: Path,
    progress: Progress,
    seconds: float,
) -> Pace | None:
    """The student's pace on these rows, repeated as often as it takes."""
    train = recipe.train.on_one_process.model_copy(update={"epochs": EPOCHS, "save_steps": 10**9})
    folder = checked(load_catalog(workspace).get(recipe.models.student))
    setup = choose_setup(train, student.choose_device())
    clock = _Clock(progress, "training", seconds)
    with student.quiet(home / "logs" / "train.log"):
        model, tokenizer = modes.load(train, folder, setup), student.load_tokenizer(folder)
        encoded = _encoded(train, rows, tokenizer, student.longest_row(model, train.max_length))
        if not encoded:
            return None
        needed = -(-train.batch_size // len(encoded)) * encoded
        lines, best = home / "metrics.jsonl", BestStudent(home, "", None, None)
        callbacks = Callbacks(lines, clock, lambda _: None, "calibrate", setup.device, best)
        changed = recipe.model_copy(update={"train": train})
        trainer = trainers.make(changed, setup, model, tokenizer, needed, callbacks)
        clock.before = time.time()
        _until_time_is_over(trainer.train)
    steps, spent = trainer.state.global_step, clock.times[-1] - clock.times[0]
    tokens = float(trainer.state.num_input_tokens_seen)
    source = (
        f"{steps} steps of {train.batch_size} rows with {recipe.models.student}, the first "
        f"left out, in {spent:.0f} s"
    )
    per_row = sum(row.length for row in encoded) / len(encoded)
    return Pace(source, tokens * (steps - 1) / steps / spent, per_row, spent)


def _encoded(
    train: Train, rows: list[Instance], tokenizer: "PreTrainedTokenizerBase", length: int
) -> list[Encoded | EncodedPair]:
    """The rows as the objective wants them."""
    if train.objective == "dpo":
        pairs = [row for row in rows if row.rejected]
        return list(encode_pairs(pairs, train.template, tokenizer, length).examples)
    rows = with_thoughts(rows, train.thinking)
    return list(encode_all(rows, train.template, tokenizer, length, train.loss_on).examples)


def _until_time_is_over(work: Callable[[], object]) -> None:
    """Do the work until the clock ends it."""
    try:
        work()
    except _TimeOver:
        return
