"""A store that was truncated or flipped at random places: named, or harmless; never silently
another answer."""

import shutil
from pathlib import Path
from random import Random

from localinstruct.errors import LocalInstructError
from localinstruct.store.run import open_run, read_run
from tests.torture.kills import GENERATE, Tick
from tests.torture.program import run, workspace

Content = tuple[object, ...]


def content(path: Path) -> Content:
    """Everything a run answers."""
    with read_run(path) as found:
        return (
            [row.to_dict() for row in found.kept()],
            list(found.rejects()),
            list(found.completion_log()),
            found.episodes(),
            found.vectors().tobytes(),
            found.get("recipe"),
            found.stage("generate"),
        )


def store(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Flip a bit, blank a stretch or cut the end of run.sqlite, `count` times; then read it, and
    open it for writing."""
    workspace(folder, target=30)
    outcome = run(folder, GENERATE)
    assert outcome.code == 0, outcome.said
    path, spoiled = folder / "runs/tortured", folder / "spoiled"
    sound, expected = (path / "run.sqlite").read_bytes(), content(path)
    wrong, named = [], 0
    for number in range(count):
        what, data = spoil(sound, rng)
        shutil.rmtree(spoiled, ignore_errors=True)
        spoiled.mkdir()
        (spoiled / "run.sqlite").write_bytes(data)
        said = verdict(spoiled, expected)
        named += said == "named"
        if said not in ("named", "harmless"):
            wrong.append(f"{what}: {said}")
        tick(number + 1)
    return wrong + (
        []
        if named > count / 2
        else [f"only {named} of {count} were named: the harm was too little"]
    )


def spoil(data: bytes, rng: Random) -> tuple[str, bytes]:
    """What was done, and the damaged bytes."""
    place = rng.randrange(len(data))
    kind = rng.choice(("flip", "flip", "flip", "blank", "cut"))
    if kind == "flip":
        bit = rng.randrange(8)
        return f"bit {bit} of byte {place} flipped", data[:place] + bytes(
            [data[place] ^ 1 << bit]
        ) + data[place + 1 :]
    if kind == "blank":
        length = min(rng.randint(1, 600), len(data) - place)
        return f"{length} bytes from {place} blanked", data[:place] + bytes(length) + data[
            place + length :
        ]
    return f"cut to {place} bytes", data[:place]


def verdict(folder: Path, expected: Content) -> str:
    """'named', 'harmless', or what went wrong."""
    try:
        if content(folder) != expected:
            return "silently another answer"
        with open_run(folder):
            return "harmless"
    except LocalInstructError:
        return "named"
    except Exception as error:  # whatever it is, it is the finding
        return f"{type(error).__name__}: {error}"
