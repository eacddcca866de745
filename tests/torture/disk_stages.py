"""A full disk in the stages after `generate`: each on disks of its own that grow step by step until
the stage fits.

One worker in a mount namespace loads torch once and forks the real program for every attempt. The
student has a few thousand parameters, the answers of the evaluation are played; files, checkpoints
and sentences are the product's. Every second time the watch over free space is off, so that the
disk really fills up in the middle of a file.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.kills import Tick
from tests.torture.model_stages import answers, listen, tasks
from tests.torture.program import Outcome, run

RUN = Path("runs/tiny")
ROOMY, BLOCK = "size=256m", 4096
STEPS = {
    "dataset": ["dataset", str(RUN)],
    "train": ["train", str(RUN)],
    "evaluate": ["evaluate", str(RUN)],
    "report": ["report", str(RUN)],
    "rows": ["export", str(RUN), "--format", "alpaca", "--output", "runs/out.json"],
    "parquet": ["export", str(RUN), "--format", "parquet", "--output", "runs/out.parquet"],
    "merged": ["export", str(RUN), "--format", "merged", "--output", "runs/out"],
}
"""In order: what a step finds is what those before it have left."""


def stages(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The row: `count` sizes of the disk for each step, from no room to enough."""
    command = [
        "unshare",
        "-rm",
        sys.executable,
        "-m",
        "tests.torture.disk_stages",
        str(count),
        str(folder),
    ]
    return listen(command, tick)


def main(count: int, folder: Path) -> None:
    import peft  # noqa: F401
    import torch
    from trl import SFTConfig, SFTTrainer  # noqa: F401

    torch.set_num_threads(1)
    done, reached = 0, {}
    for name in begin(folder):
        before, full, peak = snapshot(folder, name)
        stopped = 0
        for number in range(count):
            room = peak * number // max(1, count - 1)
            wrong, first = disturbed(folder, name, before, full, room, watched=number % 2 == 1)
            stopped += first != 0
            done += 1
            for line in wrong:
                print(
                    "WRONG",
                    f"{name} with room for {room >> 10} KiB:",
                    " ".join(line.split())[-700:],
                    flush=True,
                )
            print("DONE", done, flush=True)
        reached[f"{name}_stopped"] = stopped
        if not stopped or first:
            print(
                "WRONG",
                f"{name}: {stopped} of {count} disks were too small, the largest "
                f"{'was' if first else 'was not'}",
                flush=True,
            )
    (folder / "reached.json").write_text(json.dumps(reached))


def begin(folder: Path) -> list[str]:
    """A workspace whose run has its rows on a roomy disk; the names of the steps."""
    from localinstruct.recipe import Recipe
    from localinstruct.store.run import open_run
    from tests.support.tiny_student import keep, recipe_data, rows
    from tests.support.trained_runs import workspace

    mount(folder, ROOMY)
    workspace(folder)
    tasks(folder / "tasks.jsonl")
    recipe = recipe_data(
        train={"epochs": 2, "save_steps": 2},
        evaluate={"tasks": "tasks.jsonl", "max_tokens": 32},
        models={"student": "tiny"},
        dataset={"decontaminate": False},
    )
    with open_run(folder / RUN) as made:
        made.put("recipe", Recipe.model_validate(recipe).to_yaml())
        made.put("workspace", str(folder))
        keep(made, rows(44))
        made.start_stage("generate", "played")
        made.finish_stage("generate", {"kept": 44, "candidates": 44, "product": "played"})
    return list(STEPS)


def snapshot(folder: Path, name: str) -> tuple[Path, Any, int]:
    """Do a step undisturbed: a copy of what it found, what it made, and the bytes of disk it takes
    at most, with a margin."""
    before = Path(shutil.copytree(folder / "runs", folder / f"before-{name}"))
    free = room_left(folder)
    outcome = step(folder, name, unwatched)
    assert outcome.code == 0, outcome.said
    once = free - room_left(folder)
    return (
        before,
        products(folder, name),
        {"train": 3, "merged": 2}.get(name, 1) * once + 40 * BLOCK,
    )


def disturbed(
    folder: Path, name: str, before: Path, full: Any, room: int, watched: bool
) -> tuple[list[str], int]:
    """A step on a disk with `room` bytes left, then once more with enough; what was wrong, and the
    first exit code."""
    subprocess.run(["umount", str(folder / "runs")], check=True)
    mount(folder, ROOMY)
    shutil.copytree(before, folder / "runs", dirs_exist_ok=True)
    used = shutil.disk_usage(folder / "runs").used
    mount(folder, f"remount,size={used + room}")
    first = step(folder, name, no_reserve if watched else unwatched)
    wrong = [] if first.clean and first.code in (0, 74) else [f"exit {first.code}: {first.said}"]
    wrong += said_wrong(first) + half_sealed(folder / RUN)
    mount(folder, f"remount,{ROOMY}")
    if first.code:
        second = step(folder, name, unwatched)
        wrong += [f"exit {second.code} once there was room: {second.said}"] if second.code else []
    if not wrong and products(folder, name) != full:
        wrong.append("what it made differs from what it makes undisturbed")
    return wrong + left_over(folder / "runs"), first.code


def step(folder: Path, name: str, watch: Callable[[], None]) -> Outcome:
    """The real program with played answers."""

    def before() -> None:
        from localinstruct.evaluation import stage
        from localinstruct.training import student

        watch()
        student.choose_device = lambda: student.Device("cpu", "float32", "test")
        stage.ask_contenders = lambda sides, serve, home, prompts, progress: answers(prompts)  # type: ignore[assignment]

    return run(folder, STEPS[name], before=before)


def unwatched() -> None:
    """Let the disk really fill up."""
    _reserve(-(2**40))


def no_reserve() -> None:
    """The watch as it is, but for the bytes it would keep free."""
    _reserve(0)


def _reserve(bytes_free: int) -> None:
    from localinstruct.store import integrity, whole_folder

    integrity.RESERVE = whole_folder.SPARE_BYTES = bytes_free


def said_wrong(outcome: Outcome) -> list[str]:
    """A stop must name a full disk."""
    said = " ".join(outcome.said.split())
    named = ("the disk is full", "No space left", "B are needed", "database or disk is full")
    return (
        [f"no word of a full disk: {said}"]
        if outcome.code == 74 and not any(text in said for text in named)
        else []
    )


def half_sealed(path: Path) -> list[str]:
    """Checkpoints that count as complete and are not as they were sealed."""
    from localinstruct.training import checkpoints

    wrong = []
    for _, folder in checkpoints.completed(path / "train"):
        fault = checkpoints.fault(
            folder, json.loads((folder / checkpoints.MARKER).read_text())["inputs"]
        )
        wrong += [f"{folder.name} counts as complete: {fault}"] if fault else []
    return wrong


def left_over(runs: Path) -> list[str]:
    """What a stopped step left and the finished one did not take away."""
    from localinstruct.training import checkpoints

    parts = [path.name for path in runs.rglob("*.part")] + [
        path.name for path in runs.rglob(".probe")
    ]
    torn = [
        path.name for path in runs.rglob("checkpoint-*") if not (path / checkpoints.MARKER).exists()
    ]
    return [f"left behind {parts + torn}"] if parts + torn else []


def products(folder: Path, name: str) -> Any:
    """What a step makes, as far as it is the same every time."""
    from tests.training.test_train import adapter, curve

    path = folder / RUN
    if name == "train":
        return curve(path), {key: weight.tolist() for key, weight in adapter(path).items()}
    if name == "evaluate":
        return evaluated(path)
    if name == "report":  # it tells the time
        return (path / "report.html").read_bytes()[-20:]
    found = (
        sorted((path / "dataset").glob("*.jsonl"))
        if name == "dataset"
        else sorted((folder / "runs").glob("out*/*"))
    )
    files = [*found, *(file for file in (folder / "runs").glob("out*") if file.is_file())]
    return {file.name: file.read_bytes() for file in files if not file.name.endswith(".md")}


def evaluated(path: Path) -> Any:
    """The evaluation's numbers and answers."""
    from localinstruct.store.run import read_run

    with read_run(path) as made:
        entry = made.stage("evaluate")
    numbers = (
        {name: value for name, value in entry.result.items() if "seconds" not in name}
        if entry
        else {}
    )
    files = (
        file for file in (path / "evaluation").glob("*.jsonl") if file.name != "saved_answers.jsonl"
    )
    return numbers, {file.name: file.read_bytes() for file in files}


def mount(folder: Path, options: str) -> None:
    """The run's disk."""
    (folder / "runs").mkdir(exist_ok=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder / "runs")], check=True
    )


def room_left(folder: Path) -> int:
    """Bytes free on the run's disk."""
    return shutil.disk_usage(folder / "runs").free


if __name__ == "__main__":
    os.chdir(Path(__file__).parents[2])
    main(int(sys.argv[1]), Path(sys.argv[2]))
