"""A recipe: everything that shapes a run, in one YAML file, as frozen sections.

Sections live beside the code that uses them, those of the stages in this folder; `recipe.py` puts
them together, `reading.py` reads them, `places.py` finds recipes and workspaces.
"""

from localinstruct.recipe.places import (
    find_recipe,
    find_workspace,
    own_workspace,
    packaged_workspace,
)
from localinstruct.recipe.reading import load_recipe, recipe_from_text, with_overrides
from localinstruct.recipe.recipe import Recipe, changed_keys, differing_keys

__all__ = [
    "Recipe",
    "changed_keys",
    "differing_keys",
    "find_recipe",
    "find_workspace",
    "load_recipe",
    "own_workspace",
    "packaged_workspace",
    "recipe_from_text",
    "with_overrides",
]
