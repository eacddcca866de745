"""The student on its device: loading it, measuring its loss, keeping its libraries quiet.

Train and evaluate share one loss: the mean over all answer tokens, in nats, whatever the batches
(transformers averages batches, so that its number depends on them). Not covered: how a student is
trained (`stage`).
"""

import contextlib
import gc
import json
import logging
import os
import resource
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from localinstruct.errors import DataError, ModelError, TrainerError
from localinstruct.models.chat_template import chat_of
from localinstruct.templates import IGNORED, Encoded

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LIBRARIES = ("transformers", "trl", "peft", "accelerate", "datasets", "torch", "py.warnings")
"""Loggers whose lines go to the stage's log file."""


Kind = Literal["adapter", "model"]


class OutOfMemory(TrainerError):
    """Error: the device's memory is too small; with half the rows at once it may suffice."""


@dataclass(frozen=True, slots=True)
class Device:
    """Where the student runs, in which precision, and why."""

    name: str
    dtype: str
    reason: str


@dataclass(frozen=True, slots=True)
class Artefact:
    """Result of a training in its run: an adapter for the base, or a model with its tokenizer."""

    kind: Kind
    folder: Path


ARTEFACTS: dict[Kind, tuple[str, str]] = {
    "adapter": ("adapter", "adapter_config.json"),
    "model": ("student", "config.json"),
}
"""Kind -> its folder in a run, and the file without which it is none.

A training leaves one of them, never both.
"""


def artefact(run_path: Path) -> Artefact:
    """The trained student of a run; DataError when there is none yet."""
    for kind, (name, file) in ARTEFACTS.items():
        if (run_path / name / file).is_file():
            return Artefact(kind, run_path / name)
    raise DataError(
        f"{run_path}: no trained student in it yet.", f"First: localinstruct train {run_path.name}"
    )


def load_trained(base: Path, trained: Artefact, device: "Device") -> "PreTrainedModel | PeftModel":
    """Load the trained student onto `device`: the base with its adapter, or the whole model."""
    if trained.kind == "model":
        return load_base(trained.folder, device)
    from peft import PeftModel

    model, adapter = load_base(base, device), str(trained.folder)
    return PeftModel.from_pretrained(model, adapter, local_files_only=True)


def choose_device() -> Device:
    """The first GPU, in bfloat16 if it has that, else in float32; or the CPU in float32."""
    import torch

    if not torch.cuda.is_available():
        return Device("cpu", "float32", "no GPU found, and float32 is exact")
    name, count = torch.cuda.get_device_name(0), torch.cuda.device_count()
    mine = int(os.environ.get("LOCAL_RANK", "0"))  # of several processes that train together
    more = f"; {count} GPUs are here: train.devices uses more than one" if count > 1 else ""
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Device(f"cuda:{mine}", "bfloat16", f"{name} computes in bfloat16{more}")
    reason = f"{name} has no bfloat16 units, and float16 may overflow{more}"
    return Device(f"cuda:{mine}", "float32", reason)


def load_tokenizer(folder: Path, chat_template: str | None = None) -> "PreTrainedTokenizerBase":
    """Load the tokenizer, with an end-of-text token and the chat template fit for rows.

    `chat_template` is the one of models.yaml. Where the tokenizer's files name no end-of-text
    token, it is the one of the model's config; ModelError where that has none.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(folder.resolve()), local_files_only=True, trust_remote_code=False
    )
    if not tokenizer.eos_token:
        number = _end_id(folder)
        if number is None:
            raise ModelError(
                f"{folder}: neither the tokenizer nor config.json names an end-of-text token, so "
                "a student could never learn to stop.",
                'Add "eos_token" to tokenizer_config.json, naming a token of the vocabulary.',
            )
        tokenizer.eos_token = tokenizer.convert_ids_to_tokens(number)
    if chat := chat_of(folder.resolve(), chat_template):
        named = tokenizer.chat_template
        has_default = isinstance(named, dict) and "default" in named
        tokenizer.chat_template = (
            {**named, "default": chat.form.text} if has_default else chat.form.text
        )
    return tokenizer


def pad_id(tokenizer: "PreTrainedTokenizerBase") -> int:
    """The id that fills up short rows.

    Every id will do, the end token too: padding is masked by position, not by id.
    """
    return int(tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)


def load_base(folder: Path, device: Device, **options: object) -> "PreTrainedModel":
    """Load the weights from safetensors on this disk onto `device`.

    `options` go to transformers' from_pretrained. TrainerError when the weights do not fit in
    memory, ModelError when transformers cannot build the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    with memory_errors("train.device_batch_size=1"), _build_errors(folder):
        model = AutoModelForCausalLM.from_pretrained(
            str(folder.resolve()),
            dtype=getattr(torch, device.dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            **options,
        )
        return model if "device_map" in options else model.to(device.name)


def longest_row(model: "PreTrainedModel", max_length: int) -> int:
    """Tokens per row: the recipe's max_length, or the model's context where that is shorter."""
    return min(max_length, getattr(model.config, "max_position_embeddings", None) or max_length)


def mean_loss(
    model: "PreTrainedModel | PeftModel", examples: Sequence[Encoded], pad: int, batch_size: int
) -> tuple[float, int]:
    """(mean loss per answer token in nats, number of answer tokens).

    The model is in training or evaluation mode afterwards as it was before.
    """
    import torch

    was_training = model.training
    model.eval()
    total, tokens = 0.0, 0
    ordered = sorted(examples, key=lambda example: len(example.input_ids))  # less padding
    with torch.no_grad():
        for start in range(0, len(ordered), batch_size):
            loss, count = _batch_loss(model, ordered[start : start + batch_size], pad)
            total, tokens = total + loss, tokens + count
    model.train(was_training)
    return (total / tokens if tokens else float("nan")), tokens


def peak_memory_gib(device: Device) -> float:
    """Most memory used so far: PyTorch's on a GPU, the whole process's resident set on a CPU."""
    import torch

    if device.name.startswith("cuda"):
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts KiB


def release() -> None:
    """Free the memory of models that are no longer referred to, for vLLM or another model."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def memory_errors(setting: str) -> Iterator[None]:
    """Turn memory errors, of a GPU or a CPU, into OutOfMemory with the `--set` to try next."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _out_of_memory(error, setting) from None
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise _out_of_memory(error, setting) from None


@contextlib.contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Send the libraries' warnings and log lines to `log`, and let them draw no progress bars."""
    from datasets.utils import logging as datasets_logging
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    datasets_logging.disable_progress_bar()
    handler = _log_file(log)
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s: %(message)s"))
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(logger, logger.handlers, logger.propagate) for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(True)
        for logger in loggers:
            logger.handlers, logger.propagate = [handler], False
        try:
            yield
        finally:
            logging.captureWarnings(False)
            for logger, handlers, propagate in before:
                logger.handlers, logger.propagate = handlers, propagate
            with contextlib.suppress(OSError):
                handler.close()


def _log_file(log: Path) -> logging.Handler:
    """Log handler that never raises: lines that a full or read-only disk refuses are left out.

    Where the disk matters, the stage itself says so.
    """

    class Log(logging.FileHandler):
        """Log file that is opened when something is logged."""

        def emit(self, record: logging.LogRecord) -> None:
            with contextlib.suppress(OSError):
                super().emit(record)

        def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
            """Ignore it, where logging itself would print a traceback."""

    with contextlib.suppress(OSError):
        log.parent.mkdir(exist_ok=True, mode=0o700)
    return Log(log, encoding="utf-8", delay=True)


@contextlib.contextmanager
def _build_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, AttributeError) as error:
        first = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{folder}: transformers cannot load it ({type(error).__name__}: {first}).",
            "localinstruct models verify",
        ) from None


def _batch_loss(
    model: "PreTrainedModel | PeftModel", batch: Sequence[Encoded], pad: int
) -> tuple[float, int]:
    """(sum of the answer tokens' losses, their number) of one batch, padded on the right."""
    import torch
    from torch.nn.functional import cross_entropy

    width = max(len(row.input_ids) for row in batch)

    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        full = [row + [filler] * (width - len(row)) for row in rows]
        return torch.tensor(full, device=model.device)  # (rows, width)

    ids = padded([row.input_ids for row in batch], pad)
    mask = padded([[1] * len(row.input_ids) for row in batch], 0)
    logits = model(input_ids=ids, attention_mask=mask).logits
    targets = padded([row.labels for row in batch], IGNORED)[:, 1:]  # position t predicts t + 1
    learnt = targets != IGNORED
    loss = cross_entropy(logits[:, :-1][learnt].float(), targets[learnt], reduction="sum")
    return float(loss), int(learnt.sum())


def _end_id(folder: Path) -> int | None:
    """The end-of-text id in generation_config.json or config.json, the first of several."""
    for name in ("generation_config.json", "config.json"):
        with contextlib.suppress(OSError, ValueError):
            ids = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            first = ids[0] if isinstance(ids, list) and ids else ids
            if isinstance(first, int):
                return first
    return None


def _out_of_memory(error: BaseException, setting: str) -> OutOfMemory:
    first = str(error).strip().split("\n")[0][:200] or type(error).__name__
    return OutOfMemory(
        f"Out of memory: {first}",
        f"Try --set {setting}, --set train.gradient_checkpointing=true, a smaller "
        "train.max_length, a smaller student.",
    )
