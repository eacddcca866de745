"""TRL's trainers for answers (sft) and pairs (dpo), given token ids and our order of rows.

Nothing between us and the loss may change the rows, so TRL's preparation is off; so are its
printing and its model cards. The gradient of a step is the mean over the answer tokens of its whole
batch, on all devices. Not covered: other objectives than answers (sft) and preference pairs (dpo).
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.recipe import Recipe
from localinstruct.templates import Encoded, EncodedPair
from localinstruct.training import batching, loss, modes, sharding, student
from localinstruct.training.batching import StepOrder
from localinstruct.training.callbacks import Callbacks
from localinstruct.training.setup import Setup

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor
    from torch.utils.data import DataLoader
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        Trainer,
        TrainerCallback,
        TrainerControl,
        TrainerState,
        TrainingArguments,
    )

SCHEDULERS = {"cosine": "cosine", "linear": "linear", "constant": "constant_with_warmup"}
"""Name in a recipe -> transformers' name."""


def make(
    recipe: Recipe,
    setup: Setup,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Encoded | EncodedPair],
    callbacks: Callbacks,
    rebalanced: bool | None = None,
) -> "Trainer":
    """The trainer for this recipe; TrainerError when the adapter does not fit the student.

    `rebalanced` rows come in transformers' order, others in a `StepOrder`; None for what a new
    training takes.
    """
    from transformers import PrinterCallback

    section = recipe.train
    if rebalanced is None:
        batches = setup.accumulate * section.world_size
        rebalanced = batching.rebalances(section.objective, len(rows), section.batch_size, batches)

    if rebalanced:  # its draws are the same for every seed, so the rows are shuffled with ours
        rows = random.Random(recipe.seed).sample(rows, len(rows))
    build = _sft if section.objective == "sft" else _dpo
    try:
        trainer = build(recipe, setup, model, tokenizer, rows, callbacks)
    except ValueError as error:
        where = "train.lora does not fit this student, or a setting of train is refused"
        raise TrainerError(
            f"{where}: {error}", "Try --set train.lora.target_modules=all-linear"
        ) from None
    if rebalanced:
        trainer.args.train_sampling_strategy = batching.REBALANCED
    else:
        order = StepOrder([row.length for row in rows], section.batch_size, recipe.seed)
        trainer.get_train_dataloader = lambda: _loader(trainer, order)
    trainer.add_callback(_epochs())
    learnt = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    callbacks.learnt = sum(weight.numel() * weight.element_size() for weight in learnt)
    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda **_: None  # it would name this machine's paths in a README
    return trainer


def _sft(
    recipe: Recipe,
    setup: Setup,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Encoded | EncodedPair],
    callbacks: Callbacks,
) -> "Trainer":
    from trl import SFTConfig, SFTTrainer
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    class Plain(SFTTrainer):
        """SFTTrainer that makes small logits at once on a CPU (`loss`)."""

        def compute_loss(
            self,
            model: "PreTrainedModel",
            inputs: "dict[str, Tensor]",
            return_outputs: bool = False,
            num_items_in_batch: "Tensor | None" = None,
        ) -> "Tensor | tuple[Tensor, object]":
            base = self.accelerator.unwrap_model(model)
            plain = self.args.use_cpu and not self.aux_loss_enabled
            small = plain and loss.is_small(base, inputs["labels"])
            if not small or num_items_in_batch is None:
                return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
            total = loss.summed(model, base.get_output_embeddings(), inputs)
            return total / num_items_in_batch.clamp(min=1) * self.accelerator.num_processes

    # rows are cut already
    options = {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
    made = sharding.whole_checkpoints(Plain) if recipe.train.sharding == "fsdp" else Plain
    return made(
        model=model,
        args=_arguments(SFTConfig, recipe, setup, callbacks.metrics.parent, options),
        train_dataset=_dataset(rows, ("input_ids", "labels")),
        processing_class=tokenizer,
        data_collator=DataCollatorForLanguageModeling(
            student.pad_id(tokenizer), padding_free=setup.padding_free
        ),
        peft_config=modes.adapter(recipe.train),
        callbacks=[_trainer_callback(callbacks)],
    )


def _dpo(
    recipe: Recipe,
    setup: Setup,
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    rows: Sequence[Encoded | EncodedPair],
    callbacks: Callbacks,
) -> "Trainer":
    """The trainer of pairs; its reference is the base.

    That is the model with its adapter off, or a second copy where all weights are learnt.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    if tokenizer.pad_token is None:  # its collator wants one; padding is masked by position
        tokenizer.pad_token = tokenizer.eos_token
    options = {"max_length": None, "beta": recipe.train.beta}
    sharded = recipe.train.sharding == "fsdp"
    trainer = (sharding.whole_checkpoints(DPOTrainer) if sharded else DPOTrainer)(
        model=model,
        args=_arguments(DPOConfig, recipe, setup, callbacks.metrics.parent, options),
        # it takes texts alone, and makes ids of them: ours get their place afterwards
        train_dataset=Dataset.from_dict({"prompt": ["-"], "chosen": ["-"], "rejected": ["-"]}),
        processing_class=tokenizer,
        peft_config=modes.adapter(recipe.train),
        callbacks=[_trainer_callback(callbacks)],
    )
    trainer.train_dataset = _dataset(rows, ("prompt_ids", "chosen_ids", "rejected_ids"))
    return trainer


def _dataset(rows: Sequence[Encoded | EncodedPair], columns: Sequence[str]) -> "Dataset":
    from datasets import Dataset

    return Dataset.from_dict({name: [getattr(row, name) for row in rows] for name in columns})


def _loader(trainer: "Trainer", order: StepOrder) -> "DataLoader":
    """Batches of the rows in this order, shared by the processes."""
    from torch.utils.data import DataLoader

    arguments = trainer.args
    loader = DataLoader(
        trainer.train_dataset,
        batch_size=arguments.train_batch_size,
        sampler=order,
        collate_fn=trainer.data_collator,
        pin_memory=arguments.dataloader_pin_memory,
    )
    return trainer.accelerator.prepare(loader)


def _epochs() -> "TrainerCallback":
    """Callback that sets the epoch of the order of rows, whatever lies around it.

    accelerate does not reach it where several processes resume within an epoch
    (huggingface/accelerate#2016).
    """
    from transformers import TrainerCallback

    class Epochs(TrainerCallback):
        """Sets the epoch before its first batch is drawn."""

        def on_epoch_begin(
            self,
            args: "TrainingArguments",
            state: "TrainerState",
            control: "TrainerControl",
            train_dataloader: object = None,
            **_: object,
        ) -> None:
            place = train_dataloader
            while place is not None:
                if hasattr(place, "set_epoch"):
                    place.set_epoch(int(state.epoch or 0))
                place = getattr(place, "batch_sampler", None) or getattr(place, "sampler", None)

    return Epochs()


def _trainer_callback(callbacks: Callbacks) -> "TrainerCallback":
    """A TrainerCallback whose events are the methods of `callbacks`."""
    from transformers import TrainerCallback

    names = [name for name in dir(callbacks) if name.startswith("on_")]
    events = {name: staticmethod(getattr(callbacks, name)) for name in names}
    return type("TrainingCallback", (TrainerCallback,), events)()


def _arguments(
    config: "Callable[..., TrainingArguments]",
    recipe: Recipe,
    setup: Setup,
    output: Path,
    options: Mapping[str, object],
) -> "TrainingArguments":
    """The trainer's arguments: equal for every objective, with `options` added."""
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
        fsdp=section.sharding == "fsdp" or None,
        fsdp_config={"version": 2} if section.sharding == "fsdp" else None,
        dataloader_pin_memory=device.name != "cpu",
        logging_steps=section.logging_steps,
        logging_nan_inf_filter=False,
        include_num_input_tokens_seen="non_padding",
        save_strategy="steps",
        save_steps=section.save_steps,
        eval_strategy="no",  # the callbacks measure it, weighted by tokens
        report_to=["tensorboard"] if section.tensorboard else "none",
        disable_tqdm=True,
        **options,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are several processes
    return arguments
