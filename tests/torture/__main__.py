"""Run the matrix, print its table, write docs/torture.md: `make torture`, or `python -m
tests.torture --help`."""

import argparse
import gc
import json
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from localinstruct import machine
from localinstruct.console import progress
from localinstruct.store.durable import write_text
from tests.support.foreground import begin_in_foreground
from tests.torture import (
    bundles,
    cleaning,
    damage,
    disk,
    disk_stages,
    endpoints,
    inputs,
    kills,
    model_stages,
    points,
    several,
    soak,
    teachers,
)

PAGE = Path(__file__).parents[2] / "docs" / "torture.md"
RESULTS = Path(__file__).parent / "results.json"
"""Name of a row -> what came of it when it was last done with --write; the page is made from
this."""
BEGIN, END = "<!-- table: written by make torture -->", "<!-- end of table -->"


@dataclass(frozen=True)
class Row:
    """One fault of the matrix."""

    name: str
    fault: str
    count: int
    """In a full run; what is counted is in `unit`."""
    unit: str
    small: int
    """In `make test` or `make test-all`."""
    work: Callable[[int, Random, Path, kills.Tick], list[str]]
    must: str


SAME = "0 lost, 0 doubled, export equal to the byte"
LASTING = (
    "every write, sync, rename, truncation, removal and new folder (places: such a system "
    "call on a file)"
)
ROWS = (
    Row(
        "random-kill",
        "SIGKILL at a random moment of generate",
        1000,
        "kills",
        6,
        kills.random_moments,
        SAME,
    ),
    Row(
        "before-every-point",
        f"SIGKILL before {LASTING} in generate",
        20,
        "times each place",
        1,
        points.generate("before"),
        SAME,
    ),
    Row(
        "after-every-point",
        f"SIGKILL after {LASTING} in generate",
        20,
        "times each place",
        1,
        points.generate("after"),
        SAME,
    ),
    Row(
        "every-point-later",
        f"SIGKILL before and after {LASTING} in dataset, report, export",
        20,
        "calls of each place, as far as it has so many",
        1,
        points.stages,
        "the same files afterwards",
    ),
    Row(
        "recovery-kill",
        "SIGKILL during recovery, again and again",
        200,
        "kills",
        4,
        kills.recovery,
        SAME,
    ),
    Row(
        "stage-kill",
        "SIGKILL during dataset, report, export",
        50,
        "kills each",
        1,
        kills.stages(["dataset", "report", "export"]),
        "the same files afterwards",
    ),
    Row(
        "train-kill",
        "SIGKILL during train",
        50,
        "kills",
        2,
        model_stages.row("train"),
        "goes on from the last complete checkpoint; same curve and weights",
    ),
    Row(
        "evaluate-kill",
        "SIGKILL during evaluate",
        50,
        "kills",
        2,
        model_stages.row("evaluate"),
        "the same files afterwards",
    ),
    Row(
        "teacher",
        "teacher: hangs up, 500, 429, hangs, drips, closes mid-answer, bad JSON, empty, not "
        "UTF-8, other form; "
        "empty, huge and cut-off answers",
        50,
        "runs a kind (13 kinds)",
        1,
        teachers.faults,
        "asked again or rejected with a reason; equal",
    ),
    Row(
        "teacher-deaths",
        "teacher dies every k requests and comes back, k = 1, 2, 5, 10",
        50,
        "runs a k",
        1,
        teachers.deaths,
        "finishes equal",
    ),
    Row(
        "teacher-away",
        "teacher away for a minute in the middle of a run",
        50,
        "runs",
        1,
        teachers.away,
        "waited for; equal",
    ),
    Row(
        "teacher-gone",
        "no teacher, or the wrong model; then it is there",
        50,
        "runs",
        2,
        teachers.gone_for_good,
        "exit 4 with a sentence; then finishes equal",
    ),
    Row(
        "endpoint-kill",
        "one of two endpoints of the teacher killed at a random moment, back a moment later",
        50,
        "kills",
        4,
        endpoints.killed_endpoints,
        "0 lost, 0 doubled, export equal to the byte to a replay of the run's own log",
    ),
    Row(
        "disk-full",
        "no space left, at stepped sizes",
        100,
        "sizes",
        3,
        disk.full,
        "a sentence; finishes equal with room",
    ),
    Row(
        "disk-full-stages",
        "no space left in dataset, train, evaluate, report and three exports, at stepped sizes",
        15,
        "sizes each (7 steps)",
        2,
        disk_stages.stages,
        "a sentence; no torn checkpoint counts; the same files with room",
    ),
    Row(
        "disk-watch",
        "free space runs out on the way",
        50,
        "runs",
        2,
        disk.nearly_full,
        "stops before; finishes equal",
    ),
    Row(
        "disk-errors",
        "EIO, ENOSPC, EDQUOT, EROFS, EMFILE, EACCES at the n-th write, sync, rename or open; "
        "once and for ever",
        40,
        "n for each call and error",
        1,
        disk.errors,
        "a sentence or no effect; finishes equal",
    ),
    Row(
        "damage",
        "store flipped, blanked or cut at random places",
        10_000,
        "stores",
        150,
        damage.store,
        "named, or harmless; never another answer",
    ),
    Row(
        "bad-files",
        "a kept corpus of bad seeds, recipes, models.yaml and row files (and some that only look "
        "bad)",
        len(inputs.cases()),
        "files",
        15,
        inputs.bad_files,
        "exit 2 with file and line, no traceback; the others read well",
    ),
    Row(
        "fuzz",
        "spoiled texts through the parsers",
        1_000_000,
        "texts",
        4_000,
        inputs.fuzz,
        "rows and reasons, no traceback",
    ),
    Row("races", "eight processes on one run", 200, "races", 2, several.races, "one owner; equal"),
    Row(
        "signals",
        "SIGINT, SIGTERM, SIGHUP, double Ctrl-C",
        100,
        "signals",
        5,
        several.signals,
        "exit 130 within 5 s, says what is kept; finishes equal",
    ),
    Row(
        "terminal", "the terminal goes away", 50, "runs", 1, several.terminal_gone, "finishes equal"
    ),
    Row(
        "clock", "the clock jumps ten years, forth and back", 20, "runs", 1, several.clock, "equal"
    ),
    Row(
        "bundle-flips",
        "bundle: a flipped bit",
        1000,
        "flips",
        40,
        bundles.flips,
        "detected and named",
    ),
    Row(
        "bundle-parts",
        "bundle: truncated, reordered, missing parts",
        200,
        "faults",
        14,
        bundles.parts,
        "detected and named",
    ),
    Row(
        "bundle-manifests",
        "bundle: malicious manifests and names in them",
        40,
        "kinds",
        8,
        bundles.manifests,
        "refused with the reason, nothing written",
    ),
    Row(
        "bundle-kills",
        "SIGKILL during pack, verify, import",
        67,
        "kills each",
        1,
        bundles.kills,
        "resumed; equal",
    ),
    Row(
        "clean-kill",
        "SIGKILL during clean, a tenth of the kills while it looks for near-duplicates",
        100,
        "kills",
        6,
        cleaning.kills,
        "the same rows, the same reasons, equal to the byte",
    ),
    Row(
        "clean-full",
        "no space left in clean, at stepped sizes",
        30,
        "sizes",
        3,
        cleaning.full,
        "a sentence, no half output; with room the same command ends equal",
    ),
    Row(
        "clean-changed",
        "a file that grows, is altered, cut or replaced while clean reads it",
        40,
        "changes",
        4,
        cleaning.changes,
        "said, no output; or the change came too late for any effect",
    ),
    Row(
        "soak",
        "a long run with random kills",
        1800,
        "seconds",
        8,
        soak.soak,
        "0 / 0 / 0; flat memory and descriptors",
    ),
)


@dataclass(frozen=True)
class Result:
    """What came of a row."""

    row: Row
    asked: int
    done: int
    seed: int
    seconds: float
    wrong: list[str]
    note: str = ""

    @property
    def verdict(self) -> str:
        """'holds', or how much did not."""
        return "holds" if not self.wrong else f"**{len(self.wrong)} wrong**"

    def to_dict(self) -> dict[str, Any]:
        """What is kept of it."""
        kept = {name: getattr(self, name) for name in ("asked", "done", "seed", "note", "verdict")}
        return {
            **kept,
            "minutes": round(self.seconds / 60, 1),
            "date": time.strftime("%Y-%m-%d"),
            "machine": where(),
        }


def torture(row: Row, count: int, seed: int, tick: kills.Tick) -> Result:
    """Do one row in a folder of its own, which is removed unless something was wrong."""
    folder, began, done = Path(tempfile.mkdtemp(prefix=f"torture-{row.name}-")), time.monotonic(), 0

    def count_up(number: int) -> None:
        nonlocal done
        done = number
        tick(number)

    # forking beside numpy's threads is what we do here
    warnings.simplefilter("ignore", DeprecationWarning)
    gc.freeze()
    wrong = row.work(count, Random(f"{row.name}:{seed}"), folder, count_up)
    reached, note = folder / "reached.json", ""
    if reached.exists():
        note = ", ".join(
            f"{name.replace('_', ' ')} {value:,}"
            for name, value in json.loads(reached.read_text()).items()
        )
    if not wrong:
        shutil.rmtree(folder, ignore_errors=True)
    return Result(row, count, done, seed, time.monotonic() - began, wrong, note)


Kept = dict[str, dict[str, Any]]


def table(kept: Kept, rows: Sequence[Row] = ROWS) -> str:
    """Results by name of row, as Markdown; rows that were never done say so."""
    lines = [
        "| fault | full count | asked | done | must hold | result | minutes | date, seed |",
        "| --- | ---: | ---: | ---: | --- | --- | ---: | --- |",
    ]
    for row in rows:
        r = kept.get(row.name)
        full = f"{row.count:,} {row.unit}"
        if r is None:
            lines.append(
                f"| {row.fault} | {full} | 0 | 0 | {row.must} | not yet done by `make torture` | "
                "| |"
            )
            continue
        note = f" ({r['note']})" if r["note"] else ""
        lines.append(
            f"| {row.fault} | {full} | {r['asked']:,} | {r['done']:,} | {row.must} | "
            f"{r['verdict']}{note} "
            f"| {r['minutes']:.1f} | {r['date']}, {r['seed']} |"
        )
    machines = dict.fromkeys(r["machine"] for r in kept.values())
    return "\n".join([*(f"Measured on {text}." for text in machines), "", *lines])


def read_results() -> Kept:
    """What is kept from earlier sessions."""
    found: Kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    return {row.name: found[row.name] for row in ROWS if row.name in found}


def keep(result: Result) -> None:
    """Keep this result, unless a larger count held before and this one holds too; then write the
    page anew."""
    kept = read_results()
    before = kept.get(result.row.name)
    if before is None or result.wrong or result.asked >= before["asked"]:
        kept[result.row.name] = result.to_dict()
    write_text(RESULTS, json.dumps(kept, indent=1, sort_keys=True) + "\n")
    write_page(table(kept))


def where() -> str:
    """The machine and what else shapes a result."""
    import sqlite3

    found = machine.look()
    return (
        f"{found.cpu_count} CPU cores ({found.cpu}), {found.memory_gib:.0f} GiB, Python "
        f"{found.python}, "
        f"SQLite {sqlite3.sqlite_version}, Linux {os.uname().release}"
    )


def write_page(text: str) -> None:
    """Put the table between its marks in docs/torture.md; the rest is written by hand."""
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    write_text(PAGE, f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}")


def main() -> int:
    """The exit code: 0 when every row holds."""
    begin_in_foreground()
    parser = argparse.ArgumentParser(prog="make torture", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scale", type=float, default=1.0, help="every count times this (at least the small count)"
    )
    parser.add_argument(
        "--only",
        default="",
        help=f"rows, with a comma between: {', '.join(row.name for row in ROWS)}",
    )
    parser.add_argument("--count", type=int, help="this count for every row")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--write",
        action="store_true",
        help="keep each result and put the table into docs/torture.md",
    )
    given = parser.parse_args()
    wanted = [row for row in ROWS if not given.only or row.name in given.only.split(",")]
    results = []
    with progress() as shown:
        for row in wanted:
            count = given.count or max(row.small, round(row.count * given.scale))
            done = torture(
                row,
                count,
                given.seed,
                lambda n, row=row, count=count: shown.update(row.name, n, max(n, count)),
            )
            results.append(done)
            if given.write:
                keep(done)
            shown.say(f"{row.name}: {done.done:,} done in {done.seconds:.0f} s, {done.verdict}")
            for line in done.wrong[:5]:
                shown.say(f"    {line}")
            if done.wrong:
                shown.say(
                    f"    again: python -m tests.torture --only {row.name} --count {count} "
                    f"--seed {given.seed}"
                )
    print(table({done.row.name: done.to_dict() for done in results}, wanted))
    return 1 if any(result.wrong for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
