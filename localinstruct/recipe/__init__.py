"""A recipe: everything that shapes a run, in one YAML file, as frozen sections.

Sections live beside the code that uses them, those of the stages in this folder; they are put
together here. `load_recipe` reads the file, applies `--set` overrides, and reports every problem at
once. A workspace is the folder that holds models.yaml; a recipe's paths are relative to the
workspace it lies in, so that a recipe works from any directory. The resolved recipe is saved in the
run.
"""

import difflib
import tempfile
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, PrivateAttr, field_validator, model_validator

from localinstruct.config import CORRECT, Section, attempt, lines_of, listing, load_yaml, nearby
from localinstruct.curate.filters import Filters
from localinstruct.curate.novelty import Novelty
from localinstruct.errors import RecipeError
from localinstruct.methods import (
    OVER_DOCUMENTS,
    OVER_SEEDS,
    MethodSection,
    Then,
    with_own_method,
)
from localinstruct.recipe.dataset import Dataset
from localinstruct.recipe.evaluate import Evaluate
from localinstruct.recipe.generate import Generate
from localinstruct.recipe.models import Models
from localinstruct.recipe.names import unknown_names
from localinstruct.recipe.train import Train
from localinstruct.records import digest
from localinstruct.teacher import Sampling, Serve
from localinstruct.templates import written
from localinstruct.topics.coverage import Coverage

RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a run may be called: it is the name of its folder in runs/."""


class Recipe(Section):
    """Everything that shapes a run."""

    name: str = Field(pattern=RUN_NAME)
    """Default name of the run."""
    about: str = ""
    """One sentence for `recipes list` and the report."""
    seed: int = 42
    """Of every random choice: demonstrations, splits, training."""
    sealed: bool = False
    """Run only in a process without a network, as --sealed does."""
    seeds: str = "seeds/seed_tasks.jsonl"
    """File of seed tasks, in any format `formats.py` reads; with method.grounded a folder of
    documents."""
    models: Models
    """Who writes, who learns, who measures."""
    method: MethodSection
    """How instructions are made: one method by name, with its options."""
    then: Then = Then()
    """What is done with every row before it is filtered: steps by name, with their options."""
    coverage: Coverage = Coverage()
    """What rows are spread over: topics, personas, domains kept apart."""
    generate: Generate = Generate()
    """How much, and when to stop."""
    sampling: Sampling = Sampling()
    """The teacher's sampling."""
    serve: Serve = Serve()
    """The teacher's server."""
    filters: Filters = Filters()
    """What is rejected by rule."""
    novelty: Novelty = Novelty()
    """What is rejected because it resembles something kept."""
    dataset: Dataset = Dataset()
    """Split and selection."""
    train: Train = Train()
    """Fine-tuning."""
    evaluate: Evaluate = Evaluate()
    """Base against student."""
    _workspace: Path | None = PrivateAttr(None)
    """The workspace it was loaded from, for Python programs (api.py); no key, written nowhere."""

    @field_validator("seeds")
    @classmethod
    def _not_blank(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("expected the path of a seed file")
        return value

    @model_validator(mode="after")
    def _topic_reaches_the_teacher(self) -> "Recipe":
        says = getattr(self.method.options, "says_topic", False)
        mute = [topic.topic for topic in self.coverage.topics if not topic.seeds]
        if says or not (mute or self.coverage.personas):
            return self
        what = f"topic {mute[0]!r}" if mute else "a persona"
        raise ValueError(
            f"coverage: {what} would never reach the teacher: method.{self.method.name} with "
            "these prompts has no place "
            "to say it. Give the topic its own seeds, or use a prompt with {topic} (magpie: in "
            "system)"
        )

    @model_validator(mode="after")
    def _fits_the_method(self) -> "Recipe":
        name = self.method.name
        if name in OVER_SEEDS + OVER_DOCUMENTS and self.novelty.against != "kept":
            seeds = (
                "passages, not tasks"
                if name in OVER_DOCUMENTS
                else "the tasks that its rows answer"
            )
            raise ValueError(
                f"novelty.against: expected kept with method.{name}, whose seeds are {seeds}; "
                f"found {self.novelty.against}"
            )
        if name in OVER_DOCUMENTS and self.dataset.include_seeds:
            raise ValueError(
                f"dataset.include_seeds: the seeds of method.{name} are passages, not tasks"
            )
        if name in OVER_SEEDS and self.coverage.topics:
            raise ValueError(
                f"coverage.topics: method.{name} takes the tasks of the seed file as they are"
            )
        return self

    @model_validator(mode="after")
    def _rivals_are_named(self) -> "Recipe":
        for key, options in (
            ("method.preference", self.method.preference),
            ("then.preference", self.then.preference),
        ):
            missing = (
                [
                    role
                    for role in options.by
                    if role.startswith("rival") and role not in self.models.asked
                ]
                if options
                else []
            )
            if missing:
                raise ValueError(
                    f"{key}.by: {missing[0]} is nobody; models.rivals names "
                    f"{len(self.models.rivals)} models"
                )
        return self

    @property
    def digest(self) -> str:
        """SHA-256 of the resolved recipe."""
        return digest(self.model_dump(mode="json"))

    def to_yaml(self) -> str:
        """The resolved recipe as YAML that `load_recipe` reads back."""
        return yaml.safe_dump(
            self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True
        )


def packaged_workspace() -> Path:
    """The recipes, seeds and models.yaml that came with the program: the checkout, or the installed
    package's copy."""
    package = Path(str(resources.files("localinstruct")))
    checkout = package.parent
    return checkout if (checkout / "models.yaml").is_file() else package / "workspace"


def find_workspace(start: Path) -> Path:
    """The nearest folder at or above `start` that holds models.yaml, or the packaged one."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "models.yaml").is_file():
            return folder
    return packaged_workspace()


def find_recipe(name: str) -> Path:
    """A recipe by path, or by bare name among the workspace's recipes and the packaged ones."""
    path = Path(name)
    if path.is_file():
        return path
    for workspace in (find_workspace(Path.cwd()), packaged_workspace()):
        candidate = workspace / "recipes" / f"{path.name.removesuffix('.yaml')}.yaml"
        if candidate.is_file() and path.parent in (Path(), Path("recipes")):
            return candidate
    known = sorted(p.stem for p in (packaged_workspace() / "recipes").glob("*.yaml"))
    close = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"Did you mean {close[0]}?" if close else nearby(path)
    raise RecipeError(
        f"{name}: no such recipe. Recipes that came with the program: {', '.join(known)}.", hint
    )


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply `key.path=value` overrides (values are YAML); RecipeError with every
    problem of both.

    Beside other problems, models that models.yaml does not have and absent seeds are named as well.
    """
    return _built(path, overrides, str(path), find_workspace(path.parent))


def _built(path: Path, overrides: tuple[str, ...], source: str, workspace: Path | None) -> Recipe:
    """The recipe in `path`; its names are looked up in `workspace` where something else is
    wrong."""
    data = load_yaml(path)
    refused = _refused(data, overrides, path)
    recipe, problems = attempt(Recipe, data, lines_of(path))
    said = [" ".join(part for part in (one.message, one.hint) if part) for one in refused]
    keys = {
        one.message.partition(":")[0] for one in refused
    }  # what names no file is no template either
    said += [problem for problem in problems if problem.partition(":")[0] not in keys]
    if recipe is not None and not said:
        return recipe
    said += unknown_names(data, workspace) if workspace else []
    raise (
        refused[0]
        if refused and len(said) == 1
        else RecipeError(f"{source}: {listing(said)}", CORRECT)
    )


def _refused(data: dict[str, Any], overrides: tuple[str, ...], path: Path) -> list[RecipeError]:
    """Apply the overrides and read the files that `data` names into it; what could not be done."""
    steps = [partial(_override, data, override) for override in overrides]
    readers = (_read_template, _read_coverage, _read_rubrics, _read_own_method)
    steps += [partial(read, data, path) for read in readers]
    refused = []
    for step in steps:
        try:
            step()
        except RecipeError as problem:
            refused.append(problem)
    return refused


def _read_template(data: dict[str, Any], recipe: Path) -> None:
    """Put a template file's text, less its last line break, where train.template names the file."""
    section = data.get("train")
    if not isinstance(section, dict):
        return
    name = section.get("template")
    if not isinstance(name, str) or "\n" in name or not name.endswith(written.ENDINGS):
        return
    text = _text_beside(recipe, "train.template", name)
    data["train"] = section | {"template": text.removesuffix("\n")}


def _read_coverage(data: dict[str, Any], recipe: Path) -> None:
    """Put the topics and personas of files in the place of the files' names, so that the run keeps
    them."""
    section = data.get("coverage")
    if not isinstance(section, dict):
        return
    for key in ("topics", "personas"):
        if not isinstance(name := section.get(key), str):
            continue
        if key == "topics":
            content = load_yaml(_file_beside(recipe, "coverage.topics", name))
            section[key] = content["topics"] if set(content) == {"topics"} else content
        else:
            lines = _text_beside(recipe, "coverage.personas", name).splitlines()
            section[key] = [line.strip() for line in lines if line.strip()]


def _read_rubrics(data: dict[str, Any], recipe: Path) -> None:
    """Put the rubric of a YAML file in the place of the file's name, so that the run keeps it."""
    for part in ("method", "then"):
        steps = data.get(part)
        for name, options in steps.items() if isinstance(steps, dict) else ():
            grading = options.get("grading") if isinstance(options, dict) else None
            file = grading.get("rubric") if isinstance(grading, dict) else None
            if isinstance(file, str) and file.endswith((".yaml", ".yml")):
                found = _file_beside(recipe, f"{part}.{name}.grading.rubric", file)
                options["grading"] = dict(grading or {}, rubric=load_yaml(found))


def _read_own_method(data: dict[str, Any], recipe: Path) -> None:
    """Put the digest of the workspace's `methods/NAME.py` where the recipe names that method."""
    if isinstance(section := data.get("method"), dict):
        data["method"] = with_own_method(section, find_workspace(recipe.parent))


def _text_beside(recipe: Path, key: str, name: str) -> str:
    path = _file_beside(recipe, key, name)
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"{key}: {path}: expected a readable UTF-8 text ({error}).", "Mend or replace it."
        ) from None


def _file_beside(recipe: Path, key: str, name: str) -> Path:
    """The file that a key of the recipe names: in its workspace, beside it, or here."""
    folders = (find_workspace(recipe.parent), recipe.parent, Path.cwd())
    found = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if found is None:
        line = lines_of(recipe)(key.split("."))
        raise RecipeError(
            f"{key}: {name}: no such file, which {recipe} names{line}.", nearby(folders[0] / name)
        )
    return found


def recipe_from_text(text: str, source: str, overrides: tuple[str, ...] = ()) -> Recipe:
    """Rebuild the recipe a run was made with; the same checks as `load_recipe`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "recipe.yaml")
        path.write_text(text, encoding="utf-8")
        return _built(path, overrides, source, None)


def changed_keys(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Every key whose value differs, as 'train.epochs' -> (old, new)."""
    return {key: (before, after) for key, [before, after] in differing_keys([old, new]).items()}


def differing_keys(recipes: Sequence[Recipe]) -> dict[str, list[Any]]:
    """Every key that is not the same in all recipes -> its value in each; None where a recipe has
    no such key."""
    flat = [_flat(recipe.model_dump(mode="json")) for recipe in recipes]
    values = {key: [one.get(key) for one in flat] for key in sorted(set().union(*flat))}
    return {
        key: found for key, found in values.items() if any(value != found[0] for value in found)
    }


def _flat(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat


def _override(data: dict[str, Any], override: str) -> None:
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
    except yaml.YAMLError:
        raise RecipeError(f"--set {override}: {value!r} is not a YAML value.") from None
