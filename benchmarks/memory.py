"""Section f: memory of a training as `localinstruct fit` calculates it, against what a real one
takes on this CPU.

Every configuration is a training of a random Llama made on the spot, by our own stage's parts, in a
process of its own (`memory_child.py`): two optimizer steps and two held-out passes on rows that are
as long as they may be. Measured is the highest resident set above that of the same process with its
libraries imported. Not measured: GPUs, serving.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.setting import Setting, note
from localinstruct.errors import TrainerError
from localinstruct.fit import training
from localinstruct.fit.shape import read_shape
from localinstruct.offline.switches import child_environment
from localinstruct.recipe.train import Train
from localinstruct.training.setup import choose_setup
from localinstruct.training.student import Device

BOUND = 0.2
"""Share by which a sum may miss what is measured."""

MODELS: dict[str, dict[str, Any]] = {
    "30M": {
        "vocab_size": 8000,
        "hidden_size": 512,
        "num_hidden_layers": 8,
        "intermediate_size": 1408,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "tie_word_embeddings": True,
    },
    "100M": {
        "vocab_size": 16_000,
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "intermediate_size": 2048,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "270M": {
        "vocab_size": 32_000,
        "hidden_size": 1024,
        "num_hidden_layers": 20,
        "intermediate_size": 2816,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "tie_word_embeddings": True,
    },
}
"""Name -> shape of a Llama."""


@dataclass(frozen=True, slots=True)
class Case:
    """One training: which model, rows at once and their tokens, and what else is not the
    default."""

    model: str
    rows: int
    length: int
    train: dict[str, Any] = field(default_factory=dict)
    accumulate: int = 1

    @property
    def name(self) -> str:
        """What is told apart in the table."""
        words = [f"{key.split('.')[-1]} {value}" for key, value in _flat(self.train)]
        more = [f"accumulated {self.accumulate} times"] if self.accumulate > 1 else []
        return ", ".join([self.model, f"{self.rows} x {self.length}", *words, *more])

    def section(self) -> Train:
        """The train section of its recipe."""
        return Train.model_validate(
            {
                "epochs": 1,
                "batch_size": self.rows * self.accumulate,
                "device_batch_size": self.rows,
                "max_length": self.length,
                "save_steps": 10**6,
                "learning_rate": 1e-4,
                **self.train,
            }
        )


CASES = (
    Case("30M", 4, 128, {"mode": "full"}),
    Case("30M", 4, 256),
    Case("30M", 2, 128, {"objective": "dpo"}),
    Case("30M", 4, 256, {"gradient_checkpointing": True}),
    Case("100M", 2, 128, {"precision": "bf16"}),
    Case("100M", 1, 128, {"lora": {"use_dora": True}}),
    Case("100M", 1, 128, {"mode": "full"}, accumulate=2),
    Case("100M", 2, 128, {"lora": {"dropout": 0.0, "r": 64}}),
    Case("100M", 2, 128, {"mode": "full", "gradient_checkpointing": True}),
    Case("270M", 1, 128),
    Case("30M", 4, 128, {"mode": "full", "precision": "bf16"}),
)
QUICK = CASES[:2]


def measure(setting: Setting) -> dict[str, Any]:
    """Every case: calculated and measured bytes of the worst moment, as plain JSON values."""
    return summary(compare(QUICK if setting.quick else CASES))


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The cases and how far off the worst of them is."""
    misses = [abs(row["ratio"] - 1) for row in rows]
    return {
        "cases": list(rows),
        "worst": max(misses),
        "within": sum(miss <= BOUND for miss in misses),
        "bound": BOUND,
    }


def compare(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a case: measured, and what is calculated for it."""
    with TemporaryDirectory(prefix="memory-") as place:
        folders = {case.model: Path(place, case.model) for case in cases}
        jobs: list[dict[str, Any]] = []
        for number, case in enumerate(cases):
            folder, home = folders[case.model], Path(place, f"home-{number}")
            home.mkdir()
            if not any(job["folder"] == str(folder) for job in jobs):
                jobs.append({"folder": str(folder), "widths": MODELS[case.model]})
            section = case.section().model_dump(mode="json")
            jobs.append(
                {"train": section, "folder": str(folder), "length": case.length, "home": str(home)}
            )
        found = _run(Path(place, "jobs.json"), jobs)
        return [
            compared(case, folders[case.model], one) for case, one in zip(cases, found, strict=True)
        ]


def compared(case: Case, folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """A case's measured peak beside the calculated one."""
    if found["steps"] != 2 or found["held_out_passes"] != 2:
        raise TrainerError(
            f"{case.name}: expected two steps and two held-out passes, found {found}.", ""
        )
    shape = read_shape(folder, case.model)
    assert shape
    section = case.section()
    setup = choose_setup(section, Device("cpu", "float32", "the benchmark's"))
    moment, parts = training.peak(shape, training.plan_of(section, setup, shape, held_out=True))
    calculated = sum(parts.values())
    return {
        "case": case.name,
        "parameters": shape.parameters,
        "moment": moment,
        "calculated": calculated,
        "parts": parts,
        "ratio": calculated / found["measured"],
        **found,
    }


def _run(file: Path, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the child measured, as it comes."""
    file.write_text(json.dumps(jobs), "utf-8")
    command = [sys.executable, "-m", "benchmarks.memory_child", str(file)]
    found = []
    with file.with_name("errors").open("w+") as errors:
        with subprocess.Popen(
            command, env=child_environment(), stdout=PIPE, stderr=errors, text=True
        ) as child:
            for line in child.stdout or ():
                found.append(json.loads(line))
                note(
                    f"f: {len(found)} trainings measured; the last took "
                    f"{found[-1]['measured'] / 2**20:,.0f} MiB"
                )
        if child.returncode:
            errors.seek(0)
            raise TrainerError(f"A measured training failed.\n{errors.read()[-2000:]}", "")
    return found


def _flat(given: dict[str, Any]) -> Iterable[tuple[str, Any]]:
    for key, value in given.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]
