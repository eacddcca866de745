"""`localinstruct improve`: rounds of evaluate, generate where it is weakest, train, evaluate."""

from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RunArg, Sealed

if TYPE_CHECKING:
    from localinstruct.improve.state import Round, State

Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Rounds at most.")]
Rows = Annotated[
    int | None,
    typer.Option(
        "--rows", min=1, help="New rows of a round; default: a quarter of the run's target."
    ),
]
Weakest = Annotated[
    int, typer.Option("--weakest", min=1, help="Families or kinds that a round works on.")
]
Patience = Annotated[
    int,
    typer.Option(
        "--patience", min=1, help="Rounds in a row not shown to gain, after which it ends."
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Delete the rounds that are there and start over.")
]


def improve(
    target: RunArg,
    rounds: Rounds = 3,
    rows: Rows = None,
    weakest: Weakest = 3,
    patience: Patience = 1,
    fresh: Fresh = False,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Improve a run's student: find its weakest sides, generate there, train, evaluate again.

    Every round is a run of its own, RUN-round-1 and so on, reported beside the run it began from.
    Goes on where it was stopped.
    """
    from localinstruct.improve.state import as_json
    from localinstruct.improve.work import Asked, Improvement, finished_here, forget
    from localinstruct.workspace import run_path, seal_as_its_recipe

    path = run_path(target)
    seal_as_its_recipe(path)
    if fresh:
        for gone in forget(path):
            console.note(f"{gone}: removed")
    asked = Asked(rounds, rows, weakest, patience)
    with console.progress() as progress:

        def show(one: "Round") -> None:
            progress.say(_words(one))

        work = Improvement(path, asked, finished_here(progress), progress, show)
        state = work.work()
    if json:
        console.as_json(as_json(state) | {"page": str(work.page)})
    else:
        _summary(state, str(work.page))


def _words(one: "Round") -> str:
    from dataclasses import asdict

    from localinstruct.report.rounds import gain_words

    assert one.gain is not None
    return f"round {one.number}, {one.run} against {one.began_from}: {gain_words(asdict(one.gain))}"


def _summary(state: "State", page: str) -> None:
    from localinstruct.improve.state import as_json
    from localinstruct.report.rounds import NOT_A_CLAIM, confirmation, headline

    values = as_json(state)
    console.heading(headline(values))
    for one in state.finished:
        console.line(f"  {_words(one)}")
    console.note(f"Ended: {state.ended}. Page: {page}")
    if command := confirmation(values):
        console.note(f"{NOT_A_CLAIM} {command}")
