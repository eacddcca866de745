"""Base against student: held-out loss, exact match on tasks with a checkable answer, and answers side by side.

Both read the same text they were (or were not) trained on: the template of `train.template`. Losses come from
transformers and peft, per answer token; answers are greedy and come from the `Answerer` that the pipeline plugs in (vLLM
with the adapter). A base does not know when to stop, so the start of a next task is a stop string for both, and the
share of answers that begin with the expected lines stands beside the strict exact match ("begins_right"). The interval
of the gain is Bonett and Price's for paired proportions (2012, Br J Math Stat Psychol 65, adjusted Wald), which stays
honest with few tasks. Not covered: judging answers that cannot be checked.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from localinstruct import models
from localinstruct.errors import DataError, TrainerError
from localinstruct.files import write_text
from localinstruct.formats import read_instances
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Prompt
from localinstruct.run import Run
from localinstruct.stages import StageResult, student
from localinstruct.stages.dataset import HELD_OUT
from localinstruct.stages.tasks import Task, is_right, read_tasks, task_file
from localinstruct.teacher import Sampling
from localinstruct.teacher.serving import answer_all, serving
from localinstruct.templates import NEXT_TASK, encode_all, messages, render

Which = Literal["base", "student"]
Answerer = Callable[[list[Prompt]], dict[Which, list[str]]]
"""Greedy answers of the base and of the student, one per prompt, in order."""
STUDENT = "student"
"""Name under which vLLM serves the adapter."""

Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class Row:
    """One question with both answers; `task` is None for a row of the held-out part of the dataset."""

    instance: Instance
    task: Task | None
    base: str
    student: str

    def right(self, which: Which) -> bool:
        """Whether this answer equals the expected output but for white space."""
        return is_right(self.base if which == "base" else self.student, self.instance.output)

    def begins_right(self, which: Which) -> bool:
        """Whether it begins with the expected lines: what remains of `right` for a model that does not stop."""
        answer = self.base if which == "base" else self.student
        lines = len(self.instance.output.strip().split("\n"))
        return is_right("\n".join(answer.strip().split("\n")[:lines]), self.instance.output)


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Compare, save every answer in evaluation/answers.jsonl, and return the numbers the report shows.

    "held_out" has loss and perplexity of base and student, "tasks" exact match with the gain's 95 % interval and counts by
    family (None without evaluate.tasks), "side_by_side" some rows. Raises DataError when an earlier stage has not run.
    """
    spec = models.load_catalog(workspace).get(recipe.models.student)

    def answer(prompts: list[Prompt]) -> dict[Which, list[str]]:
        return ask_vllm(spec, recipe, run.path, prompts, progress)

    return compare(recipe, run, progress, workspace, models.checked(spec), answer)


def ask_vllm(
    spec: models.ModelSpec, recipe: Recipe, home: Path, prompts: list[Prompt], progress: Progress
) -> dict[Which, list[str]]:
    """Greedy answers of the base and of the student, both from one vLLM that holds the base with the adapter."""
    greedy = Sampling(temperature=0.0, max_tokens=recipe.evaluate.max_tokens)
    answers: dict[Which, list[str]] = {}
    with serving(spec, recipe.serve, home, progress, {STUDENT: home / "adapter"}) as connect:
        names: dict[Which, str] = {"base": spec.name, "student": STUDENT}
        for which, name in names.items():
            show = partial(progress.update, f"asking the {which}", total=len(prompts))
            given = answer_all(connect, name, prompts, greedy, show)
            answers[which] = [completion.text for completion in given]
    return answers


def compare(
    recipe: Recipe, run: Run, progress: Progress, workspace: Path, folder: Path, answer: Answerer
) -> StageResult:
    """`run` with the student's directory already found and checked, and anyone to answer."""
    began = time.monotonic()
    held_out = _held_out_rows(run.path)
    tasks = read_tasks(task_file(recipe.evaluate.tasks, workspace)) if recipe.evaluate.tasks else []
    losses = held_out_losses(recipe, run.path, folder, held_out, progress) if held_out else None
    rows = _ask(recipe, tasks, held_out[: recipe.evaluate.side_by_side], answer)
    _save(run.path / "evaluation", rows)
    counted = [row for row in rows if row.task]
    result = {
        "held_out": losses,
        "tasks": {"file": recipe.evaluate.tasks, **score(counted)} if counted else None,
        "side_by_side": [_shown(row) for row in choose(rows, recipe.evaluate.side_by_side)],
        "seconds": time.monotonic() - began,
    }
    progress.say(_summary(result))
    return result


def held_out_losses(
    recipe: Recipe, run_path: Path, folder: Path, rows: Sequence[Instance], progress: Progress
) -> dict[str, Any] | None:
    """{"base": {"loss", "perplexity"}, "student": …, "rows", "tokens"} of one model with its adapter off and on.

    None when no held-out row fits train.max_length. The model is freed again before this returns.
    """
    from peft import PeftModel

    device = student.choose_device()
    setting = f"train.device_batch_size={max(1, recipe.train.device_batch_size // 2)}"
    with student.quiet(run_path / "logs" / "evaluate.log"), student.memory_errors(setting):
        progress.say(f"Held-out loss on {device.name} in {device.dtype}: {device.reason}.")
        tokenizer, base = student.load_tokenizer(folder), student.load_base(folder, device)
        length = student.longest_row(base, recipe.train.max_length)
        examples = encode_all(rows, recipe.train.template, tokenizer, length).examples
        if not examples:
            progress.say(f"No held-out loss: every held-out prompt alone fills the {length} tokens of a row.")
            return None
        model = PeftModel.from_pretrained(base, str(run_path / "adapter"), local_files_only=True)
        pad, batch = student.pad_id(tokenizer), recipe.train.device_batch_size
        with model.disable_adapter():
            base_loss, tokens = student.mean_loss(model, examples, pad, batch)
        student_loss, _ = student.mean_loss(model, examples, pad, batch)
    del model, base
    student.release()
    losses = {"base": _loss(base_loss), "student": _loss(student_loss)}
    return {**losses, "rows": len(examples), "tokens": tokens}


def score(rows: Sequence[Row]) -> dict[str, Any]:
    """Exact match of both, in shares from 0 to 1; the gain with its 95 % interval; counts by family."""
    families = sorted({row.task.family for row in rows if row.task})
    return {
        "count": len(rows),
        "base": _share(rows, "base"),
        "student": _share(rows, "student"),
        "gain": _share(rows, "student") - _share(rows, "base"),
        "interval": list(gain_interval(rows)),
        "begins_right": {
            "base": sum(row.begins_right("base") for row in rows) / len(rows),
            "student": sum(row.begins_right("student") for row in rows) / len(rows),
        },
        "by_family": {
            name: _family([row for row in rows if row.task and row.task.family == name]) for name in families
        },
    }


def gain_interval(rows: Sequence[Row]) -> tuple[float, float]:
    """95 % interval of student minus base, from the tasks on which exactly one of the two is right."""
    won = (sum(row.right("student") and not row.right("base") for row in rows) + 1) / (len(rows) + 2)
    lost = (sum(row.right("base") and not row.right("student") for row in rows) + 1) / (len(rows) + 2)
    half = Z_95 * math.sqrt((won + lost - (won - lost) ** 2) / (len(rows) + 2))
    return max(-1.0, won - lost - half), min(1.0, won - lost + half)


def choose(rows: Sequence[Row], wanted: int) -> list[Row]:
    """Rows for the eye, in file order: half held-out rows, half tasks, and of those won, lost and tied ones in turn."""
    tasks, others = [row for row in rows if row.task], [row for row in rows if not row.task]
    outcomes: dict[tuple[bool, bool], list[Row]] = {}
    for row in tasks:
        outcomes.setdefault((row.right("student"), row.right("base")), []).append(row)
    turns = [outcomes.get(key, []) for key in ((True, False), (False, False), (True, True), (False, True))]
    longest = max((len(turn) for turn in turns), default=0)
    mixed = [turn[place] for place in range(longest) for turn in turns if place < len(turn)]
    from_tasks = min(len(mixed), max(wanted - len(others), (wanted + 1) // 2))
    return (mixed[:from_tasks] + others)[:wanted]


def question(instance: Instance, recipe: Recipe) -> Prompt:
    """The greedy prompt both models get: the training template without the answer."""
    tokens = recipe.evaluate.max_tokens
    if recipe.train.template == "chat":
        return Prompt(messages=tuple(messages(instance)), temperature=0.0, max_tokens=tokens)
    text, _ = render(instance, recipe.train.template)
    return Prompt(text=text, stop=(NEXT_TASK,), temperature=0.0, max_tokens=tokens)


def _ask(recipe: Recipe, tasks: Sequence[Task], held_out: Sequence[Instance], answer: Answerer) -> list[Row]:
    """Every question to base and student, tasks first."""
    asked: list[tuple[Instance, Task | None]] = [(task.instance, task) for task in tasks]
    asked += [(row, None) for row in held_out]
    if not asked:
        return []
    answers = answer([question(instance, recipe) for instance, _ in asked])
    for which, given in answers.items():
        if len(given) != len(asked):
            raise TrainerError(f"Expected {len(asked)} answers of the {which}, got {len(given)}.")
    return [
        Row(instance, task, base, student_answer)
        for (instance, task), base, student_answer in zip(asked, answers["base"], answers["student"], strict=True)
    ]


def _held_out_rows(run_path: Path) -> list[Instance]:
    path = run_path / "dataset" / HELD_OUT
    if not path.is_file():
        raise DataError(f"{path}: not there yet.", f"First: localinstruct dataset {run_path.name}")
    if not (run_path / "adapter" / "adapter_model.safetensors").is_file():
        raise DataError(f"{run_path / 'adapter'}: no adapter there yet.", f"First: localinstruct train {run_path.name}")
    return read_instances(path) if path.stat().st_size else []


def _save(folder: Path, rows: Sequence[Row]) -> None:
    """Every answer, one line each, the file whole or not there."""
    folder.mkdir(exist_ok=True, mode=0o700)
    lines = [{"id": row.task.id, "family": row.task.family} if row.task else {"id": row.instance.id} for row in rows]
    full = [json.dumps(line | _shown(row), ensure_ascii=False) for line, row in zip(lines, rows, strict=True)]
    write_text(folder / "answers.jsonl", "".join(f"{line}\n" for line in full))


def _shown(row: Row) -> dict[str, Any]:
    return {
        "instruction": row.instance.instruction,
        "input": row.instance.input,
        "expected": row.instance.output,
        "base": row.base,
        "student": row.student,
        "base_right": row.right("base"),
        "student_right": row.right("student"),
        "from": "tasks" if row.task else "held-out rows",
    }


def _loss(loss: float) -> dict[str, float]:
    """Nats per answer token, and its exponential (at most the largest that JSON readers take)."""
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def _share(rows: Sequence[Row], which: Which) -> float:
    return sum(row.right(which) for row in rows) / len(rows)


def _family(rows: Sequence[Row]) -> dict[str, float]:
    return {"count": len(rows), "base": _share(rows, "base"), "student": _share(rows, "student")}


def _summary(result: StageResult) -> str:
    parts = []
    if losses := result["held_out"]:
        parts.append(f"held-out loss {losses['base']['loss']:.3f} -> {losses['student']['loss']:.3f}")
    if tasks := result["tasks"]:
        low, high = tasks["interval"]
        gain = f"{tasks['gain']:+.1%}, 95 % interval {low:+.1%} to {high:+.1%}"
        parts.append(f"exact match {tasks['base']:.1%} -> {tasks['student']:.1%} of {tasks['count']} tasks ({gain})")
    return "Base -> student: " + ("; ".join(parts) or "nothing held out, no tasks") + "."
