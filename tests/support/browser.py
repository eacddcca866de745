"""A Chromium for tests of pages, and the command `review` for it to look at."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from benchmarks.browser import TO_TYPE, chromium_path, launched

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def require_browser() -> str:
    """Path of the browser; without one the test is skipped, or fails with REQUIRE_BROWSER=1."""
    if path := chromium_path():
        return path
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and there is no Chromium: {TO_TYPE}")
    pytest.skip(f"there is no Chromium: {TO_TYPE}")


@contextmanager
def chromium() -> "Iterator[Browser]":
    """A running browser, which ends with the block."""
    with launched(require_browser()) as opened:
        yield opened


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
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert said.strip().splitlines()[-1].startswith("stopped;"), said
