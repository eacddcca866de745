"""Eight processes on one run; signals of every kind; a terminal that goes away; a clock that jumps
ten years."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.torture.kills import GENERATE, Tick, finished, judge, reference
from tests.torture.program import become_child, exported, killer, play, run, workspace

PROCESSES = 8
DECADE = 10 * 365.25 * 86400
SECONDS_TO_END = 5.0
"""From a signal to the end of the program, on a machine that does nothing else."""


def races(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Eight start on one run at the same moment: one works, seven are told its pid; the result is
    the same."""
    expected, wrong = reference(folder / "undisturbed")[0], list[str]()
    for number in range(count):
        here = folder / f"race-{number}"
        workspace(here)
        codes, said = _eight(here)
        losers = [text for code, text in zip(codes, said, strict=True) if code == 75]
        if codes.count(0) < 1 or len(losers) + codes.count(0) != PROCESSES:
            wrong.append(
                f"{here.name}: exit codes {sorted(codes)}: {said[codes.index(max(codes))][-200:]}"
            )
        wrong += [
            f"{here.name}: told {text[-200:]}" for text in losers if "in use by process" not in text
        ]
        if exported(here)[0] != expected:
            wrong.append(f"{here.name}: the export differs from the undisturbed run's")
        shutil.rmtree(here)
        tick(number + 1)
    return wrong


def _eight(folder: Path) -> tuple[list[int], list[str]]:
    """Exit codes and words of eight processes that begin together."""
    start = time.monotonic() + 0.3
    children = []
    for number in range(PROCESSES):
        pid = os.fork()
        if pid == 0:
            _race(folder, number, start)
        children.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    return codes, [(folder / f"said-{number}").read_text() for number in range(PROCESSES)]


def _race(folder: Path, number: int, start: float) -> None:
    """In a child: wait for the start, be the program, and write down what it said."""
    try:
        become_child(folder, folder / f"said-{number}")
        time.sleep(max(0.0, start - time.monotonic()))
        play(GENERATE)
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 0)
    os._exit(1)


SIGNALS: dict[str, tuple[int, ...]] = {
    "SIGINT": (signal.SIGINT,),
    "SIGTERM": (signal.SIGTERM,),
    "SIGHUP": (signal.SIGHUP,),
    "double Ctrl-C": (signal.SIGINT, signal.SIGINT),
    "SIGTERM after Ctrl-C": (signal.SIGINT, signal.SIGTERM),
}


def signals(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Each kind in turn at a random moment: exit 130 within SECONDS_TO_END, what is kept is said,
    and the run goes on."""
    expected, seconds = reference(folder / "undisturbed")
    wrong, struck, number = list[str](), 0, -1
    # a run that had ended before its signal does not count
    while struck < count and number < 4 * count:
        number += 1
        here = folder / f"run-{number}"
        workspace(here)
        name = list(SIGNALS)[number % len(SIGNALS)]
        sent: list[float] = []
        outcome = run(here, GENERATE, _sender(SIGNALS[name], rng.uniform(0.2, 0.7) * seconds, sent))
        if outcome.code == -SIGNALS[name][0] and not outcome.said and not (here / "runs").exists():
            continue  # the signal came before there was a program that could hear it
        struck += outcome.code == 130
        took = time.monotonic() - sent[0] if sent else 0.0
        if outcome.code not in (0, 130) or not outcome.clean or took > SECONDS_TO_END:
            wrong.append(
                f"{here.name}, {name}: exit {outcome.code} after {took:.1f} s: "
                f"{outcome.said[-400:]}"
            )
        told = any(
            words in outcome.said for words in ("rows are kept", "what was counted as kept is kept")
        )
        if outcome.code == 130 and len(SIGNALS[name]) == 1 and not told:
            wrong.append(f"{here.name}, {name}: it did not say what is kept: {outcome.said[-300:]}")
        wrong += judge(here.name, here, outcome, outcome.shown) + finished(here, expected)
        tick(struck)
    return wrong + ([] if struck >= count else [f"only {struck} of {count} signals came in time"])


def _sender(numbers: tuple[int, ...], delay: float, sent: list[float]) -> Callable[[int], None]:
    def harm(pid: int) -> None:
        for position, number in enumerate(numbers):
            killer(delay if position == 0 else 0.05, number)(pid)
            sent.append(time.monotonic())

    return harm


def terminal_gone(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The terminal closes (its other end goes away, SIGHUP comes, output fails): no traceback, and
    the run goes on."""
    expected, seconds = reference(folder / "undisturbed")
    wrong: list[str] = []
    for number in range(count):
        here = folder / f"run-{number}"
        workspace(here)

        def no_terminal() -> None:
            reading, writing = os.pipe()
            os.close(reading)
            for standard in (1, 2):
                os.dup2(writing, standard)
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)

        outcome = run(
            here,
            GENERATE,
            killer(rng.uniform(0.2, 0.8) * seconds, signal.SIGHUP),
            before=no_terminal,
        )
        if outcome.code not in (0, 1, 130, 120, 141):
            wrong.append(f"{here.name}: exit {outcome.code}")
        wrong += judge(here.name, here, outcome, outcome.shown) + finished(here, expected)
        tick(number + 1)
    return wrong


def clock(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The clock jumps ten years forth or back at random calls, also while the run is interrupted:
    the same rows."""
    expected, seconds = reference(folder / "undisturbed")
    wrong: list[str] = []
    for number in range(count):
        here, lot = folder / f"run-{number}", rng.random()
        workspace(here)

        def jumping(lot: float = lot) -> None:
            real, chance = time.time, Random(lot)
            time.time = lambda: real() + chance.choice((0.0, DECADE, -DECADE))

        first = run(here, GENERATE, killer(rng.uniform(0.3, 0.9) * seconds), before=jumping)
        second = run(here, GENERATE, before=jumping)
        if second.code != 0 or not second.clean:
            wrong.append(f"{here.name}: exit {second.code}: {second.said[-300:]}")
        wrong += judge(here.name, here, second, first.shown)
        if exported(here)[0] != expected:
            wrong.append(f"{here.name}: the export differs from the undisturbed run's")
        shutil.rmtree(here)
        tick(number + 1)
    return wrong
