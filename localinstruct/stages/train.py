"""Fine-tune the student: TRL's SFTTrainer with LoRA on the dataset's rows; the adapter goes to runs/NAME/adapter/.

Rows arrive at the trainer as token ids and labels (`templates.encode_all`), so that nothing between us and the loss can
change them: only the answer and its end token are learnt. The gradient of a step is the mean over the answer tokens of
its whole batch (Alpaca: the mean of the small batches' means). Held-out loss before the first step and after every
epoch. Stopped at any moment, the same command goes on from the newest complete checkpoint with the same loss curve. Not
covered: full fine-tuning, several GPUs, packing, preference pairs.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localinstruct import models
from localinstruct.errors import DataError, Interrupted, TrainerError
from localinstruct.files import sha256
from localinstruct.formats import read_instances
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Lora, Train
from localinstruct.records import Instance, digest
from localinstruct.run import Run
from localinstruct.stages import StageResult, checkpoints, metrics, student
from localinstruct.stages.checkpoints import Checkpoint
from localinstruct.stages.dataset import HELD_OUT, TRAIN
from localinstruct.stages.interrupt import stop_request
from localinstruct.stages.watch import Watch
from localinstruct.templates import Encoded, EncodedRows, encode_all

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
"""Name in a recipe -> transformers' name."""


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Train, or go on training, and save the adapter; the result's losses are in nats per answer token.

    "train_loss" is the mean over the last epoch; "seconds" and "tokens_per_second" count the steps, not the loading and
    not the held-out passes. Raises DataError without a dataset, ModelError for an unusable student, TrainerError when
    memory or disk is full, the loss is no number or train.lora does not fit, Interrupted after Ctrl-C.
    """
    catalog = models.load_catalog(workspace)
    folder = models.checked(catalog.get(recipe.models.student))
    return train(recipe, run, progress, folder)


def train(recipe: Recipe, run: Run, progress: Progress, folder: Path) -> StageResult:
    """`run` with the student's directory already found and checked."""
    adapter = run.path / "adapter"
    with student.quiet(run.path / "logs" / "train.log"):
        job = _prepare(recipe, run, progress, folder)
        if not _finish(job):
            raise _interrupted(job, run.path.name)
        _save_adapter(job.trainer.model, adapter)
        return _result(job, recipe, adapter)


def _finish(job: "Job") -> bool:
    """Train to the end; False when somebody asked to stop before it."""
    try:
        with stop_request() as stop, student.memory_errors(f"train.device_batch_size={max(1, job.device_batch // 2)}"):
            job.watch.stop = stop
            job.trainer.train(resume_from_checkpoint=str(job.resumed.folder) if job.resumed else None)
            if not stop.asked:
                job.watch.measure_end(job.trainer.state.global_step)
            return not stop.asked
    except KeyboardInterrupt:
        return False
    except OSError as error:
        folder = job.watch.metrics.parent
        raise TrainerError(f"{folder}: cannot be written: {error.strerror or error}.", f"df -h {folder}") from None


@dataclass(frozen=True, slots=True)
class Job:
    """A training ready to start."""

    trainer: Any
    watch: Watch
    rows: EncodedRows
    resumed: Checkpoint | None
    device: student.Device
    device_batch: int


def _prepare(recipe: Recipe, run: Run, progress: Progress, folder: Path) -> Job:
    """Everything before the first step: rows, device, model, checkpoint, trainer."""
    section, output = recipe.train, run.path / "train"
    dataset = {name: _read(run.path / "dataset" / name, run.path.name) for name in (TRAIN, HELD_OUT)}
    device = student.choose_device()
    progress.say(f"Training on {device.name} in {device.dtype}: {device.reason}.")
    tokenizer, model = student.load_tokenizer(folder), student.load_base(folder, device)
    length = student.longest_row(model, section.max_length)
    if length < section.max_length:
        progress.say(f"Rows of at most {length} tokens, not {section.max_length}: the student's context is no longer.")
    rows = encode_all(dataset[TRAIN], section.template, tokenizer, length)
    held_out = encode_all(dataset[HELD_OUT], section.template, tokenizer, length).examples
    _say_losses(rows, len(dataset[TRAIN]), length, progress)
    output.mkdir(exist_ok=True, mode=0o700)
    inputs = _inputs(recipe, run.path / "dataset", folder)
    resumed = _resume_point(output, inputs, progress)
    pad, batch = student.pad_id(tokenizer), device_batch(section, progress)

    def measure(trained: Any) -> float | None:
        return student.mean_loss(trained, held_out, pad, batch)[0] if held_out else None

    watch = Watch(output / "metrics.jsonl", progress, measure, inputs, device)
    watch.seconds_before = resumed.facts["seconds"] if resumed else 0.0
    metrics.rewind(watch.metrics, resumed.step if resumed else -1)
    trainer = _trainer(recipe, model, tokenizer, rows.examples, watch, batch)
    return Job(trainer, watch, rows, resumed, device, batch)


def device_batch(section: Train, progress: Progress) -> int:
    """Choose the rows on the device at once: the largest divisor of batch_size up to device_batch_size."""
    wanted = min(section.device_batch_size, section.batch_size)
    chosen = max(size for size in range(1, wanted + 1) if section.batch_size % size == 0)
    if chosen != section.device_batch_size:
        wish = f"{section.device_batch_size}: it must divide {section.batch_size}"
        progress.say(f"{chosen} rows on the device at once, not {wish}.")
    return chosen


def _read(path: Path, name: str) -> list[Instance]:
    if not path.is_file():
        raise DataError(f"{path}: not there yet.", f"First: localinstruct dataset {name}")
    return read_instances(path) if path.stat().st_size else []


def _say_losses(rows: EncodedRows, total: int, length: int, progress: Progress) -> None:
    """Report what max_length and the tokenizer cost; DataError when nothing is left."""
    if not rows.examples:
        raise DataError(
            f"None of {total} training rows fits: every prompt alone fills the {length} tokens of a row.",
            "Raise train.max_length, or use a student with a longer context.",
        )
    if rows.truncated:
        progress.say(f"{rows.truncated} of {total} answers are cut at {length} tokens; their end is not learnt.")
    if rows.dropped_too_long:
        progress.say(f"{rows.dropped_too_long} of {total} rows are left out: their prompt alone fills {length} tokens.")
    if rows.merged:
        progress.say(f"{rows.merged} of {total} rows have a token that spans prompt and answer (as in Alpaca).")


def _inputs(recipe: Recipe, dataset: Path, folder: Path) -> str:
    """Digest of all that shapes this training: settings, seed, rows, student."""
    rows = [sha256(dataset / name) for name in (TRAIN, HELD_OUT)]
    return digest([recipe.train.model_dump(mode="json"), recipe.seed, rows, models.file_digests(folder)])


def _resume_point(output: Path, inputs: str, progress: Progress) -> Checkpoint | None:
    """The checkpoint to go on from; unusable ones are removed, with the reason said."""
    found, faults = checkpoints.newest(output, inputs)
    for name, fault in faults.items():
        progress.say(f"{name} removed: {fault}.")
        checkpoints.remove(output / name)
    if found:
        progress.say(f"Going on from step {found.step}, the newest complete checkpoint.")
    return found


def _trainer(recipe: Recipe, model: Any, tokenizer: Any, examples: list[Encoded], watch: Watch, batch: int) -> Any:
    """TRL's trainer on token ids and labels, with our watch in place of its printing and its model card."""
    from datasets import Dataset
    from transformers import PrinterCallback
    from trl import SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    columns = {"input_ids": [e.input_ids for e in examples], "labels": [e.labels for e in examples]}
    try:
        trainer = SFTTrainer(
            model=model,
            args=_arguments(recipe, watch.metrics.parent, watch.device, batch),
            train_dataset=Dataset.from_dict(columns),
            processing_class=tokenizer,
            data_collator=DataCollatorForLanguageModeling(pad_token_id=student.pad_id(tokenizer)),
            peft_config=_lora(recipe.train.lora),
            callbacks=[_callback(watch)],
        )
    except ValueError as error:
        where = "train.lora does not fit this student, or a setting of train is refused"
        raise TrainerError(f"{where}: {error}", "Try --set train.lora.target_modules=all-linear") from None
    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda **_: None  # it would name this machine's paths in a README
    return trainer


def _lora(lora: Lora) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=lora.r, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=lora.target_modules, bias="none",
        task_type="CAUSAL_LM",
    )  # fmt: skip


def _callback(watch: Watch) -> Any:
    """The watch as transformers wants it: a TrainerCallback whose events are the watch's methods."""
    from transformers import TrainerCallback

    events = {name: staticmethod(getattr(watch, name)) for name in dir(watch) if name.startswith("on_")}
    return type("WatchCallback", (TrainerCallback,), events)()


def _arguments(recipe: Recipe, output: Path, device: student.Device, batch: int) -> Any:
    from trl import SFTConfig

    section = recipe.train
    arguments = SFTConfig(
        output_dir=str(output),
        seed=recipe.seed,
        num_train_epochs=section.epochs,
        learning_rate=section.learning_rate,
        lr_scheduler_type=SCHEDULERS[section.scheduler],
        warmup_steps=section.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=section.weight_decay,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=section.batch_size // batch,
        gradient_checkpointing=section.gradient_checkpointing,
        bf16=device.dtype == "bfloat16",
        use_cpu=device.name == "cpu",
        dataloader_pin_memory=device.name != "cpu",
        max_length=None,  # rows are cut already
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=section.logging_steps,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        save_strategy="steps",
        save_steps=section.save_steps,
        eval_strategy="no",  # the watch does it, weighted by tokens
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # TRL refuses the several GPUs of one process; we take the first
    return arguments


def _save_adapter(model: Any, folder: Path) -> None:
    """The adapter's safetensors and config, complete or not there; an older adapter is replaced."""
    fresh, old = folder.with_name(".adapter.part"), folder.with_name(".adapter.old")
    for leftover in (fresh, old):
        shutil.rmtree(leftover, ignore_errors=True)
    model.save_pretrained(
        str(fresh), safe_serialization=True, save_embedding_layers=False
    )  # False: no look-up of the base
    (fresh / "README.md").unlink(missing_ok=True)
    checkpoints.sync_folder(fresh)
    if folder.exists():
        folder.rename(old)
    fresh.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _interrupted(job: Job, name: str) -> Interrupted:
    found, _ = checkpoints.newest(job.watch.metrics.parent, job.watch.inputs)
    steps = job.trainer.state.max_steps or "?"
    kept = f"checkpoint of step {found.step} of {steps} kept" if found else "no checkpoint yet"
    return Interrupted(f"Training stopped; {kept}.", f"Continue with: localinstruct train {name}")


def _result(job: Job, recipe: Recipe, adapter: Path) -> StageResult:
    state, seconds = job.trainer.state, job.watch.seconds()
    parameters = list(job.trainer.model.parameters())
    trainable = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    tokens = int(state.num_input_tokens_seen)
    written = sha256(adapter / "adapter_model.safetensors")
    return {
        "product": written,
        "steps": state.global_step,
        "epochs": state.epoch,
        "train_loss": metrics.last_epoch_loss(job.watch.metrics, state.epoch),
        "held_out_loss": metrics.held_out_loss(job.watch.metrics, state.global_step),
        "seconds": seconds,
        "tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "trainable_parameters": trainable,
        "parameters": sum(parameter.numel() for parameter in parameters) - trainable,
        "peak_memory_gib": student.peak_memory_gib(job.device),
        "device": job.device.name,
        "dtype": job.device.dtype,
        "truncated": job.rows.truncated,
        "dropped_too_long": job.rows.dropped_too_long,
        "adapter_sha256": written,
        "student": recipe.models.student,
    }
