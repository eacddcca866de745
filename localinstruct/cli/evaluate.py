"""`localinstruct evaluate` with --against, --tasks or --judge: a comparison beside the run's own
evaluation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console

if TYPE_CHECKING:
    from localinstruct.evaluation.answers import Contender
    from localinstruct.workspace import Work

Against = Annotated[
    str | None,
    typer.Option(
        "--against", metavar="base|RUN|MODEL", help="Compare with this instead of the base."
    ),
]
Tasks = Annotated[
    list[Path] | None,
    typer.Option("--tasks", metavar="FILE", help="Ask these tasks; repeat for several files."),
]
Judge = Annotated[
    str | None,
    typer.Option(
        "--judge", metavar="MODEL", help="Have this chat model judge every pair in both orders."
    ),
]


def compare_student(
    target: str,
    name: str | None,
    settings: Sequence[str],
    redo: bool,
    against: str,
    tasks: Sequence[Path],
    judge: str | None,
    json: bool,
) -> None:
    """Compare, store it in the run under evaluation/comparisons/, and show it."""
    from localinstruct.evaluation.answers import trained_contender
    from localinstruct.evaluation.comparison import Comparison, compare_with, require_chat_model
    from localinstruct.models.catalog import load_catalog
    from localinstruct.workspace import opened_run, run_path

    is_run = (Path(target) / "run.sqlite").is_file()
    run_path(target if is_run else name or target)  # a recipe without a run has no student yet
    with opened_run(target, name, settings, redo=redo) as work, console.progress() as progress:
        catalog = load_catalog(work.workspace)
        student = catalog.get(work.recipe.models.student)
        comparison = Comparison(
            against, tuple(tasks), require_chat_model(catalog.get(judge)) if judge else None
        )
        other = _other(against, work)
        trained = trained_contender("the student", student, work.recipe, work.run.path)
        sides: dict[Any, Contender] = {"base": other, "student": trained}
        result = compare_with(work.recipe, work.run, work.workspace, comparison, sides, progress)
    _show(result, json)


def _other(against: str, work: "Work") -> "Contender":
    """Whom a name means: the base, else a run, else a model of models.yaml."""
    from localinstruct.errors import ModelError, UsageError
    from localinstruct.evaluation.answers import Contender, trained_contender
    from localinstruct.models.catalog import load_catalog
    from localinstruct.pipeline import recipe_of
    from localinstruct.store.run import read_run
    from localinstruct.workspace import run_path

    catalog = load_catalog(work.workspace)
    if against == "base":
        return Contender(
            "the base", catalog.get(work.recipe.models.student), work.recipe.train.template
        )
    try:
        path = run_path(against)
    except UsageError as no_run:
        try:
            spec = catalog.get(against)
        except ModelError as no_model:
            raise UsageError(
                f"--against {against}: expected base, a run or a model.\n{no_run.message} "
                f"{no_run.hint}\n{no_model.message}",
                no_model.hint,
            ) from None
        return Contender(against, spec, "chat" if spec.chat else "alpaca")
    with read_run(path) as found:
        recipe, workspace = recipe_of(found)
    return trained_contender(
        against, load_catalog(workspace).get(recipe.models.student), recipe, path
    )


def _show(result: dict[str, Any], json: bool) -> None:
    from localinstruct.report.evaluation import comparison

    if json:
        console.as_json(result)
        return
    said = comparison(result)
    console.heading(said["title"])
    console.pairs(said["facts"])
    console.note(f"Stored as evaluation/comparisons/{result['name']}.json; `report` shows it.")
