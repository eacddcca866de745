"""A disk that refuses: full at stepped sizes; every call on the run's files refused at its n-th
time, once or for ever."""

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

from tests.torture.kills import GENERATE, Tick, finished, judge, reference
from tests.torture.points import only, places, straced
from tests.torture.program import Outcome, exported, run, workspace

REFUSALS = {
    "pwrite64": ("EIO", "ENOSPC", "EDQUOT", "EROFS"),
    "fdatasync": ("EIO", "ENOSPC"),
    "fsync": ("EIO",),
    "write": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC", "EROFS"),
    "openat": ("EMFILE", "EROFS", "EACCES"),
}
"""System call -> errors it is made to answer."""
EXITS = {0, 2, 74}
"""0: the call did not matter, or the fault came once and was overcome; 74 and 2: stopped with a
sentence."""


def full(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Runs on small disks of their own (tmpfs in a namespace) that grow step by step until the run
    fits."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        return ["this system allows no namespaces, so no small disk could be made"]
    wrong, fitted = [], 0
    for number in range(count):
        kib = 64 + 12 * number * max(1, 100 // count)
        here = folder / f"{kib}"
        workspace(here)
        ended = subprocess.run(
            ["unshare", "-rm", sys.executable, "-m", "tests.torture.disk", str(here), str(kib)],
            capture_output=True,
            text=True,
        )
        wrong += [
            f"{kib} KiB: {line}" for line in ended.stdout.splitlines() if line.startswith("WRONG")
        ]
        fitted += "fits" in ended.stdout
        if ended.returncode:
            wrong.append(f"{kib} KiB: the test itself failed: {ended.stderr[-300:]}")
        tick(number + 1)
    return wrong


def on_small_disk(folder: Path, kib: int) -> None:
    """In a mount namespace: run on a disk of this size; then give it room, and the same command
    must finish."""
    runs = folder / "runs"
    runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(runs)]
    subprocess.run(mount, check=True)
    first = run(folder, GENERATE, before=_no_reserve)
    report(first, folder, "on the small disk")
    subprocess.run(["mount", "-o", "remount,size=64m", str(runs)], check=True)
    second = run(folder, GENERATE, before=_no_reserve)
    if second.code != 0:
        print(f"WRONG exit {second.code} once there was room: {second.said[-400:]}")
    undisturbed, _ = reference(folder.parent / f"{folder.name}-undisturbed")
    if exported(folder)[0] != undisturbed:
        print("WRONG the export differs from the undisturbed run's")
    print("fits" if first.code == 0 else "stopped")


def _no_reserve() -> None:
    """Let the disk really fill: the watch over free space would stop the run before."""
    from localinstruct.generation import stage
    from localinstruct.store import integrity

    integrity.RESERVE = 0
    stage.BYTES_PER_ROW = 0


def report(outcome: Outcome, folder: Path, where: str) -> None:
    """Print what is wrong with a run that a full disk stopped."""
    if outcome.code not in EXITS or not outcome.clean:
        print(f"WRONG exit {outcome.code} {where}: {outcome.said[-600:]}")
    for line in judge(where, folder, outcome, outcome.shown):
        print(f"WRONG {line}")


def errors(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Each call answers each error at its n-th time, once and for ever, for `count` different n;
    then the cause is gone."""
    folder = folder.resolve()
    expected, wrong, done = reference(folder / "undisturbed")[0], list[str](), 0
    workspace(folder / "counted")
    calls = places(folder / "counted", GENERATE, "|".join(REFUSALS))
    for call, names in REFUSALS.items():
        files = {
            place.file: number
            for place, number in calls.items()
            if place.call == call and "runs/" in place.file
        }
        total = sum(files.values())
        wrong += [] if total else [f"no {call} to refuse was seen"]
        for name, when, ever in product(
            names, sorted(rng.sample(range(1, total + 1), min(count, total))), ("", "+")
        ):
            here = folder / f"{call}-{name}-{when}{ever and '-on'}"
            wrong += _refused(here, list(files), call, f"error={name}:when={when}{ever}", expected)
            done += 1
            tick(done)
    return wrong


def _refused(here: Path, files: list[str], call: str, fault: str, expected: bytes) -> list[str]:
    workspace(here)
    outcome = straced(
        here, GENERATE, [*only(here, *files), "-e", f"trace={call}", "-e", f"inject={call}:{fault}"]
    )
    wrong = judge(here.name, here, outcome, outcome.shown)
    if outcome.code not in EXITS or not outcome.clean:
        wrong.append(f"{here.name}: exit {outcome.code}: {outcome.said[-500:]}")
    elif outcome.code and ("next:" not in outcome.said and "error:" not in outcome.said):
        wrong.append(f"{here.name}: exit {outcome.code} without a word")
    return wrong + finished(here, expected)


def nearly_full(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The watch over free space: refused before the start, and stopped on the way, with a sentence;
    nothing is lost."""
    import os

    from localinstruct.store import integrity

    wrong, expected = list[str](), reference(folder / "undisturbed")[0]
    for number in range(count):
        here, left = folder / f"run-{number}", rng.randint(0, 8)
        workspace(here)

        def shrink(left: int = left) -> None:
            free = iter([2**40] * left)
            real = shutil.disk_usage
            usage = type("Usage", (), {})

            def shown(path: Any) -> Any:
                found = usage()
                found.free = next(free, 1000)
                return found if os.fspath(path).endswith("tortured") else real(path)

            integrity.shutil.disk_usage = shown  # type: ignore[assignment]

        first = run(here, GENERATE, before=shrink)
        if (
            first.code != 74
            or "MiB are needed" not in " ".join(first.said.split())
            or not first.clean
        ):
            wrong.append(f"{here.name}: exit {first.code}: {first.said[-300:]}")
        wrong += judge(here.name, here, first, first.shown) + finished(here, expected)
        tick(number + 1)
    return wrong


if __name__ == "__main__":
    on_small_disk(Path(sys.argv[1]), int(sys.argv[2]))
