"""`localinstruct review` and `open`: rows looked at and decided on in a page on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import (
    PASTE_COLUMNS,
    Columns,
    Encoding,
    SealedAlone,
    reading_of,
)
from localinstruct.errors import UsageError

if TYPE_CHECKING:
    from localinstruct.web.doors import Door
    from localinstruct.web.review.desk import Desk

Target = Annotated[
    str, typer.Argument(metavar="RUN|FILE", help="A run by name or directory, or a file of rows.")
]
Sealed = Annotated[
    str,
    typer.Argument(metavar="RUN|FOLDER", help="A run, or the folder of a file, that is reviewed."),
]
Page = Annotated[
    str | None,
    typer.Option("--page", metavar="NAME", help="Which, where several wait: review or watch."),
]
Sample = Annotated[
    int | None,
    typer.Option(
        "--sample", min=2, help="Propose this many rows, spread over topics, scores and pairs."
    ),
]
Export = Annotated[
    Path | None,
    typer.Option("--export", metavar="FILE", help="Write every decision as JSONL, and end."),
]
Import = Annotated[
    Path | None,
    typer.Option("--import", metavar="FILE", help="Take in decisions from such a file, and end."),
]
Rows = Annotated[
    Path | None,
    typer.Option("--rows", metavar="FILE", help="Write the rows as people left them, and end."),
]
Who = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Who decides; default: the user of this machine."),
]
Agreement = Annotated[
    bool, typer.Option("--agreement", help="Say how far people agree on rows, and end.")
]
ShowOthers = Annotated[
    bool,
    typer.Option("--show-others", help="Show what others decided, also before your own verdict."),
]
RubricName = Annotated[
    str, typer.Option("--rubric", metavar="NAME|FILE", help="The rubric for grades.")
]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="A port; 0: a free one.")]
Socket = Annotated[
    bool,
    typer.Option("--socket", help="A unix socket of mode 0600 in place of a port; see `open`."),
]


def review(
    target: Target,
    sample: Sample = None,
    export: Export = None,
    import_: Import = None,
    rows: Rows = None,
    who: Who = None,
    agreement: Agreement = False,
    show_others: ShowOthers = False,
    rubric: RubricName = "helpful-correct",
    port: Port = 0,
    socket: Socket = False,
    columns: Columns = None,
    encoding: Encoding = None,
    sealed: SealedAlone = False,
) -> None:
    """Look at rows in your browser: keep, drop, mend, label, by keyboard.

    Rejects can be taken back. Every decision is kept at once; the data set takes them.
    """
    from localinstruct.store.folder import require_outside

    for path in filter(None, (rows, export)):
        require_outside(path)
    with _desk(target, who or _user(), rubric, columns, encoding) as (desk, folder, is_run):
        if show_others:
            desk.show_all()
        if import_ is not None:
            _import(desk, import_)
        if sample is not None:
            _propose(desk, sample)
        if rows is not None:
            _rows(desk, rows, [] if is_run else [Path(target)])
        if export is not None:
            _export(desk, export, [] if is_run else [Path(target)])
        if agreement:
            _agreement(desk)
        if import_ is None and rows is None and export is None and not agreement:
            _serve(desk, folder, is_run, port, socket)


def open_page(target: Sealed, page: Page = None) -> None:
    """Forward a port of this machine to a page that stands in the seal, until Ctrl-C."""
    from localinstruct.web.forward import forward
    from localinstruct.workspace import run_path

    folder = Path(target)
    forward(folder if folder.is_dir() else run_path(target), page)


@contextmanager
def _desk(
    target: str, who: str, rubric: str, columns: str | None, encoding: str | None
) -> "Iterator[tuple[Desk, Path, bool]]":
    """The desk of a run or a file, its folder, and whether it is a run's."""
    from localinstruct.workspace import RUNS, viewed_run

    path = Path(target)
    if path.is_file() and path.name != "run.sqlite":
        yield _file_desk(path, who, rubric, columns, encoding), path.parent, False
        return
    if not (path.is_dir() or (RUNS / target).is_dir()) and path.suffix:
        raise UsageError(f"{target}: no such file.", "Give a file of rows, or the name of a run.")
    with viewed_run(target, loopback=False) as run:
        from localinstruct.cli.judge import rubric_of
        from localinstruct.web.review.desk import desk_of_run

        desk = desk_of_run(run, who, rubric_of(rubric))
        with console.progress() as progress:
            desk.fill(progress)
        yield desk, run.path, True


def _file_desk(
    path: Path, who: str, rubric: str, columns: str | None, encoding: str | None
) -> "Desk":
    from localinstruct.cli.judge import rubric_of
    from localinstruct.web.review.desk import desk_of_file

    reading = reading_of(columns, encoding, "skip")
    desk = desk_of_file(path, reading, who, rubric_of(rubric), PASTE_COLUMNS)
    with console.progress() as progress:
        desk.fill(progress)
    return desk


def _serve(desk: "Desk", folder: Path, is_run: bool, port: int, use_socket: bool) -> None:
    """Serve the page; on Ctrl-C say what was decided and what takes it."""
    from contextlib import nullcontext

    from localinstruct.offline import seal
    from localinstruct.offline.sessions import page_noted
    from localinstruct.web import doors
    from localinstruct.web.review.routes import routes

    before = desk.reviews.last()
    held_back = seal.status() is not seal.OPEN
    with doors.open_door(folder, "review", use_socket=use_socket or held_back, port=port) as door:
        place = f"the unix socket {door.path.name}" if door.path else "a port of 127.0.0.1"
        noted = page_noted(folder, "review", place) if is_run else nullcontext()
        with noted, _comparing(desk, folder) if is_run else nullcontext():
            doors.serve(routes(desk), door, lambda: _say_where(door, folder))
    made = desk.reviews.last() - before
    if made:
        words = f"{made} decision{'' if made == 1 else 's'} in {desk.reviews.path}"
        console.note(f"stopped; {words}. Next: {desk.takes}")
    else:
        console.note("stopped; nothing was decided.")


@contextmanager
def _comparing(desk: "Desk", folder: Path) -> Iterator[None]:
    """What people write is compared with the other rows, in a process that ends with the block."""
    from localinstruct.recipe import recipe_from_text
    from localinstruct.store.run import read_run
    from localinstruct.web.review.likeness import comparing_beside

    with read_run(folder) as run:
        stored = run.get("recipe")
    if stored is None:
        yield
        return
    novelty = recipe_from_text(stored, f"{folder}/run.sqlite").novelty
    with comparing_beside(folder, novelty) as desk.comparing:
        yield


def _say_where(door: "Door", folder: Path) -> None:
    if door.path is None:
        console.line(door.address)
        console.note("This address is yours alone. Ctrl-C ends the page; decisions are kept.")
        return
    console.note(f"on the unix socket {door.path}, mode 0600; Ctrl-C ends it")
    console.line(f"localinstruct open {folder}")


def _import(desk: "Desk", path: Path) -> None:
    from localinstruct.web.review.exchange import import_decisions

    if not path.is_file():
        raise UsageError(f"{path}: no such file.", "Such a file is written by review --export.")
    added, unknown = import_decisions(desk, path)
    left = f"; {unknown} are of rows that are not here" if unknown else ""
    console.line(f"{added} new decisions in {desk.reviews.path}{left}")


def _export(desk: "Desk", path: Path, read: list[Path]) -> None:
    from localinstruct.formats import require_place
    from localinstruct.web.review.exchange import export_decisions

    require_place(path, "jsonl", read)
    console.line(f"{export_decisions(desk, path)} decisions in {path}")


def _rows(desk: "Desk", path: Path, read: list[Path]) -> None:
    from localinstruct.formats import EXPORTS, require_place
    from localinstruct.web.review.exchange import export_rows

    format = "parquet" if path.suffix == ".parquet" else "jsonl"
    assert format in EXPORTS
    require_place(path, format, read)
    console.line(f"{export_rows(desk, path, format)} rows in {path}")


def _agreement(desk: "Desk") -> None:
    from localinstruct.judge.people import agreements
    from localinstruct.progress import percent

    every = agreements(desk.reviews.opinions())
    if not every:
        raise UsageError(
            "--agreement: no row was decided on by two people yet.",
            "A second person decides on the same rows with --as NAME, here or in a copy whose "
            "decisions come back by --export and --import.",
        )
    for two in every:
        kappa, low, high = two.kappa.value, two.kappa.low, two.kappa.high
        said = "not defined: one verdict only" if kappa is None else f"{kappa:.2f}"
        said += "" if low is None or high is None else f" ({low:.2f} to {high:.2f})"
        same = f"{two.same.count} of {two.same.of}, {percent(two.same.value or 0)}"
        console.heading(" and ".join(two.people))
        console.pairs(
            [
                ("agree", f"{same}; by chance {percent(two.by_chance)}"),
                ("kappa", said),
                ("differ", f"{len(two.differ)}: in the page, State: people differ"),
            ]
        )


def _propose(desk: "Desk", size: int) -> None:
    from localinstruct.web.review.sample import propose

    there = desk.reviews.sample()
    if len(there) != size:
        desk.reviews.propose(propose(desk.index, size, desk.seed))
        desk.refresh()
    console.note(f"a sample of {len(desk.reviews.sample())} rows is proposed")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
