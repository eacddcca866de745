"""Inputs of a method, collected before the first episode so that methods need no disk.

Seeds are the tasks of a file, or the passages of a folder of documents. Then a table by method:
(recipe, the teacher's entry, seeds) -> the method's options, completed. Magpie needs the words in
which the teacher's chat template wraps a talk; they are read by rendering a talk with marks in the
place of what is said. Grounded needs marks that no document can know.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from localinstruct.config import listing
from localinstruct.documents import Folder, read_folder
from localinstruct.errors import ModelError, RecipeError
from localinstruct.formats import Reader
from localinstruct.methods import OVER_DOCUMENTS, OVER_SEEDS, MethodSection, asked_in_chats
from localinstruct.methods.code import signature_of
from localinstruct.methods.cot_self_instruct import has_short_answer
from localinstruct.methods.grounded import GroundedOptions
from localinstruct.methods.magpie import MagpieOptions
from localinstruct.methods.own import loaded
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.models.chat_template import chat_of, template_problems, template_text
from localinstruct.models.gguf_header import read_header
from localinstruct.offline.code_runner import require_walls
from localinstruct.progress import Progress, Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Reject, digest

SILENT = Silent()


def seeds_of(recipe: Recipe, workspace: Path, progress: Progress = SILENT) -> list[Instance]:
    """The seed tasks of the recipe, or the passages of its documents.

    What reading a file of tasks repaired or left out is said.
    """
    return read_tasks_of(recipe, workspace, progress)[0]


def read_tasks_of(
    recipe: Recipe, workspace: Path, progress: Progress = SILENT
) -> tuple[list[Instance], list[Reject]]:
    """(seeds as `seeds_of` gives them, rows of their file that could not be used)."""
    if recipe.method.name in OVER_DOCUMENTS:
        return documents_of(recipe, workspace, Silent()).passages, []
    # as Alpaca does: one demonstration a task
    demonstrations = recipe.method.name not in OVER_SEEDS
    path = workspace / recipe.seeds
    paste = f"--set 'seeds={{path: {recipe.seeds}, columns: {{columns}}}}'"
    reader = Reader(path, recipe.seed_reading, first_instance_only=demonstrations, paste=paste)
    seeds = list(reader)
    for sentence in reader.report.sentences():
        progress.say(f"{recipe.seeds}: {sentence}")
    return seeds, reader.report.rejects


def documents_of(recipe: Recipe, workspace: Path, progress: Progress) -> Folder:
    """The recipe's folder of documents; what could not be read is said, file by file.

    Passages come in an order of their content, so that the first rows are about many documents.
    """
    options: GroundedOptions = recipe.method.options
    folder = read_folder(
        workspace / recipe.seeds,
        options.passage_words,
        options.shortest,
        progress,
        encoding=recipe.documents.encoding or recipe.seed_reading.encoding,
    )
    for problem in folder.problems:
        progress.say(f"left out: {problem.source}: {problem.why}")
    progress.say(
        f"documents: {folder.read} read, {len(folder.problems)} left out, {len(folder.passages)} "
        "passages"
    )
    return replace(folder, passages=sorted(folder.passages, key=lambda passage: passage.id))


def completed(
    recipe: Recipe, teacher: ModelSpec, seeds: Sequence[Instance] = (), workspace: Path = Path()
) -> MethodSection:
    """The recipe's method with what it starts from in its options; an own one is loaded here."""
    name = recipe.method.name
    if recipe.method.own is not None:
        ready = loaded(recipe.method.own, workspace)
        return recipe.method.model_copy(update={"own": ready})
    if name not in SOURCES:
        return recipe.method
    return recipe.method.model_copy(update={name: SOURCES[name](recipe, teacher, seeds)})


def grounded_secret(
    recipe: Recipe, teacher: ModelSpec, passages: Sequence[Instance]
) -> GroundedOptions:
    """Grounded's options with a secret that no document can hold, made of all and the seed."""
    options: GroundedOptions = recipe.method.options
    drawn = digest([recipe.seed, [passage.id for passage in passages]])
    return options if options.secret else options.model_copy(update={"secret": drawn})


def require_start(recipe: Recipe, seeds: Sequence[Instance]) -> None:
    """Raise where the method cannot begin, before any server is started.

    RecipeError for seeds that show nothing of what cot_self_instruct or code wants, UsageError
    where the walls that code needs cannot be had.
    """
    name, wanted = recipe.method.name, WANTED.get(recipe.method.name)
    if wanted and not any(map(wanted[0], seeds)):
        raise RecipeError(
            f"{recipe.seeds}: method.{name} expects {wanted[1]}; found none in {len(seeds):,}.",
            f"Give some, for example --set seeds={wanted[2]}",
        )
    if getattr(recipe.method.options, "executes", False):
        require_walls(f"method.{name}")


def require_chats(recipe: Recipe, asked: Mapping[str, ModelSpec]) -> None:
    """RecipeError that names every base model which a method or a step asks in a chat."""
    wrong = [
        f"{key} asks {asked[role].name} as {role} in a chat, but it is a base model (chat: false)"
        for role, key in asked_in_chats(recipe.method, recipe.then).items()
        if not asked[role].chat
    ]
    if wrong:
        raise RecipeError(
            f"models: {listing(wrong)}",
            "Name chat models as models.answerer, models.rivals and models.judge "
            "(localinstruct models list).",
        )


def magpie_frame(recipe: Recipe, teacher: ModelSpec, _: Sequence[Instance]) -> MagpieOptions:
    """Magpie's options, framed by the teacher's chat template; RecipeError for a base model."""
    options: MagpieOptions = recipe.method.options
    require_talker(teacher)
    if not options.frame:
        return options.model_copy(update={"frame": frame_of(teacher, options)})
    if len(options.frame) < 2 * options.turns:
        raise RecipeError(
            f"method.magpie.frame: expected {2 * options.turns} pieces for {options.turns} turns, "
            f"found {len(options.frame)}.",
            "Leave frame out, so that it is read from the chat template.",
        )
    return options


def require_talker(teacher: ModelSpec) -> None:
    """RecipeError for a base model, which magpie cannot ask."""
    if not teacher.chat:
        raise RecipeError(
            f"method.magpie: needs an instruction-tuned teacher; {teacher.name} is a base model "
            "(chat: false), which has no chat template in which it has met users.",
            "Name a teacher with chat: true (localinstruct models list), or use another method.",
        )


def frame_of(teacher: ModelSpec, options: MagpieOptions) -> list[str]:
    """The template's words around each turn: before question 1, before answer 1, and so on.

    Blanks at the end of what comes before a question go, as words begin with them in most
    tokenizers.
    """
    marks = [f"SAID{number:02d}HERE" for number in range(2 * options.turns)]
    talk = [{"role": ("user", "assistant")[n % 2], "content": mark} for n, mark in enumerate(marks)]
    system = [{"role": "system", "content": options.system}] if options.system else []
    text, pieces = _render(teacher, system + talk), []
    for mark in marks:
        before, found, text = text.partition(mark)
        if not found:
            raise ModelError(
                f"{teacher.name}: its chat template does not render a talk of {options.turns} "
                "turns as it is said, so the start of a user's turn cannot be read from it.",
                "Give chat_template in models.yaml, or method.magpie.frame in the recipe.",
            )
        pieces.append(before)
    return [piece if n % 2 else piece.rstrip(" ") for n, piece in enumerate(pieces)]


def _render(teacher: ModelSpec, messages: Sequence[dict[str, str]]) -> str:
    """The talk in the teacher's template; ModelError where the template refuses it."""
    from jinja2 import TemplateError

    try:
        if teacher.served:
            return _rendered_as_served(teacher, messages)
        return _rendered(teacher, messages)
    except TemplateError as error:
        raise ModelError(
            f"{teacher.name}: its chat template refuses a talk: {error}.",
            "Leave method.magpie.system out, or give another chat_template in models.yaml.",
        ) from None


def _rendered_as_served(teacher: ModelSpec, messages: Sequence[dict[str, str]]) -> str:
    """In the template of models.yaml if there is one, else of the GGUF file."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    given, bos, eos = teacher.template or "", "", ""
    header = read_header(Path(teacher.gguf)) if teacher.gguf else None
    if header:
        given = given or header.text("tokenizer.chat_template")
        bos, eos = header.special("bos"), header.special("eos")
    if not given:
        raise ModelError(
            f"{teacher.name}: served by {teacher.served}, so its chat template cannot be read "
            "from a tokenizer.",
            "Give the same template as chat_template in models.yaml, or method.magpie.frame in "
            "the recipe.",
        )
    if problems := template_problems(given):
        raise ModelError(f"{teacher.name}: {'; '.join(problems)}.", "Mend it in models.yaml.")
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    text = environment.from_string(template_text(given)).render(
        messages=messages, bos_token=bos, eos_token=eos, add_generation_prompt=False
    )
    # llama.cpp writes it as well
    return text.removeprefix(bos) if header and header.adds_bos else text


def _rendered(teacher: ModelSpec, messages: Sequence[dict[str, str]]) -> str:
    """In the template of models.yaml if there is one, else of the tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checked(teacher), local_files_only=True)
    chat = chat_of(teacher.directory, teacher.template)
    if chat is None:
        raise ModelError(
            f"{teacher.name}: chat is true in models.yaml, but its tokenizer has no chat template.",
            "Give one as chat_template in models.yaml, or set chat: false and use another method.",
        )
    text: str = tokenizer.apply_chat_template(
        list(messages), chat_template=chat.form.text, tokenize=False
    )
    # where an empty text begins with one, the server writes it as well
    begins = tokenizer("").input_ids[:1] == [tokenizer.bos_token_id]
    return text.removeprefix(tokenizer.bos_token) if begins and tokenizer.bos_token else text


SOURCES: dict[str, Callable[[Recipe, ModelSpec, Sequence[Instance]], Any]] = {
    "magpie": magpie_frame,
    "grounded": grounded_secret,
}
"""Method -> what completes its options."""
WANTED: dict[str, tuple[Callable[[Instance], object], str, str]] = {
    "cot_self_instruct": (
        has_short_answer,
        "tasks with a short final answer (a number, a choice, a few words)",
        "seeds/nano_seed_tasks.jsonl",
    ),
    "code": (
        signature_of,
        "tasks whose output defines a Python function",
        "seeds/code_tasks.jsonl",
    ),
}
"""Method -> (tells a seed that it can use, in words, a file that has some)."""
