"""Fine-tuning: the `train` section of a recipe."""

from typing import Literal

from pydantic import Field

from localinstruct.config import Section


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


class Train(Section):
    """Supervised fine-tuning with TRL's SFTTrainer. Defaults follow Alpaca where LoRA does not ask for others."""

    template: Literal["alpaca", "chat"] = "alpaca"
    """Alpaca's two prompts, or the student's own chat template."""
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
    """Rows per optimizer step."""
    device_batch_size: int = Field(4, ge=1)
    """Rows on the device at once; batch_size / device_batch_size steps are accumulated."""
    max_length: int = Field(512, ge=8)
    """Tokens per row; longer rows lose the end of their answer and are counted."""
    save_steps: int = Field(200, ge=1)
    """Optimizer steps between checkpoints."""
    logging_steps: int = Field(1, ge=1)
    """Optimizer steps between metric lines."""
    gradient_checkpointing: bool = False
    """Recompute activations instead of storing them: less memory, about a third more time."""
