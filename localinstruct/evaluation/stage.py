"""Base against student: held-out loss, right answers, forgetting, answers side by side.

Both read the same text they were (or were not) trained on: the template of `train.template`. Losses
come from transformers and peft, per answer token; answers are greedy and come from the `Answerer`
that the pipeline plugs in (vLLM with the adapter), with the start of a next task as a stop string
for both. Who else a student can be compared with, and by which judge, is in comparison.py. Not
covered: chance in sampled answers.
"""

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import DataError
from localinstruct.evaluation import forgetting, wording
from localinstruct.evaluation.answers import (
    SAVED,
    STUDENT,
    Answerer,
    Contender,
    SavedAnswers,
    Which,
    answers_of_sides,
    ask_contenders,
    question,
    trained_contender,
)
from localinstruct.evaluation.constraints import constraint_tasks, form_scores
from localinstruct.evaluation.scores import (
    Row,
    answer_record,
    choose,
    cut_answers,
    lost_answers,
    paired_rows,
    score,
)
from localinstruct.evaluation.verdict import weakest, weakest_topics
from localinstruct.formats import read_instances
from localinstruct.formats.tasks import Task, read_tasks, task_file
from localinstruct.generation.stage import CHECKERS
from localinstruct.models import catalog
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, JsonObject, Prompt, StageResult
from localinstruct.store.durable import write_text
from localinstruct.store.folder import HELD_OUT
from localinstruct.store.run import Run
from localinstruct.templates import Encoded, encode_all
from localinstruct.templates.beside import with_thoughts
from localinstruct.training import student
from localinstruct.training.merging import whole_student

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["STUDENT", "compare", "question", "run"]

LISTED = 12
"""Lost answers in the result; all of them stand in evaluation/answers.jsonl."""


def run(recipe: Recipe, run: Run, progress: Progress, *, workspace: Path) -> StageResult:
    """Compare, save every answer in evaluation/answers.jsonl, and return the report's numbers.

    "held_out" has loss and perplexity of base and student, "tasks" right answers with the gain's 95
    % interval and counts by family (None without any), "form" constraints that were kept
    (`constraints`), "forgetting" the perplexity on a
    general text and the answers that were lost (None where none can be), "cut" the answers that
    were cut at evaluate.max_tokens, "open_tasks" tasks that only a judge can mark, "weakest" the
    families to work on and
    "weakest_topics" the topics, "side_by_side" some rows. Raises DataError when an earlier stage
    has not run.
    """
    spec = catalog.load_catalog(workspace).get(recipe.models.student)
    sides: dict[Which, Contender] = {
        "base": Contender("the base", spec, recipe.train.template),
        "student": trained_contender("the student", spec, recipe, run.path),
    }

    if whole := sides["student"].whole:
        progress.say(f"The student is served as one model in {whole}.")

    def answer(prompts: dict[Which, list[Prompt]]) -> dict[Which, list[Completion]]:
        return ask_contenders(sides, recipe.serve, run.path, prompts, progress)

    digests = {which: side.digest for which, side in sides.items()}
    folder = catalog.checked(spec)
    return compare(recipe, run, progress, workspace, folder, answer, digests, spec.template)


def compare(
    recipe: Recipe,
    run: Run,
    progress: Progress,
    workspace: Path,
    folder: Path,
    answer: Answerer,
    digests: dict[Which, str],
    chat_template: str | None = None,
) -> StageResult:
    """Compare as `run`, with any function to answer.

    `folder` is the base's directory, checked; `digests` are those of both models; `chat_template`
    is the base's in models.yaml.
    """
    began = time.monotonic()
    held_out = held_out_rows(run.path)
    tasks = read_tasks(task_file(recipe.evaluate.tasks, workspace)) if recipe.evaluate.tasks else []
    tasks += constraint_tasks(recipe, workspace)
    text_name, text = forgetting.general_text(recipe.evaluate.text, workspace)
    losses, general = measured_losses(
        recipe, run.path, folder, held_out, text, progress, chat_template
    )
    rows = _ask(recipe, run.path, tasks, held_out[: recipe.evaluate.side_by_side], answer, digests)
    _save(run.path / "evaluation", rows)
    checkable, lost = [row for row in rows if row.checkable], lost_answers(rows)
    file = recipe.evaluate.tasks or recipe.seeds  # constraints are asked on requests of the seeds
    scores = {"file": file, **score(checkable)} if checkable else None
    result = {
        "held_out": losses,
        "tasks": scores,
        "forgetting": {
            **general,
            "text": text_name,
            "lost": len(lost) if checkable else None,
            "lost_answers": [answer_record(row) for row in lost[:LISTED]],
        },
        "form": form_scores(checkable),
        "open_tasks": len(tasks) - len(checkable),
        "cut": cut_answers(rows, recipe.evaluate.max_tokens),
        "weakest": weakest(scores["by_family"]) if scores else [],
        "weakest_topics": weakest_topics((losses or {}).get("by_topic") or {}),
        "side_by_side": [answer_record(row) for row in choose(rows, recipe.evaluate.side_by_side)],
        "seconds": time.monotonic() - began,
    }
    progress.say(_summary(result))
    return result


def measured_losses(
    recipe: Recipe,
    run_path: Path,
    folder: Path,
    rows: Sequence[Instance],
    text: str,
    progress: Progress,
    chat_template: str | None = None,
) -> tuple[JsonObject | None, JsonObject]:
    """Losses of base and student (on the held-out rows, on the general text).

    Each is {"base": {"loss", "perplexity"}, "student": …, "rows", "tokens"}. The first has such
    values under "by_topic" as well where rows carry topics, and is None when no row fits
    train.max_length. Every model is freed again before this returns.
    """
    device, trained = student.choose_device(), student.artefact(run_path)
    setting = f"train.device_batch_size={max(1, recipe.train.device_batch_size // 2)}"
    with student.quiet(run_path / "logs" / "evaluate.log"), student.memory_errors(setting):
        progress.say(f"Held-out loss on {device.name} in {device.dtype}: {device.reason}.")
        progress.update("held-out loss", 0, 0)
        tokenizer = student.load_tokenizer(folder, chat_template)
        base = student.load_base(folder, device)
        length = student.longest_row(base, recipe.train.max_length)
        learnt = with_thoughts(rows, recipe.train.thinking)
        topics = _encoded(learnt, recipe.train.template, tokenizer, length)
        general, batch = forgetting.windows(text, tokenizer, length), recipe.train.device_batch_size
        if rows and not topics:
            progress.say(
                f"No held-out loss: every held-out prompt alone fills the {length} tokens of a row."
            )
        sets = [*topics.values(), *([general] if general else [])]
        pad = student.pad_id(tokenizer)
        before = [student.mean_loss(base, part, pad, batch) for part in sets]
        if trained.kind == "model":
            del base  # two whole models need not fit beside each other
            student.release()
            if device.dtype != "float32":
                needs = whole_student(run_path, folder, trained, recipe.train.template)
                device = replace(device, dtype=needs.precision)
            model = student.load_base(trained.folder, device)
        else:
            from peft import PeftModel

            model = PeftModel.from_pretrained(base, str(trained.folder), local_files_only=True)
        after = [student.mean_loss(model, part, pad, batch) for part in sets]
    base = model = None
    student.release()
    counts = [len(part) for part in sets]
    pairs = [
        {"base": _loss(old), "student": _loss(new), "rows": count, "tokens": tokens}
        for (old, tokens), (new, _), count in zip(before, after, counts, strict=True)
    ]
    held_out = _together(dict(zip(topics, pairs, strict=False))) if topics else None
    return held_out, (pairs[-1] if general else {})


def _encoded(
    rows: Sequence[Instance], template: str, tokenizer: "PreTrainedTokenizerBase", length: int
) -> dict[str, list[Encoded]]:
    """The rows that fit, by topic; "" for rows without one."""
    parts: dict[str, list[Instance]] = {}
    for row in rows:
        parts.setdefault(row.lineage.topic, []).append(row)
    encoded = {
        topic: list(encode_all(part, template, tokenizer, length).examples)
        for topic, part in parts.items()
    }
    return {topic: examples for topic, examples in encoded.items() if examples}


def _together(by_topic: dict[str, JsonObject]) -> JsonObject:
    """The losses over all rows (mean per answer token), and by topic where rows have one."""
    parts = list(by_topic.values())
    tokens = sum(part["tokens"] for part in parts)
    losses = {
        who: _loss(sum(part[who]["loss"] * part["tokens"] for part in parts) / max(tokens, 1))
        for who in ("base", "student")
    }
    named = {topic: part for topic, part in by_topic.items() if topic}
    return {
        **losses,
        "rows": sum(part["rows"] for part in parts),
        "tokens": tokens,
        **({"by_topic": named} if named else {}),
    }


def _ask(
    recipe: Recipe,
    run_path: Path,
    tasks: Sequence[Task],
    held_out: Sequence[Instance],
    answer: Answerer,
    digests: dict[Which, str],
) -> list[Row]:
    """Ask base and student every question that has no saved answer, tasks first."""
    questions: list[tuple[Instance, Task | None]] = [(task.instance, task) for task in tasks]
    questions += [(row, None) for row in held_out]
    prompts = [question(instance, recipe) for instance, _ in questions]
    saved = SavedAnswers(run_path / "evaluation" / SAVED)
    answers = answers_of_sides(saved, digests, {"base": prompts, "student": prompts}, answer)
    checker = CHECKERS[recipe.generate.checker] if recipe.generate.checker else None
    return paired_rows(questions, answers, checker)


def held_out_rows(run_path: Path) -> list[Instance]:
    """The rows kept out of training; DataError when the dataset or the training has not run."""
    path = run_path / "dataset" / HELD_OUT
    if not path.is_file():
        raise DataError(f"{path}: not there yet.", f"First: localinstruct dataset {run_path.name}")
    student.artefact(run_path)
    return read_instances(path) if path.stat().st_size else []


def _save(folder: Path, rows: Sequence[Row]) -> None:
    """Write every answer on a line of its own, the file whole or not at all."""
    folder.mkdir(exist_ok=True, mode=0o700)
    lines = [json.dumps(_names(row) | answer_record(row), ensure_ascii=False) for row in rows]
    write_text(folder / "answers.jsonl", "".join(f"{line}\n" for line in lines))


def _names(row: Row) -> JsonObject:
    return {"id": row.task.id, "family": row.task.family} if row.task else {"id": row.instance.id}


def _loss(loss: float) -> dict[str, float]:
    """Nats per answer token, and its exponential (at most the largest that JSON readers take)."""
    return {"loss": loss, "perplexity": math.exp(min(loss, 700.0))}


def _summary(result: StageResult) -> str:
    parts = []
    if result["held_out"]:
        parts.append(f"held-out loss: {wording.losses(result['held_out'])}")
    if tasks := result["tasks"]:
        parts.append(f"tasks: {wording.right(tasks)}, {wording.gain(tasks)}")
    parts += wording.groups_of_form(result)
    parts.append(wording.open_answers(result))
    if (general := result["forgetting"]).get("base"):
        parts.append(f"perplexity of general text {wording.perplexities(general)}")
    parts.append(wording.cut(result))
    return f"{'; '.join(filter(None, parts)) or 'nothing held out, no tasks'}."
