"""TRL's trainers, given token ids and labels and our order of rows, without their printing, model
cards and preparation.

Nothing between us and the loss may change the rows. The gradient of a step is the mean over the
answer tokens of its whole batch, on all devices. Not covered: other objectives than answers (sft)
and preference pairs (dpo).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from localinstruct.errors import TrainerError
from localinstruct.recipe import Recipe
from localinstruct.templates import Encoded, EncodedPair
from localinstruct.training import loss, modes, packing, student
from localinstruct.training.choices import Setup
from localinstruct.training.packing import StepOrder
from localinstruct.training.watch import Watch

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
"""Name in a recipe -> transformers' name."""


def make(
    recipe: Recipe,
    setup: Setup,
    model: Any,
    tokenizer: Any,
    rows: Sequence[Encoded | EncodedPair],
    watch: Watch,
) -> Any:
    """The trainer for this recipe; TrainerError when the adapter does not fit the student."""
    from transformers import PrinterCallback

    build = _sft if recipe.train.objective == "sft" else _dpo
    try:
        trainer = build(recipe, setup, model, tokenizer, rows, watch)
    except ValueError as error:
        where = "train.lora does not fit this student, or a setting of train is refused"
        raise TrainerError(
            f"{where}: {error}", "Try --set train.lora.target_modules=all-linear"
        ) from None
    order = StepOrder([row.length for row in rows], recipe.train.batch_size, recipe.seed)
    trainer._get_train_sampler = lambda *_: order
    trainer.add_callback(_epochs(order))
    watch.learnt = sum(
        p.numel() * p.element_size() for p in trainer.model.parameters() if p.requires_grad
    )
    trainer._save_checkpoint = _with_room(watch, trainer._save_checkpoint)
    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda **_: None  # it would name this machine's paths in a README
    return trainer


def _sft(
    recipe: Recipe, setup: Setup, model: Any, tokenizer: Any, rows: Sequence[Any], watch: Watch
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    class Plain(SFTTrainer):
        """Makes small logits at once on a CPU (`loss`)."""

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            base = self.accelerator.unwrap_model(model)
            if (
                not self.args.use_cpu
                or self.aux_loss_enabled
                or not loss.is_small(base, inputs["labels"])
            ):
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            total = loss.summed(model, base.get_output_embeddings(), inputs)
            return total / num_items_in_batch.clamp(min=1) * self.accelerator.num_processes

    columns = {"input_ids": [row.input_ids for row in rows], "labels": [row.labels for row in rows]}
    given = {
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
    }  # rows are cut already
    return Plain(
        model=model,
        args=_arguments(SFTConfig, recipe, setup, watch.metrics.parent, given),
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        data_collator=packing.collator(setup.padding_free, student.pad_id(tokenizer)),
        peft_config=modes.adapter(recipe.train),
        callbacks=[_callback(watch)],
    )


def _dpo(
    recipe: Recipe, setup: Setup, model: Any, tokenizer: Any, rows: Sequence[Any], watch: Watch
) -> Any:
    """The reference is the base: the model with its adapter off, or a second copy where all weights
    are learnt."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Prepared(DPOTrainer):
        """Takes rows that are token ids already."""

        def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
            return dataset

    names = ("prompt_ids", "chosen_ids", "rejected_ids")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = (
            tokenizer.eos_token
        )  # its collator wants one; padding is masked by position
    given = {"max_length": None, "beta": recipe.train.beta}
    return Prepared(
        model=model,
        args=_arguments(DPOConfig, recipe, setup, watch.metrics.parent, given),
        train_dataset=Dataset.from_dict(
            {name: [getattr(row, name) for row in rows] for name in names}
        ),
        processing_class=tokenizer,
        peft_config=modes.adapter(recipe.train),
        callbacks=[_callback(watch)],
    )


def _epochs(order: StepOrder) -> Any:
    """Tells the order its epoch: accelerate does not reach it where several processes resume within
    an epoch."""
    from transformers import TrainerCallback

    class Epochs(TrainerCallback):
        """Before an epoch's first batch is drawn."""

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            order.set_epoch(int(state.epoch or 0))

    return Epochs()


def _with_room(watch: Watch, save: Callable[..., None]) -> Callable[..., None]:
    """Transformers' writing of a checkpoint, with a look at the disk before it."""

    def checked(*given: Any, **more: Any) -> None:
        watch.before_save()
        save(*given, **more)

    return checked


def _callback(watch: Watch) -> Any:
    """The watch as transformers wants it: a TrainerCallback whose events are the watch's
    methods."""
    from transformers import TrainerCallback

    events = {
        name: staticmethod(getattr(watch, name)) for name in dir(watch) if name.startswith("on_")
    }
    return type("WatchCallback", (TrainerCallback,), events)()


def _arguments(
    config: Any, recipe: Recipe, setup: Setup, output: Path, given: dict[str, Any]
) -> Any:
    """The trainer's arguments, the same for every objective but for `given`."""
    section, device = recipe.train, setup.device
    if section.tensorboard:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(output / "tensorboard")
    arguments = config(
        output_dir=str(output),
        seed=recipe.seed,
        num_train_epochs=section.epochs,
        learning_rate=section.learning_rate,
        lr_scheduler_type=SCHEDULERS[section.scheduler],
        warmup_steps=section.warmup_ratio,  # below 1 it is a share of all steps
        weight_decay=section.weight_decay,
        per_device_train_batch_size=setup.device_batch,
        gradient_accumulation_steps=setup.accumulate,
        gradient_checkpointing=section.gradient_checkpointing,
        bf16=device.dtype == "bfloat16",
        fp16=device.dtype == "float16",
        use_cpu=device.name == "cpu",
        use_liger_kernel=setup.liger,
        fsdp="full_shard auto_wrap" if section.sharding == "fsdp" else None,
        dataloader_pin_memory=device.name != "cpu",
        logging_steps=section.logging_steps,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        save_strategy="steps",
        save_steps=section.save_steps,
        eval_strategy="no",  # the watch does it, weighted by tokens
        report_to=["tensorboard"] if section.tensorboard else "none",
        disable_tqdm=True,
        **given,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are several processes
    return arguments
