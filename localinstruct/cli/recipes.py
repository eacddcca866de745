"""`localinstruct recipes`: the recipes that run by name, and the models they lack."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from localinstruct import console

if TYPE_CHECKING:
    from localinstruct.models.catalog import Catalog
    from localinstruct.recipe import Recipe

app = typer.Typer(no_args_is_help=True, help="The recipes that can be run by name.")


@app.command("list")
def recipes_list() -> None:
    """List the recipes: method and steps, models, which are missing, and the purpose."""
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace, load_recipe, packaged_workspace

    workspace = find_workspace(Path.cwd())
    folder = workspace if (workspace / "recipes").is_dir() else packaged_workspace()
    recipes = [load_recipe(path) for path in sorted((folder / "recipes").glob("*.yaml"))]
    catalog = load_catalog(folder)
    rows = [
        (r.name, _steps(r), r.models.teacher, r.models.student, _ready(r, catalog), r.about)
        for r in recipes
    ]
    console.table(("recipe", "method", "teacher", "student", "ready", "what for"), rows)


def _steps(recipe: "Recipe") -> str:
    """The method and the steps after it: 'magpie + judge'."""
    from localinstruct.methods import STEPS

    steps = [name for name in STEPS if getattr(recipe.then, name, None) is not None]
    return " + ".join([recipe.method.name, *steps])


def _ready(recipe: "Recipe", catalog: "Catalog") -> str:
    """'yes', or the models that are not on this disk."""
    models = recipe.models
    names = dict.fromkeys([*models.asked.values(), models.student, models.encoder])
    missing = [name for name in names if name not in catalog.names() or _absent(name, catalog)]
    return f"missing {', '.join(missing)}" if missing else "yes"


def _absent(name: str, catalog: "Catalog") -> bool:
    spec = catalog.get(name)
    return not spec.endpoint and not spec.present
