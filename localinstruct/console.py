"""Output on the terminal: results on stdout, progress and errors on stderr.

No other module prints. On a terminal, progress is one moving line with an estimate of the time
left; without one, plain lines at most every ten seconds, so that a log stays readable. Everything
that came from a model or a file is shown without its escape sequences.
"""

import contextlib
import json
import operator
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from localinstruct.errors import Interrupted, LocalInstructError
from localinstruct.lines import CLEAR, NEWLINE, SPINNER, LiveProgress, counted, plain, wrap
from localinstruct.progress import Pace
from localinstruct.progress import Progress as ProgressProtocol

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)
PLAIN_EVERY = 10.0
"""Seconds between progress lines when stderr is not a terminal."""
NARROW_CELL = 24
"""Columns that the last cell of a table needs before it folds."""
PATIENCE = 0.3
"""Seconds before a moving line is drawn for the first time."""
_lines: "list[LiveProgress]" = []
"""The moving line of this process, where it has one."""
_begun: list[str] = []
"""The line that stands there while a command imports what it needs, where it does."""


def begin(label: str = "getting ready") -> None:
    """Show on a terminal that a command is at work, before it imports anything heavy.

    A line that stands still: threads would be in the way of the seal. What is printed next takes
    its place.
    """
    if err.is_terminal and not err.is_dumb_terminal and "LOCALINSTRUCT_STAGE" not in os.environ:
        _begun.append(label)
        err.file.write(f"\r{SPINNER[0]} {label}{CLEAR}")
        err.file.flush()


def settle() -> None:
    """Take away the line of `begin`, where it stands."""
    if _begun:
        _begun.clear()
        err.file.write(f"\r{CLEAR}")
        err.file.flush()


@contextmanager
def progress(label: str = "getting ready") -> Iterator[ProgressProtocol]:
    """The progress display for this terminal, or for none; `label` is what goes on at first.

    A stage that `run` started takes up the line of its parent, and leaves its own for it.
    """
    if not err.is_terminal or err.is_dumb_terminal:
        yield PlainProgress()
        return
    is_stage = "LOCALINSTRUCT_STAGE" in os.environ
    live, left = LiveProgress(err, label, 0.0 if is_stage or _begun else PATIENCE), False
    _lines.append(live)
    try:
        yield live
        left = is_stage
    finally:
        live.end(erase=not left)
        _lines.remove(live)
        settle()


@contextmanager
def lent(label: str) -> Iterator[None]:
    """Leave the moving line, with this label, to a child that draws its own meanwhile."""
    if not _lines:
        yield
        return
    _lines[-1].update(label, 0, 0)
    with _lines[-1].resting():
        yield


class PlainProgress:
    """Lines for a log: every phase when it begins and ends, and every ten seconds between."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._label = ""
        self._printed = 0.0

    def say(self, text: str) -> None:
        """Print a line."""
        err.print(f"  {escape(plain(text))}")

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Print a line when it is time for one."""
        left = self._pace.left(label, done, total)
        left = "" if " left" in note else left
        finished = bool(total) and done >= total
        if label == self._label and not finished and time.monotonic() - self._printed < PLAIN_EVERY:
            return
        self._label, self._printed = label, time.monotonic()
        parts = [f"{label}: {counted(done, total)}", left, note]
        err.print("  " + escape(" · ".join(part for part in parts if part)))


def _folded(text: str, console: Console, indent: str = "") -> list[str]:
    """The text in lines cut between words on a terminal, as it is in a file or pipe.

    Lines have `indent` before them, the first one too, which is taken away again.
    """
    if not console.is_terminal:
        return text.split("\n")
    first, *more = wrap(text, console.width, indent, indent)
    return [first[len(indent) :], *more]


def _show(text: str, style: str = "", console: Console = out) -> None:
    """Lines of a text, clear of the moving line."""
    with _room():
        for piece in _folded(plain(text), console):
            console.print(f"[{style}]{escape(piece)}[/]" if style else escape(piece))


@contextlib.contextmanager
def _room() -> Iterator[None]:
    """The moving line is away, and that of `begin`, until the lines between are written."""
    settle()
    with contextlib.ExitStack() as stack:
        for moving_line in _lines:
            stack.enter_context(moving_line.away())
        yield


def line(text: str = "") -> None:
    """A line of result on stdout."""
    _show(text)


def heading(text: str) -> None:
    """A bold line of result on stdout."""
    _show(text, "bold")


def note(text: str) -> None:
    """A line for the person, on stderr."""
    if _lines:
        _lines[-1].above("".join(f"{piece}\n" for piece in _folded(plain(text), err)))
        return
    _show(text, console=err)


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Aligned names and values on stdout; long values go on below themselves."""
    rows = list(rows)
    width = max((cell_len(name) for name, _ in rows), default=0)
    with _room():
        for name, value in rows:
            first, *more = _folded(plain(value), out, " " * (width + 2))
            out.print(f"[dim]{escape(set_cell_size(name, width))}[/]  {escape(first)}")
            for piece in more:
                out.print(escape(piece))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout.

    Columns of numbers are flush right; the last one folds when the terminal is narrow. Where it
    has no room for that, each row stands below its first cell, a line for a value.
    """
    settle()
    rows = [[plain(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(columns, *rows, strict=True)]
    room = out.width - sum(widths[:-1]) - 2 * len(widths)
    if out.is_terminal and room < min(widths[-1], NARROW_CELL):
        for first, *values in rows:
            heading(first)
            pairs((f"  {name}", value) for name, value in zip(columns[1:], values, strict=True))
        return
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for position, name in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        side: Literal["left", "right"] = "right" if numeric else "left"
        last = position == len(columns) - 1
        grid.add_column(name, justify=side, overflow="fold", no_wrap=not last)
    for row in rows:
        grid.add_row(*(escape(cell) for cell in row))
    with _room():
        out.print(grid, soft_wrap=False)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").strip("%-").isdigit()


def columns(names: Sequence[str], groups: Iterable[tuple[str, Sequence[Sequence[str]]]]) -> None:
    """Titled groups of rows (label, value, …) under one head of `names`, on stdout.

    Where a line would not fit the terminal, every value stands on a line of its own, after its
    name.
    """
    settle()
    groups = [(title, [[plain(cell) for cell in row] for row in rows]) for title, rows in groups]
    cells = [["", *names], *(row for _, rows in groups for row in rows)]
    widths = [max(cell_len(row[place]) for row in cells) for place in range(len(names) + 1)]
    widths[0] += 2  # below its group's title
    beside = sum(widths) + 2 * len(names) <= out.width
    if beside:
        out.print(f"[bold]{escape(_aligned(['', *names], widths))}[/]")
    for title, rows in groups:
        out.print(f"[bold]{escape(title)}[/]")
        for label, *values in rows:
            if beside:
                out.print(escape(_aligned([f"  {label}", *values], widths)))
            else:
                out.print(escape(label))
                pairs((f"  {name}", value) for name, value in zip(names, values, strict=True))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)]
    return "  ".join(cells).rstrip()


def as_json(value: object, indent: int | None = 2) -> None:
    """A JSON value on stdout, unstyled; on one line, and at once, with `indent` None."""
    settle()
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=indent) + "\n")
    if indent is None:
        sys.stdout.flush()


@contextlib.contextmanager
def prints_beside() -> Iterator[None]:
    """Send to stderr what others print meanwhile: an own method, a library, a program of theirs.

    Stdout is for results, which a program may read.
    """
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def write(text: str) -> None:
    """Text on stdout as it comes, for streamed answers."""
    settle()
    sys.stdout.write(plain(text))
    sys.stdout.flush()


def is_typed() -> bool:
    """Tell whether stdin is a person at a terminal, rather than a file or a pipe."""
    return sys.stdin.isatty()


def ask(prompt: str) -> str | None:
    """A line typed by the person, or the next line of a pipe; None at the end of input.

    A pipe gets no prompt.
    """
    settle()
    if not is_typed():
        typed = sys.stdin.readline()
        return typed.rstrip("\r\n") if typed else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, so that arrow keys edit the line
    with contextlib.ExitStack() as still:
        for moving_line in _lines:
            still.enter_context(moving_line.resting(shown=False))
        try:
            return input(f"{prompt} ") if sys.stdout.isatty() else err.input(f"{escape(prompt)} ")
        except EOFError:
            err.print()  # what comes next begins on a line of its own
            return None


@contextmanager
def side_by_side(names: Sequence[str]) -> Iterator[Callable[[int, str], None]]:
    """Texts that grow beside each other; gives a function of (column number, its text so far).

    On a terminal it is one table that moves; else every text is printed at the end, after its name.
    """
    settle()
    texts = ["" for _ in names]
    if not out.is_terminal:
        yield partial(operator.setitem, texts)
        for name, text in zip(names, texts, strict=True):
            line(f"{name}: {text}")
        return
    with Live(console=out, auto_refresh=False) as live:

        def show(number: int, text: str) -> None:
            texts[number] = text
            grid = Table(box=None, expand=True, padding=(0, 2, 0, 0), header_style="bold")
            for name in names:
                grid.add_column(name, ratio=1, overflow="fold")
            grid.add_row(*(escape(plain(text)) for text in texts))
            live.update(grid, refresh=True)

        yield show


HEAD = " " * len("stopped: ")
"""Room for the word before an error."""


def error(problem: LocalInstructError) -> None:
    """An error as a person should see it: the problem, then what to type next."""
    settle()
    stopped = isinstance(problem, Interrupted)
    label = "[bold yellow]stopped:[/]" if stopped else "[bold red]error:[/]"
    for said, text in ((label, problem.message), ("[bold]next:[/]", problem.hint)):
        if text:
            width = err.width if err.is_terminal else 0
            top, *below = plain(text).split("\n")
            first, *more = wrap(top, width, "  ", HEAD)
            more += [piece for part in below for piece in wrap(part, width, "  ", "")]
            err.print("\n".join([f"{said} {escape(first[len(HEAD) :])}", *map(escape, more)]))


def usage(problem: typer.TyperException) -> None:
    """A wrong command line, as Typer explains it."""
    settle()
    show = getattr(problem, "show", None)
    if show:
        show()
    else:
        err.print(f"[bold red]error:[/] {escape(str(problem))}")


@contextmanager
def screen() -> Iterator[Callable[[RenderableType], None]]:
    """The whole terminal, as it was before at the end; gives a function that draws it anew.

    Each frame is one write over the one before, cut at the last row.
    """
    settle()
    out.file.write("\x1b[?1049h\x1b[?25l")

    def draw(shown: RenderableType) -> None:
        with out.capture() as frame:
            out.print(shown, soft_wrap=False)
        lines = (line + CLEAR for line in frame.get().split("\n")[: out.height - 1])
        out.file.write(f"\x1b[H{NEWLINE.join(lines)}\x1b[J")
        out.file.flush()

    try:
        yield draw
    finally:
        out.file.write("\x1b[?25h\x1b[?1049l")
        out.file.flush()
