"""The stage `train`: fine-tune the student on the dataset's rows with TRL.

runs/NAME/adapter/ stays, or student/, a whole model. The parts lie in `training/`. Rows arrive at
the trainer as token ids and labels, so that nothing between us and the loss can change them.
Stopped at any moment, the same command goes on from the newest complete checkpoint with the same
loss curve, in as many processes as one likes. Out of memory halves the rows on the device once and
goes on the same way.
"""

import shutil
from pathlib import Path

from localinstruct.errors import Interrupted
from localinstruct.interrupt import stop_request
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.store.durable import sha256
from localinstruct.store.integrity import plain_words, require_space
from localinstruct.store.run import Run
from localinstruct.training import (
    best_student,
    checkpoints,
    metrics,
    modes,
    ranks,
    sharding,
    student,
)
from localinstruct.training.prepare import Job, prepare
from localinstruct.training.processes import train_in_processes
from localinstruct.training.setup import Setup, choose_setup, halved


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Train, or go on training, and save the student.

    The result's losses are in nats per answer token. "train_loss" is the mean over the last epoch;
    "seconds" and "tokens_per_second" count the steps, not the loading and not the held-out passes.
    Raises DataError without a dataset, ModelError for an unusable student, TrainerError when memory
    is full, the loss is no number or train.lora does not fit, StoreError when the disk is full,
    Interrupted after Ctrl-C.
    """
    catalog = load_catalog(workspace)
    spec = catalog.get(recipe.models.student)
    return train(recipe, run, progress, checked(spec), spec.template)


def train(
    recipe: Recipe, run: Run, progress: Progress, folder: Path, chat_template: str | None = None
) -> StageResult:
    """Train the student whose checked directory is `folder`.

    `chat_template` is the one of models.yaml. When memory is full it trains once more, with half
    the rows on the device.
    """
    setup = choose_setup(recipe.train, student.choose_device())
    progress.say("Settings, and who decided:")
    for choice in setup.choices:
        progress.say(f"  {choice}")
    start = train_in_processes if recipe.train.world_size > 1 else train_in_this_process
    try:
        return start(recipe, run.path, progress, folder, None, chat_template)
    except student.OutOfMemory as error:
        if setup.device_batch == 1:
            raise
        words = error.message
    smaller = halved(setup, recipe.train).device_batch
    progress.say(
        f"{words} Once more with {smaller} rows on the device at once, not {setup.device_batch}."
    )
    student.release()
    return start(recipe, run.path, progress, folder, smaller, chat_template)


def train_in_this_process(
    recipe: Recipe,
    home: Path,
    progress: Progress,
    folder: Path,
    device_batch: int | None,
    chat_template: str | None = None,
) -> StageResult:
    """Train in this process, as the only one or as one of several."""
    setup = choose_setup(recipe.train, student.choose_device())
    if device_batch:
        setup = halved(setup, recipe.train)
    name = f"train.{ranks.rank()}.log" if ranks.count() > 1 else "train.log"
    with (
        plain_words(home / "train"),
        student.quiet(home / "logs" / name),
        student.memory_errors(f"train.device_batch_size={_half(setup)}"),
    ):
        progress.update("loading the student", 0, 0)
        job = prepare(recipe, home, progress, folder, setup, chat_template)
        progress.update("first step", 0, 0)
        if ranks.first():
            _require_room(job, recipe, home)
        if not _finish(job):
            raise _interrupted(job, home.name)
        artefact = _save(job, recipe, home)
        return _result(job, recipe, artefact)


def _half(setup: Setup) -> int:
    return max(1, setup.device_batch // 2)


def _require_room(job: Job, recipe: Recipe, home: Path) -> None:
    """StoreError when checkpoints and student will not fit on the disk.

    Unfinished files of an earlier training are removed first.
    """
    for part in (home / f".{name}.part" for name, _ in student.ARTEFACTS.values()):
        shutil.rmtree(part, ignore_errors=True)
    there = sum(file.stat().st_size for file in (home / "train").rglob("*") if file.is_file())
    needed = sum(checkpoints.disk_needs(job.callbacks.learnt, recipe.train.keep).values())
    require_space(home, max(0, int(needed) - there))


def _finish(job: Job) -> bool:
    """Train to the end; False when somebody asked to stop before it."""
    resume_from = str(job.resumed.folder) if job.resumed else None
    setting = f"train.device_batch_size={_half(job.setup)}"
    try:
        with stop_request() as stop, student.memory_errors(setting):
            job.callbacks.stop = stop
            job.trainer.train(resume_from_checkpoint=resume_from)
            if not stop.asked:
                job.callbacks.measure_end(job.trainer.state.global_step)
            return not stop.asked
    except KeyboardInterrupt:
        return False


def _save(job: Job, recipe: Recipe, home: Path) -> student.Artefact:
    """Put what was learnt in its place; what another mode had left there goes."""
    kind = modes.kind(recipe.train)
    folder = home / student.ARTEFACTS[kind][0]
    best = home / "train" / best_student.FOLDER
    model = job.trainer.accelerator.unwrap_model(job.trainer.model)
    state = sharding.whole_weights(model)
    if ranks.first():
        if recipe.train.keep == "best" and best_student.read(best, job.callbacks.inputs):
            best_student.copy_to(best, folder)
        else:
            fresh = folder.with_name(f".{folder.name}.part")
            modes.write(model, job.tokenizer, recipe.train, fresh, state)
            modes.move_into_place(fresh, folder)
        for other, (name, _) in student.ARTEFACTS.items():
            if other != kind:
                shutil.rmtree(home / name, ignore_errors=True)
    ranks.wait()
    return student.Artefact(kind, folder)


def _interrupted(job: Job, name: str) -> Interrupted:
    newest, _ = checkpoints.newest(job.callbacks.metrics.parent, job.callbacks.inputs)
    steps = job.trainer.state.max_steps or "?"
    kept = f"checkpoint of step {newest.step} of {steps} kept" if newest else "no checkpoint yet"
    return Interrupted(f"Training stopped; {kept}.", f"Continue with: localinstruct train {name}")


def _best(job: Job, recipe: Recipe) -> tuple[int, float] | None:
    """(step, held-out loss) of the best student, where the recipe keeps that one."""
    if recipe.train.keep != "best":
        return None
    folder = job.callbacks.metrics.parent / best_student.FOLDER
    return best_student.read(folder, job.callbacks.inputs)


def _result(job: Job, recipe: Recipe, artefact: student.Artefact) -> StageResult:
    state, seconds, lines = job.trainer.state, job.callbacks.seconds(), job.callbacks.metrics
    parameters = list(job.trainer.model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    tokens, step = int(state.num_input_tokens_seen), state.global_step
    written = sha256(modes.weights(artefact.folder)[0])
    best = _best(job, recipe)
    return {
        "product": written,
        "steps": step,
        "kept_step": best[0] if best else step,
        "epochs": state.epoch,
        "train_loss": metrics.last_epoch_loss(lines, state.epoch),
        "held_out_loss": best[1] if best else metrics.held_out_loss(lines, step),
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "trainable_parameters": trainable,
        "parameters": sum(parameter.numel() for parameter in parameters) - trainable,
        "peak_memory_gib": student.peak_memory_gib(job.setup.device),
        "device": job.setup.device.name,
        "dtype": job.setup.device.dtype,
        "choices": job.setup.listed(),
        "truncated": job.rows.truncated,
        "dropped_too_long": job.rows.dropped_too_long,
        "refused": job.rows.refused,
        "artefact": artefact.kind,
        "adapter_sha256" if artefact.kind == "adapter" else "student_sha256": written,
        "student": recipe.models.student,
    }
