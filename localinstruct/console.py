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
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table

from localinstruct.errors import Interrupted, LocalInstructError
from localinstruct.progress import Pace
from localinstruct.progress import Progress as ProgressProtocol

out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False, soft_wrap=True)
PLAIN_EVERY = 10.0
"""Seconds between progress lines when stderr is not a terminal."""


@contextmanager
def progress() -> Iterator[ProgressProtocol]:
    """The progress display for this terminal, or for none."""
    if not err.is_terminal:
        yield PlainProgress()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(24),
        TextColumn("{task.fields[count]}"),
        TextColumn("[dim]{task.fields[note]}[/]"),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        yield LiveProgress(bars)


class LiveProgress:
    """One moving line on a terminal."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task = bars.add_task("", total=None, count="", note="", visible=False)
        self._pace = Pace()

    def say(self, text: str) -> None:
        """Print a lasting line above the moving one."""
        self._bars.console.print(f"  {escape(plain(text))}")

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Replace the moving line."""
        count, left = _count(done, total), self._pace.left(label, done, total)
        self._bars.update(
            self._task,
            description=escape(label),
            completed=done,
            total=total or None,
            count=count,
            note=escape(" · ".join(part for part in (left, note) if part)),
            visible=True,
        )


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
        finished = bool(total) and done >= total
        if label == self._label and not finished and time.monotonic() - self._printed < PLAIN_EVERY:
            return
        self._label, self._printed = label, time.monotonic()
        parts = [f"{label}: {_count(done, total)}", left, note]
        err.print("  " + escape(" · ".join(part for part in parts if part)))


ESCAPES = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
HIDDEN = ESCAPES | BIDI | {0x200B, 0xFEFF}
"""Code points that are not shown: terminal escapes, overrides of direction, zero-width blanks."""


def plain(text: str) -> str:
    """The text without control characters; newlines and tabs stay."""
    return "".join(letter for letter in text if ord(letter) not in HIDDEN)


def line(text: str = "") -> None:
    """A line of result on stdout."""
    out.print(escape(plain(text)))


def heading(text: str) -> None:
    """A bold line of result on stdout."""
    out.print(f"[bold]{escape(plain(text))}[/]")


def note(text: str) -> None:
    """A line for the person, on stderr."""
    err.print(escape(plain(text)))


def pairs(rows: Iterable[tuple[str, str]]) -> None:
    """Aligned names and values on stdout."""
    rows = list(rows)
    width = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        out.print(f"[dim]{escape(name.ljust(width))}[/]  {escape(plain(value))}")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout.

    Columns of numbers are flush right; only the last one folds when the terminal is narrow.
    """
    rows = [[plain(cell) for cell in row] for row in rows]
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for position, name in enumerate(columns):
        numeric = bool(rows) and all(_is_number(row[position]) for row in rows)
        side: Literal["left", "right"] = "right" if numeric else "left"
        last = position == len(columns) - 1
        grid.add_column(name, justify=side, overflow="fold", no_wrap=not last)
    for row in rows:
        grid.add_row(*(escape(cell) for cell in row))
    out.print(grid, soft_wrap=False)


def _is_number(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "").strip("%-").isdigit()


def columns(names: Sequence[str], groups: Iterable[tuple[str, Sequence[Sequence[str]]]]) -> None:
    """Titled groups of rows (label, value, …) under one head of `names`, on stdout.

    Where a line would not fit the terminal, every value stands on a line of its own, after its
    name.
    """
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
    sys.stdout.write(plain(text))
    sys.stdout.flush()


def is_typed() -> bool:
    """Tell whether stdin is a person at a terminal, rather than a file or a pipe."""
    return sys.stdin.isatty()


def ask(prompt: str) -> str | None:
    """A line typed by the person, or the next line of a pipe; None at the end of input.

    A pipe gets no prompt.
    """
    if not is_typed():
        typed = sys.stdin.readline()
        return typed.rstrip("\r\n") if typed else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401, so that arrow keys edit the line
    try:
        return input(f"{prompt} ") if sys.stdout.isatty() else err.input(escape(prompt) + " ")
    except EOFError:
        err.print()  # what comes next begins on a line of its own
        return None


@contextmanager
def side_by_side(names: Sequence[str]) -> Iterator[Callable[[int, str], None]]:
    """Texts that grow beside each other; gives a function of (column number, its text so far).

    On a terminal it is one table that moves; else every text is printed at the end, after its name.
    """
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


def error(problem: LocalInstructError) -> None:
    """An error as a person should see it: the problem, then what to type next."""
    stopped = isinstance(problem, Interrupted)
    label = "[bold yellow]stopped:[/]" if stopped else "[bold red]error:[/]"
    if problem.message:
        err.print(f"{label} {escape(plain(problem.message))}")
    if problem.hint:
        err.print(f"[bold]next:[/] {escape(plain(problem.hint))}")


def usage(problem: typer.TyperException) -> None:
    """A wrong command line, as Typer explains it."""
    show = getattr(problem, "show", None)
    if show:
        show()
    else:
        err.print(f"[bold red]error:[/] {escape(str(problem))}")


def _count(done: float, total: float) -> str:
    if not total:
        return f"{done:,.0f} s"
    return f"{done:,.0f}/{total:,.0f}"
