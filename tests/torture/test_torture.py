"""The torture's matrix with small counts: every row, as `make torture` runs it with large ones.

`make test` has the quick rows, `make test-all` the others.
"""

import shutil
import subprocess

import pytest
from _pytest.mark import ParameterSet

from tests.torture import several
from tests.torture.__main__ import PAGE, ROWS, Row, torture

QUICK = {
    "random-kill",
    "stage-kill",
    "signals",
    "races",
    "disk-watch",
    "damage",
    "bad-files",
    "fuzz",
    "terminal",
    "clock",
}
"""Rows of a few seconds, one at least for each kind of fault that no other test provokes."""

NEEDS_STRACE = {"before-every-point", "after-every-point", "every-point-later", "disk-errors"}
NEEDS_NAMESPACES = {"disk-full", "disk-full-stages", "clean-full"}


BUSY_SECONDS = 120.0
"""For what must end within seconds on a quiet machine: the one that runs the tests may be busy."""


def marked(row: Row) -> ParameterSet:
    marks = [pytest.mark.slow] if row.name in QUICK else [pytest.mark.slow, pytest.mark.exhaustive]
    return pytest.param(row, marks=marks, id=row.name)


@pytest.mark.parametrize("row", [*map(marked, ROWS)])
def test_row_holds(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(several, "SECONDS_TO_END", BUSY_SECONDS)
    if row.name in NEEDS_STRACE and not shutil.which("strace"):
        pytest.skip("strace is not installed")
    if (
        row.name in NEEDS_NAMESPACES
        and subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    ):
        pytest.skip("no namespaces on this system")
    result = torture(row, row.small, seed=7, tick=lambda done: None)
    assert result.wrong == []
    assert result.done > 0


def test_the_page_names_every_row() -> None:
    page = PAGE.read_text()
    assert len(ROWS) >= 20
    assert [row.name for row in ROWS if row.fault not in page] == []


def test_the_quick_rows_are_rows() -> None:
    assert {row.name for row in ROWS} > QUICK
