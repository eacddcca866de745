"""`localinstruct export`, `serve` and `chat`: a run's rows and student for tools and people."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RunArg, Sealed, SealedAlone, require_choice
from localinstruct.errors import UsageError

if TYPE_CHECKING:
    from localinstruct.store.run import Run

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
    typer.Option(
        "--output", "-o", help="File to write, or new folder for the student; default: in the run."
    ),
]
Converter = Annotated[
    str,
    typer.Option(
        "--converter",
        metavar="FILE",
        help="For gguf of students other than Llama and Qwen2: llama.cpp's "
        "convert_hf_to_gguf.py; default: the one on the PATH.",
    ),
]
Precision = Annotated[
    str,
    typer.Option("--precision", help="For gguf: f32, f16, bf16 or q8_0; auto: as the weights are."),
]
Port = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65534, help="Of 127.0.0.1, in place of a private unix socket."
    ),
]
Base = Annotated[
    bool, typer.Option("--base", help="Start with the base model instead of the student.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Have both answer, side by side.")]
Prompt = Annotated[str | None, typer.Option("--prompt", "-p", help="Answer this and end.")]
Temperature = Annotated[
    float, typer.Option("--temperature", min=0, max=5, help="0 takes the likeliest words.")
]
MaxTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=1, help="Per answer; default: the recipe's evaluate.max_tokens."
    ),
]


def export(
    target: RunArg,
    format: Format = "alpaca",
    output: Output = None,
    converter: Converter = "",
    precision: Precision = "auto",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Write the rows (kept and mixed in), or the student, in a format that other tools read."""
    from localinstruct.export import MODEL_FORMATS
    from localinstruct.formats import EXPORTS
    from localinstruct.store.folder import require_outside
    from localinstruct.workspace import viewed_run

    require_choice("--format", format, [*EXPORTS, *MODEL_FORMATS])
    if output:
        require_outside(
            output,
            "Choose an --output elsewhere, or leave it out: then the export has a name of its own "
            "in the run.",
        )
    with viewed_run(target, loopback=False) as run:
        if format in EXPORTS:
            _export_rows(run, format, output, json)
        else:
            place = output or _in_run(run, f"-{format}")
            _export_student(run, format, place, converter, precision, json)


def _in_run(run: "Run", ending: str) -> Path:
    """A place in the run's own folder; UsageError where that may not be written."""
    if not os.access(run.path, os.W_OK):
        raise UsageError(
            f"{run.path}: may not be written, so the export needs another place.",
            "Name it: --output PATH",
        )
    return run.path / f"{run.path.name}{ending}"


def _export_rows(run: "Run", format: str, output: Path | None, json: bool) -> None:
    from localinstruct.dataset.rows import RunRows
    from localinstruct.formats import ending_of, require_place, write, write_text
    from localinstruct.pipeline import recipe_of
    from localinstruct.report.cards import dataset_card

    path = output or _in_run(run, f"-{format}{ending_of(format)}")
    require_place(path, format)
    recipe, workspace = recipe_of(run)
    every = RunRows(run)
    if not every.count():
        stage = "generate" if recipe.generate.target else "dataset"
        raise UsageError(
            f"{run.path}: nothing to export: no rows are kept or mixed in.",
            f"Make some first: localinstruct {stage} {run.path}",
        )
    rows = write(every.as_reviewed(), format, path)
    if not json:
        console.line(f"{rows} rows in {path}")
    card = path.with_name(f"{path.name}.card.md")
    write_text(card, dataset_card(run, recipe, workspace, format, {"train": path}))
    if json:
        console.as_json({"format": format, "path": str(path), "rows": rows, "card": str(card)})
        return
    console.note(f"what they are, licences and limits: {card}")


def _export_student(
    run: "Run", format: str, output: Path, converter: str, precision: str, json: bool
) -> None:
    from localinstruct.export import export_request, export_student
    from localinstruct.models.catalog import load_catalog
    from localinstruct.pipeline import recipe_of
    from localinstruct.report.cards import model_card
    from localinstruct.states import remarks

    recipe, workspace = recipe_of(run)
    spec = load_catalog(workspace).get(recipe.models.student)
    request = export_request(recipe, spec, run.path, converter, precision)
    card = partial(model_card, run, recipe, workspace, format)
    with console.progress() as progress:
        result = export_student(request, format, output, progress, card)
    following = result.next.replace("{}", str(output))
    doubts = remarks(recipe, run, ("train", "evaluate"))
    if json:
        facts = {"format": format, "path": str(output), "facts": dict(result.facts)}
        facts |= {"remarks": doubts}
        console.as_json({**facts, "next": following})
        return
    console.line(f"the student of {run.path} in {output}")
    console.pairs(result.facts)
    for words in doubts:
        console.note(words)
    console.note(f"next: {following}")


def serve(target: RunArg, port: Port = 0, sealed: Sealed = False) -> None:
    """Serve the student of a run and its base to other programs, until Ctrl-C."""
    from localinstruct.export.serve import serve as serve_run
    from localinstruct.workspace import viewed_run

    with viewed_run(target, loopback=True) as run:
        serve_run(run, port)


def chat(
    target: RunArg,
    base: Base = False,
    compare: Compare = False,
    prompt: Prompt = None,
    temperature: Temperature = 0,
    max_tokens: MaxTokens = None,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Talk to the student of a run, to its base, or to both.

    Lines of a pipe are answered one by one.
    """
    from localinstruct.cli.chat import chat as chat_with
    from localinstruct.workspace import viewed_run

    who = "compare" if compare else "base" if base else "student"
    with viewed_run(target, loopback=True) as run:
        chat_with(
            run, who=who, prompt=prompt, temperature=temperature, max_tokens=max_tokens, json=json
        )
