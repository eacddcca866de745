"""`localinstruct` with a played teacher, training, evaluation and report: `python -m
tests.support.played_improve WORDS`.

Parent, lock, stages in processes of their own, generation and dataset are the product's.
The student is right on the tasks of a family for each row about it that it was trained on.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from localinstruct import pipeline
from localinstruct.evaluation.scores import Row, answer_record, score
from localinstruct.evaluation.stage import _names
from localinstruct.formats import read_instances
from localinstruct.formats.tasks import Task, read_tasks
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.stages import Stage, StageFunction
from localinstruct.store.run import Run
from tests.torture import program

FAMILIES = ("tea", "moss", "bread", "rope")
EACH = 30
RECIPE = """\
name: first
seeds: seeds.jsonl
models: {teacher: played, student: played, encoder: words}
method: {alpaca: {}}
generate: {target: 60}
serve: {max_num_seqs: 4}
novelty: {threshold: 0.95}
dataset: {similar: null}
evaluate: {tasks: tasks.jsonl}
"""


def workspace(folder: Path) -> Path:
    """A folder with recipe, seeds that have names, tasks and models.yaml; the recipe's path."""
    recipe = program.workspace(folder)
    recipe.write_text(RECIPE)
    seeds = [
        {"name": family, "instruction": f"Name {n} kinds of {family}", "output": "…"}
        for family in FAMILIES
        for n in (3, 5)
    ]
    tasks = [
        {"family": family, "instruction": f"Which {family} is number {n}?", "output": "this"}
        for family in FAMILIES
        for n in range(EACH)
    ]
    for name, rows in (("seeds.jsonl", seeds), ("tasks.jsonl", tasks)):
        (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return recipe


def train(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Take a moment, so that there is one to be killed in."""
    time.sleep(0.5)
    return {"product": run.path.name}


def evaluate(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Answers of a student that learns a family from rows about it."""
    rows = read_instances(run.path / "dataset" / "train.jsonl")
    learnt = Counter(row.lineage.topic for row in rows)
    tasks = read_tasks(workspace / str(recipe.evaluate.tasks))
    answered = [_answered(task, learnt, n % EACH) for n, task in enumerate(tasks)]
    folder = run.path / "evaluation"
    folder.mkdir(exist_ok=True)
    lines = [json.dumps(_names(row) | answer_record(row)) for row in answered]
    (folder / "answers.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return {"tasks": {"file": recipe.evaluate.tasks, **score(answered)}}


def _answered(task: Task, learnt: Counter[str], number: int) -> Row:
    known = 3 * FAMILIES.index(task.family) + learnt[task.family]
    return Row(task.instance, task, "no", "this" if number < known else "no")


def report(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Write a page without the numbers that a real training would have."""
    (run.path / "report.html").write_text(run.path.name)
    return {}


PLAYED: dict[str, StageFunction] = {"train": train, "evaluate": evaluate, "report": report}


def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a stage, played."""
    interpreter, _, module, *words = command
    assert module == "localinstruct"
    return subprocess.Popen([interpreter, "-m", __spec__.name, *words], **options)


if __name__ == "__main__":
    load = Stage.load

    def played(self: Stage) -> StageFunction:
        """The played stage of this name, else the product's."""
        return PLAYED.get(self.name) or load(self)

    Stage.load = played  # type: ignore[method-assign]
    pipeline.subprocess = SimpleNamespace(Popen=start)  # type: ignore[assignment]
    pipeline.require_ready = lambda *_: None  # type: ignore[assignment]
    program.play(sys.argv[1:])
