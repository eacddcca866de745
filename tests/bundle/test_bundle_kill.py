"""SIGKILL while packing, checking and importing: the same command goes on, finished parts stay
finished, the end is equal."""

from pathlib import Path

import pytest

from localinstruct.bundle.unpack import import_bundle
from localinstruct.progress import Silent
from tests.support.bundle_samples import age, bundle, workspace
from tests.support.bundle_torture import kills

KILLS = 6
"""Per kind of work; `make torture` takes more."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("killed")
    bundle(workspace(made / "here"), made / "whole")
    age(made / "whole")  # parts that may still change within a tick of the clock are not remembered
    import_bundle(made / "whole", made / "expected", Silent())
    return made


@pytest.mark.parametrize("work", ["pack", "verify", "import"])
def test_killed_at_random_moments(work: str, folder: Path) -> None:
    assert kills(folder, work, KILLS, seed=7) == []
