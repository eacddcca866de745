"""A long run with random faults: as many rows as the time allows, with flat memory and
descriptors."""

import json
import os
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from resource import getpagesize
from statistics import median

from tests.support.scripted import numbered_list
from tests.torture.kills import GENERATE, Tick, judge
from tests.torture.program import exported, killer, run, workspace

STEP = 4_000
"""Rows by which the target grows; each stretch is one process, killed now and then."""


def soak(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """`count` seconds of generating into one run, killed at random moments, its target growing;
    then everything is looked at."""
    folder.mkdir(exist_ok=True)
    deadline, target, shown, kills = time.monotonic() + count, STEP, 0, 0
    wrong: list[str] = []
    while time.monotonic() < deadline:
        workspace(folder, target)
        outcome = run(
            folder,
            GENERATE,
            killer(rng.uniform(2, 12)) if rng.random() < 0.5 else None,
            before=_measured(folder),
        )
        shown, kills = max(shown, outcome.shown), kills + (outcome.code == -9)
        if outcome.code not in (0, -9) or not outcome.clean:
            return [*wrong, f"exit {outcome.code} at {shown} rows: {outcome.said[-300:]}"]
        target += STEP if outcome.code == 0 else 0
        tick(min(count, int(time.monotonic() - deadline + count)))
    last = run(folder, GENERATE, before=_measured(folder))
    wrong += judge("at the end", folder, last, shown)
    rows = len(exported(folder)[1])
    (folder / "reached.json").write_text(
        json.dumps({"rows": rows, "kills": kills, **_measures(folder)})
    )
    return wrong + _grown(folder)


def _any_two(rng: Random) -> str:
    return f"{rng.randrange(10**6)} or {rng.randrange(10**6)}"


def _measured(folder: Path) -> Callable[[], None]:
    """In the child: note rows, resident MiB, open files and its pid after every 20th row or so;
    tasks never run out."""

    def before() -> None:
        from localinstruct.generation import meter
        from tests.torture import program

        program.recorded = lambda prompt: numbered_list(Random(prompt), amount=_any_two)
        shown = meter.Meter.__call__

        def noted(self: meter.Meter, commit: meter.Commit) -> None:
            shown(self, commit)
            if commit.total % 20 == 0:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                files = len(list(Path("/proc/self/fd").iterdir()))
                line = json.dumps(
                    [commit.total, round(pages * getpagesize() / 2**20, 1), files, os.getpid()]
                )
                with (folder / "measures.jsonl").open("a") as file:
                    file.write(line + "\n")

        meter.Meter.__call__ = noted  # type: ignore[method-assign]

    return before


def _lines(folder: Path) -> list[tuple[int, float, int, int]]:
    text = (folder / "measures.jsonl").read_text() if (folder / "measures.jsonl").exists() else ""
    return [tuple(json.loads(line)) for line in text.splitlines() if line.endswith("]")]


def _measures(folder: Path) -> dict[str, float]:
    """Memory at both ends and what a row takes; and what a process holds beyond the rows: how much
    more one that made the rows has than the next one, which has only read them (median over the
    processes)."""
    lines = _lines(folder)
    if not lines:
        return {}
    first, last = lines[0], max(lines)
    per_row = 1024 * (last[1] - first[1]) / max(last[0] - first[0], 1)
    changes = [
        (old, new)
        for old, new in pairwise(lines)
        if old[3] != new[3] and new[0] - old[0] < STEP / 4
    ]
    return {
        "mib_at_first": first[1],
        "mib_at_last": last[1],
        "kib_per_row": round(per_row, 2),
        "mib_beyond_rows": round(median([old[1] - new[1] for old, new in changes] or [0]), 1),
        "descriptors_first": first[2],
        "descriptors_most": max(line[2] for line in lines),
    }


def _grown(folder: Path) -> list[str]:
    """A row is held in memory with its vector (1.5 KiB) and its text; anything that grows faster,
    or that a process holds beyond what it would have read, is a leak."""
    found = _measures(folder)
    if not found:
        return ["nothing was measured"]
    wrong = [f"memory grew by {found['kib_per_row']} KiB a row"] if found["kib_per_row"] > 4 else []
    wrong += (
        [f"{found['mib_beyond_rows']} MiB beyond the rows"] if found["mib_beyond_rows"] > 32 else []
    )
    more = found["descriptors_most"] - found["descriptors_first"]
    return wrong + ([f"{more} more descriptors than at first"] if more > 8 else [])
