"""Bundles: bits, parts, malicious manifests and kills; the counts of
tests/support/bundle_torture.py, as rows of the table."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from random import Random

from localinstruct.bundle.unpack import import_bundle
from localinstruct.progress import Silent
from localinstruct.signing import make_key_pair
from tests.support import bundle_torture
from tests.support.bundle_samples import age, bundle, forge, made_of, workspace
from tests.torture.kills import Tick

Row = Callable[[int, Random, Path, Tick], list[str]]


def flips(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """One random bit at a time."""
    make_key_pair(folder / "key")
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


def manifests(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Right digests and ids, wrong intentions: check, VERIFY.py and import refuse each with its
    reason."""
    from tests.bundle.test_bundle_damage import EDITS, PATHS, refused_everywhere

    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    wrong, every = [], [*(("edit", kind) for kind in EDITS), *(("names", kind) for kind in PATHS)]
    for number, (sort, kind) in enumerate(islice(every, count), 1):
        here = folder / f"{number}"
        here.mkdir()
        if sort == "edit":
            edit, words = EDITS[kind]
            made_of(here / "bad", ["seeds/a", "seeds/b"], part=1000)
            forge(here / "bad", edit)
        else:
            paths, words = PATHS[kind]
            made_of(here / "bad", paths)
        try:
            refused_everywhere(here, words)
        except BaseException as error:  # pytest's own "did not raise" is not an Exception
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise
            wrong.append(f"{kind}: {type(error).__name__}: {str(error)[:200]}")
        tick(number)
    return (
        wrong
        if count <= len(every)
        else [*wrong, f"only {len(every)} kinds of malicious manifests are kept"]
    )


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
