"""`localinstruct bundle`: pack, check and unpack what travels over an air gap, and its keys."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from localinstruct.bundle.stage import Row
    from localinstruct.bundle.verify import Verdict

app = typer.Typer(no_args_is_help=True, help="Carry models, recipes and results across an air gap.")
Accelerator = Literal["cuda", "cpu"]

# Arguments and options of `pack`.
Out = Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder.")]
ModelNames = Annotated[
    list[str] | None, typer.Option("--model", help="A model of models.yaml; repeat for several.")
]
RecipeNames = Annotated[
    list[str] | None, typer.Option("--recipe", help="A recipe with its seeds and models.")
]
SeedFiles = Annotated[list[Path] | None, typer.Option("--seeds", help="A seed file of your own.")]
RunNames = Annotated[
    list[str] | None,
    typer.Option(
        "--run", help="A run's dataset, student, evaluation and report, for the way back."
    ),
]
Program = Annotated[
    Path | None, typer.Option("--program", help="A wheel of localinstruct, or its checkout.")
]
Wheels = Annotated[Path | None, typer.Option("--wheels", help="A folder of wheels to take along.")]
Python = Annotated[
    str, typer.Option("--python", help="Have pip collect wheels for this Python, e.g. 3.12.")
]
Cuda = Annotated[bool, typer.Option("--cuda/--cpu", help="What vLLM runs on at the target.")]
PipOptions = Annotated[
    list[str] | None, typer.Option("--pip-option", help="Passed to pip, e.g. --proxy=…")
]
Medium = Annotated[
    Literal["fat32", "dvd", "bd"] | None,
    typer.Option("--medium", help="Size of the parts by medium."),
]
PartSize = Annotated[str, typer.Option("--part-size", help="Or as a size; default 3.9GB.")]
PrivateKey = Annotated[
    Path | None, typer.Option("--sign", metavar="KEY", help="Private key (bundle keygen).")
]

# Arguments and options of `verify` and `import`.
Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The folder with the bundle, or with some of its parts."),
]
PublicKey = Annotated[
    Path | None, typer.Option("--key", help="Public key of whoever you expect to have made it.")
]
Workspace = Annotated[
    Path, typer.Argument(metavar="WORKSPACE", help="The workspace to fill (localinstruct init).")
]
Parts = Annotated[
    list[int] | None, typer.Option("--part", help="Only this part; repeat for several.")
]
Here = Annotated[bool, typer.Option("--here", help="Only the parts that are on this medium.")]
Full = Annotated[bool, typer.Option("--full", help="Read again what was found sound before.")]


@app.command()
def pack(
    out: Out,
    model: ModelNames = None,
    recipe: RecipeNames = None,
    seeds: SeedFiles = None,
    run: RunNames = None,
    program: Program = None,
    wheels: Wheels = None,
    python: Python = "",
    cuda: Cuda = True,
    pip_option: PipOptions = None,
    medium: Medium = None,
    part_size: PartSize = "",
    sign: PrivateKey = None,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Pack models, recipes, wheels or a run's results into parts that fit a medium."""
    from localinstruct.bundle import contents, media
    from localinstruct.bundle.pack import pack as write
    from localinstruct.recipe import find_recipe, find_workspace
    from localinstruct.workspace import run_path

    accelerator: Accelerator = "cuda" if cuda else "cpu"
    if python and not wheels:
        wheels = out.with_name(f"{out.name}-wheels")
        source = str(program or "localinstruct")
        _download_wheels(source, wheels, python, accelerator, pip_option or [], sealed)
    selection = contents.Selection(
        models=model or (),
        recipes=[str(find_recipe(name)) for name in recipe or ()],
        runs=[run_path(name) for name in run or ()],
        wheels=wheels,
        program=program,
        seeds=seeds or (),
        python=python,
        accelerator=accelerator if wheels else "",
    )
    for path in selection.runs:
        _note_doubts(path)
    missing = _missing_wheels(wheels) if wheels and cuda else []
    with console.progress() as progress:
        items = contents.collect(selection, find_workspace(Path.cwd()))
        bundle = write(items, out, progress, media.part_size(medium or "", part_size), sign)
    if json:
        more = {"folder": str(bundle.folder), "missing_wheels": missing}
        console.as_json({**asdict(bundle), **more})
        return
    console.line(
        f"{bundle.files} files, {bundle.bytes:,} bytes in {bundle.parts} parts in {bundle.folder}"
    )
    _note_missing(missing)
    unsigned = "not signed: integrity can be checked, origin not"
    console.line(f"signed by {bundle.signed_by}" if bundle.signed_by else unsigned)
    console.note(
        "The guard desk checks it with its own copy of VERIFY.py, not with the one in the bundle "
        f"(localinstruct bundle programs FOLDER writes one): python3 -I VERIFY.py {bundle.folder}"
    )


def _missing_wheels(folder: Path) -> list[str]:
    """Wheels with FlashInfer's kernels that the folder lacks, as pip would name them."""
    from localinstruct.bundle.wheels import read_wheels
    from localinstruct.teacher.flashinfer import missing_wheels

    return missing_wheels([(wheel.name, wheel.version) for wheel in read_wheels(folder)])


def _note_missing(names: list[str]) -> None:
    for name in names:
        console.note(
            f"among the wheels, {name} is missing: FlashInfer's compiled kernels. Without it vLLM "
            "at the target leaves FlashInfer out, or compiles. Where the package index has it: "
            f"pip download --no-deps {name}; `vllm download-kernels` names another. Then pack again"
        )


def _note_doubts(path: Path) -> None:
    """Say what does not hold of a run's results, which travel without its store."""
    from localinstruct.pipeline import remarks_of
    from localinstruct.store.run import read_run

    with read_run(path) as run:
        for words in remarks_of(run):
            console.note(f"{path}: {words}. Before you pack it: localinstruct run {path}")


def _download_wheels(
    program: str,
    folder: Path,
    python: str,
    accelerator: Accelerator,
    pip_options: list[str],
    sealed: bool,
) -> None:
    """Have pip collect wheels in `folder`; UsageError under --sealed."""
    from localinstruct.bundle.wheels import download
    from localinstruct.errors import UsageError

    if sealed:
        raise UsageError(
            "--python has pip fetch wheels, which --sealed forbids.",
            "Collect them first; then --wheels DIR.",
        )
    console.note(f"pip collects wheels in {folder}: the one step that uses the network")
    download(program, folder, python, accelerator, pip_options)


@app.command()
def verify(
    folder: Folder,
    part: Parts = None,
    here: Here = False,
    key: PublicKey = None,
    full: Full = False,
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
    into: Workspace,
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
        result = import_bundle(folder, into, progress, key, allow)
    if json:
        console.as_json(asdict(result))
        return
    for unit in result.placed:
        console.line(f"placed {unit}")
    for unit in result.present:
        console.line(f"there already: {unit}")
    for text in (*result.notes, *(f"next: {command}" for command in result.commands)):
        console.note(text)


def _verdict_as_json(verdict: "Verdict") -> None:
    problems = [{"name": name, "problem": problem} for name, problem in verdict.problems]
    looked_at = {"parts": list(verdict.parts), "missing": list(verdict.missing)}
    console.as_json({"problems": problems, **looked_at, "origin": verdict.origin})


def _allowed(code: "Sequence[Row]") -> bool:
    """True when a person at the terminal takes this code; False where there is no terminal."""
    if not console.is_typed():
        return False
    console.note("This bundle brings code that runs with your rights when a recipe names it:")
    for row in code:
        console.note(f"  {row['path']}  SHA-256 {row['sha256']}")
    answer = console.ask("Import it? Type yes, or anything else to leave:")
    return (answer or "").strip().lower() == "yes"


@app.command()
def programs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Folder to write them into, made if missing.")
    ],
    json: Json = False,
) -> None:
    """Write a guard desk's own VERIFY.py, SIGNATURE.py and UNPACK.py, to be read and kept."""
    from localinstruct.bundle.pack import write_programs

    digests = write_programs(folder)
    if json:
        console.as_json({"folder": str(folder), "sha256": digests})
        return
    console.pairs((name, digest) for name, digest in digests.items())
    console.note("Hand them over by another way than the medium; the digests are SHA-256.")


@app.command()
def keygen(
    path: Annotated[Path, typer.Argument(metavar="KEY", help="File for the private key.")],
    json: Json = False,
) -> None:
    """Make a key pair for signing bundles."""
    from localinstruct.signing import make_key_pair

    fingerprint = make_key_pair(path)
    if json:
        console.as_json({"fingerprint": fingerprint})
    else:
        console.line(f"fingerprint {fingerprint}")
