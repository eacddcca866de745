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
from localinstruct.records import Completion, Instance, JsonObject, Prompt, digest
from localinstruct.store.durable import append_lines, read_json_lines
from localinstruct.store.freshness import digest_of
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.serving import answer_all, serving
from localinstruct.teacher.vllm import adapter_fault
from localinstruct.templates import NEXT_TASK, messages, render
from localinstruct.templates.special_tokens import may_be_spelt, places_of_text, with_texts
from localinstruct.training.merging import Whole, merged_in_run, whole_student
from localinstruct.training.student import artefact

Which = Literal["base", "student"]
"""The two sides of a comparison; "base" is whoever the student is compared with."""
Answerer = Callable[[dict[Which, list[Prompt]]], dict[Which, list[Completion]]]
"""Greedy answers of each side, one per prompt, in order."""
CUT = "length"
"""Finish reason of an answer that was cut at its limit of tokens."""
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
    trained: Path | None = None
    """Folder of what a training left: the adapter, or the whole model."""
    base: str = ""
    """Name in models.yaml of the model that was trained; "" for one that was not."""
    whole: Whole | None = None
    """The precision that a student needs which is served as one model."""

    @property
    def digest(self) -> str:
        """Digest of the model's files, the adapter's, and a precision it is rounded to."""
        rounded = [self.whole.precision] if self.whole else []
        adapter = digest_of(self.adapter) if self.adapter else ""
        return digest([self.spec.digest, adapter, *rounded])

    def served_by(self, serve: Serve) -> Serve:
        """The settings for its server, which would round float32 weights by itself."""
        if self.whole and serve.dtype == "auto":
            return serve.model_copy(update={"dtype": self.whole.precision})
        return serve


def trained_contender(name: str, spec: ModelSpec, recipe: Recipe, run_path: Path) -> Contender:
    """The student of a run, whether its training left an adapter or a whole model.

    An adapter that vLLM cannot serve (DoRA) is merged first, once for each training. A student that
    is one model is served in the precision that keeps what it learnt.
    """
    trained, base = artefact(run_path), checked(spec)
    template = recipe.train.template
    if trained.kind == "adapter" and adapter_fault(trained.folder) is None:
        folder = trained.folder
        return Contender(name, spec, template, folder, folder, spec.name)
    if trained.kind == "model":
        folder, one = trained.folder, whole_student(run_path, base, trained, template)
    else:
        folder, one = merged_in_run(run_path, base, trained, template)
    given = spec.template  # by its name, it is one of the base's templates
    whole: JsonObject = {
        "name": f"student-{run_path.name}",
        "path": str(folder.resolve()),
        "package": None,
        "endpoint": None,
        "sha256": {},
        "chat_template": given and chosen_text(checked(spec), given),
        "chat_template_kwargs": {},  # they stand in it
    }
    model = spec.model_copy(update=whole)
    return Contender(name, model, template, None, trained.folder, spec.name, one)


class SavedAnswers:
    """The answers in a JSONL file, by digest of model and prompt.

    A torn last line counts as an answer that never came. Lines of older versions do not say that an
    answer was cut.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._answers: dict[str, Completion] = {
            saved["key"]: Completion(saved["text"], CUT if saved.get("cut") else "stop")
            for saved in read_json_lines(path)
            if isinstance(saved.get("key"), str) and isinstance(saved.get("text"), str)
        }

    def get(self, model: str, prompt: Prompt) -> Completion | None:
        """The answer of the model with this digest, or None when it was never asked."""
        return self._answers.get(_key(model, prompt))

    def add(self, model: str, prompts: Sequence[Prompt], given: Sequence[Completion]) -> None:
        """Append answers to the file."""
        self._path.parent.mkdir(exist_ok=True, mode=0o700)
        keys = [_key(model, prompt) for prompt in prompts]
        answers = dict(zip(keys, given, strict=True))
        lines = (
            {"key": key, "text": answer.text, **({"cut": True} if is_cut(answer) else {})}
            for key, answer in answers.items()
        )
        append_lines(self._path, (json.dumps(line, ensure_ascii=False) for line in lines))
        self._answers |= answers


def is_cut(answer: Completion) -> bool:
    """True for an answer that reached its limit of tokens before its end."""
    return answer.finish_reason == CUT


def _key(model: str, prompt: Prompt) -> str:
    return digest([model, prompt.digest, *prompt.plain])


def answers_of_sides(
    saved: SavedAnswers,
    digests: Mapping[Which, str],
    prompts: Mapping[Which, list[Prompt]],
    answer: Answerer,
) -> dict[Which, list[Completion]]:
    """An answer for every prompt of each side; those not saved are asked for, each once.

    `digests` are those of the sides' models. TrainerError when a side gives too few answers.
    """
    missing = {
        which: list({p.digest: p for p in own if saved.get(digests[which], p) is None}.values())
        for which, own in prompts.items()
    }
    due = {which: own for which, own in missing.items() if own}
    answers = answer(due) if due else {}
    for which, given in answers.items():
        expected = len(due.get(which, []))
        if len(given) != expected:
            raise TrainerError(f"Expected {expected} answers of the {which}, got {len(given)}.")
        saved.add(digests[which], due[which], given)
    return {
        which: [saved.get(digests[which], p) or Completion("") for p in own]
        for which, own in prompts.items()
    }


def answers_of_model(
    saved: SavedAnswers,
    model: str,
    prompts: Sequence[Prompt],
    ask: Callable[[list[Prompt]], list[str]],
) -> list[str]:
    """The answers of the model with this digest; only what is not saved is asked for."""

    def answer(due: dict[Which, list[Prompt]]) -> dict[Which, list[Completion]]:
        return {which: list(map(Completion, ask(own))) for which, own in due.items()}

    given = answers_of_sides(saved, {"base": model}, {"base": list(prompts)}, answer)["base"]
    return [each.text for each in given]


def ask_contenders(
    contenders: Mapping[Which, Contender],
    serve: Serve,
    home: Path,
    prompts: dict[Which, list[Prompt]],
    progress: Progress,
) -> dict[Which, list[Completion]]:
    """Greedy answers from our own vLLM: a server per model, with its contenders' adapters."""
    answers: dict[Which, list[Completion]] = {}
    for spec in {contenders[which].spec.name: contenders[which].spec for which in prompts}.values():
        here: dict[Which, Contender] = {
            which: contenders[which]
            for which in prompts
            if contenders[which].spec.name == spec.name
        }
        adapters = {str(which): each.adapter for which, each in here.items() if each.adapter}
        settings = next(iter(here.values())).served_by(serve)
        with serving(spec, settings, home, progress, adapters) as connect:
            for which, contender in here.items():
                own, name = prompts[which], which if contender.adapter else spec.name
                show = partial(progress.update, f"asking {contender.name}", total=len(own))
                greedy = Sampling(temperature=0.0, max_tokens=max(p.max_tokens or 1 for p in own))
                answers[which] = answer_all(connect, name, own, greedy, show)
    return answers


def question(instance: Instance, recipe: Recipe) -> Prompt:
    """The greedy prompt for a run's student and its base: the training template, no answer."""
    return question_in(instance, recipe.train.template, recipe.evaluate.max_tokens)


def question_in(instance: Instance, template: str, tokens: int) -> Prompt:
    """A greedy prompt in the template of whoever is asked."""
    if template == "chat":
        return Prompt(messages=tuple(messages(instance)), temperature=0.0, max_tokens=tokens)
    text, plain = places_of_text(render(with_texts(instance, may_be_spelt), template)[0])
    return Prompt(
        text=text, raw=True, stop=(NEXT_TASK,), temperature=0.0, max_tokens=tokens, plain=plain
    )
