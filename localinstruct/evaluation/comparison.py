"""A run's student against its base, another run's student, or any model: on other tasks, and before
a judge. Not a stage.

Each comparison is a file of its own in evaluation/comparisons/, named after what was compared; the
evaluate stage's result is never touched. "base" in the numbers is whoever the student is compared
with. Answers come from evaluation's saved ones where they are there. Not covered: more than two at
once.
"""

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from localinstruct.errors import UsageError
from localinstruct.evaluation.answers import (
    SAVED,
    Answerer,
    Contender,
    SavedAnswers,
    Which,
    answered,
    ask_contenders,
    question_in,
)
from localinstruct.evaluation.judged import Ask, judge_rows
from localinstruct.evaluation.scores import Row, lost_answers, score, shown
from localinstruct.evaluation.stage import held_out_rows
from localinstruct.formats.tasks import Task, read_tasks, task_file
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Prompt
from localinstruct.store.durable import write_text
from localinstruct.store.folder import COMPARISONS
from localinstruct.store.run import Run
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.serving import answer_all, serving


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a person wants compared: against whom (by the name they typed), on which task files,
    before which judge."""

    against: str = "base"
    tasks: tuple[Path, ...] = ()
    judge: ModelSpec | None = None

    @property
    def name(self) -> str:
        """Of the comparison's file."""
        judge = f"-by-{self.judge.name}" if self.judge else ""
        tasks = "".join(f"-on-{path.stem}" for path in self.tasks)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{self.against.strip('/')}{judge}{tasks}")[:120]


def require_chat_model(spec: ModelSpec, option: str = "--judge") -> ModelSpec:
    """The model that an option names, complete and able to be asked in turns; UsageError for a base
    model."""
    if not spec.chat:
        raise UsageError(
            f"{option} {spec.name}: expected a chat model, found a base model.",
            "localinstruct models list",
        )
    if not spec.endpoint:
        checked(spec)
    return spec


def compare_with(
    recipe: Recipe,
    run: Run,
    workspace: Path,
    comparison: Comparison,
    sides: dict[Which, Contender],
    progress: Progress,
) -> dict[str, Any]:
    """Have both sides answer what is not saved, have the judge read, store the comparison, and
    return it."""
    for side in sides.values():
        if not side.spec.endpoint:
            checked(side.spec)
    answer: Answerer = lambda prompts: ask_contenders(  # noqa: E731
        sides, recipe.serve, run.path, prompts, progress
    )
    ask = (
        partial(ask_judge, comparison.judge, recipe.serve, run.path, progress)
        if comparison.judge
        else None
    )
    return compared(recipe, run, workspace, comparison, sides, answer, ask)


def compared(
    recipe: Recipe,
    run: Run,
    workspace: Path,
    comparison: Comparison,
    sides: dict[Which, Contender],
    answer: Answerer,
    ask: Ask | None,
) -> dict[str, Any]:
    """`compare_with` with anyone to answer and anyone to judge."""
    began = time.monotonic()
    tasks = _tasks(recipe, run.path, workspace, comparison.tasks)
    saved = SavedAnswers(run.path / "evaluation" / SAVED)
    rows = _rows(tasks, sides, recipe.evaluate.max_tokens, saved, answer)
    counted = [row for row in rows if row.checkable]
    judged = (
        judge_rows(rows, comparison.judge.name, comparison.judge.digest, saved, ask)
        if comparison.judge and ask
        else None
    )
    result = {
        "against": comparison.against,
        "files": [str(path) for path in comparison.tasks]
        or ([recipe.evaluate.tasks] if recipe.evaluate.tasks else []),
        "questions": len(rows),
        "tasks": score(counted) if counted else None,
        "lost": len(lost_answers(rows)),
        "pairwise": judged,
        "seconds": time.monotonic() - began,
    }
    folder = run.path / "evaluation" / COMPARISONS
    folder.mkdir(exist_ok=True, mode=0o700)
    lines = [json.dumps(shown(row), ensure_ascii=False) for row in rows]
    write_text(folder / f"{comparison.name}.jsonl", "".join(f"{line}\n" for line in lines))
    write_text(
        folder / f"{comparison.name}.json", json.dumps(result, ensure_ascii=False, indent=2) + "\n"
    )
    return {"name": comparison.name, **result}


def _tasks(
    recipe: Recipe, run_path: Path, workspace: Path, files: Sequence[Path]
) -> list[tuple[Any, Task | None]]:
    """(instance, task) of the files that were named, else of the recipe's, else the held-out
    rows."""
    held_out = held_out_rows(run_path)
    named = list(files) or (
        [task_file(recipe.evaluate.tasks, workspace)] if recipe.evaluate.tasks else []
    )
    tasks = [task for path in named for task in read_tasks(path)]
    found: list[tuple[Any, Task | None]] = [(task.instance, task) for task in tasks]
    found = found or [(row, None) for row in held_out]
    if not found:
        raise UsageError(
            f"{run_path.name}: nothing to ask: no held-out rows and no tasks.",
            "Name tasks: --tasks FILE",
        )
    return found


def _rows(
    tasks: Sequence[tuple[Any, Task | None]],
    sides: dict[Which, Contender],
    tokens: int,
    saved: SavedAnswers,
    answer: Answerer,
) -> list[Row]:
    prompts = {
        which: [question_in(instance, side.template, tokens) for instance, _ in tasks]
        for which, side in sides.items()
    }
    answers = answered(
        saved, {which: side.digest for which, side in sides.items()}, prompts, answer
    )
    return [
        Row(instance, task, base, student)
        for (instance, task), base, student in zip(
            tasks, answers["base"], answers["student"], strict=True
        )
    ]


def ask_judge(
    spec: ModelSpec, serve: Serve, home: Path, progress: Progress, prompts: list[Prompt]
) -> list[str]:
    """The judge's replies, from our own vLLM or the endpoint it is at."""
    with serving(spec, serve, home, progress, label="vllm-judge") as connect:
        show = partial(progress.update, f"judging: {spec.name}", total=len(prompts))
        greedy = Sampling(
            temperature=0.0, max_tokens=max(prompt.max_tokens or 1 for prompt in prompts)
        )
        return [reply.text for reply in answer_all(connect, spec.name, prompts, greedy, show)]
