"""strace around the program: every place at which something comes to last is found, then struck,
before it and after it.

A place is a system call on one file, such as `fdatasync runs/tortured/run.sqlite-wal`; the places
are those that an undisturbed run shows. Before: SIGKILL as the call is entered, so that it is not
done. After: strace holds the process as the call comes back, and SIGKILL ends it there. Atomic
files get the same temporary name each time, so that strace can be told it. Not covered: what SQLite
writes into its mapped index (run.sqlite-shm), which is no system call; it is made anew from the
log.
"""

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.torture.kills import COMMANDS, GENERATE, Tick, finished, judge, products, reference
from tests.torture.program import Outcome, play_at, run, workspace

LASTING = (
    "pwrite64|write|fdatasync|fsync|rename|renameat|renameat2|ftruncate|unlink|unlinkat"
    "|mkdir|mkdirat"
)
"""System calls by which something comes to last: SQLite writes, commits (fdatasync) and makes files
with them, and so do our atomic files (write, fsync, rename)."""
KINDS = ("write", "sync", "rename", "truncate", "unlink", "mkdir")
"""Words of which each must be in the name of some call that was struck."""
SIDES = ("before", "after")
WORDS = {"generate": GENERATE, **COMMANDS}
Work = Callable[[int, Random, Path, Tick], list[str]]
TARGET = 40
"""Rows of the runs that are struck: enough for hundreds of writes and a dozen commits."""
PATIENCE = 120
"""Seconds after which a process under strace is given up."""
SET_TRACER = 0x59616D61
"""prctl's PR_SET_PTRACER: some systems let only a parent trace, unless the child allows it."""


@dataclass(frozen=True, order=True)
class Place:
    """A system call on one file, named from the workspace."""

    command: str
    call: str
    file: str

    def __str__(self) -> str:
        return f"{self.command}: {self.call} {self.file}"


def straced(folder: Path, words: list[str], options: list[str], timing: str = "") -> Outcome:
    """The program under strace, which writes what it sees to `.calls`; one that strace holds after
    a call is killed."""

    def before() -> None:
        ctypes.CDLL(None).prctl(SET_TRACER, -1)
        play_at(timing)
        os.kill(os.getpid(), signal.SIGSTOP)

    return run(folder, words, lambda pid: _trace(pid, folder / ".calls", options), before=before)


def _trace(pid: int, log: Path, options: list[str]) -> None:
    log.write_bytes(b"")
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), *options, "-p", str(pid)],
        stderr=subprocess.DEVNULL,
    )
    status, until = Path(f"/proc/{pid}/status"), time.monotonic() + PATIENCE
    while "TracerPid:\t0\n" in status.read_text() and tracer.poll() is None:
        time.sleep(0.001)
    os.kill(pid, signal.SIGCONT)
    while tracer.poll() is None:
        late = time.monotonic() > until
        if late or b"(DELAYED)" in log.read_bytes():
            os.kill(pid, signal.SIGKILL)
            tracer.kill()
        assert not late, f"{options}: not ended within {PATIENCE} s"
        time.sleep(0.002)


def only(folder: Path, *files: str) -> list[str]:
    """strace's options for these files of a workspace, as open descriptors and as the program
    writes their names."""
    return [word for file in files for word in ("-P", str(folder / file), "-P", file)]


def places(folder: Path, words: list[str], calls: str = LASTING) -> Counter[Place]:
    """How often the undisturbed command makes each of the calls on each file of its workspace,
    failed ones left out."""
    outcome = straced(folder, words, ["-e", f"trace=/^({calls})$"])
    assert outcome.code == 0, outcome.said
    found = Counter[Place]()
    for line in (folder / ".calls").read_text().splitlines():
        match = re.match(r'\d+ +(\w+)\((?:AT_FDCWD<[^>]*>, )?(?:\d+<(/[^>]*)>|"([^"]*)")', line)
        path = os.path.normpath(folder / (match[2] or match[3])) if match else ""
        inside = path.startswith(f"{folder}/") and Path(path).name != ".said"
        if match and inside and " = -1 E" not in line:
            found[Place(words[0], match[1], os.path.relpath(path, folder))] += 1
    return found


def generate(side: str) -> Work:
    """A row: strike every place of generate `count` times on this side, at different calls as far
    as there are.

    Where there are fewer, the same call is struck again, with other moments of the teacher.
    """

    def row(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
        struck = Counter[str]()
        wrong = _every_place("generate", (side,), count, count, rng, folder.resolve(), struck, tick)
        return wrong + [
            f"no {kind} was struck" for kind in KINDS if not any(kind in call for call in struck)
        ]

    return row


def stages(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Strike every place of the other commands on both sides, each call once (at most `count`):
    nothing depends on time there."""
    wrong, struck = list[str](), Counter[str]()
    for command in COMMANDS if count > 1 else ("export",):
        wrong += _every_place(command, SIDES, count, 1, rng, folder.resolve(), struck, tick)
    return wrong + [
        f"no {kind} was struck"
        for kind in ("write", "sync", "rename")
        if not struck[kind.replace("sync", "fsync")]
    ]


def _every_place(
    command: str,
    sides: Sequence[str],
    most: int,
    least: int,
    rng: Random,
    folder: Path,
    struck: Counter[str],
    tick: Tick,
) -> list[str]:
    """What is wrong after each place was struck as often as it has calls, at most and at least so
    often; counts the strikes."""
    words, wrong = WORDS[command], list[str]()
    if not (folder / "undisturbed").exists():
        (folder / "export").write_bytes(reference(folder / "undisturbed", TARGET)[0])
    counted = places(_prepared(folder, command, f"counted-{command}"), words)
    made = (
        products(folder / f"counted-{command}", command)
        if command in COMMANDS
        else [(folder / "export").read_bytes()]
    )
    jobs = [
        (folder, place, side, _turns(max(least, min(most, number)), number, rng), made)
        for place, number in sorted(counted.items())
        for side in sides
    ]
    with get_context("fork").Pool(os.cpu_count()) as pool:
        for call, hits, found in pool.imap_unordered(_strikes, jobs):
            struck[call] += hits
            wrong += found
            tick(struck.total())
    known = (
        json.loads((folder / "reached.json").read_text())
        if (folder / "reached.json").exists()
        else {"places": 0}
    )
    (folder / "reached.json").write_text(
        json.dumps({"places": known["places"] + len(counted), **struck})
    )
    return wrong


def _turns(wanted: int, total: int, rng: Random) -> list[int]:
    """Which calls to strike: different ones as far as there are, then again."""
    return [n for _ in range(wanted // total + 1) for n in rng.sample(range(1, total + 1), total)][
        :wanted
    ]


def _strikes(job: tuple[Path, Place, str, list[int], list[bytes]]) -> tuple[str, int, list[str]]:
    """(call, how often it was struck, what is wrong); a call that this time does not come is
    replaced by an earlier one."""
    folder, place, side, turns, made = job
    hits, wrong, rng = 0, list[str](), Random(f"{place} {side}")
    for number, when in enumerate(turns):
        hit, found = _strike(folder, place, side, when, f"{number}", made)
        if not hit:
            hit, more = _strike(
                folder, place, side, rng.randint(1, when // 2 + 1), f"{number}", made
            )
            found += more
        hits, wrong = hits + hit, wrong + found
    return (
        place.call,
        hits,
        wrong
        + (
            []
            if hits == len(turns)
            else [f"{place}: struck {hits} of {len(turns)} times {side} it"]
        ),
    )


def _prepared(folder: Path, command: str, name: str) -> Path:
    """A workspace in which this command is the next: a fresh one, or a copy of the undisturbed
    run's."""
    here = folder / name
    if command == "generate":
        workspace(here, TARGET)
    else:
        shutil.copytree(folder / "undisturbed", here)
    return here


def _strike(
    folder: Path, place: Place, side: str, when: int, timing: str, made: list[bytes]
) -> tuple[bool, list[str]]:
    """Whether the `when`-th call came and was struck, and what is wrong afterwards."""
    here, words = _prepared(folder, place.command, f"struck-{os.getpid()}"), WORDS[place.command]
    harm = "signal=SIGKILL" if side == "before" else f"delay_exit={2 * PATIENCE}s"
    outcome = straced(
        here,
        words,
        [
            *only(here, place.file),
            "-e",
            f"trace={place.call}",
            "-e",
            f"inject={place.call}:{harm}:when={when}",
        ],
        timing,
    )
    struck = outcome.code == -signal.SIGKILL
    wrong = [] if struck or outcome.code == 0 else [f"exit {outcome.code}: {outcome.said[-300:]}"]
    if place.command == "generate":
        wrong += judge("the store", here, outcome, outcome.shown) + finished(here, made[0])
    else:
        again = run(here, words)
        wrong += [] if again.code == 0 else [f"exit {again.code} afterwards: {again.said[-300:]}"]
        wrong += (
            []
            if products(here, place.command) == made
            else ["its files differ from the undisturbed ones"]
        )
        shutil.rmtree(here)
    return struck, [f"{place}, {side} call {when}, timing {timing}: {line}" for line in wrong]
