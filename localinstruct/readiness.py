"""Checks before the first stage starts: seeds, files, and models with their roles and sizes.

Everything that can be seen without starting a server or loading a model is looked at, for the
stages that will run; endpoints are asked whether they answer; all problems are one error. Not
covered: problems that only a loader meets, and how many documents of a folder can be read.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from localinstruct import templates
from localinstruct.cleaning.settings import Judge
from localinstruct.config import raise_together
from localinstruct.dataset.ahead import (
    Ahead,
    Shape,
    look_ahead,
    require_enough,
    require_held,
    require_memory,
    require_tasks_held,
)
from localinstruct.dataset.mixing import require_sources
from localinstruct.documents import require_folder
from localinstruct.errors import DataError, LocalInstructError, ModelError, RecipeError
from localinstruct.evaluation.constraints import constraint_tasks
from localinstruct.evaluation.forgetting import general_text
from localinstruct.fit.assess import server_shortfall
from localinstruct.formats.tasks import read_tasks, task_file
from localinstruct.generation.inputs import (
    require_chats,
    require_start,
    require_talker,
    seeds_of,
)
from localinstruct.machine import gpus, memory
from localinstruct.methods import OVER_DOCUMENTS, OVER_SEEDS, STEPS, asked_in_chats
from localinstruct.models.catalog import Catalog, ModelRole, ModelSpec, checked, load_catalog
from localinstruct.models.chat_template import Chat, chat_of, template_problems, unchosen
from localinstruct.own_code import require_unchanged
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import Instance
from localinstruct.teacher import Serve
from localinstruct.teacher.endpoint import require_answers
from localinstruct.templates.chat import MERGES
from localinstruct.topics.coverage import require_seeds
from localinstruct.training.setup import require_shares

Problems = Iterator[LocalInstructError]
Say = Callable[[str], None]
STUDIES = ("train", "evaluate")
"""Stages that load the student."""
LOADED: tuple[ModelRole, ...] = ("student", "encoder")
"""Roles that are loaded here, so that an endpoint cannot play them."""


@dataclass(frozen=True, slots=True)
class Part:
    """A key of the recipe, the model it names, and the role the model has there."""

    key: str
    name: str
    role: ModelRole


def require(recipe: Recipe, stages: Collection[str], workspace: Path, progress: Progress) -> None:
    """Look at everything that these stages will need; one error with all problems.

    Its kind is that of a single problem; of several, RecipeError or DataError if one of them is in
    recipe, seeds or files, else ModelError.
    """
    seeds: list[Instance] = []
    files = _files(recipe, stages, workspace, progress)
    problems = [*_seeds(recipe, stages, workspace, seeds), *files]
    if "train" in stages and recipe.train.world_size > 1:
        problems += _raised("", lambda: require_shares(recipe.train, len(gpus())))
    ahead, read = Ahead([]), not problems
    if "dataset" in stages and read:
        try:
            ahead = look_ahead(
                recipe, workspace, seeds, asks(recipe, stages), "generate" not in stages
            )
            require_memory(ahead, memory()[1])
            if note := require_enough(recipe, ahead):
                progress.say(note)
        except LocalInstructError as problem:
            problems.append(problem)
    parts = parts_of(recipe, stages)
    try:
        catalog = load_catalog(workspace) if parts else None
    except RecipeError as problem:
        problems.append(problem)
    else:
        problems += _models(recipe, stages, parts, catalog, progress) if catalog else []
        problems += _template(recipe, stages, catalog, ahead, progress)
        if read and "evaluate" in stages and recipe.evaluate.tasks and not problems:
            problems += _raised("", _hold_tasks, recipe, catalog, workspace)
    raise_together(problems)


def require_judge(judge: Judge, catalog: Catalog, say: Say) -> ModelSpec:
    """The model that judges the rows of a cleaning; one error of all problems.

    Doubts, as to whether it fits into memory, are said.
    """
    spec = catalog.get(judge.model)
    problems = [*_role(Part("judge", judge.model, "judge"), spec, catalog)]
    if not spec.chat:
        problems.append(
            RecipeError(
                f"judge: expected a chat model, found the base model {spec.name}.",
                "localinstruct models list",
            )
        )
    if spec.servers:
        problems += _raised("judge: ", require_answers, spec, say)
    else:
        problems += _raised("judge: ", checked, spec)
        if spec.chat and spec.present:
            problems += _raised("judge: ", _require_chosen, spec)
    key, tokens = "judge.grading.max_tokens", judge.grading.max_tokens
    problems += _room(
        key, tokens, spec, judge.serve, "In the judge's YAML file: grading: {max_tokens:"
    )
    raise_together(problems)
    if words := server_shortfall(spec, judge.serve):
        say(words)
    return spec


def parts_of(recipe: Recipe, stages: Collection[str]) -> list[Part]:
    """Every model that these stages use, in the order of the recipe's keys."""
    models, parts = recipe.models, list[Part]()
    if asks(recipe, stages):
        parts.append(Part("models.teacher", models.teacher, "teacher"))
        if models.answerer:
            parts.append(Part("models.answerer", models.answerer, "teacher"))
        for number, name in enumerate(models.rivals):
            parts.append(Part(f"models.rivals.{number}", name, "teacher"))
        if models.judge:
            parts.append(Part("models.judge", models.judge, "judge"))
    if any(stage in STUDIES for stage in stages):
        parts.append(Part("models.student", models.student, "student"))
    mixes = "dataset" in stages and recipe.dataset.sources and recipe.dataset.similar is not None
    if mixes or asks(recipe, stages):
        parts.append(Part("models.encoder", models.encoder, "encoder"))
    return parts


def asks(recipe: Recipe, stages: Collection[str]) -> bool:
    """Tell whether a teacher will be asked; not where the target is 0, as when only mixing."""
    return "generate" in stages and recipe.generate.target > 0


def _seeds(
    recipe: Recipe, stages: Collection[str], workspace: Path, seeds: list[Instance]
) -> Problems:
    """Problems of the seeds, which are put into `seeds`."""
    asked = asks(recipe, stages)
    if not asked and not ("dataset" in stages and recipe.dataset.include_seeds):
        return
    if recipe.method.name in OVER_DOCUMENTS:
        yield from _raised("seeds: ", require_folder, workspace / recipe.seeds)
        return
    yield from _raised("seeds: ", lambda: seeds.extend(seeds_of(recipe, workspace)))
    if seeds and asked:
        yield from _raised("", require_seeds, recipe.coverage, seeds)
        yield from _raised("", require_start, recipe, seeds)


def _files(
    recipe: Recipe, stages: Collection[str], workspace: Path, progress: Progress
) -> Problems:
    tasks, own = recipe.evaluate.tasks, recipe.method.own
    if own and own.file and asks(recipe, stages):
        yield from _raised("", require_unchanged, own, workspace)
    if "dataset" in stages:
        yield from _raised("", require_sources, recipe.dataset, workspace, progress)
    if "evaluate" in stages:
        yield from _raised("", general_text, recipe.evaluate.text, workspace)
        yield from _raised("", constraint_tasks, recipe, workspace)
    if tasks and ("evaluate" in stages or ("dataset" in stages and recipe.dataset.decontaminate)):
        yield from _raised("", lambda: read_tasks(task_file(tasks, workspace)))


def _models(
    recipe: Recipe, stages: Collection[str], parts: list[Part], catalog: Catalog, progress: Progress
) -> Problems:
    specs, looked_at = dict[str, ModelSpec](), set[str]()
    for part in parts:
        try:
            specs[part.key] = spec = catalog.get(part.name)
        except ModelError as problem:
            yield ModelError(f"{part.key}: {problem.message}", problem.hint)
            continue
        yield from _role(part, spec, catalog)
        if spec.name in looked_at:
            continue
        looked_at.add(spec.name)
        if spec.servers and part.role not in LOADED:
            yield from _raised(f"{part.key}: ", require_answers, spec, progress.say)
        elif not spec.servers:
            progress.say(f"checking {spec.name}")
            yield from _raised(f"{part.key}: ", checked, spec)
            if part.role in ("teacher", "judge") and spec.chat and spec.present and not spec.gguf:
                yield from _raised(f"{part.key}: ", _require_chosen, spec)
    if asks(recipe, stages):
        yield from _teachers(recipe, catalog, specs)
    if "models.student" in specs:
        yield from _student(recipe, stages, specs["models.student"])


def _role(part: Part, spec: ModelSpec, catalog: Catalog) -> Problems:
    """Problems of a model that is not meant for this part, or is served where it must be loaded."""
    if part.role not in spec.roles:
        known = catalog.names(part.role)
        models = [catalog.models[name] for name in known]
        here = [model.name for model in models if model.servers or model.present]
        others = ", ".join((here or known)[:6]) or "none yet"
        yield RecipeError(
            f"{part.key}: expected a model with the role {part.role}, found {spec.name}, whose "
            f"roles are {', '.join(spec.roles)}.",
            f"With the role {part.role}: {others} (localinstruct models list). If {spec.name} "
            f"can play it, add {part.role} to its `roles` in {catalog.path}.",
        )
    if part.role in LOADED and spec.served:
        use = "fine-tuned" if part.role == "student" else "loaded beside the teacher"
        yield RecipeError(
            f"{part.key}: expected a directory on this disk, as the {part.role} is {use}; found "
            f"{spec.name}, which is served by {spec.served}.",
            _way_to_load(spec),
        )


def _way_to_load(spec: ModelSpec) -> str:
    """The way from a model that is served to one that is loaded here."""
    if spec.gguf:
        name = f"{spec.name}-unpacked"
        return f"localinstruct models import {spec.gguf} --name {name}, and name {name} here."
    return "Name a model that has a path in models.yaml: localinstruct models list"


def _teachers(recipe: Recipe, catalog: Catalog, specs: dict[str, ModelSpec]) -> Problems:
    """Problems of base models that are asked in chats, and of answers too long for a context."""
    asked = {
        role: catalog.models[name]
        for role, name in recipe.models.asked.items()
        if name in catalog.models
    }
    if len(asked) == len(recipe.models.asked):
        yield from _raised("", require_chats, recipe, asked)
    if recipe.method.name == "magpie" and "teacher" in asked:
        yield from _raised("", require_talker, asked["teacher"])
    roles = {role for role in asked_in_chats(recipe.method, recipe.then) if role != "judge"}
    roles |= set() if recipe.method.name in OVER_SEEDS else {"teacher"}
    writers = {asked[role].name: asked[role] for role in sorted(roles) if role in asked}
    for spec in writers.values():
        yield from _room("sampling.max_tokens", recipe.sampling.max_tokens, spec, recipe.serve)
    for key, tokens in _gradings(recipe):
        if "judge" in asked:
            yield from _room(f"{key}.grading.max_tokens", tokens, asked["judge"], recipe.serve)


def _gradings(recipe: Recipe) -> Iterator[tuple[str, int]]:
    """(key, max_tokens of its grading) of the method and every step that has a judge grade."""
    steps = [(f"then.{name}", getattr(recipe.then, name)) for name in STEPS]
    for key, options in [(f"method.{recipe.method.name}", recipe.method.options), *steps]:
        if "judge" in getattr(options, "chats", ()):
            yield key, options.grading.max_tokens


def _student(recipe: Recipe, stages: Collection[str], spec: ModelSpec) -> Problems:
    if "evaluate" in stages:
        yield from _room("evaluate.max_tokens", recipe.evaluate.max_tokens, spec, recipe.serve)


def _template(
    recipe: Recipe,
    stages: Collection[str],
    catalog: Catalog | None,
    ahead: Ahead,
    progress: Progress,
) -> Problems:
    """Problems of the template of training with the rows that it will meet.

    What is only adapted or left out is said.
    """
    if not any(stage in STUDIES for stage in stages):
        return
    chat: Chat | None = None
    if recipe.train.template == "chat":
        spec = catalog.models.get(recipe.models.student) if catalog else None
        if spec is None or spec.served or not spec.present:
            return  # named elsewhere
        try:
            chat = _chat(spec)
        except RecipeError as problem:
            yield problem
            return
    systems = any(shape.row.system for shape in ahead.shapes)
    for change in _changes(recipe.train.template, chat, systems):
        progress.say(change)
    yield from _raised("", _hold_rows, recipe, chat, ahead.shapes, progress)


def _chat(spec: ModelSpec) -> Chat:
    """The student's chat template; RecipeError where it has none or one that is of no use."""
    others = (
        "Use a template file (docs/templates.md has one that holds every row), or "
        f"`chat_template: FILE.jinja` in the entry of {spec.name} in models.yaml, or, for rows "
        "without earlier turns, --set train.template=alpaca"
    )
    try:
        _require_chosen(spec)
    except RecipeError as problem:
        raise RecipeError(f"train.template: {problem.message}", problem.hint) from None
    if spec.chat_template and template_problems(spec.chat_template, spec.directory):
        raise RecipeError(
            f"train.template: the chat_template of {spec.name} in models.yaml is of no use.", others
        )
    chat = chat_of(spec.directory, spec.template)
    if chat is None:
        raise RecipeError(
            f"train.template: chat is the student's own chat template, but {spec.name} has none "
            "(a base model).",
            others,
        )
    if not spec.chat:
        raise RecipeError(
            f"train.template: chat is the student's own chat template, but {spec.name} is a base "
            "model in models.yaml (chat: false), so that it would be asked without it.",
            "Set `chat: true` in its entry in models.yaml, or use --set train.template=alpaca",
        )
    if chat.form.problem:
        raise RecipeError(
            f"train.template: the chat template of {spec.name} {chat.form.problem}, so it cannot "
            "be trained with.",
            others,
        )
    return chat


def _require_chosen(spec: ModelSpec) -> None:
    """RecipeError for a model of whose chat templates none is the default and none is chosen."""
    if names := unchosen(spec.directory, spec.template):
        keys = " or ".join(f"`chat_template: {name}`" for name in names)
        raise RecipeError(
            f"{spec.name} has the chat templates {', '.join(names)}, and none of them is its "
            "default.",
            f"Choose by {keys} in its entry in models.yaml.",
        )


def _changes(template: str, chat: Chat | None, systems: bool) -> Iterator[str]:
    """Adaptations that make a template hold the rows, each once."""
    if chat is not None:
        wanted = [change for change in chat.form.changes if systems or change != MERGES]
        yield from (f"train.template: the student's chat template {change}" for change in wanted)
    elif systems and not templates.has_place_for(template, "system"):
        name = "the template file" if templates.custom.is_custom(template) else template
        yield f"train.template: {name} {MERGES}"


def _hold_rows(recipe: Recipe, chat: Chat | None, shapes: list[Shape], progress: Progress) -> None:
    problems = _problems_in(recipe.train.template, chat, [shape.row for shape in shapes])
    way_out = templates.way_out(problems)
    for lost in require_held("train.template", shapes, problems, way_out):
        progress.say(f"will be left out: {lost}")
    thinking = [shape.describe() for shape in shapes if shape.row.thinking]
    if thinking:
        progress.say(f"thoughts beside an answer are not learnt: {', '.join(thinking)}")


def _hold_tasks(recipe: Recipe, catalog: Catalog | None, workspace: Path) -> None:
    spec = catalog.models.get(recipe.models.student) if catalog else None
    chat = _chat(spec) if spec and recipe.train.template == "chat" else None
    tasks = read_tasks(task_file(recipe.evaluate.tasks or "", workspace))
    rows = [replace(task.instance, output="An answer.") for task in tasks]
    problems = _problems_in(recipe.train.template, chat, rows)
    require_tasks_held(problems, templates.way_out(problems))


def _problems_in(template: str, chat: Chat | None, rows: list[Instance]) -> list[str]:
    """For each row the reason why the template cannot hold it, or ""."""
    found = chat.problems(rows) if chat else (templates.problem_of(r, template) for r in rows)
    return [problem.reason if problem else "" for problem in found]


def _room(key: str, tokens: int, spec: ModelSpec, serve: Serve, hint: str = "") -> Problems:
    """The problem of an answer of `tokens` that leaves no token of the context to its prompt.

    The server would refuse each request.
    """
    served = None if spec.servers else serve.max_model_len
    context = served or spec.context
    fewer = max(context // 2, 1)
    if tokens >= context:
        where = "serve.max_model_len" if served else f"the context of {spec.name} in models.yaml"
        yield RecipeError(
            f"{key}: expected fewer tokens than {where}, {context:,}, as a prompt stands there "
            f"beside its answer; found {tokens:,}.",
            f"{hint} {fewer}}}" if hint else f"For example: --set {key}={fewer}",
        )


def _raised(before: str, look: Callable[..., object], *arguments: object) -> Problems:
    """The problem that `look` raises, with `before` in front of its message."""
    try:
        look(*arguments)
    except LocalInstructError as problem:
        problem.message = before + problem.message
        yield problem
    except (OSError, ValueError) as error:  # a name that is too long for a path, or holds a NUL
        yield DataError(
            f"{before}expected the path of something that can be read, found: {error}",
            "Correct the path.",
        )
