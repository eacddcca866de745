"""Preparation of a training: rows as tokens, the model, the checkpoint to go on from.

Not covered: what the settings mean (`setup`), and the steps (`trainers`, `callbacks`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import DataError
from localinstruct.formats import read_instances
from localinstruct.models import catalog
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Train
from localinstruct.records import Instance, digest
from localinstruct.store.durable import sha256
from localinstruct.store.folder import HELD_OUT, TRAIN
from localinstruct.templates import Encoded, EncodedRows, encode_all, encode_pairs
from localinstruct.templates.beside import with_thoughts
from localinstruct.training import (
    batching,
    best_student,
    checkpoints,
    metrics,
    modes,
    ranks,
    sharding,
    student,
    trainers,
)
from localinstruct.training.best_student import BestStudent
from localinstruct.training.callbacks import Callbacks
from localinstruct.training.checkpoints import Checkpoint
from localinstruct.training.setup import Setup

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, Trainer


@dataclass(frozen=True, slots=True)
class Job:
    """A training ready to start."""

    trainer: "Trainer"
    tokenizer: "PreTrainedTokenizerBase"
    callbacks: Callbacks
    rows: EncodedRows
    resumed: Checkpoint | None
    setup: Setup


def prepare(
    recipe: Recipe,
    home: Path,
    progress: Progress,
    folder: Path,
    setup: Setup,
    chat_template: str | None = None,
) -> Job:
    """Prepare a training of the run in `home`, with the student's files in `folder`."""
    section, output = recipe.train, home / "train"
    dataset = {name: _read(home / "dataset" / name, home.name) for name in (TRAIN, HELD_OUT)}
    tokenizer = student.load_tokenizer(folder, chat_template)
    model = modes.load(section, folder, setup)
    if setup.padding_free:
        batching.refuse_leak(model)
    length = student.longest_row(model, section.max_length)
    if length < section.max_length:
        progress.say(
            f"Rows of at most {length} tokens, not {section.max_length}: the student's context "
            "is no longer."
        )
    rows = _encode(section, dataset[TRAIN], tokenizer, length, progress)
    held_out = encode_all(
        with_thoughts(dataset[HELD_OUT], section.thinking),
        section.template,
        tokenizer,
        length,
        "last" if section.loss_on == "row" else section.loss_on,  # how well it answers
    ).examples
    output.mkdir(exist_ok=True, mode=0o700)
    ours, before = _inputs(recipe, home / "dataset", folder, chat_template)
    theirs, theirs_before = (digest([one, batching.REBALANCED]) for one in (ours, before))
    resumed = _resume_point(output, (ours, theirs, before, theirs_before), progress)
    batches = setup.accumulate * section.world_size
    suits = batching.rebalances(section.objective, len(rows.examples), section.batch_size, batches)
    inputs = resumed.inputs if resumed else theirs if suits else ours  # it goes on in its order
    callbacks = _callbacks(recipe, output, progress, inputs, resumed, setup, tokenizer, held_out)
    trainer = trainers.make(
        recipe,
        setup,
        model,
        tokenizer,
        rows.examples,
        callbacks,
        inputs in (theirs, theirs_before),
    )
    if resumed and callbacks.best.is_over():
        trainer.args.max_steps = resumed.step  # it had stopped early there
    return Job(trainer, tokenizer, callbacks, rows, resumed, setup)


def _callbacks(
    recipe: Recipe,
    output: Path,
    progress: Progress,
    inputs: str,
    resumed: Checkpoint | None,
    setup: Setup,
    tokenizer: "PreTrainedTokenizerBase",
    held_out: Sequence[Encoded],
) -> Callbacks:
    """The callbacks, with their state as it was when the checkpoint was written."""
    section, pad = recipe.train, student.pad_id(tokenizer)

    def measure(model: "PreTrainedModel") -> float | None:
        if not held_out:
            return None
        return student.mean_loss(model, held_out, pad, setup.device_batch)[0]

    def save(folder: Path) -> None:
        state = sharding.whole_weights(callbacks.model)
        if ranks.first():
            modes.write(callbacks.model, tokenizer, section, folder, state)

    path, step = output / "metrics.jsonl", resumed.step if resumed else -1
    if ranks.first():
        metrics.rewind(path, step)
    losses = [loss for at, loss in metrics.held_out_losses(path) if 0 < at <= step]
    saver = save if section.keep == "best" else None
    folder = output / best_student.FOLDER
    best = BestStudent(folder, inputs, saver, section.early_stopping, losses, setup.device.name)
    callbacks = Callbacks(path, progress, measure, inputs, setup.device, best)
    callbacks.seconds_before = resumed.facts["seconds"] if resumed else 0.0
    return callbacks


def _read(path: Path, name: str) -> list[Instance]:
    if not path.is_file():
        raise DataError(f"{path}: not there yet.", f"First: localinstruct dataset {name}")
    return read_instances(path) if path.stat().st_size else []


def _encode(
    section: Train,
    rows: Sequence[Instance],
    tokenizer: "PreTrainedTokenizerBase",
    length: int,
    progress: Progress,
) -> EncodedRows:
    """The rows as the objective wants them; rows and answers that are lost are reported."""
    if section.objective == "sft":
        _say_thoughts(section, rows, progress)
        rows = with_thoughts(rows, section.thinking)
        encoded: EncodedRows = encode_all(
            rows, section.template, tokenizer, length, section.loss_on
        )
    else:
        pairs = [row for row in rows if row.rejected]
        if not pairs:
            raise DataError(
                f"train.objective: dpo needs rows with a rejected answer; none of {len(rows)} "
                "training rows has one.",
                "Make pairs with --set then.preference={}, or use --set train.objective=sft",
            )
        if len(pairs) < len(rows):
            progress.say(
                f"{len(rows) - len(pairs)} of {len(rows)} rows have no rejected answer and are "
                "left out."
            )
        rows = pairs
        encoded = encode_pairs(rows, section.template, tokenizer, length)
    _report_lost(encoded, len(rows), length, progress)
    return encoded


def _say_thoughts(section: Train, rows: Sequence[Instance], progress: Progress) -> None:
    """Say what becomes of thoughts and of turns that are marked as not to be learnt."""
    thoughts = sum(bool(row.thinking) for row in rows)
    if thoughts:
        learnt = "learnt" if section.thinking == "learn" else "not learnt (train.thinking: learn)"
        progress.say(f"{thoughts} of {len(rows)} rows have thoughts, which are {learnt}.")
    marked = sum(not turn.learn for row in rows for turn in row.history + row.steps)
    if marked and section.loss_on != "last":
        progress.say(f"Earlier answers that are not learnt, as their rows say: {marked}.")


def _report_lost(rows: EncodedRows, total: int, length: int, progress: Progress) -> None:
    """Report rows and answers lost to template, max_length or tokenizer; DataError for all."""
    for reason, count in rows.refused.items():
        progress.say(f"{count} of {total} rows are left out: the template {reason}.")
    if rows.unreadable:
        progress.say(
            f"{rows.unreadable} of {total} rows are left out: they spell a special token, which "
            "the student's tokenizer can only read as the token (it has no tokenizer.json)."
        )
    if not rows.examples and rows.unreadable == total:
        raise DataError(
            f"None of {total} training rows can be read: all spell special tokens.",
            "Use a student that has a tokenizer.json.",
        )
    if not rows.examples and rows.refused:
        raise DataError(
            f"None of {total} training rows can be trained on: the template "
            f"{' or '.join(rows.refused)}.",
            "Use a template file that holds such rows (--set train.template=FILE, "
            "docs/templates.md), or other rows.",
        )
    if not rows.examples:
        raise DataError(
            f"None of {total} training rows fits: every prompt alone fills the {length} tokens "
            "of a row.",
            "Raise train.max_length, or use a student with a longer context.",
        )
    if rows.truncated:
        progress.say(
            f"{rows.truncated} of {total} answers are cut at {length} tokens; their end is not "
            "learnt."
        )
    if rows.dropped_too_long:
        progress.say(
            f"{rows.dropped_too_long} of {total} rows are left out: their prompt alone fills "
            f"{length} tokens."
        )
    if rows.merged:
        progress.say(
            f"{rows.merged} of {total} rows have a token that spans prompt and answer (as in "
            "Alpaca)."
        )


def _inputs(
    recipe: Recipe, dataset: Path, folder: Path, chat_template: str | None
) -> tuple[str, str]:
    """Digests of all that shapes this training: settings, seed, rows, student.

    The second one has the number of processes too, as checkpoints before November 2026 had it;
    those of now go on with any number.
    """
    rows = [sha256(dataset / name) for name in (TRAIN, HELD_OUT)]
    given = [chat_template] if chat_template else []
    rest = [recipe.seed, rows, catalog.file_digests(folder), *given]
    alone, several = (
        digest([section.model_dump(mode="json"), *rest])
        for section in (recipe.train.on_one_process, recipe.train)
    )
    return alone, several


def _resume_point(output: Path, inputs: Sequence[str], progress: Progress) -> Checkpoint | None:
    """The checkpoint to go on from; unusable ones are removed, and the reason is shown."""
    checkpoint, faults = checkpoints.newest(output, *inputs)
    for name, fault in faults.items() if ranks.first() else ():
        progress.say(f"{name} removed: {fault}.")
        checkpoints.remove(output / name)
    if checkpoint:
        progress.say(f"Going on from step {checkpoint.step}, the newest complete checkpoint.")
    return checkpoint
