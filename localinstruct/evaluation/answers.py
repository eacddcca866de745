"""Contenders, their prompts, and their answers, saved so that no model is asked twice.

Not a stage. An answer is saved under the digest of all that shapes it: the prompt with its
sampling, the model's files, the adapter's file. A changed check, another judge or a second
comparison therefore costs no generation, and a kill loses at most the answers in flight. Base and
student share one vLLM when the student is an adapter. Not covered: sampling more than once.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from localinstruct.errors import TrainerError
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.models.chat_template import chosen_text
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject, Prompt, digest
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
    """A model that answers: an entry of models.yaml, perhaps with an adapter, and its template."""

    name: str
    spec: ModelSpec
    template: str
    adapter: Path | None = None

    @property
    def digest(self) -> str:
        """Digest of the model's files and the adapter's weights."""
        weights = self.adapter / "adapter_model.safetensors" if self.adapter else None
        return digest([self.spec.digest, sha256(weights) if weights else ""])


def trained_contender(name: str, spec: ModelSpec, recipe: Recipe, run_path: Path) -> Contender:
    """The student of a run, whether its training left an adapter or a whole model.

    An adapter that vLLM cannot serve (DoRA) is merged first, once for each training.
    """
    trained = artefact(run_path)
    if trained.kind == "adapter" and adapter_fault(trained.folder) is None:
        return Contender(name, spec, recipe.train.template, trained.folder)
    if trained.kind == "model":
        folder = trained.folder
    else:
        folder = merged_in_run(run_path, checked(spec), trained)
    given = spec.chat_template  # by its name, it is one of the base's templates
    whole: JsonObject = {
        "name": f"student-{run_path.name}",
        "path": str(folder.resolve()),
        "package": None,
        "endpoint": None,
        "sha256": {},
        "chat_template": given and chosen_text(checked(spec), given),
    }
    return Contender(name, spec.model_copy(update=whole), recipe.train.template)


class SavedAnswers:
    """The answers in a JSONL file, by digest of model and prompt.

    A torn last line counts as an answer that never came.
    """

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


def answers_of_sides(
    saved: SavedAnswers,
    digests: Mapping[Which, str],
    prompts: Mapping[Which, list[Prompt]],
    answer: Answerer,
) -> dict[Which, list[str]]:
    """An answer for every prompt of each side; those not saved are asked for, each once.

    `digests` are those of the sides' models. TrainerError when a side gives too few answers.
    """
    missing = {
        which: list({p.digest: p for p in own if saved.get(digests[which], p) is None}.values())
        for which, own in prompts.items()
    }
    due = {which: own for which, own in missing.items() if own}
    answers = answer(due) if due else {}
    for which, texts in answers.items():
        expected = len(due.get(which, []))
        if len(texts) != expected:
            raise TrainerError(f"Expected {expected} answers of the {which}, got {len(texts)}.")
        saved.add(digests[which], due[which], texts)
    return {
        which: [saved.get(digests[which], p) or "" for p in own] for which, own in prompts.items()
    }


def answers_of_model(
    saved: SavedAnswers,
    model: str,
    prompts: Sequence[Prompt],
    ask: Callable[[list[Prompt]], list[str]],
) -> list[str]:
    """The answers of the model with this digest; only what is not saved is asked for."""

    def answer(due: dict[Which, list[Prompt]]) -> dict[Which, list[str]]:
        return {which: ask(own) for which, own in due.items()}

    return answers_of_sides(saved, {"base": model}, {"base": list(prompts)}, answer)["base"]


def ask_contenders(
    contenders: Mapping[Which, Contender],
    serve: Serve,
    home: Path,
    prompts: dict[Which, list[Prompt]],
    progress: Progress,
) -> dict[Which, list[str]]:
    """Greedy answers from our own vLLM: a server per model, with its contenders' adapters."""
    answers: dict[Which, list[str]] = {}
    for spec in {contenders[which].spec.name: contenders[which].spec for which in prompts}.values():
        here: dict[Which, Contender] = {
            which: contenders[which]
            for which in prompts
            if contenders[which].spec.name == spec.name
        }
        adapters = {str(which): each.adapter for which, each in here.items() if each.adapter}
        with serving(spec, serve, home, progress, adapters) as connect:
            for which, contender in here.items():
                own, name = prompts[which], which if contender.adapter else spec.name
                show = partial(progress.update, f"asking {contender.name}", total=len(own))
                greedy = Sampling(temperature=0.0, max_tokens=max(p.max_tokens or 1 for p in own))
                completions = answer_all(connect, name, own, greedy, show)
                answers[which] = [completion.text for completion in completions]
    return answers


def question(instance: Instance, recipe: Recipe) -> Prompt:
    """The greedy prompt for a run's student and its base: the training template, no answer."""
    return question_in(instance, recipe.train.template, recipe.evaluate.max_tokens)


def question_in(instance: Instance, template: str, tokens: int) -> Prompt:
    """A greedy prompt in the template of whoever is asked."""
    if template == "chat":
        return Prompt(messages=tuple(messages(instance)), temperature=0.0, max_tokens=tokens)
    text, _ = render(instance, template)
    return Prompt(text=text, raw=True, stop=(NEXT_TASK,), temperature=0.0, max_tokens=tokens)
