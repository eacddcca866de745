"""A Chromium for tests of pages, and the command `review` for it to look at."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
"""A Chromium of this machine; `make test` installs none, as that takes root."""
TO_TYPE = "apt-get install chromium, or CHROMIUM=/path/to/chrome"


def require_browser() -> str:
    """Path of the browser; without one the test is skipped, or fails with REQUIRE_BROWSER=1."""
    if CHROMIUM and Path(CHROMIUM).exists():
        return CHROMIUM
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and there is no Chromium: {TO_TYPE}")
    pytest.skip(f"there is no Chromium: {TO_TYPE}")


@contextmanager
def page_served(*words: str, where: Path) -> Iterator[str]:
    """The address that a command prints, which is stopped as by Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), process.communicate()
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    assert said.strip().splitlines()[-1].startswith("stopped;"), said
