"""Model folders of the kinds that people have, made from the nano student, and rows to put in."""

import os
import subprocess
import sys
from pathlib import Path

from localinstruct.records import Instance, Message

HERE = Path(__file__).parents[1]
STUDENT = HERE.parent / "localinstruct" / "nano" / "weights" / "student"
SYSTEM = Instance("Which tree?", "Of three.", "The oak.", system="You are a forester.")
TALK = Instance(
    "And now?",
    output="The beech.",
    history=(Message("user", "Which tree?"), Message("assistant", "The oak.")),
)
BOTH = Instance("And now?", output="The beech.", system="You are a forester.", history=TALK.history)
THINKING = Instance("Which tree?", output="<think>\nAcorns mean oaks.\n</think>\n\nThe oak.")
PLAIN = Instance("Which tree?", output="The oak.")
SHAPES = {"plain": PLAIN, "system": SYSTEM, "talk": TALK, "both": BOTH, "thinking": THINKING}


def make_models(output: Path) -> Path:
    """All folders of tests/data/cases/make_models.py in `output`."""
    script = HERE / "data" / "cases" / "make_models.py"
    subprocess.run(
        [sys.executable, str(script), str(STUDENT), str(output)],
        check=True,
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(HERE.parent)},
    )
    return output
