"""`localinstruct evaluate` with --against, --tasks or --judge: a comparison of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.evaluation.answers import Contender, Which
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
    """Make a comparison, store it in the run under evaluation/comparisons/, and show it."""
    from localinstruct.evaluation.answers import trained_contender
    from localinstruct.evaluation.comparison import Comparison, compare_with, require_chat_model
    from localinstruct.models.catalog import load_catalog
    from localinstruct.workspace import opened_run, run_path

    is_run = (Path(target) / "run.sqlite").is_file()
    run_path(target if is_run else name or target)  # a recipe without a run has no student yet
    with opened_run(target, name, settings, redo=redo) as work, console.progress() as progress:
        catalog = load_catalog(work.workspace)
        student = catalog.get(work.recipe.models.student)
        judge_spec = require_chat_model(catalog.get(judge)) if judge else None
        comparison = Comparison(against, tuple(tasks), judge_spec)
        sides: dict[Which, Contender] = {
            "base": _other(against, work),
            "student": trained_contender("the student", student, work.recipe, work.run.path),
        }
        result = compare_with(work.recipe, work.run, work.workspace, comparison, sides, progress)
        where = {"run": str(work.run.path), "stage": "evaluate"}
    if json:
        console.as_json({**result, **where})
    else:
        _show(result)


def _other(against: str, work: "Work") -> "Contender":
    """The contender that a name means: the base, else a run, else a model of models.yaml."""
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
                f"--against {against}: expected base, a run or a model.\n"
                f"{no_run.message} {no_run.hint}\n{no_model.message}",
                no_model.hint,
            ) from None
        return Contender(against, spec, "chat" if spec.chat else "alpaca")
    with read_run(path) as run:
        recipe, workspace = recipe_of(run)
    spec = load_catalog(workspace).get(recipe.models.student)
    return trained_contender(against, spec, recipe, path)


def _show(result: JsonObject) -> None:
    from localinstruct.report.evaluation import comparison

    table = comparison(result)
    console.heading(table["title"])
    console.pairs(table["facts"])
    console.note(f"Stored as evaluation/comparisons/{result['name']}.json; `report` shows it.")
