"""Every setting of a training that can be had in several ways: its value, who decided, and why.

`given` is a value of the recipe that is not the default, `inherited` the recipe's default, `chosen`
what we took for this machine. The list is said before the first step and stored in the stage's
result. Not covered: whether it fits in memory.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from typing import Any, Literal

from localinstruct.errors import RecipeError, TrainerError
from localinstruct.recipe.train import Train
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
        return (
            f"{self.setting}: {self.value} ({self.how}{': ' + self.reason if self.reason else ''})"
        )


@dataclass(frozen=True, slots=True)
class Setup:
    """How this training uses this machine."""

    device: Device
    attention: str
    liger: bool
    device_batch: int
    accumulate: int
    padding_free: bool
    choices: tuple[Choice, ...] = ()

    def told(self) -> list[dict[str, Any]]:
        """The choices as a stage's result stores them."""
        return [asdict(choice) for choice in self.choices]


def installed(package: str) -> bool:
    """Whether an optional package is there."""
    return find_spec(PACKAGES[package]) is not None


def choose(section: Train, device: Device, has: Callable[[str], bool] = installed) -> Setup:
    """Decide what the recipe leaves open; TrainerError or RecipeError for what this machine cannot
    do."""
    _require(section, device, has)
    device, precision = _precision(section, device)
    batch, device_batch = _device_batch(section)
    attention, attention_said = _attention(section, device, has)
    batching, batching_said = _batching(section, attention)
    liger, liger_said = _liger(section, device, has)
    said = (
        _plain(section, "mode"),
        _plain(section, "objective"),
        Choice("device", device.name, "chosen", device.reason),
        precision,
        batch,
        batching_said,
        attention_said,
        liger_said,
        _plain(section, "gradient_checkpointing"),
        _plain(section, "devices"),
    )
    accumulate = section.batch_size // (device_batch * section.devices)
    return Setup(
        device, attention, liger, device_batch, accumulate, batching == "padding_free", said
    )


def halved(setup: Setup, section: Train) -> Setup:
    """Half the rows on a device at once, twice as many accumulated: the same step in less
    memory."""
    smaller = largest_divisor(section.batch_size // section.devices, setup.device_batch // 2)
    choice = Choice(
        "device_batch_size",
        str(smaller),
        "chosen",
        f"{setup.device_batch} rows did not fit in memory",
    )
    said = tuple(choice if old.setting == choice.setting else old for old in setup.choices)
    accumulate = section.batch_size // (smaller * section.devices)
    return replace(setup, device_batch=smaller, accumulate=accumulate, choices=said)


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
    if section.sharding == "fsdp" and not on_gpu:
        raise TrainerError(
            "train.sharding: fsdp needs GPUs; none was found here.", "Try --set train.sharding=none"
        )
    if section.tensorboard and not has("tensorboard"):
        raise TrainerError(
            "train.tensorboard needs the package tensorboard, which is not installed.",
            "pip install tensorboard, or --set train.tensorboard=false (train/metrics.jsonl has "
            "the same numbers)",
        )


def _plain(section: Train, setting: str, reason: str = "") -> Choice:
    """A setting that is taken as it stands in the recipe."""
    value = getattr(section, setting)
    same = value == Train.model_fields[setting].default
    return Choice(setting, str(value), "inherited" if same else "given", reason)


def _precision(section: Train, device: Device) -> tuple[Device, Choice]:
    if section.precision == "auto":
        return device, Choice(
            "precision", device.dtype, "chosen", "the most exact one that this device is fast in"
        )
    dtype = PRECISIONS[section.precision]
    if dtype == "float16" and device.name == "cpu":
        raise TrainerError(
            "train.precision: fp16 needs a GPU; none was found here.",
            "Try --set train.precision=fp32",
        )
    return replace(device, dtype=dtype), Choice("precision", dtype, "given")


def _device_batch(section: Train) -> tuple[Choice, int]:
    """The rows on a device at once: the largest divisor of its share of batch_size up to
    device_batch_size."""
    share, rest = divmod(section.batch_size, section.devices)
    if rest:
        raise RecipeError(
            f"train.batch_size: {section.batch_size} rows cannot be shared by {section.devices} "
            "devices.",
            f"Try --set train.batch_size={(share + 1) * section.devices}",
        )
    size = largest_divisor(share, section.device_batch_size)
    if size == section.device_batch_size:
        return _plain(section, "device_batch_size"), size
    reason = f"not {section.device_batch_size}: it must divide {share}"
    return Choice("device_batch_size", str(size), "chosen", reason), size


def _attention(section: Train, device: Device, has: Callable[[str], bool]) -> tuple[str, Choice]:
    wanted = section.kernels == "auto"
    if wanted and device.name.startswith("cuda") and device.dtype != "float32" and has("flash"):
        return FLASH, Choice(
            "attention",
            FLASH,
            "chosen",
            "flash-attn is installed, and the precision is a 16-bit one",
        )
    why = (
        "FlashAttention is not wanted"
        if not wanted
        else "FlashAttention needs its package, a GPU and 16-bit numbers"
    )
    return "sdpa", Choice("attention", "sdpa", "chosen", why)


def _batching(section: Train, attention: str) -> tuple[str, Choice]:
    if section.batching != "auto":
        return section.batching, Choice("batching", section.batching, "given")
    if attention == FLASH and section.objective == "sft":
        return "padding_free", Choice(
            "batching", "padding_free", "chosen", "FlashAttention keeps glued rows apart"
        )
    reason = (
        "FlashAttention is not in use, other kernels would compute the whole square of glued rows"
    )
    if section.objective == "dpo":
        reason = "the pairs of dpo are not glued"
    return "grouped", Choice("batching", "grouped", "chosen", reason)


def _liger(section: Train, device: Device, has: Callable[[str], bool]) -> tuple[bool, Choice]:
    use = section.kernels == "auto" and device.name.startswith("cuda") and has("liger")
    reason = "liger-kernel is installed" if use else "Liger needs its package and a GPU"
    if section.kernels == "off":
        return False, Choice("kernels", "off", "given")
    return use, Choice("kernels", "liger" if use else "plain", "chosen", reason)
