"""Settings of a training on this machine: each with its value, who decided it, and why.

`given` is a value of the recipe that is not the default, `inherited` the recipe's default, `chosen`
one that we took for this machine. The list is shown before the first step and stored in the stage's
result. Not covered: whether it fits in memory.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Literal

from localinstruct.errors import RecipeError, TrainerError
from localinstruct.recipe.train import Train
from localinstruct.records import JsonObject
from localinstruct.training.student import Device

FLASH = "flash_attention_2"
PRECISIONS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "liger": "liger_kernel",
    "flash": "flash_attn",
    "tensorboard": "tensorboard",
}
"""Optional package -> the module that shows that it is installed."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One setting as it is used."""

    setting: str
    value: str
    how: Literal["given", "inherited", "chosen"]
    reason: str = ""

    def __str__(self) -> str:
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.setting}: {self.value} ({self.how}{reason})"


@dataclass(frozen=True, slots=True)
class Setup:
    """The settings that the trainer is made with, and the choices behind them."""

    device: Device
    attention: str
    """transformers' name of the attention: FLASH or "sdpa"."""
    liger: bool
    device_batch: int
    """Rows on a device at once."""
    accumulate: int
    """Batches that make up one step."""
    padding_free: bool
    choices: tuple[Choice, ...] = ()

    def listed(self) -> list[JsonObject]:
        """The choices as a stage's result stores them."""
        return [asdict(choice) for choice in self.choices]


def installed(package: str) -> bool:
    """Tell whether an optional package is there."""
    return find_spec(PACKAGES[package]) is not None


def choose_setup(section: Train, device: Device, has: Callable[[str], bool] = installed) -> Setup:
    """Decide what the recipe leaves open.

    TrainerError or RecipeError for what this machine cannot do.
    """
    _require(section, device, has)
    device, precision = _precision(section, device)
    device_batch = _device_batch(section)
    attention = _attention(section, device, has)
    batching = _batching(section, attention.value)
    kernels = _kernels(section, device, has)
    choices = (
        _as_in_recipe(section, "mode"),
        _as_in_recipe(section, "objective"),
        Choice("device", device.name, "chosen", device.reason),
        precision,
        device_batch,
        batching,
        attention,
        kernels,
        _as_in_recipe(section, "gradient_checkpointing"),
        _as_in_recipe(section, "devices"),
        *(_as_in_recipe(section, name) for name in ("nodes", "sharding") if section.world_size > 1),
    )
    size = int(device_batch.value)
    return Setup(
        device=device,
        attention=attention.value,
        liger=kernels.value == "liger",
        device_batch=size,
        accumulate=section.batch_size // (size * section.world_size),
        padding_free=batching.value == "padding_free",
        choices=choices,
    )


def halved(setup: Setup, section: Train) -> Setup:
    """The setup with half the rows on a device and twice the batches in a step, for less memory."""
    smaller = largest_divisor(section.batch_size // section.world_size, setup.device_batch // 2)
    reason = f"{setup.device_batch} rows did not fit in memory"
    choice = Choice("device_batch_size", str(smaller), "chosen", reason)
    choices = tuple(choice if old.setting == choice.setting else old for old in setup.choices)
    accumulate = section.batch_size // (smaller * section.world_size)
    return replace(setup, device_batch=smaller, accumulate=accumulate, choices=choices)


def largest_divisor(number: int, at_most: int) -> int:
    """The largest divisor of `number` that is not above `at_most`."""
    return max(size for size in range(1, min(number, at_most) + 1) if number % size == 0)


def _require(section: Train, device: Device, has: Callable[[str], bool]) -> None:
    on_gpu = device.name.startswith("cuda")
    if section.mode == "qlora" and not on_gpu:
        raise TrainerError(
            "train.mode: qlora needs a GPU; none was found here.", "Try --set train.mode=lora"
        )
    if section.mode == "qlora" and not has("bitsandbytes"):
        raise TrainerError(
            "train.mode: qlora needs the package bitsandbytes, which is not installed.",
            "pip install bitsandbytes, or --set train.mode=lora",
        )
    if section.tensorboard and not has("tensorboard"):
        raise TrainerError(
            "train.tensorboard needs the package tensorboard, which is not installed.",
            "pip install tensorboard, or --set train.tensorboard=false (train/metrics.jsonl has "
            "the same numbers)",
        )


def require_shares(section: Train, gpus: int) -> None:
    """Refuse processes that have no GPU each where there are any, or no equal share of a step."""
    if 0 < gpus < section.devices:
        raise TrainerError(
            f"train.devices: {section.devices} processes on each machine, one per GPU, but this "
            f"machine has {gpus}.",
            f"Try --set train.devices={gpus}",
        )
    share, rest = divmod(section.batch_size, section.world_size)
    if rest:
        raise RecipeError(
            f"train.batch_size: {section.batch_size} rows cannot be shared by "
            f"{section.world_size} devices.",
            f"Try --set train.batch_size={(share + 1) * section.world_size}",
        )


def _as_in_recipe(section: Train, setting: str) -> Choice:
    """A setting that is taken as it stands in the recipe."""
    value = getattr(section, setting)
    same = value == Train.model_fields[setting].default
    return Choice(setting, str(value), "inherited" if same else "given")


def _precision(section: Train, device: Device) -> tuple[Device, Choice]:
    if section.precision == "auto":
        reason = "the most exact one that this device is fast in"
        return device, Choice("precision", device.dtype, "chosen", reason)
    dtype = PRECISIONS[section.precision]
    if dtype == "float16" and device.name == "cpu":
        raise TrainerError(
            "train.precision: fp16 needs a GPU; none was found here.",
            "Try --set train.precision=fp32",
        )
    return replace(device, dtype=dtype), Choice("precision", dtype, "given")


def _device_batch(section: Train) -> Choice:
    """The rows on a device at once: device_batch_size, or below it a divisor of its share."""
    require_shares(section, 0)
    share = section.batch_size // section.world_size
    size = largest_divisor(share, section.device_batch_size)
    if size == section.device_batch_size:
        return _as_in_recipe(section, "device_batch_size")
    reason = f"not {section.device_batch_size}: it must divide {share}"
    return Choice("device_batch_size", str(size), "chosen", reason)


def _attention(section: Train, device: Device, has: Callable[[str], bool]) -> Choice:
    if section.kernels != "auto":
        return Choice("attention", "sdpa", "chosen", "FlashAttention is not wanted")
    if device.name.startswith("cuda") and device.dtype != "float32" and has("flash"):
        reason = "flash-attn is installed, and the precision is a 16-bit one"
        return Choice("attention", FLASH, "chosen", reason)
    reason = "FlashAttention needs its package, a GPU and 16-bit numbers"
    return Choice("attention", "sdpa", "chosen", reason)


def _batching(section: Train, attention: str) -> Choice:
    if section.batching != "auto":
        return Choice("batching", section.batching, "given")
    if attention == FLASH and section.objective == "sft":
        reason = "FlashAttention keeps glued rows apart"
        return Choice("batching", "padding_free", "chosen", reason)
    others = "other kernels would compute the whole square of glued rows"
    reason = f"FlashAttention is not in use, {others}"
    if section.objective == "dpo":
        reason = "the pairs of dpo are not glued"
    return Choice("batching", "grouped", "chosen", reason)


def _kernels(section: Train, device: Device, has: Callable[[str], bool]) -> Choice:
    if section.kernels == "off":
        return Choice("kernels", "off", "given")
    if device.name.startswith("cuda") and has("liger"):
        return Choice("kernels", "liger", "chosen", "liger-kernel is installed")
    return Choice("kernels", "plain", "chosen", "Liger needs its package and a GPU")
