"""Trainings whose memory is measured, each in a fork; prints one JSON object a training.

    python -m benchmarks.memory_child JOBS

JOBS is a JSON file with a list of jobs: the train section of a recipe, the student's folder, the
length of its rows, a folder for its files. The libraries are imported once; each job is a fork of
that process, which reads its own resident set before the model is loaded and the kernel's count of
its highest (VmHWM) afterwards. A job with "widths" makes a model.
"""

import gc
import json
import os
import shutil
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from localinstruct import nano
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.train import Train
from localinstruct.records import JsonObject
from localinstruct.templates import IGNORED, Encoded, EncodedPair
from localinstruct.training import modes, student, trainers
from localinstruct.training.best_student import BestStudent
from localinstruct.training.callbacks import Callbacks
from localinstruct.training.setup import choose_setup

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NANO = Path(str(nano.__file__)).parent / "weights" / "student"
PROMPT = 8
"""Tokens of a row that are not learnt."""


def main() -> int:
    """Run every job in a process of its own; exit code 1 at the first that fails."""
    _import()
    for job in json.loads(Path(sys.argv[1]).read_text("utf-8")):
        child = os.fork()
        if not child:
            _work(job)
        _, status = os.waitpid(child, 0)
        if status:
            return 1
    return 0


def _work(job: JsonObject) -> None:
    """One job in the forked process, which ends here."""
    code = 1
    try:
        if "widths" in job:
            make_model(Path(job["folder"]), job["widths"])
        else:
            print(json.dumps(measure(job)), flush=True)
        code = 0
    finally:
        os._exit(code)


def measure(job: JsonObject) -> JsonObject:
    """Highest bytes above the baseline, while loading and while training.

    The baseline is read after the same training of the nano student on one short row, so that what
    a process needs once, whatever it trains (pages of libraries, pools of threads), is in it.
    """
    train, home = Train.model_validate(job["train"]), Path(job["home"])
    with student.quiet(home / "logs" / "train.log"):
        small = train.model_copy(update={"batch_size": 1, "device_batch_size": 1})
        trained(small, NANO, 2 * PROMPT, home / "warm")
        gc.collect()
        _reset()
        baseline = _status("VmRSS")
        loaded, counts = trained(train, Path(job["folder"]), job["length"], home)
    return {
        "baseline": baseline,
        "loading": loaded - baseline,
        "measured": _status("VmHWM") - baseline,
        **counts,
    }


def trained(train: Train, folder: Path, length: int, home: Path) -> tuple[int, dict[str, int]]:
    """Train by the stage's own parts: bytes at the peak of loading; steps and held-out passes."""
    names = {"teacher": "m", "student": "m"}
    recipe = Recipe.model_validate({"name": "m", "models": names, "method": {"alpaca": {}}})
    recipe = recipe.model_copy(update={"train": train})
    setup = choose_setup(train, student.choose_device())
    home.mkdir(exist_ok=True)
    model, tokenizer = modes.load(train, folder, setup), student.load_tokenizer(folder)
    loaded = _status("VmHWM")
    rows, held_out = _rows(train, model.config.vocab_size, length, setup.device_batch)
    losses: list[float] = []

    def held_out_loss(model: "PreTrainedModel") -> float:
        losses.append(student.mean_loss(model, held_out, 0, setup.device_batch)[0])
        return losses[-1]

    metrics, best = home / "metrics.jsonl", BestStudent(home, "memory", None, None)
    callbacks = Callbacks(metrics, Silent(), held_out_loss, "memory", setup.device, best)
    trainer = trainers.make(recipe, setup, model, tokenizer, rows, callbacks)
    trainer.train()
    return loaded, {"steps": trainer.state.global_step, "held_out_passes": len(losses)}


def make_model(folder: Path, widths: JsonObject) -> None:
    """A Llama of random weights with the nano student's tokenizer, as a model directory."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**widths, max_position_embeddings=2048)).save_pretrained(folder)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(NANO / file, folder / file)


def _rows(
    train: Train, vocabulary: int, length: int, held_out: int
) -> tuple[list[Encoded | EncodedPair], list[Encoded]]:
    """Random rows of one length, enough for two steps, and one batch held out."""
    draw = Random(1)

    def ids() -> list[int]:
        return [draw.randrange(vocabulary) for _ in range(length)]

    def row() -> Encoded:
        tokens = ids()
        return Encoded(tokens, [IGNORED] * PROMPT + tokens[PROMPT:])

    def pair() -> EncodedPair:
        return EncodedPair(ids()[:PROMPT], ids()[PROMPT:], ids()[PROMPT:])

    rows = [pair() if train.objective == "dpo" else row() for _ in range(2 * train.batch_size)]
    return rows, [row() for _ in range(held_out)]


def _import() -> None:
    """Import all libraries of a training before anything is measured.

    Nothing is computed, so that forking is safe.
    """
    import datasets
    import peft
    import torch
    import transformers
    import trl
    from transformers import LlamaForCausalLM
    from trl import DPOTrainer, SFTTrainer

    assert all((datasets, peft, torch, transformers, trl, LlamaForCausalLM, DPOTrainer, SFTTrainer))


def _reset() -> None:
    """Let the peak begin anew at what is resident now (proc(5), clear_refs)."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(key: str) -> int:
    """Bytes that the kernel counts of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


if __name__ == "__main__":
    sys.exit(main())
