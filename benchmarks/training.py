"""Section d: trained tokens per second beside a padded Trainer loop with Alpaca's settings.

The loop is a `transformers.Trainer` as Alpaca's train.py sets it up. Same model, same token ids and
labels, same 128 rows per step, 4 on the device at once; the loop is written anew from its
description: random order, padding to the longest row of a small batch, plain logits and loss. Like
is compared with like: all weights with all weights, and the recipe's LoRA adapter with the same
adapter of PEFT in the loop. Rows are random ids whose lengths are drawn as Alpaca's are reported:
about 127 tokens on average, 98 % within 256. The clock runs from the first step to the last; our
checkpoint is inside, loading is not. Not compared: what is learnt (tests hold the losses equal).
"""

import math
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.setting import Setting, note
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject
from localinstruct.templates import IGNORED, Encoded
from localinstruct.training import modes, student, trainers
from localinstruct.training.best_student import BestStudent
from localinstruct.training.callbacks import Callbacks
from localinstruct.training.setup import choose_setup

if TYPE_CHECKING:
    from transformers import Trainer

LOOP, FULL = "padded Trainer loop, all weights", "ours, all weights"
LORA_LOOP, LORA = "padded Trainer loop, LoRA", "ours, LoRA"
PEERS = {LOOP: LOOP, FULL: LOOP, LORA_LOOP: LORA_LOOP, LORA: LORA_LOOP}
"""Way -> the loop it is compared with."""
ROWS, QUICK_ROWS, REPETITIONS = 384, 128, 3
BATCH, ON_DEVICE = 128, 4
MIDDLE, SPREAD = 4.774, 0.375
"""Mean and deviation of the logarithm of a row's tokens.

Mean exp(4.774 + 0.375² / 2) = 127 tokens, and 98 % below 256.
"""
PROMPT = 0.55
"""Share of a row's tokens that is prompt, and not learnt."""


def measure(setting: Setting) -> JsonObject:
    """Tokens per second of each way and its ratio to its loop, as plain JSON values."""
    spec = load_catalog(setting.workspace).get(setting.recipe.models.student)
    folder = checked(spec)
    count = QUICK_ROWS if setting.quick else ROWS
    rows = lengths_of_alpaca(count, student.load_tokenizer(folder).vocab_size)
    tokens = sum(row.length for row in rows)
    ways: dict[str, Callable[[Path], float]] = {
        LOOP: lambda home: _loop(setting.recipe, folder, rows, home, "full"),
        FULL: lambda home: _ours(setting.recipe, folder, rows, home, "full"),
        LORA_LOOP: lambda home: _loop(setting.recipe, folder, rows, home, "lora"),
        LORA: lambda home: _ours(setting.recipe, folder, rows, home, "lora"),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for repetition in range(1 if setting.quick else REPETITIONS):
        for name in list(ways) if repetition % 2 == 0 else reversed(ways):
            with TemporaryDirectory(dir=setting.home) as home:
                speeds[name].append(tokens / ways[name](Path(home)))
            note(f"d: {name}: {speeds[name][-1]:,.0f} tokens/s")
    return {
        "rows": len(rows),
        "tokens": tokens,
        "student": spec.name,
        "padding": padding(rows),
        "ways": summary(speeds),
    }


def lengths_of_alpaca(count: int, vocabulary: int) -> list[Encoded]:
    """Rows of random ids, as long as Alpaca's."""
    draw = Random(1)
    rows = []
    for _ in range(count):
        length = min(512, max(16, round(draw.lognormvariate(MIDDLE, SPREAD))))
        ids = [draw.randrange(vocabulary) for _ in range(length)]
        border = math.ceil(PROMPT * length)
        rows.append(Encoded(ids, [IGNORED] * border + ids[border:]))
    return rows


def padding(rows: list[Encoded]) -> float:
    """Share of the loop's positions that hold no token."""
    lengths = [row.length for row in rows]
    Random(2).shuffle(lengths)
    starts = range(0, len(lengths), ON_DEVICE)
    positions = sum(ON_DEVICE * max(lengths[start : start + ON_DEVICE]) for start in starts)
    return 1 - sum(lengths) / positions


def summary(speeds: dict[str, list[float]]) -> dict[str, dict[str, list[float]]]:
    """Way -> median, lowest, highest of tokens per second and of the ratio to its loop."""

    def spread(values: list[float]) -> list[float]:
        return [statistics.median(values), min(values), max(values)]

    ratios = {
        name: [mine / loop for mine, loop in zip(own, speeds[PEERS[name]], strict=True)]
        for name, own in speeds.items()
    }
    return {
        name: {"tokens_per_second": spread(own), "ratio": spread(ratios[name])}
        for name, own in speeds.items()
    }


def _ours(recipe: Recipe, folder: Path, rows: list[Encoded], home: Path, mode: str) -> float:
    """Seconds of our training."""
    settings = {
        "mode": mode,
        "batch_size": BATCH,
        "device_batch_size": ON_DEVICE,
        "epochs": 1,
        "save_steps": 10**6,
        "learning_rate": 1e-4,
    }
    train = recipe.train.model_copy(update=settings)
    recipe = recipe.model_copy(update={"train": train})
    setup = choose_setup(train, student.choose_device())
    with student.quiet(home / "logs" / "train.log"):
        model, tokenizer = modes.load(train, folder, setup), student.load_tokenizer(folder)
        best = BestStudent(home / "best", "bench", None, None)
        lines = home / "metrics.jsonl"
        callbacks = Callbacks(lines, Silent(), lambda _: None, "bench", setup.device, best)
        trainer = trainers.make(recipe, setup, model, tokenizer, rows, callbacks)
        return _timed(trainer)


def _loop(recipe: Recipe, folder: Path, rows: list[Encoded], home: Path, mode: str) -> float:
    """Seconds of the padded loop with transformers' own trainer."""
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    device = student.choose_device()
    model = student.load_base(folder, student.Device(device.name, "float32", device.reason))
    if mode == "lora":
        model = get_peft_model(model, modes.adapter(recipe.train))
    arguments = TrainingArguments(
        output_dir=str(home),
        num_train_epochs=1,
        per_device_train_batch_size=ON_DEVICE,
        gradient_accumulation_steps=BATCH // ON_DEVICE,
        learning_rate=1e-4,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
        weight_decay=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        bf16=device.dtype == "bfloat16",
        use_cpu=device.name == "cpu",
        dataloader_pin_memory=device.name != "cpu",
        seed=1,
    )
    data = [
        {"input_ids": row.input_ids, "attention_mask": [1] * row.length, "labels": row.labels}
        for row in rows
    ]
    collate = DataCollatorForSeq2Seq(
        student.load_tokenizer(folder), padding="longest", label_pad_token_id=IGNORED
    )
    with student.quiet(home / "logs" / "train.log"):
        trainer = Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate)
        _silence(trainer)
        return _timed(trainer)


def _silence(trainer: "Trainer") -> None:
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def _timed(trainer: "Trainer") -> float:
    """Seconds from the first step's begin to the training's end."""
    from transformers import TrainerCallback

    clock: dict[str, float] = {}

    class Clock(TrainerCallback):
        """A callback that notes when the steps begin."""

        def on_step_begin(self, *_: object, **__: object) -> None:
            clock.setdefault("began", time.perf_counter())

    trainer.add_callback(Clock())
    trainer.train()
    return time.perf_counter() - clock["began"]
