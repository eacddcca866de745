"""Bundles: bits, parts, malicious manifests and kills; the counts of tests/bundle_torture.py, as rows of the table."""

from collections.abc import Callable
from pathlib import Path
from random import Random

from localinstruct.bundle.signing import keygen
from localinstruct.bundle.unpack import import_bundle
from localinstruct.progress import Silent
from tests import bundle_torture
from tests.bundle_samples import age, bundle, workspace
from tests.torture.kills import Tick

Row = Callable[[int, Random, Path, Tick], list[str]]


def flips(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """One random bit at a time."""
    keygen(folder / "key")
    bundle(workspace(folder / "here"), folder / "whole", folder / "key")
    wrong = bundle_torture.flips(folder / "whole", count, rng.randrange(10**6), folder / "key.pub")
    tick(count)
    return wrong


def parts(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Truncated, appended, reordered, duplicated, missing and blank parts."""
    bundle(workspace(folder / "here"), folder / "whole")
    wrong = bundle_torture.part_faults(folder / "whole", count, rng.randrange(10**6))
    tick(count)
    return wrong


def kills(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """`count` kills of each: pack, verify, import."""
    bundle(workspace(folder / "here"), folder / "whole")
    age(folder / "whole")
    import_bundle(folder / "whole", folder / "expected", Silent())
    wrong = []
    for number, work in enumerate(("pack", "verify", "import"), 1):
        wrong += bundle_torture.kills(folder, work, count, seed=rng.randrange(10**6))
        tick(count * number)
    return wrong
