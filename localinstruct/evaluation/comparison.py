"""Comparison of a student with its base, another run or model: on tasks, before a judge.

Not a stage. Each comparison is a file of its own in evaluation/comparisons/, named after what was
compared; the evaluate stage's result is never touched. "base" in the numbers is whoever the student
is compared with. Answers come from evaluation's saved ones where they are there. Not covered: more
than two at once.
"""

import json
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from localinstruct.errors import UsageError
from localinstruct.evaluation.answers import (
    SAVED,
    Answerer,
    Contender,
    SavedAnswers,
    Which,
    answers_of_sides,
    ask_contenders,
    question_in,
)
from localinstruct.evaluation.constraints import constraint_tasks, form_scores
from localinstruct.evaluation.judged import Ask, judge_rows
from localinstruct.evaluation.scores import (
    Row,
    answer_record,
    cut_answers,
    lost_answers,
    paired_rows,
    score,
)
from localinstruct.evaluation.stage import held_out_rows
from localinstruct.formats.tasks import Task, read_tasks, task_file
from localinstruct.generation.stage import CHECKERS
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, JsonObject, Prompt
from localinstruct.states import comparison_now
from localinstruct.store.durable import write_text
from localinstruct.store.folder import COMPARISONS, HELD_OUT
from localinstruct.store.freshness import READ, Read
from localinstruct.store.run import Run
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.serving import answer_all, serving

Question = tuple[Instance, Task | None]
"""A row to ask, and its task; None for a held-out row."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison that a person asks for: against whom, on which task files, before which judge.

    `against` is the name as it was typed.
    """

    against: str = "base"
    tasks: tuple[Path, ...] = ()
    judge: ModelSpec | None = None

    @property
    def options(self) -> str:
        """Options of `evaluate` that make it again."""
        tasks = [word for path in self.tasks for word in ("--tasks", str(path))]
        judge = ["--judge", self.judge.name] if self.judge else []
        return shlex.join(["--against", self.against, *tasks, *judge])

    @property
    def name(self) -> str:
        """Name of the comparison's file."""
        judge = f"-by-{self.judge.name}" if self.judge else ""
        tasks = "".join(f"-on-{path.stem}" for path in self.tasks)
        return re.sub(r"[^A-Za-z0-9._-]+", "-", f"{self.against.strip('/')}{judge}{tasks}")[:120]


def require_chat_model(spec: ModelSpec, option: str = "--judge") -> ModelSpec:
    """The model that an option names, complete and a chat model; UsageError for a base model."""
    if not spec.chat:
        raise UsageError(
            f"{option} {spec.name}: expected a chat model, found a base model.",
            "localinstruct models list",
        )
    if not spec.servers:
        checked(spec)
    return spec


def compare_with(
    recipe: Recipe,
    run: Run,
    workspace: Path,
    comparison: Comparison,
    sides: dict[Which, Contender],
    progress: Progress,
) -> JsonObject:
    """Ask both sides what is not saved, have the judge read, store the comparison, return it."""
    for side in sides.values():
        if not side.spec.servers:
            checked(side.spec)

    def answer(prompts: dict[Which, list[Prompt]]) -> dict[Which, list[Completion]]:
        return ask_contenders(sides, recipe.serve, run.path, prompts, progress)

    ask = None
    if comparison.judge:
        ask = partial(ask_judge, comparison.judge, recipe.serve, run.path, progress)
    return compare_answers(recipe, run, workspace, comparison, sides, answer, ask)


def compare_answers(
    recipe: Recipe,
    run: Run,
    workspace: Path,
    comparison: Comparison,
    sides: dict[Which, Contender],
    answer: Answerer,
    ask: Ask | None,
) -> JsonObject:
    """Compare as `compare_with`, with any function to answer and any to judge."""
    began, read = time.monotonic(), _read(recipe, run, comparison, sides)
    questions = _questions(recipe, run.path, workspace, comparison.tasks)
    saved = SavedAnswers(run.path / "evaluation" / SAVED)
    rows = _rows(questions, sides, recipe, saved, answer)
    checkable = [row for row in rows if row.checkable]
    judge = comparison.judge
    pairwise = None
    if judge and ask:
        pairwise = judge_rows(rows, judge.name, judge.digest, saved, ask)
    recipe_tasks = [recipe.evaluate.tasks] if recipe.evaluate.tasks else []
    result = {
        "against": comparison.against,
        "files": [str(path) for path in comparison.tasks] or recipe_tasks,
        "questions": len(rows),
        "tasks": score(checkable) if checkable else None,
        "form": form_scores(checkable),
        "lost": len(lost_answers(rows)) if checkable else None,
        "open_tasks": sum(task is not None for _, task in questions) - len(checkable),
        "cut": cut_answers(rows, recipe.evaluate.max_tokens),
        "pairwise": pairwise,
        "seconds": time.monotonic() - began,
        "asked": comparison.options,
        READ: read,
    }
    _store(run.path / "evaluation" / COMPARISONS, comparison.name, rows, result)
    return {"name": comparison.name, **result}


def _read(
    recipe: Recipe, run: Run, comparison: Comparison, sides: Mapping[Which, Contender]
) -> Read:
    """Digests of what the comparison reads: questions, both sides, the judge."""
    home = run.path.resolve()
    tasks = [str(path.resolve()) for path in comparison.tasks] or [recipe.evaluate.tasks or ""]
    trained = [side.trained.resolve() for side in sides.values() if side.trained]
    inside = [str(folder.relative_to(home)) for folder in trained if folder.is_relative_to(home)]
    outside = [str(folder) for folder in trained if not folder.is_relative_to(home)]
    questions = [] if any(tasks) else [f"dataset/{HELD_OUT}"]
    models = [side.base or side.spec.name for side in sides.values()]
    models += [comparison.judge.name] if comparison.judge else []
    names = {
        "run": dict.fromkeys([*inside, *questions]),
        "workspace": dict.fromkeys([*filter(None, tasks), *outside]),
        "models": dict.fromkeys(models),
    }
    return comparison_now(names, run)


def _store(folder: Path, name: str, rows: Sequence[Row], result: JsonObject) -> None:
    folder.mkdir(exist_ok=True, mode=0o700)
    lines = [json.dumps(answer_record(row), ensure_ascii=False) for row in rows]
    write_text(folder / f"{name}.jsonl", "".join(f"{line}\n" for line in lines))
    write_text(folder / f"{name}.json", json.dumps(result, ensure_ascii=False, indent=2) + "\n")


def _questions(
    recipe: Recipe, run_path: Path, workspace: Path, files: Sequence[Path]
) -> list[Question]:
    """The tasks of the named files, else of the recipe's, else the held-out rows."""
    held_out = held_out_rows(run_path)
    paths = list(files)
    if not paths and recipe.evaluate.tasks:
        paths = [task_file(recipe.evaluate.tasks, workspace)]
    tasks = [task for path in paths for task in read_tasks(path)]
    tasks += [] if files else constraint_tasks(recipe, workspace)
    questions: list[Question] = [(task.instance, task) for task in tasks]
    questions = questions or [(row, None) for row in held_out]
    if not questions:
        raise UsageError(
            f"{run_path.name}: nothing to ask: no held-out rows and no tasks.",
            "Name tasks: --tasks FILE",
        )
    return questions


def _rows(
    questions: Sequence[Question],
    sides: dict[Which, Contender],
    recipe: Recipe,
    saved: SavedAnswers,
    answer: Answerer,
) -> list[Row]:
    tokens = recipe.evaluate.max_tokens
    prompts = {
        which: [question_in(instance, side.template, tokens) for instance, _ in questions]
        for which, side in sides.items()
    }
    digests = {which: side.digest for which, side in sides.items()}
    answers = answers_of_sides(saved, digests, prompts, answer)
    checker = CHECKERS[recipe.generate.checker] if recipe.generate.checker else None
    return paired_rows(questions, answers, checker)


def ask_judge(
    spec: ModelSpec, serve: Serve, home: Path, progress: Progress, prompts: list[Prompt]
) -> list[str]:
    """The judge's replies, from our own vLLM or the endpoint it is at."""
    with serving(spec, serve, home, progress, label="vllm-judge") as connect:
        show = partial(progress.update, f"judging: {spec.name}", total=len(prompts))
        longest = max(prompt.max_tokens or 1 for prompt in prompts)
        greedy = Sampling(temperature=0.0, max_tokens=longest)
        return [reply.text for reply in answer_all(connect, spec.name, prompts, greedy, show)]
