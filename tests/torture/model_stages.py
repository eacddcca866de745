"""SIGKILL during training and evaluation: the real stages on a student of a few thousand
parameters, on a CPU.

A worker process loads torch once and forks for every attempt, so that the kills hit the work and
not the imports. Answers in the evaluation are played; losses, checkpoints, adapter and saved
answers are the product's.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.kills import Tick
from tests.torture.program import killer

ROOT = Path(__file__).parents[2]
Row = Callable[[int, Random, Path, Tick], list[str]]


def row(what: str) -> Row:
    """A row of the matrix: `what` is "train" or "evaluate"."""

    def work(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
        command = [
            sys.executable,
            "-m",
            "tests.torture.model_stages",
            what,
            str(count),
            str(rng.random()),
            str(folder),
        ]
        return listen(command, tick)

    return work


def listen(command: list[str], tick: Tick) -> list[str]:
    """Start a worker and hear its lines: WRONG and what was wrong, DONE and how many."""
    wrong: list[str] = []
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stderr is not None
        for line in worker.stdout:
            name, _, rest = line.rstrip().partition(" ")
            if name == "WRONG":
                wrong.append(rest)
            elif name == "DONE":
                tick(int(rest))
        said = worker.stderr.read()
    return (
        wrong
        if worker.returncode == 0
        else [*wrong, f"the worker ended with {worker.returncode}: {said[-400:]}"]
    )


def child(work: Callable[[], None], log: Path, delay: float | None) -> tuple[int, float]:
    """Fork, do the work, kill it after `delay` seconds; exit code or minus the signal, and how long
    it lived."""
    began, pid = time.monotonic(), os.fork()
    if pid == 0:
        try:
            descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            for standard in (1, 2):
                os.dup2(descriptor, standard)
            work()
        except BaseException:  # as the interpreter would end
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    if delay is not None:
        killer(delay)(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), time.monotonic() - began


def until_finished(
    work: Callable[[], None],
    folder: Path,
    seconds: float,
    rng: Random,
    most: int,
    struck: Callable[[], None],
) -> tuple[int, list[str]]:
    """Kill and start again until the work ends, at most `most` kills; (kills that struck, what was
    wrong)."""
    kills, log = 0, folder.parent / f"{folder.name}.said"
    while kills < most:
        code, _ = child(work, log, rng.uniform(0, 1.05 * seconds))
        if code == 0:
            return kills, []
        if code != -signal.SIGKILL:
            return kills, [
                f"{folder.name}: exit {code} after {kills} kills: {log.read_text()[-400:]}"
            ]
        kills += 1
        struck()
    code, _ = child(work, log, None)
    return kills, [
        f"{folder.name}: exit {code} after {kills} kills: {log.read_text()[-400:]}"
    ] if code else []


class Worker:
    """What the forked attempts share: the student, an undisturbed training, and how long it
    takes."""

    def __init__(self, folder: Path) -> None:
        from tests.support.tiny_student import byte_level, save_student
        from tests.training import test_train_kill

        code, _ = child(
            lambda: void(save_student(folder / "tiny", byte_level())), folder / "student.said", None
        )
        assert code == 0, (folder / "student.said").read_text()
        self.student, self.folder, self.done = folder / "tiny", folder, 0
        self.calm = test_train_kill.make(folder / "calm")
        code, self.seconds = child(lambda: self.training(self.calm), folder / "calm.said", None)
        assert code == 0, (folder / "calm.said").read_text()[-400:]

    def struck(self) -> None:
        self.done += 1
        print("DONE", self.done, flush=True)

    def training(self, path: Path) -> None:
        from tests.support import killable_training

        killable_training.main(path, self.student)

    def train(self, count: int, rng: Random) -> list[str]:
        from tests.training.test_train import assert_same_training
        from tests.training.test_train_kill import make

        wrong: list[str] = []
        while self.done < count:
            here = make(self.folder / f"torn-{self.done}")
            _, found = until_finished(
                lambda here=here: self.training(here),
                here,
                self.seconds,
                rng,
                count - self.done,
                self.struck,
            )
            wrong += found
            if not found:
                try:
                    assert_same_training(here, self.calm)
                except AssertionError as error:
                    wrong.append(
                        f"{here.name}: another training than the undisturbed one: "
                        f"{str(error)[:200]}"
                    )
            shutil.rmtree(here)
        return wrong

    def evaluate(self, count: int, rng: Random) -> list[str]:
        calm = self.evaluated("calm-evaluation")
        code, seconds = child(
            lambda: evaluation(calm, self.student), self.folder / "evaluation.said", None
        )
        assert code == 0, (self.folder / "evaluation.said").read_text()[-400:]
        expected, wrong = evaluation_products(calm), list[str]()
        while self.done < count:
            here = self.evaluated(f"evaluation-{self.done}")
            _, found = until_finished(
                lambda here=here: evaluation(here, self.student),
                here,
                seconds,
                rng,
                min(8, count - self.done),
                self.struck,
            )
            wrong += found
            if not found and evaluation_products(here) != expected:
                wrong.append(f"{here.name}: another evaluation than the undisturbed one")
            shutil.rmtree(here)
        return wrong

    def evaluated(self, name: str) -> Path:
        """A run that is trained and not yet evaluated."""
        return Path(shutil.copytree(self.calm, self.folder / name))


def void(_: object) -> None:
    """Nothing: for a lambda whose value nobody wants."""


def evaluation(path: Path, folder: Path) -> None:
    """The stage with a played answerer; its numbers in result.json, as the pipeline would store
    them."""
    from localinstruct.evaluation import stage
    from localinstruct.recipe import Recipe
    from localinstruct.store.durable import write_text
    from localinstruct.store.run import open_run
    from localinstruct.training import student
    from tests.support.tiny_student import Recorded, recipe_data

    student.choose_device = lambda: student.Device("cpu", "float32", "test")
    (path.parent / "tasks.jsonl").exists() or tasks(path.parent / "tasks.jsonl")
    recipe = Recipe.model_validate(recipe_data(evaluate={"tasks": "tasks.jsonl"}))
    with open_run(path) as run:
        result = stage.compare(
            recipe, run, Recorded(), path.parent, folder, answers, {"base": "b", "student": "s"}
        )
    write_text(
        path / "result.json",
        json.dumps({name: value for name, value in result.items() if name != "seconds"}),
    )


def tasks(path: Path) -> None:
    """Sixty tasks in three families."""
    rows = [
        {
            "id": f"t{n}",
            "family": f"f{n % 3}",
            "instruction": f"Say {n}.",
            "input": "",
            "output": f"{n}",
        }
        for n in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(prompts: dict[Any, list[Any]]) -> dict[Any, list[Any]]:
    """Played: right or wrong by a digest of the prompt and of who is asked."""
    from localinstruct.records import Completion

    return {
        who: [
            Completion(
                prompt.text.partition("Say ")[2].partition(".")[0]
                if Random(f"{who}{prompt.digest}").random() < 0.5
                else "none"
            )
            for prompt in asked
        ]
        for who, asked in prompts.items()
    }


def evaluation_products(path: Path) -> dict[str, bytes]:
    """The result and every file of the evaluation but the cache of answers, whose order is its
    own."""
    files = {path / "result.json", *(path / "evaluation").glob("*.jsonl")}
    return {file.name: file.read_bytes() for file in files if file.name != "saved_answers.jsonl"}


def main(what: str, count: int, lot: str, folder: Path) -> None:
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401
    import trl  # noqa: F401

    torch.set_num_threads(1)
    worker = Worker(folder)
    for line in getattr(worker, what)(count, Random(lot)):
        print("WRONG", " ".join(line.split()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
