"""The recipe itself: its sections put together, and what must hold between them."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, PrivateAttr, field_validator, model_validator

from localinstruct.config import Section
from localinstruct.curate.filters import Filters
from localinstruct.curate.novelty import Novelty
from localinstruct.errors import UsageError
from localinstruct.formats.fields import Reading
from localinstruct.methods import OVER_DOCUMENTS, OVER_SEEDS, MethodSection, Then
from localinstruct.recipe.dataset import Dataset
from localinstruct.recipe.documents import Documents
from localinstruct.recipe.evaluate import Evaluate
from localinstruct.recipe.generate import Generate
from localinstruct.recipe.models import Models
from localinstruct.recipe.train import Train
from localinstruct.records import Json, JsonObject, digest
from localinstruct.teacher import Sampling, Serve
from localinstruct.topics.coverage import Coverage

RUN_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""Pattern of a run's name, which its folder in runs/ bears."""


def require_run_name(name: str, option: str) -> None:
    """UsageError for what is no name of a run: a path, or nothing; `option` is how it was given."""
    if not re.fullmatch(RUN_NAME, name):
        raise UsageError(
            f"{option}: expected up to 64 letters (a to z), digits, dots, dashes and underscores, "
            f"a letter or digit first; found {name!r}.",
            "Runs lie in runs/ of this directory. For example: first",
        )


class SeedReading(Reading):
    """How the seed file is read: a row that cannot be used stops the reading."""

    on_bad_row: Literal["skip", "stop"] = "stop"
    """Leave out a row that cannot be used and count it, or stop at it."""


class Recipe(Section):
    """Everything that shapes a run."""

    NEW = frozenset({"documents"})
    name: str = Field(pattern=RUN_NAME)
    """Default name of the run."""
    about: str = ""
    """One sentence for `recipes list` and the report."""
    seed: int = 42
    """Seed of every random choice: demonstrations, splits, training."""
    sealed: bool = False
    """Run only in a process without a network, as --sealed does."""
    seeds: str = "seeds/seed_tasks.jsonl"
    """File of seed tasks, in any format `formats/` reads, or a mapping of path and how it is read
    (columns, encoding, on_bad_row …); with method.grounded a folder of documents."""
    seed_reading: SeedReading = SeedReading()
    """How the seed file is read."""
    documents: Documents = Documents()
    """How documents are read, where the seeds are some."""
    models: Models
    """Who writes, who learns, who measures."""
    method: MethodSection
    """How instructions are made: one method by name, with its options."""
    then: Then = Then()
    """Steps that every row takes before it is filtered, by name, with their options."""
    coverage: Coverage = Coverage()
    """Spread of the rows: topics, personas, domains kept apart."""
    generate: Generate = Generate()
    """How much, and when to stop."""
    sampling: Sampling = Sampling()
    """The teacher's sampling."""
    serve: Serve = Serve()
    """The teacher's server."""
    filters: Filters = Filters()
    """Rejection by rule."""
    novelty: Novelty = Novelty()
    """Rejection of rows that resemble something kept."""
    dataset: Dataset = Dataset()
    """Split and selection."""
    train: Train = Train()
    """Fine-tuning."""
    evaluate: Evaluate = Evaluate()
    """Base against student."""
    _workspace: Path | None = PrivateAttr(None)
    """The workspace it was loaded from, for Python programs (api/); no key, written nowhere."""

    @model_validator(mode="before")
    @classmethod
    def _path_and_reading(cls, data: Any) -> Any:
        """Take apart `seeds` where it is a mapping."""
        seeds = data.get("seeds") if isinstance(data, dict) else None
        if not isinstance(seeds, dict) or "path" not in seeds:
            return data
        reading = {key: value for key, value in seeds.items() if key != "path"}
        reading |= data.get("seed_reading") or {}
        return data | {"seeds": seeds["path"], "seed_reading": reading}

    def _stored(self, data: JsonObject) -> JsonObject:
        """The plain values; how seeds are read stands beside their path."""
        reading = data.pop("seed_reading", {})
        seeds = {"path": data["seeds"], **reading} if reading else data["seeds"]
        return super()._stored(data | {"seeds": seeds})

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
            "these prompts has no place to say it. Give the topic its own seeds, or use a prompt "
            "with {topic} (magpie: in system)"
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
    def _constraints_are_asked_for(self) -> "Recipe":
        if self.evaluate.constraints and not (self.method.constraints or self.then.constraints):
            raise ValueError(
                "evaluate.constraints: expected method.constraints or then.constraints, whose "
                "kinds are asked for; found neither"
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
        """The resolved recipe as YAML that `recipe_from_text` reads back as an equal recipe.

        A null stands there where the default is another value, so that it is not lost.
        """
        return yaml.safe_dump(_without_empty_defaults(self), sort_keys=False, allow_unicode=True)


def _without_empty_defaults(section: Section) -> dict[str, Json]:
    """The JSON values of a section without the keys that are null because nothing was asked for."""
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            plain[name] = _without_empty_defaults(value)
        elif isinstance(value, tuple | list) and name in plain:
            plain[name] = [
                _without_empty_defaults(item) if isinstance(item, Section) else written
                for item, written in zip(value, plain[name], strict=True)
            ]
        elif value is None and field.get_default(call_default_factory=True) is None:
            plain.pop(name, None)
    return plain


def changed_keys(old: Recipe, new: Recipe) -> dict[str, tuple[Json, Json]]:
    """Every key whose value differs, as 'train.epochs' -> (old, new)."""
    return {key: (before, after) for key, [before, after] in differing_keys([old, new]).items()}


def differing_keys(recipes: Sequence[Recipe]) -> dict[str, list[Json]]:
    """Every key that differs between recipes -> its value in each, None where one lacks it."""
    flat = [_flat(recipe.model_dump(mode="json")) for recipe in recipes]
    values = {key: [keys.get(key) for keys in flat] for key in sorted(set().union(*flat))}
    return {key: row for key, row in values.items() if any(value != row[0] for value in row)}


def _flat(data: JsonObject, prefix: str = "") -> JsonObject:
    """Nested keys as 'train.lora.rank'."""
    flat: JsonObject = {}
    for key, value in data.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return flat
