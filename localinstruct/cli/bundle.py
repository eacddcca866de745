"""`localinstruct bundle`: over the air gap and back. One short function per command."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localinstruct.bundle.pack import Packed
    from localinstruct.bundle.stage import Row
    from localinstruct.bundle.verify import Verdict

app = typer.Typer(no_args_is_help=True, help="Carry models, recipes and results across an air gap.")
Names = list[str] | None
Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The folder with the bundle, or with some of its parts."),
]
PublicKey = Annotated[
    Path | None, typer.Option("--key", help="Public key of whoever you expect to have made it.")
]
Medium = Literal["fat32", "dvd", "bd"]
Accelerator = Literal["cuda", "cpu"]


@app.command()
def pack(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")],
    model: Annotated[
        Names, typer.Option("--model", help="A model of models.yaml; repeat for several.")
    ] = None,
    recipe: Annotated[
        Names, typer.Option("--recipe", help="A recipe with its seeds and models.")
    ] = None,
    seeds: Annotated[
        list[Path] | None, typer.Option("--seeds", help="A seed file of your own.")
    ] = None,
    run: Annotated[
        Names,
        typer.Option(
            "--run", help="A run's dataset, student, evaluation and report, for the way back."
        ),
    ] = None,
    program: Annotated[
        Path | None, typer.Option("--program", help="A wheel of localinstruct, or its checkout.")
    ] = None,
    wheels: Annotated[
        Path | None, typer.Option("--wheels", help="A folder of wheels to take along.")
    ] = None,
    python: Annotated[
        str, typer.Option("--python", help="Have pip collect wheels for this Python, e.g. 3.12.")
    ] = "",
    cuda: Annotated[
        bool, typer.Option("--cuda/--cpu", help="What vLLM runs on at the target.")
    ] = True,
    pip_option: Annotated[
        Names, typer.Option("--pip-option", help="Passed to pip, e.g. --proxy=…")
    ] = None,
    medium: Annotated[
        Medium | None, typer.Option("--medium", help="Size of the parts by medium.")
    ] = None,
    part_size: Annotated[
        str, typer.Option("--part-size", help="Or as a size; default 3.9GB.")
    ] = "",
    sign: Annotated[
        Path | None, typer.Option("--sign", metavar="KEY", help="Private key (bundle keygen).")
    ] = None,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Pack models, recipes, wheels or a run's results into parts that fit a medium."""
    from localinstruct.bundle import contents, media
    from localinstruct.bundle.pack import pack as write
    from localinstruct.bundle.wheels import download
    from localinstruct.errors import UsageError
    from localinstruct.recipe import find_recipe, find_workspace
    from localinstruct.workspace import run_path

    accelerator: Accelerator = "cuda" if cuda else "cpu"
    if python and not wheels:
        if sealed:
            raise UsageError(
                "--python has pip fetch wheels, which --sealed forbids.",
                "Collect them first; then --wheels DIR.",
            )
        wheels = out.with_name(f"{out.name}-wheels")
        console.note(f"pip collects wheels in {wheels}: the one step that uses the network")
        download(str(program or "localinstruct"), wheels, python, accelerator, pip_option or ())
    wanted = contents.Wanted(
        models=model or (),
        recipes=[str(find_recipe(name)) for name in recipe or ()],
        runs=[run_path(name) for name in run or ()],
        wheels=wheels,
        program=program,
        seeds=seeds or (),
        python=python,
        accelerator=accelerator if wheels else "",
    )
    with console.progress() as progress:
        found = contents.collect(wanted, find_workspace(Path.cwd()))
        packed = write(found, out, progress, media.part_size(medium or "", part_size), sign)
    if json:
        console.as_json({**asdict(packed), "folder": str(packed.folder)})
    else:
        _show_packed(packed)


def _show_packed(packed: "Packed") -> None:
    console.line(
        f"{packed.files} files, {packed.bytes:,} bytes in {packed.parts} parts in {packed.folder}"
    )
    signed = f"signed by {packed.signed_by}"
    unsigned = "not signed: integrity can be checked, origin not"
    console.line(signed if packed.signed_by else unsigned)
    console.note(f"The guard desk checks it with: python3 {packed.folder}/VERIFY.py")


@app.command()
def verify(
    folder: Folder,
    part: Annotated[
        list[int] | None, typer.Option("--part", help="Only this part; repeat for several.")
    ] = None,
    here: Annotated[
        bool, typer.Option("--here", help="Only the parts that are on this medium.")
    ] = False,
    key: PublicKey = None,
    full: Annotated[
        bool, typer.Option("--full", help="Read again what was found sound before.")
    ] = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check a bundle, or some of its parts, and name what is wrong."""
    from localinstruct.bundle.verify import verify as check

    with console.progress() as progress:
        verdict = check(folder, progress, part or (), here, key, full)
    if json:
        _verdict_as_json(verdict)
        raise typer.Exit(verdict.exit_code)
    for name, problem in verdict.problems:
        console.line(f"{name}: {problem}")
    missing = f"; not looked at: {', '.join(map(str, verdict.missing))}" if verdict.missing else ""
    console.line(
        f"{len(verdict.parts)} parts checked, {len(verdict.problems)} problems{missing}. "
        f"{verdict.origin}"
    )
    raise typer.Exit(verdict.exit_code)


@app.command("import")
def import_(
    folder: Folder,
    into: Annotated[
        Path,
        typer.Argument(metavar="WORKSPACE", help="The workspace to fill (localinstruct init)."),
    ],
    key: PublicKey = None,
    allow_code: Annotated[
        bool, typer.Option("--allow-code", help="Take own methods along without being asked.")
    ] = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Check a bundle and put its contents into a workspace, whole or not at all."""
    from localinstruct.bundle.unpack import import_bundle

    def allow(code: "Sequence[Row]") -> bool:
        return allow_code or _allowed(code)

    with console.progress() as progress:
        done = import_bundle(folder, into, progress, key, allow)
    if json:
        console.as_json(asdict(done))
        return
    for text in [
        *(f"placed {unit}" for unit in done.placed),
        *(f"there already: {unit}" for unit in done.present),
    ]:
        console.line(text)
    for text in (*done.notes, *(f"next: {command}" for command in done.commands)):
        console.note(text)


def _verdict_as_json(verdict: "Verdict") -> None:
    problems = [{"name": name, "problem": problem} for name, problem in verdict.problems]
    looked_at = {"parts": list(verdict.parts), "missing": list(verdict.missing)}
    console.as_json({"problems": problems, **looked_at, "origin": verdict.origin})


def _allowed(code: "Sequence[Row]") -> bool:
    """Whether the person at the terminal takes this code; False where there is none."""
    if not console.is_typed():
        return False
    console.note("This bundle brings code that runs with your rights when a recipe names it:")
    for row in code:
        console.note(f"  {row['path']}  SHA-256 {row['sha256']}")
    answer = console.ask("Import it? Type yes, or anything else to leave:")
    return (answer or "").strip().lower() == "yes"


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(metavar="KEY", help="File for the private key.")],
    json: Json = False,
) -> None:
    """Make a key pair for signing bundles."""
    from localinstruct.bundle.signing import keygen as make

    fingerprint = make(path)
    if json:
        console.as_json({"fingerprint": fingerprint})
    else:
        console.line(f"fingerprint {fingerprint}")
