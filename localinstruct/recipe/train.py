"""Fine-tuning: the `train` section of a recipe."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section
from localinstruct.templates import custom


class Lora(Section):
    """Low-rank adapters (Hu et al. 2021, arXiv 2106.09685)."""

    r: int = Field(16, ge=1)
    """Rank."""
    alpha: int = Field(32, ge=1)
    """Scale: the update is multiplied by alpha / r."""
    dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on the adapter's input."""
    target_modules: str | list[str] = "all-linear"
    """Layers that get an adapter."""
    use_dora: bool = False
    """DoRA: learn each weight's length apart from its direction (Liu et al. 2024, arXiv
    2402.09353); slower."""
    use_rslora: bool = False
    """rsLoRA: scale by alpha / sqrt(r), for high ranks (Kalajdzievski 2023, arXiv 2312.03732)."""


class Train(Section):
    """Fine-tuning with TRL. Defaults follow Alpaca where LoRA does not ask for others."""

    NEW = frozenset({"thinking", "processes", "nodes"})
    mode: Literal["lora", "qlora", "full"] = "lora"
    """An adapter; an adapter on a base quantised to 4 bits (needs bitsandbytes and a GPU); or all
    weights."""
    objective: Literal["sft", "dpo"] = "sft"
    """Learn the answers, or to prefer them to the rejected ones (rows with `rejected`; Rafailov et
    al. 2023)."""
    beta: float = Field(0.1, gt=0)
    """DPO: how closely the student stays with its reference, which is the base."""
    template: str = "alpaca"
    """`alpaca` (its two prompts), `chat` (the student's own template), or a template file
    (docs/templates.md)."""
    loss_on: Literal["last", "all", "row"] = "last"
    """What of a row is learnt: the last answer, all answers of a row with earlier turns, or the
    whole row with its request (Shi et al. 2024, arXiv 2405.14394): for few rows or short answers.
    A turn that its file marks as not to be learnt (weight 0, loss or train false) never is."""
    thinking: Literal["drop", "learn"] = "drop"
    """Thoughts that stand beside answers: leave them out, or learn them before the answer, between
    marks <think> and </think> or as the student's chat template writes them."""
    lora: Lora = Lora()
    """The adapter."""
    epochs: float = Field(3, gt=0)
    """Passes over the training rows."""
    learning_rate: float = Field(2e-4, gt=0)
    """Peak learning rate (2e-5 in Alpaca's full fine-tuning; LoRA wants about ten times that)."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up."""
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW weight decay."""
    batch_size: int = Field(128, ge=1)
    """Rows per optimizer step, over all devices."""
    device_batch_size: int = Field(4, ge=1)
    """Rows on a device at once, on average: fewer long ones, more short ones; the rest of
    batch_size is accumulated."""
    max_length: int = Field(512, ge=8)
    """Tokens per row; longer rows lose the end of their answer and are counted."""
    batching: Literal["auto", "padding_free", "grouped"] = "auto"
    """How the rows of a step share the device: glued together without padding, or with rows of
    about their length."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Numbers to compute with; auto: bf16 where the GPU has it, else fp32."""
    devices: int = Field(1, ge=1)
    """Processes that train together on each machine, one per GPU (on a CPU: processes that share
    the cores)."""
    nodes: int = Field(1, ge=1)
    """Machines that train together; on each the command of docs/training-several.md."""
    processes: int | None = Field(None, ge=1)
    """Processes on all machines together, in place of `devices`; none: devices × nodes."""
    sharding: Literal["none", "fsdp"] = "none"
    """Several processes: each holds the whole model (DDP), or a part of it (FSDP2)."""
    kernels: Literal["auto", "off"] = "auto"
    """Liger's fused kernels and FlashAttention, where they are installed and there is a GPU."""
    early_stopping: int | None = Field(None, ge=1)
    """Stop after so many held-out losses in a row that are no new best; none: never."""
    keep: Literal["last", "best"] = "last"
    """Which student is kept: that of the last step, or the one with the lowest held-out loss."""
    save_steps: int = Field(200, ge=1)
    """Optimizer steps between checkpoints."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between metric lines."""
    tensorboard: bool = False
    """Also write TensorBoard files to the run's train/tensorboard (needs the extra tensorboard)."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: less memory, about a third more time."""

    @field_validator("template")
    @classmethod
    def _usable(cls, value: str) -> str:
        if fault := custom.fault(value):
            raise ValueError(fault)
        return value

    @model_validator(mode="before")
    @classmethod
    def _of_each_machine(cls, data: object) -> object:
        """`devices` from `processes`, where that alone is given."""
        if not isinstance(data, dict) or "devices" in data:
            return data
        total, nodes = data.get("processes"), data.get("nodes", 1)
        both = type(total) is int and type(nodes) is int and total > 0 and nodes > 0
        return data | {"devices": max(1, total // nodes)} if both else data

    @property
    def world_size(self) -> int:
        """Processes that train together, on all machines."""
        return self.devices * self.nodes

    @property
    def on_one_process(self) -> "Train":
        """Equal settings for a single process: what is learnt does not depend on their number."""
        alone = {"devices": 1, "nodes": 1, "processes": None, "sharding": "none"}
        return self.model_copy(update=alone)

    @model_validator(mode="after")
    def _fits_together(self) -> "Train":
        if self.processes not in (None, self.world_size):
            raise ValueError(
                f"processes: {self.processes} are not {self.devices} (devices) on each of "
                f"{self.nodes} (nodes); leave devices out, and make processes a multiple of nodes"
            )
        if self.sharding == "fsdp" and self.world_size == 1:
            raise ValueError(
                "sharding: fsdp spreads a model over several devices; set devices to their number"
            )
        if self.mode == "qlora" and self.sharding == "fsdp":
            raise ValueError(
                "mode: qlora is not offered with sharding: fsdp; use mode: lora, or sharding: none"
            )
        if self.objective == "dpo" and self.batching == "padding_free":
            raise ValueError(
                "batching: padding_free is not offered with objective: dpo; use batching: grouped"
            )
        return self
