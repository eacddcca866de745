"""A headless Chromium for recordings and for tests of pages: $CHROMIUM, or one on PATH."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

TO_TYPE = "apt-get install chromium, or CHROMIUM=/path/to/chrome"


def chromium_path() -> str | None:
    """Path of a Chromium of this machine, if there is one; we install none, as that takes root."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    return path if path and Path(path).exists() else None


@contextmanager
def launched(path: str) -> "Iterator[Browser]":
    """The browser at this path, running; it ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # root has no sandbox in a container; the pages are ours
        flags = ["--no-sandbox"] if os.getuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=path, args=flags)
        yield opened
        opened.close()
