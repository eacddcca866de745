"""`localinstruct run` with the played teacher: `python -m tests.support.played_run run RECIPE`.

Parent, lock, stages in processes of their own and signals are the product's; each stage is the
torture's program, and nothing is looked at beforehand.
"""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

from localinstruct import pipeline
from localinstruct.fit import assess
from tests.torture import program


def start(command: list[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a stage, played."""
    interpreter, _, module, *words = command
    assert module == "localinstruct"
    return subprocess.Popen([interpreter, "-m", program.__name__, *words], **options)


if __name__ == "__main__":
    pipeline.subprocess = SimpleNamespace(Popen=start)  # type: ignore[assignment]
    pipeline.require_ready = lambda *_: None  # type: ignore[assignment]
    assess.shortfall = lambda *_: ""  # type: ignore[assignment]
    program.play(sys.argv[1:])
