"""Names in a recipe that stand for nothing: models that are not there, seeds that are absent.

Looked up only where a recipe has other problems, so that all come at once; otherwise a stage asks
when it needs them.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from localinstruct.errors import ModelError, RecipeError
from localinstruct.models.catalog import load_catalog
from localinstruct.recipe.models import Models
from localinstruct.records import JsonObject


def unknown_names(data: JsonObject, workspace: Path) -> Iterator[str]:
    """Sentences for models that models.yaml lacks, for faults of that file, for absent seeds."""
    named = data.get("models")
    if isinstance(named, dict):
        yield from _unknown_models(named, workspace)
    seeds = data.get("seeds")
    # os.path.exists answers False, not with an error, where the name is too long for a path
    if isinstance(seeds, str) and seeds.strip() and not os.path.exists(workspace / seeds):  # noqa: PTH110
        yield f"seeds: {workspace / seeds}: no such file."


def _unknown_models(named: Mapping[object, object], workspace: Path) -> Iterator[str]:
    try:
        catalog = load_catalog(workspace)
    except RecipeError as problem:
        yield problem.message.replace("\n", "\n    ")
        return
    for key in (key for key in Models.model_fields if key in named):
        value = named[key]
        for name in value if isinstance(value, list) else [value]:
            try:
                if isinstance(name, str):
                    catalog.get(name)
            except ModelError as problem:
                yield f"models.{key}: {problem.message}"
