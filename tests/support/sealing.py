"""Children for the tests of the seal: a process cannot leave it again, so each test runs its code
in a fresh one."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
Environment = Mapping[str, str]
NONE: Environment = {}
TRIAL = "from localinstruct.offline import kernel; print(kernel.trial(kernel.own_namespaces))"


def python(
    code: str, *arguments: str, tmp: Path | None = None, env: Environment = NONE
) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new interpreter in the repository; `tmp` becomes its home and data folder."""
    home = (
        {"HOME": str(tmp), "XDG_DATA_HOME": str(tmp / "data"), "XDG_CACHE_HOME": str(tmp / "cache")}
        if tmp
        else {}
    )
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("LOCALINSTRUCT_")
    }
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**inherited, **home, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def output(code: str, *arguments: str, tmp: Path | None = None, env: Environment = NONE) -> str:
    """What such a child prints; the test fails with its stderr when it fails."""
    done = python(code, *arguments, tmp=tmp, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


REFUSAL = python(TRIAL).stdout.strip()
needs_namespaces = pytest.mark.skipif(
    bool(REFUSAL), reason=f"no namespaces of our own here: {REFUSAL}"
)
