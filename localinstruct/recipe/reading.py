"""From a YAML text and `--set` overrides to a recipe; every problem of both is reported at once.

Files that a recipe names for their content (a template, topics, personas, a rubric) are read into
it, so that the run keeps them. A process reads each stored recipe once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import yaml

from localinstruct.config import (
    CORRECT,
    NOT_YAML,
    Where,
    attempt,
    lines_in,
    listing,
    load_yaml,
    nearby,
    read_text,
    yaml_mapping,
)
from localinstruct.errors import RecipeError
from localinstruct.methods import with_own_method
from localinstruct.recipe.names import unknown_names
from localinstruct.recipe.places import find_workspace
from localinstruct.recipe.recipe import Recipe
from localinstruct.records import JsonObject
from localinstruct.templates import custom


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the values of a recipe come from, to find the files they name and to say their line."""

    name: str
    """Name of the source in errors."""
    folders: tuple[Path, ...]
    """Where a named file may lie, in the order in which they are looked through."""
    where: Where
    stored: bool = False
    """True for the recipe of a run, which has its own method's digest already."""


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe file and apply `key.path=value` overrides, whose values are YAML.

    RecipeError with every problem of both; beside other problems, models that models.yaml does not
    have and absent seeds are named as well.
    """
    text, workspace = read_text(path), find_workspace(path.parent)
    origin = Origin(str(path), (workspace, path.parent, Path.cwd()), lines_in(text))
    return _built(yaml_mapping(text, str(path)), overrides, origin, workspace)


def recipe_from_text(text: str, name: str) -> Recipe:
    """The recipe that a run stored as `text`; `name` is what an error calls it."""
    return _stored_recipe(text, name)


@lru_cache(maxsize=64)
def _stored_recipe(text: str, name: str) -> Recipe:
    origin = Origin(name, (Path.cwd(),), lines_in(text), stored=True)
    return _built(yaml_mapping(text, name), (), origin, None)


def with_overrides(
    recipe: Recipe, overrides: tuple[str, ...], name: str, workspace: Path | None = None
) -> Recipe:
    """A recipe with `key.path=value` overrides; files they name lie in `workspace` or here."""
    if not overrides:
        return recipe
    folders = (workspace, Path.cwd()) if workspace else (Path.cwd(),)
    data = recipe.model_dump(mode="json")
    return _built(data, overrides, Origin(name, folders, lambda keys: ""), None)


def _built(
    data: JsonObject, overrides: tuple[str, ...], origin: Origin, workspace: Path | None
) -> Recipe:
    """The recipe of these values; names are looked up in `workspace` where something is wrong."""
    refused = _refused(data, overrides, origin)
    recipe, problems = attempt(Recipe, data, _place_of(overrides, origin.where))
    sentences = [" ".join(part for part in (one.message, one.hint) if part) for one in refused]
    # what names no file is no template either
    keys = {problem.message.partition(":")[0] for problem in refused}
    sentences += [problem for problem in problems if problem.partition(":")[0] not in keys]
    if recipe is not None and not sentences:
        return recipe
    sentences += unknown_names(data, workspace) if workspace else []
    if refused and len(sentences) == 1:
        raise refused[0]
    raise RecipeError(f"{origin.name}: {listing(sentences)}", CORRECT)


def _place_of(overrides: tuple[str, ...], where: Where) -> Where:
    """The places of keys: the override that has set a key or a part of it, else its line."""
    set_by = {f"{override.partition('=')[0].strip()}.": override for override in overrides}

    def place(keys: Sequence[str | int]) -> str:
        name = "".join(f"{key}." for key in keys)
        for key, override in set_by.items():
            if name.startswith(key) or (name and key.startswith(name)):
                return f" (from --set {override})"
        return where(keys)

    return place


def _refused(data: JsonObject, overrides: tuple[str, ...], origin: Origin) -> list[RecipeError]:
    """Apply the overrides, and read the files that `data` names into it; each refusal."""
    steps = [partial(_override, data, override) for override in overrides]
    readers = (_read_template, _read_coverage, _read_rubrics, _read_own_method)
    steps += [partial(read, data, origin) for read in readers]
    refused = []
    for step in steps:
        try:
            step()
        except RecipeError as problem:
            refused.append(problem)
    return refused


def _read_template(data: JsonObject, origin: Origin) -> None:
    """Put a template file's text, less its last line break, where train.template names the file."""
    section = data.get("train")
    if not isinstance(section, dict):
        return
    name = section.get("template")
    if not isinstance(name, str) or "\n" in name or not name.endswith(custom.ENDINGS):
        return
    text = _text_of(origin, "train.template", name)
    data["train"] = section | {"template": text.removesuffix("\n")}


def _read_coverage(data: JsonObject, origin: Origin) -> None:
    """Put topics and personas in the place of the names of their files."""
    section = data.get("coverage")
    if not isinstance(section, dict):
        return
    for key in ("topics", "personas"):
        if not isinstance(name := section.get(key), str):
            continue
        if key == "topics":
            content = load_yaml(_file_of(origin, "coverage.topics", name))
            section[key] = content["topics"] if set(content) == {"topics"} else content
        else:
            lines = _text_of(origin, "coverage.personas", name).splitlines()
            section[key] = [line.strip() for line in lines if line.strip()]


def _read_rubrics(data: JsonObject, origin: Origin) -> None:
    """Put the rubric of a YAML file in the place of the file's name."""
    for part in ("method", "then"):
        steps = data.get(part)
        for name, options in steps.items() if isinstance(steps, dict) else ():
            grading = options.get("grading") if isinstance(options, dict) else None
            file = grading.get("rubric") if isinstance(grading, dict) else None
            if isinstance(file, str) and file.endswith((".yaml", ".yml")):
                path = _file_of(origin, f"{part}.{name}.grading.rubric", file)
                options["grading"] = dict(grading or {}, rubric=load_yaml(path))


def _read_own_method(data: JsonObject, origin: Origin) -> None:
    """Put the digest of the workspace's `methods/NAME.py` where the recipe names that method."""
    if not origin.stored and isinstance(section := data.get("method"), dict):
        data["method"] = with_own_method(section, origin.folders[0])


def _text_of(origin: Origin, key: str, name: str) -> str:
    path = _file_of(origin, key, name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{key}: {path}: expected a readable UTF-8 text ({error}).", "Mend or replace it."
        ) from None


def _file_of(origin: Origin, key: str, name: str) -> Path:
    """The file that a key of the recipe names: in its workspace, beside it, or here."""
    path = next((folder / name for folder in origin.folders if (folder / name).is_file()), None)
    if path is None:
        line = origin.where(key.split("."))
        raise RecipeError(
            f"{key}: {name}: no such file, which {origin.name} names{line}.",
            nearby(origin.folders[0] / name),
        )
    return path


def _override(data: JsonObject, override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise RecipeError(
            f"--set {override}: expected key=value.", "For example: --set generate.target=500"
        )
    *parents, last = key.strip().split(".")
    for parent in parents:
        data = data.setdefault(parent, {})
        if not isinstance(data, dict):
            raise RecipeError(f"--set {override}: {parent} is a value, not a section.")
    try:
        data[last] = yaml.safe_load(value)
    except NOT_YAML:
        raise RecipeError(
            f"--set {override}: {value!r} is not a YAML value.",
            f"Put a text in quotation marks, and the whole in others: --set '{key}=\"TEXT\"'",
        ) from None
