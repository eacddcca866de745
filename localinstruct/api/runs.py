"""Runs of a Python program: made in a child, read here."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from localinstruct.api.child import OnProgress, run_in_child
from localinstruct.api.given import a_mapping, a_path, a_text, require_callable, speaks_python
from localinstruct.api.rows import Keep
from localinstruct.dataset.rows import RunRows
from localinstruct.errors import UsageError
from localinstruct.methods import METHODS
from localinstruct.own_code import digest_of, name_of
from localinstruct.recipe import Recipe, find_recipe, find_workspace
from localinstruct.recipe import load_recipe as load_recipe_file
from localinstruct.recipe.recipe import require_run_name
from localinstruct.records import Episode, Instance, JsonObject, Reject
from localinstruct.store.run import read_run

if TYPE_CHECKING:
    import pandas
    from datasets import Dataset

    from localinstruct.store.lineage import Family
    from localinstruct.worker import Given

Settings = Mapping[str, object] | None
"""Keys of a recipe, as in {"generate.target": 100}, or None."""
Method = Callable[..., Episode]
"""An own method `(pool, options, rng)`; its options are a mapping, or a Section where the parameter
is annotated with one."""


@speaks_python
def load_recipe(name: str | Path, settings: Settings = None) -> Recipe:
    """A recipe by file or by name, with some keys changed: `load_recipe("nano", {"seed": 7})`.

    RecipeError lists everything that is wrong with it.
    """
    path = find_recipe(str(a_path(name, "name")))
    recipe = load_recipe_file(path, _overrides(settings))
    recipe._workspace = find_workspace(path.parent)
    return recipe


@speaks_python
def generate(
    recipe: "Recipe | RunReader | str | Path",
    *,
    name: str | None = None,
    settings: Settings = None,
    method: Method | None = None,
    options: Mapping[str, object] | None = None,
    keep: Keep | None = None,
    fresh: bool = False,
    progress: OnProgress | None = None,
) -> "RunReader":
    """Have the teacher write rows into runs/NAME until generate.target are kept; the run to read.

    A recipe, or a run to go on with. `method` with its `options` takes the place of the recipe's,
    `keep` is asked about every row after the recipe's filters: both are sent to the child that
    works, and their digests are kept in the run, so that changed code is a RunConflict. `fresh`
    deletes a run of that name first.
    """
    if options is not None and method is None:
        raise UsageError(
            "options: expected a method= that they are for, found none.",
            "The options of a recipe's method are settings: {'method.alpaca.…': …}.",
        )
    entry = {"options": a_mapping(options, "options", '{"words": 5}')}
    given = _given(method, entry, "method") if method is not None else None
    kept = _given(keep, {}, "keep") if keep is not None else None
    return _stages(
        ("generate",), recipe, name, settings, progress, fresh=fresh, method=given, keep=kept
    )


@speaks_python
def train(
    run: "RunReader | Recipe | str | Path",
    *,
    settings: Settings = None,
    redo: bool = False,
    progress: OnProgress | None = None,
) -> "RunReader":
    """Fine-tune the student on the run's rows; a data set that is absent or stale is written first.

    `redo` accepts settings that differ from the run's and leave its rows valid.
    """
    return _stages(("dataset", "train"), run, None, settings, progress, redo=redo)


@speaks_python
def evaluate(
    run: "RunReader | Recipe | str | Path",
    *,
    settings: Settings = None,
    redo: bool = False,
    progress: OnProgress | None = None,
) -> "RunReader":
    """Compare the run's student with its base; the numbers are in `stages()["evaluate"].result`."""
    return _stages(("evaluate",), run, None, settings, progress, redo=redo)


@speaks_python
def open_run(run: str | Path) -> "RunReader":
    """A run by name (runs/NAME) or directory, to read; nothing of it is changed."""
    from localinstruct.workspace import run_path

    if isinstance(run, RunReader):
        return run
    return RunReader(run_path(str(a_path(run, "run"))).resolve())


@dataclass(frozen=True, slots=True)
class StageState:
    """A stage of a run; `stale` says that what it was made from has changed since it finished."""

    name: str
    state: Literal["not started", "begun", "finished", "stale"]
    result: JsonObject = field(default_factory=dict)
    """Its numbers, plain JSON values; of a stale one those that it had."""
    why: tuple[str, ...] = ()
    """What has changed since a stale one finished."""
    remarks: tuple[str, ...] = ()
    """Files that were changed by hand after it wrote them, and what else belongs beside it."""


@dataclass(frozen=True, slots=True)
class RunReader:
    """A run on disk; every call reads what is there now, also while another process writes."""

    path: Path

    @property
    def recipe(self) -> Recipe:
        """The recipe it was made with."""
        from localinstruct.pipeline import recipe_of

        with read_run(self.path) as run:
            recipe, workspace = recipe_of(run)
        recipe._workspace = workspace
        return recipe

    def rows(self) -> Iterator[Instance]:
        """Kept rows in the order in which they were kept, then those that were mixed in."""
        with read_run(self.path) as run:
            yield from RunRows(run)

    def rejects(self, reason: str | None = None) -> Iterator[Reject]:
        """Rejected rows with their reasons, all or those of one; the data set's come last."""
        with read_run(self.path) as run:
            yield from (reject for _, reject in RunRows(run).rejects(reason))

    @speaks_python
    def lineage(self, id: str) -> "Family":
        """A row by id (or its beginning) with its parents, their parents, and its children."""
        from localinstruct.generation.inputs import seeds_of
        from localinstruct.pipeline import recipe_of
        from localinstruct.store.lineage import family

        with read_run(self.path) as run:
            return family(
                a_text(id, "id", "a row's id"), list(RunRows(run)), seeds_of(*recipe_of(run))
            )

    def stages(self) -> dict[str, StageState]:
        """Stage -> how it stands and what it came to, in order."""
        from localinstruct.pipeline import recipe_of
        from localinstruct.states import edited_words, states_of

        with read_run(self.path) as run:
            return {
                name: StageState(
                    name,
                    state.state,
                    state.result,
                    state.why,
                    (*edited_words({name: state}), *state.remarks),
                )
                for name, state in states_of(recipe_of(run)[0], run).items()
            }

    def to_dataset(self) -> "Dataset":
        """The kept rows as a `datasets.Dataset`, in memory; lineage as JSON text."""
        from datasets import Dataset

        return Dataset.from_list(list(self._records()))

    def to_pandas(self) -> "pandas.DataFrame":
        """The kept rows as a frame; UsageError where pandas is not installed."""
        try:
            import pandas
        except ImportError:
            raise UsageError(
                "to_pandas: expected pandas, found that it is not installed.", "pip install pandas"
            ) from None
        return pandas.DataFrame.from_records(list(self._records()))

    def _records(self) -> Iterator[JsonObject]:
        for row in self.rows():
            data = row.to_dict()
            history = [{"role": turn.role, "content": turn.content} for turn in row.history]
            lineage = json.dumps(data["lineage"], ensure_ascii=False)
            yield {**data, "history": history, "lineage": lineage}

    def __str__(self) -> str:
        return str(self.path)


def _stages(
    stages: tuple[str, ...],
    target: "RunReader | Recipe | str | Path",
    name: str | None,
    settings: Settings,
    progress: OnProgress | None,
    *,
    redo: bool = False,
    fresh: bool = False,
    method: "Given | None" = None,
    keep: "Given | None" = None,
) -> RunReader:
    """Have a child run these stages; the run."""
    from localinstruct.worker import StageJob

    require_callable(progress, "progress")
    if name is not None:
        require_run_name(a_text(name, "name", "first"), "name")
    if not isinstance(target, Recipe | RunReader):
        a_path(target, "recipe or run")
    recipe = target.to_yaml() if isinstance(target, Recipe) else ""
    workspace = target._workspace if isinstance(target, Recipe) else None
    job = StageJob(
        stages=stages,
        target="" if recipe else str(target),
        recipe=recipe,
        workspace=str(workspace or find_workspace(Path.cwd())),
        name=name,
        settings=_overrides(settings),
        redo=redo,
        fresh=fresh,
        method=method,
        keep=keep,
    )
    return RunReader(Path(run_in_child(job, progress)["run"]))


def _overrides(settings: Settings) -> tuple[str, ...]:
    """Settings as the command line writes them; JSON is YAML."""
    written = []
    for key, value in a_mapping(settings, "settings", '{"generate.target": 100}').items():
        try:
            written.append(f"{key}={json.dumps(value)}")
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"settings: expected a plain value for {key}, found {type(value).__name__} "
                f"({error}).",
                "Texts, numbers, True, False, None, lists and mappings of these.",
            ) from None
    return tuple(written)


def _given(function: Callable[..., object], entry: JsonObject, parameter: str) -> "Given":
    """A function of this program as it is sent to the child, also one of a notebook's cell."""
    import cloudpickle

    from localinstruct.worker import Given

    require_callable(function, parameter)
    name = name_of(function)
    if parameter == "method" and name in METHODS:
        raise UsageError(f"method: {name} is the name of one of ours.", "Rename the function.")
    try:
        pickled = cloudpickle.dumps(function)
    except Exception as error:
        raise UsageError(
            f"{parameter}: expected a function that can be sent to another process, found that "
            f"{name} holds something that cannot ({type(error).__name__}: {error}).",
            "Make what it needs inside of it: open files, locks and connections stay here.",
        ) from error
    return Given({"name": name, "sha256": digest_of(function), **entry}, pickled)
