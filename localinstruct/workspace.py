"""From names on the command line to files on disk: recipe, run, workspace; and a new workspace.

Runs live in runs/ of the current directory. A recipe belongs to the workspace it lies in (the
nearest folder above it with a models.yaml); recipes that came with the program belong to the
packaged workspace.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localinstruct import pipeline
from localinstruct.config import did_you_mean
from localinstruct.errors import Interrupted, RecipeError, UsageError
from localinstruct.nano.build import build_nano
from localinstruct.offline import egress_report as egress
from localinstruct.offline import seal
from localinstruct.progress import Progress
from localinstruct.recipe import (
    Recipe,
    find_recipe,
    find_workspace,
    load_recipe,
    packaged_workspace,
    recipe_from_text,
    with_overrides,
)
from localinstruct.store.folder import empty_run, require_run_or_room
from localinstruct.store.integrity import plain_words
from localinstruct.store.lock import only_writer
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.store.tail import glance_at
from localinstruct.supervisor import CHILD

RUNS = Path("runs")
Check = Callable[[Recipe, Path], None]
"""Looks for what a run of this recipe in this workspace needs, and raises when something is
missing."""

Look = Callable[[Recipe, Run], None]
"""Looks at a run with the recipe that it is to have, and raises when it may not be changed so."""


@dataclass(frozen=True, slots=True)
class Work:
    """A run opened for writing, with its recipe and the workspace its paths are relative to."""

    run: Run
    recipe: Recipe
    workspace: Path


@contextmanager
def opened_run(
    target: str,
    name: str | None,
    settings: Sequence[str],
    *,
    redo: bool,
    fresh: Check | None = None,
    look: Look | None = None,
) -> Iterator[Work]:
    """The run that `target` (a recipe or a run) names, locked, with its recipe settled.

    With `fresh`, a run of this name is deleted first, unless `fresh` raises about what the new one
    needs; `look` may raise before anything of a run is changed. Ctrl-C inside becomes Interrupted,
    saying what is kept and how to go on.
    """
    place = resolve(target, name, tuple(settings))
    with opened(*place, redo=redo, fresh=fresh, look=look) as work:
        yield work


@contextmanager
def opened(
    recipe: Recipe,
    workspace: Path,
    path: Path,
    *,
    redo: bool,
    fresh: Check | None = None,
    look: Look | None = None,
) -> Iterator[Work]:
    """The run at `path`, locked, with this recipe settled; the rest is as in `opened_run`."""
    seal.begin(recipe.sealed)
    require_run_or_room(path)
    if fresh and path.exists():
        with only_writer(path):  # RunInUse when somebody works in it
            fresh(recipe, workspace)
            empty_run(path)
    with plain_words(path), open_run(path) as run:
        if look:
            look(recipe, run)
        try:
            with pipeline.as_before_when_refused(run) if redo else nullcontext():
                settled = pipeline.settle_recipe(run, recipe, workspace, redo=redo)
                with _watched(run):
                    yield Work(run, settled, workspace)
        except (KeyboardInterrupt, Interrupted) as stop:
            said = f"{stop.message} " if isinstance(stop, Interrupted) and stop.message else ""
            kept = f"{run.count_kept()} rows are kept in {path}."
            raise Interrupted(f"{said}{kept}", f"Continue with: localinstruct run {path}") from None


def _watched(run: Run) -> AbstractContextManager[None]:
    """A session in the run's egress report; a stage that `run` started is part of its parent's."""
    if CHILD in os.environ:
        return nullcontext()
    return egress.watched(
        run.path, lambda: pipeline.finished_stages(run), lambda: pipeline.remarks_of(run)
    )


@contextmanager
def viewed_run(target: str, *, loopback: bool) -> Iterator[Run]:
    """An existing run to look at, in the seal if its recipe asks for it.

    `loopback`: a model will be served.
    """
    with read_run(run_path(target)) as run:
        _seal_as_asked(run, loopback=loopback)
        yield run


def seal_as_its_recipe(path: Path) -> None:
    """Begin the seal if the run's recipe asks for it; nothing else of the run is looked at."""
    with glance_at(path) as run:
        _seal_as_asked(run, loopback=True)


def _seal_as_asked(run: Run, *, loopback: bool) -> None:
    stored = run.get("recipe")
    is_asked = stored is not None and recipe_from_text(stored, f"{run.path}/run.sqlite").sealed
    seal.begin(is_asked, loopback=loopback)


def run_path(target: str) -> Path:
    """The folder of an existing run, by path or name; UsageError names the runs that are there."""
    path = _existing_run(target)
    if path:
        return path
    names = sorted(path.parent.name for path in RUNS.glob("*/run.sqlite"))
    hint = did_you_mean(target, names) if names else "None yet. Make one: localinstruct demo"
    raise UsageError(
        f"{target}: no run of this name in {RUNS.resolve()}.", hint[0].upper() + hint[1:]
    )


def init(directory: Path) -> list[Path]:
    """Copy recipes, seeds and models.yaml into a new or empty directory; the new paths."""
    source, paths = packaged_workspace(), []
    _make_new(directory)
    for part in ("recipes", "seeds", "models.yaml"):
        copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
        copy(source / part, directory / part)
        paths.append(directory / part)
    (directory / "models").mkdir()
    return paths


def build_nano_models(
    output: Path, size: Literal["full", "micro"], seed: int, device: str, progress: Progress
) -> None:
    """Train the nano models into `output`/teacher and `output`/student."""
    _make_new(output)

    def show(
        step: int, total: int, loss: float, tokens_per_second: float, eta_seconds: float
    ) -> None:
        progress.update(
            "training nano models",
            step,
            total,
            f"loss {loss:.3f} · {tokens_per_second:,.0f} tokens/s",
        )

    build_nano(output, size=size, seed=seed, device=device, progress=show)


def _make_new(directory: Path) -> None:
    """Make a directory, or take an empty one; UsageError when it cannot be had."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        reason = "found something in it" if any(directory.iterdir()) else ""
    except OSError as error:
        reason = f"and it cannot be made: {error.strerror}"
    if reason:
        raise UsageError(
            f"{directory}: expected a new or empty directory, {reason}.", "Choose another place."
        )


def _existing_run(target: str) -> Path | None:
    for path in (Path(target), RUNS / target):
        if (path / "run.sqlite").is_file():
            return path
    return None


def resolve(target: str, name: str | None, settings: tuple[str, ...]) -> tuple[Recipe, Path, Path]:
    """The recipe, workspace and run folder that `target` names.

    A run's folder means the run, a bare name a recipe first, then a run.
    """
    run = Path(target) if (Path(target) / "run.sqlite").is_file() else None
    if run and name and name != run.resolve().name:
        raise UsageError(
            f"--name {name}: {target} is a run and has its name.",
            "Give a recipe for a run of another name, or leave --name out.",
        )
    try:
        recipe_path = find_recipe(target) if run is None else None
    except RecipeError:
        run = None if name else _existing_run(target)
        if run is None:
            raise
        recipe_path = None
    if recipe_path is not None:
        recipe = load_recipe(recipe_path, settings)
        return recipe, find_workspace(recipe_path.parent), RUNS / (name or recipe.name)
    assert run is not None
    with read_run(run) as found:
        stored, workspace = pipeline.recipe_of(found)
        return with_overrides(stored, settings, str(run), workspace), workspace, run
