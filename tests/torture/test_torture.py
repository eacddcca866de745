"""The torture's matrix with small counts: every row, as `make torture` runs it with large ones."""

import shutil
import subprocess

import pytest

from tests.torture.__main__ import PAGE, ROWS, Row, torture

NEEDS_STRACE = {"before-every-point", "after-every-point", "every-point-later", "disk-errors"}
NEEDS_NAMESPACES = {"disk-full", "disk-full-stages"}


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_row_holds(row: Row) -> None:
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
