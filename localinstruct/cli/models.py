"""`localinstruct models`: list, add, verify and build the models that recipes may name."""

from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone, require_choice

app = typer.Typer(no_args_is_help=True, help="The models on this disk that recipes may name.")
Size = Literal["full", "micro"]


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
    role: Annotated[
        list[str] | None,
        typer.Option("--role", help="teacher, student, encoder or judge; repeat for several."),
    ] = None,
    licence: Annotated[
        str, typer.Option("--licence", help="Its licence by name, e.g. apache-2.0.")
    ] = "unknown",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check a model directory and enter it in this workspace's models.yaml."""
    from localinstruct.models.adding import add_model
    from localinstruct.models.catalog import ModelRole
    from localinstruct.models.chat_template import notes_on
    from localinstruct.recipe import find_workspace

    for name_of_role in role or ():
        require_choice("--role", name_of_role, list(get_args(ModelRole)))
    roles = cast("list[ModelRole]", role or [])
    spec = add_model(find_workspace(Path.cwd()), name, directory, roles=roles, licence=licence)
    notes = notes_on(spec.name, spec.directory, spec.chat_template)
    if json:
        said = [". ".join(filter(None, (note.words, note.fix))) for note in notes]
        terms = {"licence": spec.licence, "obligations": spec.obligations}
        console.as_json({"name": spec.name, "digest": spec.digest, "notes": said} | terms)
    else:
        console.line(f"{spec.name} entered; digest {spec.digest[:12]}")
        console.line(f"licence {spec.licence}: {spec.obligations}")
        for note in notes:
            console.note(f"{spec.name} {note.words}" + (f"; {note.fix}" if note.fix else ""))


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
