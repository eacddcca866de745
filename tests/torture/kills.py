"""SIGKILL at random moments: of generate, of its recovery, of every other stage."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from tests.torture.program import Outcome, exported, killer, run, workspace

Tick = Callable[[int], None]
GENERATE = ["generate", "recipe.yaml"]


def reference(folder: Path, target: int = 120) -> tuple[bytes, float]:
    """The export of a run that nobody disturbed, and its seconds, by which blows are timed on a
    fast and a slow machine."""
    workspace(folder, target)
    outcome = run(folder, GENERATE)
    assert outcome.code == 0, outcome.said
    return exported(folder)[0], outcome.seconds


def judge(where: str, folder: Path, outcome: Outcome, shown: int) -> list[str]:
    """What is wrong after a blow: rows that were shown and are gone, doubled rows, a store that is
    not sound."""
    if not (folder / "runs/tortured/run.sqlite").exists():
        return [f"{where}: {shown} rows were shown, no store is there"] if shown else []
    try:
        ids = exported(folder)[1]
    except Exception as error:  # whatever it is, it is the finding
        return [] if "just being made" in str(error) else [f"{where}: {error}"]
    wrong = (
        [f"{where}: {shown} rows were shown as kept, {len(ids)} are there"]
        if len(ids) < shown
        else []
    )
    return wrong + ([f"{where}: doubled rows"] if len(set(ids)) < len(ids) else [])


def random_moments(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Kill, look, start again, until the run is finished; then the next run.

    Where a machine has become slower since the undisturbed run, kills come too early to show much:
    then there are more of them.
    """
    expected, seconds = reference(folder / "undisturbed")
    wrong, done, late = list[str](), 0, 0
    while done < count or (late <= count / 5 and done < 5 * count):
        here, seen = folder / f"run-{done}", 0
        workspace(here)
        for _ in range(count):
            outcome = run(here, GENERATE, killer(rng.uniform(0.2, 1.0) * seconds))
            done, late, seen = (
                done + (outcome.code != 0),
                late + (outcome.shown > 0),
                max(seen, outcome.shown),
            )
            wrong += judge(here.name, here, outcome, seen)
            tick(done)
            if outcome.code in (0, 5):
                break
        wrong += finished(here, expected)
    return wrong + (
        [] if late > count / 5 else [f"only {late} of {count} kills came after a row was shown"]
    )


def finished(here: Path, expected: bytes) -> list[str]:
    """A run that was brought to its end must export the same bytes."""
    outcome = run(here, GENERATE)
    wrong = (
        [] if outcome.code == 0 else [f"{here.name}: exit {outcome.code}: {outcome.said[-300:]}"]
    )
    wrong += (
        []
        if exported(here)[0] == expected
        else [f"{here.name}: the export differs from the undisturbed run's"]
    )
    shutil.rmtree(here)
    return wrong


def recovery(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Kill a run in its middle, then kill what goes on with it, early and again and again."""
    expected, seconds = reference(folder / "undisturbed")
    wrong, done = list[str](), 0
    while done < count:
        here = folder / f"run-{done}"
        workspace(here)
        seen = run(here, GENERATE, killer(rng.uniform(0.45, 0.7) * seconds)).shown
        for _ in range(rng.randint(2, 6)):
            outcome = run(here, GENERATE, killer(rng.uniform(0.03, 0.5) * seconds))
            seen, done = max(seen, outcome.shown), done + 1
            wrong += judge(here.name, here, outcome, seen)
            tick(done)
        wrong += finished(here, expected)
    return wrong


def stages(names: Sequence[str]) -> Callable[[int, Random, Path, Tick], list[str]]:
    """A row: kill each of these commands `count` times in a finished run, then compare what it
    makes undisturbed."""

    def row(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
        reference(folder)
        wrong, done = [], 0
        for name in names:
            words = COMMANDS[name]
            first = run(folder, words)
            if first.code != 0:
                return [f"{name}: exit {first.code}: {first.said[-300:]}"]
            expected = products(folder, name)
            for _ in range(count):
                run(folder, words, killer(rng.uniform(0, 1.1 * first.seconds)))
                again = run(folder, words)
                done += 1
                if again.code != 0:
                    wrong.append(f"{name}: exit {again.code} after a kill: {again.said[-300:]}")
                elif products(folder, name) != expected:
                    wrong.append(f"{name}: its files differ after a kill")
                left = [path.name for path in folder.rglob("*.part")]
                wrong += [f"{name}: left behind {left}"] if len(left) > 3 * done else []
                tick(done)
        return wrong

    return row


COMMANDS = {
    "dataset": ["dataset", "runs/tortured"],
    "report": ["report", "runs/tortured"],
    "export": ["export", "runs/tortured", "--format", "alpaca", "--output", "rows.json"],
}
PRODUCTS = {
    "dataset": "runs/tortured/dataset/*.jsonl",
    "report": "runs/tortured/report.html",
    "export": "rows.json",
}


def products(folder: Path, name: str) -> list[bytes]:
    """The files a command makes; of a report only that it is whole, because it tells the time."""
    made = [path.read_bytes() for path in sorted(folder.glob(PRODUCTS[name]))]
    return [data[-20:] for data in made] if name == "report" else made
