"""`localinstruct export`: the rows of a run, or its student, in a form that other tools load."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.commands.options import RunArg, SealedAlone, require_choice

if TYPE_CHECKING:
    from localinstruct.run import Run

Format = Annotated[
    str,
    typer.Option(
        "--format",
        help="Rows: alpaca, jsonl, messages, sharegpt, parquet or preference. "
        "The student: adapter, merged, ollama or gguf.",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write, or new folder for the student; default: in the run."),
]

Converter = Annotated[
    str,
    typer.Option(
        "--converter", metavar="FILE", help="For gguf: llama.cpp's convert_hf_to_gguf.py; default: the one on the PATH."
    ),
]


def export(
    target: RunArg,
    format: Format = "alpaca",
    output: Output = None,
    converter: Converter = "",
    sealed: SealedAlone = False,
) -> None:
    """Write the kept rows, or the trained student, in a format that other tools read."""
    from localinstruct.formats import EXPORTS
    from localinstruct.ship import MODEL_FORMATS
    from localinstruct.workspace import viewed_run

    require_choice("--format", format, [*EXPORTS, *MODEL_FORMATS])
    with viewed_run(target, loopback=False) as found:
        if format in EXPORTS:
            _export_rows(found, format, output)
        else:
            _export_student(found, format, output or found.path / f"{found.path.name}-{format}", converter)


def _export_rows(run: "Run", format: str, output: Path | None) -> None:
    from localinstruct.formats import write

    suffix = {"alpaca": "json", "parquet": "parquet"}.get(format, "jsonl")
    path = output or run.path / f"{run.path.name}-{format}.{suffix}"
    console.line(f"{write(run.kept(), format, path)} rows in {path}")


def _export_student(run: "Run", format: str, output: Path, converter: str) -> None:
    from localinstruct.models import load_catalog
    from localinstruct.pipeline import recipe_of
    from localinstruct.ship import order, ship

    recipe, workspace = recipe_of(run)
    wanted = order(recipe, load_catalog(workspace).get(recipe.models.student), run.path, converter)
    with console.progress() as progress:
        done = ship(wanted, format, output, progress)
    console.line(f"the student of {run.path} in {output}")
    console.pairs(done.facts)
    console.note(f"next: {done.next.replace('{}', str(output))}")
