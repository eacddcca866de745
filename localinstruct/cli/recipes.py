"""`localinstruct recipes`: the recipes that run by name, and the models they lack."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from localinstruct import console
from localinstruct.cli.options import Json

if TYPE_CHECKING:
    from localinstruct.models.catalog import Catalog
    from localinstruct.recipe import Recipe
    from localinstruct.records import JsonObject

app = typer.Typer(no_args_is_help=True, help="The recipes that can be run by name.")


@app.command("list")
def recipes_list(json: Json = False) -> None:
    """List the recipes: method and steps, models, which are missing, and the purpose."""
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace, load_recipe, packaged_workspace

    workspace = find_workspace(Path.cwd())
    folder = workspace if (workspace / "recipes").is_dir() else packaged_workspace()
    recipes = [load_recipe(path) for path in sorted((folder / "recipes").glob("*.yaml"))]
    catalog = load_catalog(folder)
    if json:
        console.as_json([_entry(recipe, catalog) for recipe in recipes])
        return
    rows = [
        (r.name, _steps(r), r.models.teacher, r.models.student, _ready(r, catalog), r.about)
        for r in recipes
    ]
    console.table(("recipe", "method", "teacher", "student", "ready", "what for"), rows)


def _entry(recipe: "Recipe", catalog: "Catalog") -> "JsonObject":
    """A recipe for a program."""
    method, *steps = _parts(recipe)
    return {
        "name": recipe.name,
        "about": recipe.about,
        "method": method,
        "then": steps,
        "teacher": recipe.models.teacher,
        "student": recipe.models.student,
        "missing": _missing(recipe, catalog),
    }


def _steps(recipe: "Recipe") -> str:
    """The method and the steps after it: 'magpie + judge'."""
    return " + ".join(_parts(recipe))


def _parts(recipe: "Recipe") -> list[str]:
    """The method's name, then those of the steps after it."""
    from localinstruct.methods import STEPS

    steps = (name for name in STEPS if getattr(recipe.then, name, None) is not None)
    return [recipe.method.name, *steps]


def _ready(recipe: "Recipe", catalog: "Catalog") -> str:
    """'yes', or the models that are not on this disk."""
    missing = _missing(recipe, catalog)
    return f"missing {', '.join(missing)}" if missing else "yes"


def _missing(recipe: "Recipe", catalog: "Catalog") -> list[str]:
    """The models of a recipe that are not on this disk."""
    models = recipe.models
    names = dict.fromkeys([*models.asked.values(), models.student, models.encoder])
    return [name for name in names if name not in catalog.names() or _absent(name, catalog)]


def _absent(name: str, catalog: "Catalog") -> bool:
    spec = catalog.get(name)
    return not spec.servers and not spec.present
