"""`localinstruct runs`: all runs of this folder at a glance, and removing one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone
from localinstruct.errors import UsageError

if TYPE_CHECKING:
    from localinstruct.report.glance import Glance

app = typer.Typer(help="All runs of this folder at a glance.", invoke_without_command=True)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.callback()
def runs(context: typer.Context, json: Json = False, sealed: SealedAlone = False) -> None:
    """Show all runs in runs/: state, recipe, rows, scores, what is stale, size on disk."""
    if context.invoked_subcommand:
        return
    from dataclasses import asdict

    from localinstruct.report.glance import glance
    from localinstruct.workspace import RUNS

    found = [glance(path.parent) for path in sorted(RUNS.glob("*/run.sqlite"))]
    if json:
        console.as_json([asdict(one) for one in found])
    elif not found:
        console.note(f"no runs in {RUNS.resolve()}; make one: localinstruct demo")
    else:
        _table(found)


@app.command("remove")
def runs_remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A run by name or directory.")],
    yes: Yes = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Delete a run with all that lies in it, after a question; never one that is at work."""
    from localinstruct.report.glance import size_of
    from localinstruct.store.folder import remove_run
    from localinstruct.workspace import run_path

    path = run_path(name)
    size = size_of(path)
    if not yes and not _agreed(path, size):
        raise UsageError(f"{path}: nothing was removed.", "To remove it without a question: --yes")
    remove_run(path)
    if json:
        console.as_json({"removed": str(path), "bytes": size})
    else:
        console.line(f"{path}: removed, {_megabytes(size)} freed")


def _agreed(path: Path, size: int) -> bool:
    """True when the person types yes."""
    if not console.is_typed():
        return False
    console.note(f"{path}: {_megabytes(size)}, with its rows, student and report.")
    return (console.ask("Delete it for good? Type yes:") or "").strip().lower() in ("yes", "y")


def _table(found: "list[Glance]") -> None:
    rows = [
        (
            one.name,
            one.state,
            one.recipe,
            f"{one.rows:,}",
            _megabytes(one.bytes),
            one.score,
        )
        for one in found
    ]
    console.table(("run", "state", "recipe", "rows", "size", "student"), rows)
    for one in found:
        if one.remarks:
            console.note(f"{one.name}: {'; '.join(one.remarks)}")


def _megabytes(size: int) -> str:
    """A size on disk: 0.4 MB, 12 MB, 3.1 GB."""
    if size >= 1e9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size < 9.95e6 else f"{size / 1e6:.0f} MB"
