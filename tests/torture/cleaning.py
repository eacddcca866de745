"""`clean` under SIGKILL, on a disk that fills up, and on a file that changes while it is read.

The command, its processes, store and output are the product's; vectors are hashed words, slowed
down, so that blows land inside the search for near-duplicates as well.
"""

import json
import os
import select
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np

from tests.support.scripted import HashEncoder
from tests.torture.kills import Tick
from tests.torture.program import MODELS, Outcome, killer, run

OUT = "clean/rows.jsonl"
CLEAN = ["clean", "rows.jsonl", "--output", OUT, "--encoder", "words", "--tasks", "tasks.jsonl"]
DECISIONS = Path(f"{OUT}.decisions")
INSIDE = 0.1
"""Share of the blows that must land inside the search for near-duplicates."""
THINGS = [
    "rain",
    "bread",
    "rivers",
    "glass",
    "clocks",
    "salt",
    "wool",
    "seeds",
    "lamps",
    "roofs",
    "tides",
    "bees",
]
VERBS = ("Explain how {} changed", "Tell a child about {}", "List three uses of {}", "Compare {}")
PLACES = ("in winter", "by the sea", "long ago", "in a small town", "at night", "on a farm")


class SlowEncoder(HashEncoder):
    """Hashed words in place of a model, a moment for each list of texts."""

    is_exact = False

    def __init__(self, directory: Path, exact: bool = False) -> None:
        self.is_exact = exact

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 256) float32 unit rows."""
        time.sleep(0.0005 * len(texts))
        return super().encode(texts)


def play_small() -> None:
    """In a child: slow hashed words, and small steps, so that much comes to last one by one."""
    from localinstruct.cleaning import steps, survey
    from localinstruct.models import catalog

    catalog.checked = lambda spec: Path()  # type: ignore[assignment]
    steps.LocalEncoder = survey.LocalEncoder = SlowEncoder  # type: ignore[assignment,misc]
    steps.CHUNK, steps.COMMIT, steps.ENCODED = 40, 1, 32


def workspace(folder: Path, count: int = 480) -> None:
    """A folder with rows of which many must go, each kind for its own reason."""
    (folder / "clean").mkdir(parents=True, exist_ok=True)
    (folder / "words").mkdir(exist_ok=True)
    (folder / "models.yaml").write_text(MODELS % "/nowhere.sock")
    rng, rows = Random(5), []
    asked = [f"{verb.format(t)} {p}." for verb in VERBS for t in THINGS for p in PLACES]
    for number, question in zip(range(count), asked * 3, strict=False):
        answer = f"People {rng.choice(PLACES)} speak of it: {question.lower()[:-1]}, they say."
        answer = {3: "", 5: "N/A", 7: f"{answer} 17 + {number} = {number}.", 11: question}.get(
            number % 13, answer
        )
        if number % 17 == 2:
            answer += f" Ask ghp_{''.join(rng.choices('aBc7dE9fGh2k', k=36))}."
        if number % 4 == 1:
            question = question.replace(".", " please.")
        rows.append({"instruction": question, "input": "", "output": answer})
    lines = [json.dumps(row) if n % 29 else "{broken" for n, row in enumerate(rows, 1)]
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (folder / "tasks.jsonl").write_text(json.dumps({**rows[0], "output": "x"}) + "\n")


def decided(folder: Path) -> tuple[bytes, list[tuple[object, ...]]]:
    """(the output, every decision with its row) of a cleaning."""
    with sqlite3.connect(folder / DECISIONS / "decisions.sqlite") as store:
        return (folder / OUT).read_bytes(), list(
            store.execute(
                "SELECT seq, line, instance, changes, step, reason, detail, score, like FROM rows "
                "UNION ALL SELECT seq, 0, text, '', 'unread', reason, detail, 0, 0 FROM unread"
            )
        )


def _is_inside(folder: Path) -> bool:
    """Tell whether a cleaning was ended while it looked for near-duplicates."""
    try:
        with sqlite3.connect(folder / DECISIONS / "decisions.sqlite") as store:
            names = {name for (name,) in store.execute("SELECT key FROM meta")}
    except sqlite3.Error:
        return False
    return "done repeated" in names and "done alike" not in names


def _reference(folder: Path) -> tuple[tuple[bytes, list[tuple[object, ...]]], float]:
    workspace(folder)
    outcome = run(folder, CLEAN, before=play_small)
    assert outcome.code == 0, outcome.said
    whole = decided(folder)
    steps = {step for *_, step, _, _, _, _ in whole[1]}
    assert steps == {None, "unread", "rules", "tasks", "repeated", "alike"}, steps
    return whole, outcome.seconds


def _when(there: Path, delay: float) -> Callable[[int], None]:
    """Harm: SIGKILL `delay` seconds after this file is there."""

    def harm(pid: int) -> None:
        ended = os.pidfd_open(pid)
        while not there.exists() and not select.select([ended], [], [], 0.002)[0]:
            pass
        os.close(ended)
        killer(delay)(pid)

    return harm


def kills(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Kill, start again, until it is finished; then the next. Every second blow waits for the first
    vectors."""
    expected, seconds = _reference(folder / "undisturbed")
    wrong, done, inside, here = list[str](), 0, 0, folder / "run-0"
    workspace(here)
    while done < count:
        late = done % 2 and not (here / DECISIONS / "vectors.f32").exists()
        blow = (
            _when(here / DECISIONS / "vectors.f32", rng.uniform(0, 0.3))
            if late
            else killer(rng.uniform(0.05, 1) * seconds)
        )
        outcome = run(here, CLEAN, blow, before=play_small)
        if outcome.code == 0:
            wrong += [] if decided(here) == expected else [f"{here.name}: other decisions"]
            shutil.rmtree(here)
            here = folder / f"run-{done}"
            workspace(here)
            continue
        if outcome.code != -9:
            return [*wrong, f"{here.name}: exit {outcome.code}: {outcome.said[-300:]}"]
        done, inside = done + 1, inside + _is_inside(here)
        if (here / OUT).exists() and (here / OUT).read_bytes() != expected[0]:
            wrong.append(f"{here.name}: a half output")
        tick(done)
    outcome = run(here, CLEAN, before=play_small)
    if outcome.code or decided(here) != expected:
        wrong.append(f"{here.name}: exit {outcome.code}, other decisions: {outcome.said[-300:]}")
    (folder / "reached.json").write_text(json.dumps({"in the near-duplicates": inside}))
    few = inside < INSIDE * count
    return wrong + ([f"only {inside} of {count} blows in the near-duplicates"] if few else [])


def full(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Cleanings on small disks (tmpfs in a namespace) that grow until the output fits."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        return ["this system allows no namespaces, so no small disk could be made"]
    wrong, stopped = list[str](), 0
    for number in range(count):
        kib = 32 + 1400 * number // max(count - 1, 1)
        here = folder / f"{kib}"
        workspace(here)
        ended = subprocess.run(
            ["unshare", "-rm", sys.executable, "-m", "tests.torture.cleaning", str(here), str(kib)],
            capture_output=True,
            text=True,
        )
        lines = ended.stdout.splitlines()
        wrong += [f"{kib} KiB: {line}" for line in lines if line.startswith("WRONG")]
        wrong += [f"{kib} KiB: {ended.stderr[-300:]}"] if ended.returncode else []
        stopped += "stopped" in ended.stdout
        tick(number + 1)
    (folder / "reached.json").write_text(json.dumps({"stopped": stopped}))
    return wrong + ([] if stopped else ["no disk was too small"])


def on_small_disk(folder: Path, kib: int) -> None:
    """In a mount namespace: clean onto a disk of this size; with room the same command ends."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder / "clean")]
    subprocess.run(mount, check=True)
    first = run(folder, CLEAN, before=play_small)
    if first.code not in (0, 74) or not first.clean:
        print(f"WRONG exit {first.code}: {first.said[-400:]}")
    if first.code and ("full" not in first.said or "next:" not in first.said):
        print(f"WRONG it does not say what and what next: {first.said[-400:]}")
    early = (folder / OUT).read_bytes() if (folder / OUT).exists() else None
    subprocess.run(["mount", "-o", "remount,size=64m", str(folder / "clean")], check=True)
    second = run(folder, CLEAN, before=play_small)
    whole, _ = _reference(folder.parent / f"{folder.name}-undisturbed")
    if second.code or decided(folder) != whole:
        print(f"WRONG exit {second.code} once there was room: {second.said[-400:]}")
    if early not in (None, whole[0]):
        print("WRONG there was half an output on the full disk")
    print("fits" if first.code == 0 else "stopped")


def _grown(file: Path) -> None:
    with file.open("a") as more:
        more.write(file.read_text().splitlines()[0] + "\n")


def _altered(file: Path) -> None:
    with file.open("r+b") as same:
        same.seek(40)
        same.write(b"Q")


def _cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def _replaced(file: Path) -> None:
    other = file.with_name("other")
    other.write_text("".join(reversed(file.read_text().splitlines(keepends=True))))
    other.replace(file)


Change = Callable[[Path], None]
CHANGES: tuple[Change, ...] = (_grown, _altered, _cut, _replaced)


def changes(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The file grows, is altered, cut or replaced at a random moment: said, or without effect."""
    expected, seconds = _reference(folder / "undisturbed")
    wrong, noticed = list[str](), 0
    for number in range(count):
        here, change = folder / f"run-{number}", CHANGES[number % len(CHANGES)]
        workspace(here)
        delay = rng.uniform(0, 0.9) * seconds

        def harm(
            pid: int, here: Path = here, delay: float = delay, change: Change = change
        ) -> None:
            until = time.monotonic() + 60
            while not (here / DECISIONS).exists() and time.monotonic() < until:
                time.sleep(0.002)  # its digest is taken before
            time.sleep(delay)
            change(here / "rows.jsonl")

        outcome = run(here, CLEAN, harm, before=play_small)
        name = f"{here.name} ({change.__name__})"
        wrong += _judged(name, here, outcome, expected[0])
        noticed += outcome.code != 0
        tick(number + 1)
    (folder / "reached.json").write_text(json.dumps({"noticed": noticed}))
    return wrong + ([] if noticed > count / 5 else [f"only {noticed} changes were in time"])


def _judged(name: str, here: Path, outcome: Outcome, expected: bytes) -> list[str]:
    if outcome.code == 0:
        same = (here / OUT).read_bytes() == expected
        return [] if same else [f"{name}: exit 0 with another output"]
    if (here / OUT).exists():
        return [f"{name}: there is an output"]
    said = "changed" in outcome.said and "--fresh" in outcome.said
    return [] if said and outcome.clean else [f"{name}: {outcome.code}: {outcome.said[-300:]}"]


if __name__ == "__main__":
    on_small_disk(Path(sys.argv[1]), int(sys.argv[2]))
