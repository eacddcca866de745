"""Who is asked in an evaluation, with which prompts; and every answer on disk, so that nobody is
asked twice. Not a stage.

An answer is saved under the digest of all that shapes it: the prompt with its sampling, the model's
files, the adapter's file. A changed check, another judge or a second comparison therefore costs no
generation, and a kill loses at most the answers in flight. Base and student share one vLLM when the
student is an adapter. Not covered: sampling more than once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from localinstruct.errors import TrainerError
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Prompt, digest
from localinstruct.store.durable import append_lines, read_json_lines, sha256
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.serving import answer_all, serving
from localinstruct.teacher.vllm import adapter_fault
from localinstruct.templates import NEXT_TASK, messages, render
from localinstruct.training.merging import merged_in_run
from localinstruct.training.student import artefact

Which = Literal["base", "student"]
"""The two sides of a comparison; "base" is whoever the student is compared with."""
Answerer = Callable[[dict[Which, list[Prompt]]], dict[Which, list[str]]]
"""Greedy answers of each side, one per prompt, in order."""
STUDENT = "student"
"""Name under which vLLM serves the adapter."""
SAVED = "saved_answers.jsonl"


@dataclass(frozen=True, slots=True)
class Contender:
    """A model that answers: an entry of models.yaml, with or without a run's adapter on it; and how
    it is asked."""

    name: str
    spec: ModelSpec
    template: str
    adapter: Path | None = None

    @property
    def digest(self) -> str:
        """Of all its files."""
        return digest(
            [
                self.spec.digest,
                sha256(self.adapter / "adapter_model.safetensors") if self.adapter else "",
            ]
        )


def trained_contender(name: str, spec: ModelSpec, recipe: Recipe, run_path: Path) -> Contender:
    """The student of a run, whether its training left an adapter or a whole model.

    An adapter that vLLM cannot serve (DoRA) is merged first, once for each training.
    """
    left = artefact(run_path)
    if left.kind == "adapter" and adapter_fault(left.folder) is None:
        return Contender(name, spec, recipe.train.template, left.folder)
    folder = left.folder if left.kind == "model" else merged_in_run(run_path, checked(spec), left)
    whole: dict[str, Any] = {
        "name": f"student-{run_path.name}",
        "path": str(folder.resolve()),
        "package": None,
        "endpoint": None,
        "sha256": {},
    }
    return Contender(name, spec.model_copy(update=whole), recipe.train.template)


class SavedAnswers:
    """The answers in a JSONL file, by digest of prompt and model; a torn last line is an answer
    that never came."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, str] = {
            saved["key"]: saved["text"]
            for saved in read_json_lines(path)
            if isinstance(saved.get("key"), str) and isinstance(saved.get("text"), str)
        }

    def get(self, model: str, prompt: Prompt) -> str | None:
        """The answer of the model with this digest, or None when it was never asked."""
        return self._texts.get(digest([model, prompt.digest]))

    def add(self, model: str, prompts: Sequence[Prompt], texts: Sequence[str]) -> None:
        """Append answers to the file."""
        self._path.parent.mkdir(exist_ok=True, mode=0o700)
        keys = [digest([model, prompt.digest]) for prompt in prompts]
        answers = dict(zip(keys, texts, strict=True))
        lines = ({"key": key, "text": text} for key, text in answers.items())
        append_lines(self._path, (json.dumps(line, ensure_ascii=False) for line in lines))
        self._texts |= answers


def answered(
    saved: SavedAnswers,
    models: Mapping[Which, str],
    prompts: Mapping[Which, list[Prompt]],
    answer: Answerer,
) -> dict[Which, list[str]]:
    """An answer for every prompt of each side; only those that are not saved are asked for, each
    once."""
    missing = {
        which: list({p.digest: p for p in asked if saved.get(models[which], p) is None}.values())
        for which, asked in prompts.items()
    }
    due = {which: left for which, left in missing.items() if left}
    given = answer(due) if due else {}
    for which, texts in given.items():
        if len(texts) != len(due.get(which, [])):
            raise TrainerError(
                f"Expected {len(due.get(which, []))} answers of the {which}, got {len(texts)}."
            )
        saved.add(models[which], due[which], texts)
    return {
        which: [saved.get(models[which], p) or "" for p in asked]
        for which, asked in prompts.items()
    }


def saved_or_asked(
    saved: SavedAnswers,
    model: str,
    prompts: Sequence[Prompt],
    ask: Callable[[list[Prompt]], list[str]],
) -> list[str]:
    """What one model says to every prompt; only what is not saved is asked for."""

    def answer(due: dict[Which, list[Prompt]]) -> dict[Which, list[str]]:
        return {which: ask(asked) for which, asked in due.items()}

    return answered(saved, {"base": model}, {"base": list(prompts)}, answer)["base"]


def ask_contenders(
    contenders: Mapping[Which, Contender],
    serve: Serve,
    home: Path,
    prompts: dict[Which, list[Prompt]],
    progress: Progress,
) -> dict[Which, list[str]]:
    """Greedy answers from our own vLLM, one server for each model, with the adapters that are
    wanted on it."""
    answers: dict[Which, list[str]] = {}
    for spec in {contenders[which].spec.name: contenders[which].spec for which in prompts}.values():
        here: dict[Which, Contender] = {
            w: contenders[w] for w in prompts if contenders[w].spec.name == spec.name
        }
        adapters = {str(which): one.adapter for which, one in here.items() if one.adapter}
        with serving(spec, serve, home, progress, adapters) as connect:
            for which, one in here.items():
                asked, name = prompts[which], which if one.adapter else spec.name
                show = partial(progress.update, f"asking {one.name}", total=len(asked))
                greedy = Sampling(temperature=0.0, max_tokens=max(p.max_tokens or 1 for p in asked))
                answers[which] = [
                    given.text for given in answer_all(connect, name, asked, greedy, show)
                ]
    return answers


def question(instance: Instance, recipe: Recipe) -> Prompt:
    """The greedy prompt a run's student and its base get: the training template without the
    answer."""
    return question_in(instance, recipe.train.template, recipe.evaluate.max_tokens)


def question_in(instance: Instance, template: str, tokens: int) -> Prompt:
    """A greedy prompt in the template of whoever is asked."""
    if template == "chat":
        return Prompt(messages=tuple(messages(instance)), temperature=0.0, max_tokens=tokens)
    text, _ = render(instance, template)
    return Prompt(text=text, raw=True, stop=(NEXT_TASK,), temperature=0.0, max_tokens=tokens)
