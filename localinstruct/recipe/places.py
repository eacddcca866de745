"""Recipes and workspaces on this disk.

A workspace is the folder that holds models.yaml; a recipe's paths are relative to the workspace it
lies in, so that a recipe works from any directory.
"""

import difflib
from importlib import resources
from pathlib import Path

from localinstruct.config import nearby
from localinstruct.errors import RecipeError, UsageError


def packaged_workspace() -> Path:
    """The recipes, seeds and models.yaml that came with the program.

    They lie in the checkout, or in the installed package.
    """
    package = Path(str(resources.files("localinstruct")))
    checkout = package.parent
    return checkout if (checkout / "models.yaml").is_file() else package / "workspace"


def find_workspace(start: Path) -> Path:
    """The nearest folder at or above `start` that holds models.yaml, or the packaged one."""
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "models.yaml").is_file():
            return folder
    return packaged_workspace()


def own_workspace(start: Path) -> Path:
    """The nearest workspace at or above `start`; UsageError where only the packaged one is."""
    found = find_workspace(start)
    if not start.resolve().is_relative_to(found.resolve()):
        raise UsageError(
            f"{start}: expected a workspace (a folder with models.yaml) here or above.",
            "localinstruct init lab && cd lab",
        )
    return found


def find_recipe(name: str) -> Path:
    """A recipe by path, or by bare name among the workspace's recipes and the packaged ones."""
    path = Path(name)
    if path.is_file():
        return path
    for workspace in (find_workspace(Path.cwd()), packaged_workspace()):
        candidate = workspace / "recipes" / f"{path.name.removesuffix('.yaml')}.yaml"
        if candidate.is_file() and path.parent in (Path(), Path("recipes")):
            return candidate
    shipped, own = _names(packaged_workspace()), _names(find_workspace(Path.cwd()))
    close = difflib.get_close_matches(path.stem, sorted({*own, *shipped}), n=1)
    hint = f"Did you mean {close[0]}?" if close else nearby(path)
    yours = f" Recipes of this workspace: {', '.join(own)}." if own != shipped else ""
    raise RecipeError(
        f"{name}: no such recipe.{yours} Recipes that came with the program: {', '.join(shipped)}.",
        hint,
    )


def _names(workspace: Path) -> list[str]:
    """Names of the recipes in a workspace."""
    return sorted(path.stem for path in (workspace / "recipes").glob("*.yaml"))
