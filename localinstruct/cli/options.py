"""Options and arguments that several commands share."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from localinstruct import console

if TYPE_CHECKING:
    from localinstruct.formats import Reading


def _seal(value: bool) -> bool:
    """Seal this process before a command imports anything heavy; its children are born sealed."""
    return _enter(value, loopback=True)


def _seal_alone(value: bool) -> bool:
    """Seal a command that serves no model; where that fails it runs without internet sockets."""
    return _enter(value, loopback=False)


def _enter(value: bool, *, loopback: bool) -> bool:
    if value:
        from localinstruct.offline import seal

        state = seal.begin(True, loopback=loopback)
        for line in [state.headline] if state.sealed else seal.describe(state):
            console.note(line)
    return value


def prepare_commands(group: typer.Typer) -> None:
    """Give all commands what Typer does not: a sign of life at once, and help that flows.

    A command shows that it is at work before it imports anything. The paragraphs of its help end
    their lines where the terminal ends; Typer keeps the ends that a docstring has, in all but
    the first.
    """
    for command in group.registered_commands:
        assert command.callback is not None
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(part.split()) for part in paragraphs)
        command.callback = _seen_at_once(command.callback)
    for inner in group.registered_groups:
        if inner.typer_instance:
            prepare_commands(inner.typer_instance)


def _seen_at_once(command: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(command)
    def begun(*values: object, **named: object) -> object:
        console.begin()
        return command(*values, **named)

    return begun


def _allow(names: list[str] | None) -> list[str] | None:
    """Allow other machines, in this process and the stages that it starts."""
    if names:
        from localinstruct.offline import addresses

        addresses.allow(names)
    return names


def _run_name(name: str | None) -> str | None:
    """The name of a run as a recipe could give it; UsageError for a path, or for nothing."""
    from localinstruct.recipe.recipe import require_run_name

    if name is not None:
        require_run_name(name, "--name")
    return name


PASTE_COLUMNS = "--columns '{columns}'"
"""What to type for a file whose columns are not told from their names."""


def reading_of(
    columns: str | None, encoding: str | None, on_bad_row: Literal["skip", "stop"]
) -> "Reading":
    """How a file is read, from these options; UsageError that names a wrong one."""
    from localinstruct.config import parse
    from localinstruct.errors import LocalInstructError, UsageError
    from localinstruct.formats import Reading, parse_columns

    given = {"columns": parse_columns(columns or ""), "encoding": encoding}
    try:
        return parse(Reading, given | {"on_bad_row": on_bad_row}, "options")
    except LocalInstructError as problem:
        words = problem.message.removeprefix("options: ")
        example = "encoding cp1252" if encoding else "columns instruction=question,output=reply"
        raise UsageError(f"--{words}", f"For example: --{example}") from None


Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="OURS=THEIRS,…",
        help="Names of the file's columns, where they cannot be told: "
        "instruction=question,output=reply.",
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Encoding of the file's text, such as cp1252; default: UTF-8."),
]
OnBadRow = Annotated[
    Literal["skip", "stop"],
    typer.Option("--on-bad-row", help="Leave out rows that cannot be used, or stop at them."),
]
RecipeArg = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE", help="A recipe file, or the name of one that came with the program."
    ),
]
TargetArg = Annotated[
    str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or a run by name or directory.")
]
RunArg = Annotated[
    str, typer.Argument(metavar="RUN", help="A run by name (runs/NAME) or directory.")
]
Name = Annotated[
    str | None,
    typer.Option("--name", callback=_run_name, help="Name of the run; default: the recipe's name."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. generate.target=500."
    ),
]
SEALED_HELP = "Cut off every network first, and prove it."
Sealed = Annotated[bool, typer.Option("--sealed", is_eager=True, callback=_seal, help=SEALED_HELP)]
SealedAlone = Annotated[
    bool, typer.Option("--sealed", is_eager=True, callback=_seal_alone, help=SEALED_HELP)
]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-host",
        metavar="NAME",
        callback=_allow,
        help="Allow endpoints on this other machine of a closed network; repeat for more.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, for programs.")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Delete an existing run of this name and start over.")
]
Redo = Annotated[
    bool,
    typer.Option(
        "--redo",
        help="Accept changed training or evaluation keys: keep the rows, repeat those stages; "
        "write over files changed by hand, of which copies are kept.",
    ),
]


def require_choice(option: str, value: str, choices: list[str]) -> None:
    """UsageError, with the nearest right one, when an option's value is none of `choices`."""
    from localinstruct.config import did_you_mean
    from localinstruct.errors import UsageError

    if value not in choices:
        raise UsageError(
            f"{option}: {value!r} is not one of {', '.join(choices)}.", did_you_mean(value, choices)
        )


WatchIt = Annotated[
    bool,
    typer.Option("--watch", help="Serve a page on which the run can be watched, while it works."),
]
