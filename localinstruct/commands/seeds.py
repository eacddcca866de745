"""`localinstruct seeds`: what is wrong with a seed file before a run costs a night; nothing is written.

Not covered: seeds that say the same in other words (`novelty` compares by meaning, in a run).
"""

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.commands.options import SealedAlone

if TYPE_CHECKING:
    from localinstruct.records import Instance

app = typer.Typer(no_args_is_help=True, help="Seed files: what is wrong with them.")


@app.callback()
def seeds() -> None:
    """Seed files: what is wrong with them."""


@app.command("check")
def seeds_check(
    file: Annotated[Path, typer.Argument(help="A seed file in any format that a recipe reads.")],
    sealed: SealedAlone = False,
) -> None:
    """Seeds that are repeated, and seeds that the default filters would reject. Exit code 2 where there are any."""
    from localinstruct.formats import read_instances

    rows = read_instances(file, first_instance_only=True)
    found = problems(rows)
    if found:
        console.table(("seed", "problem", "instruction"), found)
    console.line(f"{len(rows)} seeds read, {len({seed for seed, _, _ in found})} with a problem")
    if found:
        raise typer.Exit(2)


def problems(rows: "list[Instance]") -> list[tuple[str, str, str]]:
    """Number, problem and beginning of every seed that repeats an earlier one or fails a filter."""
    from localinstruct.curate.filters import Filters, first_reason

    seen: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    for number, row in enumerate(rows, 1):
        earlier = seen[" ".join(f"{row.instruction}\n{row.input}".casefold().split())]
        if earlier:
            found.append((str(number), f"the same as seed {earlier[0]}", row.instruction[:60]))
        earlier.append(number)
        if (reject := first_reason(row, Filters())) is not None:
            found.append((str(number), reject.reason, row.instruction[:60]))
    return found
