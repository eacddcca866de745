"""Harm done to a bundle by chance, with counts and seeds as parameters, for the tests and for a
longer torture.

Each function does its harm `count` times, looks whether our check and the VERIFY.py that lies in
the bundle both find it and name the same file, mends it, and returns what went wrong as sentences:
an empty list is what must come out.
"""

import contextlib
import importlib.util
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from localinstruct.bundle import guard
from localinstruct.bundle.journal import stamp
from localinstruct.bundle.verify import verify
from localinstruct.progress import Silent
from tests.support.bundle_samples import tree


def standalone(folder: Path, name: str = "VERIFY.py") -> ModuleType:
    """The program that lies in a bundle, loaded from there and from nowhere else."""
    spec = importlib.util.spec_from_file_location(f"copied_{name[:-3]}", folder / name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(program: ModuleType, *arguments: object) -> tuple[int, str]:
    """Exit code and output of its command."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = program.main([str(argument) for argument in arguments])
    return code, said.getvalue()


def verdicts(
    folder: Path, program: ModuleType, key: Path | None = None
) -> tuple[list[str], list[str]]:
    """Names of bad files, by our check and by the copied program; the latter knows nothing of
    signatures."""
    ours = [name for name, _ in verify(folder, Silent(), key=key).problems]
    code, said = run(program, folder)
    theirs = [line[6:].split(": ")[0] for line in said.splitlines() if line.startswith("BAD   ")]
    if code != (1 if theirs else 0):
        theirs.append(f"exit code {code}")
    return ours, theirs


def flips(folder: Path, count: int, seed: int, key: Path) -> list[str]:
    """Flip one random bit of the whole bundle, `count` times; the flipped file must be named,
    alone."""
    chance, program = random.Random(seed), standalone(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    wrong = []
    for number in range(count):
        path = (
            files[number % len(files)]
            if number < 2 * len(files)
            else chance.choices(files, [f.stat().st_size for f in files])[0]
        )
        bit = chance.randrange(path.stat().st_size * 8)
        name = path.relative_to(folder).as_posix()
        with flipped(path, bit):
            signed = name == guard.SIGNATURE
            ours, theirs = verdicts(folder, program, key if signed or number % 20 == 0 else None)
        if ours != [name] or theirs != ([] if signed else [name]):
            wrong.append(f"bit {bit} of {name}: we named {ours}, VERIFY.py {theirs}")
    return wrong


@contextlib.contextmanager
def flipped(path: Path, bit: int) -> Iterator[None]:
    """A file with one bit turned over."""
    for _ in _twice(lambda: _flip(path, bit)):
        yield


def _twice(work: Callable[[], None]) -> Iterator[None]:
    work()
    try:
        yield
    finally:
        work()


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        [byte] = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _truncated(parts: list[Path], chance: random.Random) -> list[Path]:
    part = chance.choice(parts)
    part.write_bytes(part.read_bytes()[: chance.randrange(part.stat().st_size)])
    return [part]


def _appended(parts: list[Path], chance: random.Random) -> list[Path]:
    part = chance.choice(parts)
    part.write_bytes(part.read_bytes() + chance.randbytes(chance.randrange(1, 5000)))
    return [part]


def _reordered(parts: list[Path], chance: random.Random) -> list[Path]:
    one, two = chance.sample(parts, 2)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return sorted([one, two])


def _duplicated(parts: list[Path], chance: random.Random) -> list[Path]:
    one, two = chance.sample(parts, 2)
    two.write_bytes(one.read_bytes())
    return [two]


def _missing(parts: list[Path], chance: random.Random) -> list[Path]:
    gone = sorted(chance.sample(parts, chance.randrange(1, len(parts))))
    for part in gone:
        part.unlink()
    return gone


def _blank(parts: list[Path], chance: random.Random) -> list[Path]:
    part = chance.choice(parts)
    size = part.stat().st_size
    start = chance.randrange(size)
    content = part.read_bytes()
    # a block that reads as zeros
    part.write_bytes(content[:start] + bytes(min(4096, size - start)) + content[start + 4096 :])
    return [part] if part.read_bytes() != content else []


FAULTS: dict[str, Callable[[list[Path], random.Random], list[Path]]] = {
    "truncated": _truncated,
    "appended": _appended,
    "reordered": _reordered,
    "duplicated": _duplicated,
    "missing": _missing,
    "blank": _blank,
}


def part_faults(folder: Path, count: int, seed: int) -> list[str]:
    """Harm the parts in each way in turn, `count` times in all; exactly the harmed ones must be
    named."""
    chance, program, wrong = random.Random(seed), standalone(folder), []
    parts = sorted(folder.glob("part*.bin"))
    content = {part: part.read_bytes() for part in parts}
    for number in range(count):
        kind = list(FAULTS)[number % len(FAULTS)]
        harmed = [part.name for part in FAULTS[kind](parts, chance)]
        ours, theirs = verdicts(folder, program)
        if ours != harmed or theirs != harmed:
            wrong.append(f"{kind} {harmed}: we named {ours}, VERIFY.py {theirs}")
        for part, whole in content.items():
            if not part.exists() or part.read_bytes() != whole:
                part.write_bytes(whole)
    return wrong


# -- SIGKILL --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ended:
    """How a job ended: wait status, moments that were counted, names of the parts it opened to
    read."""

    status: int
    moments: int
    opened: list[str]

    @property
    def expected(self) -> bool:
        """Killed, or well: a second kill may come later than the recovery takes."""
        return self.status == 0 or (
            os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL
        )


class Killer:
    """A process that does jobs and is killed in them; see bundle_killable."""

    def __init__(self) -> None:
        root = Path(__file__).parents[2]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.bundle_killable"],
            cwd=root,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def job(self, work: str, kill_at: int, places: dict[str, Path]) -> Ended:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        names = {name: str(path) for name, path in places.items()}
        self._process.stdin.write(json.dumps({"work": work, "kill_at": kill_at, **names}) + "\n")
        self._process.stdin.flush()
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


def kills(folder: Path, work: str, count: int, seed: int) -> list[str]:
    """Kill one kind of work at `count` random moments, every third time once more while it
    recovers, then let it finish.

    `folder` holds `here` (a workspace), `whole` (its bundle) and `expected` (an import of that).
    What must hold: the result equals that of an undisturbed run, and parts that were finished
    before the kill are not written or read again.
    """
    chance, killer, wrong = random.Random(f"{work}:{seed}"), Killer(), list[str]()
    try:
        moments = killer.job(work, 0, _places(folder, work, "undisturbed")).moments
        for number in range(count):
            places, at = _places(folder, work, str(number)), 0
            for _ in range(2 if number % 3 == 2 else 1):
                at = chance.randrange(1, moments + 1)
                ended = killer.job(work, at, places)
                wrong += (
                    []
                    if ended.expected
                    else [f"{work}, to be killed at {at}: status {ended.status}"]
                )
            before = _finished(work, places)
            ended = killer.job(work, 0, places)
            faults = (
                [f"status {ended.status}"]
                if ended.status
                else RESULT[work](folder, places, before, ended)
            )
            wrong += [f"{work} killed at {at} of {moments}: {fault}" for fault in faults]
        return wrong if moments > 40 else [f"only {moments} moments"]
    finally:
        killer.close()


def _places(folder: Path, work: str, name: str) -> dict[str, Path]:
    return {
        "here": folder / "here",
        "bundle": folder / f"packed-{name}" if work == "pack" else folder / "whole",
        "there": folder / f"there-{work}-{name}",
        "cache": folder / f"cache-{work}-{name}",
    }


def _finished(work: str, places: dict[str, Path]) -> dict[str, list[int]]:
    """Parts that the journal of this work says are finished, by name; for those that were packed,
    what they look like."""
    journals = {
        "pack": places["bundle"].glob(".packing.jsonl"),
        "verify": places["cache"].rglob("bundle-*.jsonl"),
        "import": places["there"].glob(".import-*/journal.jsonl"),
    }
    lines = [line for path in journals[work] for line in path.read_text().split("\n")[:-1]]
    entries = [json.loads(line) for line in lines]
    if work == "pack":
        return {
            entry["name"]: stamp(places["bundle"] / entry["name"])
            for entry in entries
            if "n" in entry
        }
    numbers = [
        entry.get("part") if work == "import" else entry.get("stamp", [None])[0]
        for entry in entries
    ]
    return {guard.part_name(number): [] for number in numbers if number}


def _pack_result(
    folder: Path, places: dict[str, Path], before: dict[str, list[int]], ended: Ended
) -> Iterator[str]:
    mine, whole = tree(places["bundle"]), tree(folder / "whole")
    if mine.keys() != whole.keys():
        yield f"other files: {sorted(mine.keys() ^ whole.keys())}"
    yield from (
        f"{name} differs"
        for name in whole
        if name.endswith(".bin") and mine.get(name) != whole[name]
    )
    if verify(places["bundle"], Silent(), full=True).exit_code:
        yield "the bundle is not sound"
    yield from (
        f"{name} was written again"
        for name, was in before.items()
        if stamp(places["bundle"] / name) != was
    )


def _verify_result(
    folder: Path, places: dict[str, Path], before: dict[str, list[int]], ended: Ended
) -> Iterator[str]:
    parts = {path.name for path in (folder / "whole").glob("part*.bin")}
    if _finished("verify", places).keys() != parts:
        yield "not every part is remembered"
    if set(ended.opened) != parts - before.keys():
        yield f"read {ended.opened}, though {sorted(before)} were finished"


def _import_result(
    folder: Path, places: dict[str, Path], before: dict[str, list[int]], ended: Ended
) -> Iterator[str]:
    mine, expected = without_receipt(places["there"]), without_receipt(folder / "expected")
    yield from (
        f"{name} is lost, doubled or altered"
        for name in sorted(expected.keys() | mine.keys())
        if mine.get(name) != expected.get(name)
    )
    # models.yaml is looked up in the first part
    again = set(ended.opened) & before.keys() - {"part0001.bin"}
    if again:
        yield f"{sorted(again)} read again"


def without_receipt(folder: Path) -> dict[str, bytes]:
    """All files but the receipt, which holds the time; what a kill left of one is none."""
    receipt = re.compile(r"imports/\w+\.json")
    return {name: content for name, content in tree(folder).items() if not receipt.fullmatch(name)}


RESULT = {"pack": _pack_result, "verify": _verify_result, "import": _import_result}
