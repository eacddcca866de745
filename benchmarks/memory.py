"""Section f: memory of a training, `localinstruct fit`'s sum beside a real one on this CPU.

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

from benchmarks.setting import Setting, note
from localinstruct.errors import TrainerError
from localinstruct.fit import training
from localinstruct.fit.shape import read_shape
from localinstruct.offline.switches import child_environment
from localinstruct.recipe.train import Train
from localinstruct.records import JsonObject
from localinstruct.training.setup import choose_setup
from localinstruct.training.student import Device

BOUND = 0.2
"""Share by which a sum may miss what is measured."""

WIDTHS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "tie_word_embeddings",
)
"""Keys of a config.json by which the models differ."""
MODELS: dict[str, dict[str, int]] = {
    "30M": dict(zip(WIDTHS, (8_000, 512, 8, 1408, 8, 4, True), strict=True)),
    "100M": dict(zip(WIDTHS, (16_000, 768, 12, 2048, 12, 4, False), strict=True)),
    "270M": dict(zip(WIDTHS, (32_000, 1024, 20, 2816, 16, 8, True), strict=True)),
}
"""Name -> shape of a Llama, by WIDTHS."""


@dataclass(frozen=True, slots=True)
class Case:
    """One training: its model, rows at once and their tokens, and settings off the default."""

    model: str
    rows: int
    length: int
    train: JsonObject = field(default_factory=dict)
    accumulate: int = 1

    @property
    def name(self) -> str:
        """Label of the training in the table."""
        words = [f"{key.split('.')[-1]} {value}" for key, value in _flat(self.train)]
        more = [f"accumulated {self.accumulate} times"] if self.accumulate > 1 else []
        return ", ".join([self.model, f"{self.rows} x {self.length}", *words, *more])

    def section(self) -> Train:
        """The train section of its recipe."""
        defaults = {
            "epochs": 1,
            "batch_size": self.rows * self.accumulate,
            "device_batch_size": self.rows,
            "max_length": self.length,
            "save_steps": 10**6,
            "learning_rate": 1e-4,
        }
        return Train.model_validate({**defaults, **self.train})


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


def measure(setting: Setting) -> JsonObject:
    """Every case: calculated and measured bytes of the worst moment, as plain JSON values."""
    return summary(compare(QUICK if setting.quick else CASES))


def summary(rows: Sequence[JsonObject]) -> JsonObject:
    """The cases, the largest miss, and how many are within BOUND."""
    misses = [abs(row["ratio"] - 1) for row in rows]
    return {
        "cases": list(rows),
        "worst": max(misses),
        "within": sum(miss <= BOUND for miss in misses),
        "bound": BOUND,
    }


def compare(cases: Sequence[Case]) -> list[JsonObject]:
    """One row a case: the measured peak and the calculated one."""
    with TemporaryDirectory(prefix="memory-") as place:
        folders = {case.model: Path(place, case.model) for case in cases}
        jobs: list[JsonObject] = []
        for number, case in enumerate(cases):
            folder, home = str(folders[case.model]), Path(place, f"home-{number}")
            home.mkdir()
            if not any(job["folder"] == folder for job in jobs):
                jobs.append({"folder": folder, "widths": MODELS[case.model]})
            section = case.section().model_dump(mode="json")
            jobs.append(
                {"train": section, "folder": folder, "length": case.length, "home": str(home)}
            )
        measurements = _run(Path(place, "jobs.json"), jobs)
        return [
            compared(case, folders[case.model], measurement)
            for case, measurement in zip(cases, measurements, strict=True)
        ]


def compared(case: Case, folder: Path, measurement: JsonObject) -> JsonObject:
    """A case's measured peak beside the calculated one; TrainerError when it did too little."""
    if measurement["steps"] != 2 or measurement["held_out_passes"] != 2:
        raise TrainerError(
            f"{case.name}: expected two steps and two held-out passes, found {measurement}.", ""
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
        "ratio": calculated / measurement["measured"],
        **measurement,
    }


def _run(file: Path, jobs: list[JsonObject]) -> list[JsonObject]:
    """Run the jobs in a child; its measurements in their order, TrainerError when one fails."""
    file.write_text(json.dumps(jobs), "utf-8")
    command = [sys.executable, "-m", "benchmarks.memory_child", str(file)]
    environment = child_environment()
    measurements: list[JsonObject] = []
    with file.with_name("errors").open("w+") as errors:
        with subprocess.Popen(
            command, env=environment, stdout=PIPE, stderr=errors, text=True
        ) as child:
            for line in child.stdout or ():
                measurements.append(json.loads(line))
                peak = f"{measurements[-1]['measured'] / 2**20:,.0f} MiB"
                note(f"f: {len(measurements)} trainings measured; the last took {peak}")
        if child.returncode:
            errors.seek(0)
            raise TrainerError(f"A measured training failed.\n{errors.read()[-2000:]}", "")
    return measurements


def _flat(settings: JsonObject) -> Iterable[tuple[str, object]]:
    """Keys and values, those of nested sections included."""
    for key, value in settings.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]
