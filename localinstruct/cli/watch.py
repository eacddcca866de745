"""`localinstruct watch`: a run while it is at work, on a page, in this terminal, or as JSON."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RunArg, SealedAlone

if TYPE_CHECKING:
    from subprocess import Popen

    from rich.console import RenderableType

    from localinstruct.report.live import WatchFacts

EVERY = 1.0
"""Seconds between two looks."""
PLAIN_EVERY = 10.0
"""Seconds between two lines where there is no terminal."""
LAST_LOOKS = 4
"""Looks at a run that nothing works in any more, after which --until-end ends."""

Terminal = Annotated[bool, typer.Option("--terminal", help="Here, in place of a page.")]
Port = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="Of 127.0.0.1 for the page; default: a free one."
    ),
]
UntilEnd = Annotated[
    bool, typer.Option("--until-end", help="End a few seconds after the run does.")
]


def watch(
    target: RunArg,
    terminal: Terminal = False,
    port: Port = 0,
    until_end: UntilEnd = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Watch a run at work: rows, pace, time left, rejects, losses, memory. It only reads.

    It plays on after a stop and a resume, and says when a run is dead rather than slow. --json
    prints a line a second. Ctrl-C ends it, not the run.
    """
    from localinstruct.workspace import run_path, seal_as_its_recipe

    path = run_path(target)
    seal_as_its_recipe(path)
    if not terminal and not json:
        from localinstruct.web.watch import serve_watch

        serve_watch(path, port, until_end)
        return
    facts = looks(path, until_end)
    try:
        if json:
            for one in facts:
                console.as_json(one.to_dict(), indent=None)
        elif console.out.is_terminal:
            _on_screen(facts)
        else:
            _plain(facts)
    except KeyboardInterrupt:
        console.note("stopped; the run goes on as it was.")


@contextmanager
def watched(path: Path, *, wanted: bool) -> "Iterator[Popen[str] | None]":
    """Serve the page of this run beside it, in a process that ends some seconds after the run."""
    if not wanted:
        yield None
        return
    import os
    import subprocess
    import sys

    from localinstruct.store.lock import LOCK_FD

    command = [sys.executable, "-m", "localinstruct", "watch", str(path), "--until-end"]
    environment = {name: value for name, value in os.environ.items() if name != LOCK_FD}
    page = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C stops the run; the page still shows that
        text=True,
    )
    assert page.stdout is not None
    with page.stdout:
        address = page.stdout.readline().strip()
    console.note(f"watch it: {address}" if address else "the page to watch it did not start")
    yield page


def looks(path: Path, until_end: bool) -> "Iterator[WatchFacts]":
    """The facts of a run, once a second, for ever or until it has ended."""
    from localinstruct.report.live import Watch

    watcher, idle = Watch(path), 0
    while True:
        began = time.monotonic()
        facts = watcher.look()
        yield facts
        idle = 0 if facts.state == "running" else idle + 1
        if until_end and idle >= LAST_LOOKS:
            return
        time.sleep(max(0.0, EVERY - (time.monotonic() - began)))


def _on_screen(facts: "Iterator[WatchFacts]") -> None:
    with console.screen() as draw:
        for one in facts:
            draw(view(one, console.out.width))


def _plain(facts: "Iterator[WatchFacts]") -> None:
    """A line every ten seconds, and at every change of what goes on."""
    from localinstruct.report import live_words as words

    said, at = "", 0.0
    for one in facts:
        now = (one.state, one.stage, one.doing)
        if str(now) != said or one.at - at >= PLAIN_EVERY:
            said, at = str(now), one.at
            parts = [f"{name} {value}" for name, value in words.pace(one)]
            console.line(" · ".join([words.headline(one), *parts]))


def view(facts: "WatchFacts", width: int) -> "RenderableType":
    """One frame of the terminal view."""
    from rich.console import Group
    from rich.text import Text

    from localinstruct.report import live_words as words

    style = {"running": "green", "dead": "bold red", "stopped": "yellow"}.get(facts.state, "")
    head = Text.assemble((facts.run, "bold"), f"  {facts.recipe}, {facts.method}")
    lines = [head, Text(words.headline(facts), style=style)]
    if command := words.next_step(facts):
        lines.append(Text(f"next: {command}", style="bold"))
    lines += [Text(remark) for remark in facts.remarks]
    lines += [Text(words.stages(facts), style="dim"), Text()]
    pairs = words.pace(facts)
    label = max((len(name) for name, _ in pairs), default=0)
    lines += [
        Text.assemble((name.ljust(label + 2), "dim"), console.plain(value)) for name, value in pairs
    ]
    return Group(*lines, *_curves(facts, width), *_rejects(facts), *_rows(facts, width))


def _curves(facts: "WatchFacts", width: int) -> "list[RenderableType]":
    from rich.text import Text

    from localinstruct.lines import sparkline
    from localinstruct.progress import loss, per_second

    made, training, shown = facts.generation, facts.training, []
    rates = [value for _, value in made.tokens_over_time]
    if rates and facts.stage == "generate":
        shown.append(("output tokens/s", rates, f"up to {per_second(max(rates))}"))
    if training and training.losses:
        losses = [value for _, value in training.losses]
        shown.append(("loss", losses, f"{loss(losses[0])} → {loss(losses[-1])}"))
    room = max(10, min(60, width - 40))
    lines: list[RenderableType] = [Text()] if shown else []
    for name, values, note in shown:
        drawn = sparkline(_averaged(values, room), room)
        lines.append(Text.assemble((name.ljust(17), "dim"), drawn, (f"  {note}", "dim")))
    return lines


def _averaged(values: list[float], most: int) -> list[float]:
    """At most so many values, each the mean of a group."""
    size = -(-len(values) // most)
    groups = [values[place : place + size] for place in range(0, len(values), size or 1)]
    return [sum(group) / len(group) for group in groups]


def _rejects(facts: "WatchFacts") -> "list[RenderableType]":
    from rich.table import Table
    from rich.text import Text

    from localinstruct.report import live_words as words

    if not facts.generation.reasons and not facts.generation.topics:
        return []
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    grid.add_column("rejects", no_wrap=True)
    grid.add_column("", justify="right")
    grid.add_column("of all", justify="right")
    for reason, count, share in words.rejects(facts):
        grid.add_row(Text(reason), count, share)
    topics = " · ".join(f"{topic} {count}" for topic, count in words.topics(facts))
    return [Text(), grid, *([Text.assemble(("topics  ", "dim"), topics)] if topics else [])]


def _rows(facts: "WatchFacts", width: int) -> "list[RenderableType]":
    from rich.text import Text

    if not facts.rows:
        return []
    lines: list[RenderableType] = [Text(), Text("newest rows", style="dim")]
    for row in facts.rows:
        text = " ".join(console.plain(f"{row.instruction} {row.input}").split())
        shown = Text(f"  {text} → {' '.join(console.plain(row.output).split())}", no_wrap=True)
        shown.truncate(width - 1, overflow="ellipsis")
        lines.append(shown)
    return lines
