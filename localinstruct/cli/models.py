"""`localinstruct models`: list, add, import, verify and build the models that recipes may name."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast, get_args

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone, require_choice

if TYPE_CHECKING:
    from localinstruct.models.catalog import ModelRole

app = typer.Typer(no_args_is_help=True, help="The models on this disk that recipes may name.")
Size = Literal["full", "micro"]
Role = Annotated[
    list[str] | None,
    typer.Option("--role", help="teacher, student, encoder or judge; repeat for several."),
]
Licence = Annotated[str, typer.Option("--licence", help="Its licence by name, e.g. apache-2.0.")]


@app.command("list")
def models_list(json: Json = False) -> None:
    """List the models of models.yaml: size, kind, roles, licence, and which are on this disk."""
    from localinstruct.cli import display_models

    display_models.models(json)


@app.command("add")
def models_add(
    name: Annotated[str, typer.Argument(help="The name recipes will use.")],
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="The model's directory on this disk.")
    ],
    role: Role = None,
    licence: Licence = "unknown",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check a model directory and enter it in this workspace's models.yaml."""
    from localinstruct.cli import display_models
    from localinstruct.models.adding import add_model
    from localinstruct.recipe import find_workspace

    roles = _roles(role)
    spec = add_model(find_workspace(Path.cwd()), name, directory, roles=roles, licence=licence)
    display_models.entered(spec, (), json)


@app.command("import")
def models_import(
    file: Annotated[Path, typer.Argument(metavar="FILE.gguf", help="A whole model in one file.")],
    name: Annotated[str, typer.Option("--name", help="The name recipes will use.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The new directory. [default: models/NAME]"),
    ] = None,
    role: Role = None,
    licence: Licence = "unknown",
    dtype: Annotated[
        str,
        typer.Option("--dtype", help="auto, float32, bfloat16 or float16, unpacked on the disk."),
    ] = "auto",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Unpack a GGUF file into a model directory, hold it against llama.cpp, enter it."""
    from localinstruct.cli import display_models
    from localinstruct.gguf.importing import ImportRequest, import_model
    from localinstruct.gguf.weights import DTYPES
    from localinstruct.recipe import own_workspace

    require_choice("--dtype", dtype, ["auto", *DTYPES])
    workspace = own_workspace(Path.cwd())
    request = ImportRequest(file, name, workspace, output, _roles(role), licence, dtype)
    with console.progress() as progress:
        imported = import_model(request, progress)
    display_models.entered(imported.spec, imported.facts, json)


@app.command("verify")
def models_verify(
    name: Annotated[
        str | None, typer.Argument(help="One model; default: all that are on this disk.")
    ] = None,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check files, safety and digests again, reading every byte."""
    from localinstruct.cli import display_models

    if not display_models.verify_models(name, json):
        raise typer.Exit(3)


@app.command("build")
def models_build(
    name: Annotated[str, typer.Argument(help="Only `nano` can be built.")] = "nano",
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for teacher/ and student/.")
    ] = Path("nano-build"),
    size: Annotated[
        Size, typer.Option("--size", help="full (hours on a CPU) or micro (a minute, for tests).")
    ] = "full",
    seed: Annotated[int, typer.Option("--seed")] = 42,
    device: Annotated[str, typer.Option("--device", help="cpu or cuda.")] = "cpu",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Train the built-in nano models from scratch."""
    from localinstruct.workspace import build_nano_models

    require_choice("NAME", name, ["nano"])
    with console.progress() as progress:
        build_nano_models(output, size, seed, device, progress)
    if json:
        console.as_json({role: str(output / role) for role in ("teacher", "student")})
    else:
        console.line(f"teacher and student in {output}")


def _roles(given: list[str] | None) -> "list[ModelRole]":
    """Names of roles, checked."""
    from localinstruct.models.catalog import ModelRole

    for name in given or ():
        require_choice("--role", name, list(get_args(ModelRole)))
    return cast("list[ModelRole]", given or [])
