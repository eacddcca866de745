"""One of the processes that train together: `python -m localinstruct.training.child JOB`, started
by `processes`.

Says on stdout, one JSON object a line: {"say"}, {"update"}, and at the end {"result"} or {"error",
"kind", "hint"}. Not covered: being started by anything but `processes`, which wrote JOB.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from localinstruct.errors import LocalInstructError
from localinstruct.interrupt import reset_signals
from localinstruct.recipe import recipe_from_text
from localinstruct.supervisor import die_with_parent
from localinstruct.training import ranks


class Spoken:
    """A Progress whose words go to the parent; only the first process has any."""

    def say(self, text: str) -> None:
        """Pass a sentence on."""
        self._speak({"say": text})

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Pass on how far we are."""
        self._speak({"update": [label, done, total, note]})

    def _speak(self, words: dict[str, Any]) -> None:
        if ranks.first():
            speak(words)


def speak(words: dict[str, Any]) -> None:
    """One line to the parent."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def main(job: Path) -> int:
    """Train as this process's rank; the exit code."""
    reset_signals(interruptible=True)
    die_with_parent(signal.SIGKILL)
    from localinstruct.training import stage

    facts = json.loads(job.read_text(encoding="utf-8"))
    recipe = recipe_from_text(facts["recipe"], str(job))
    try:
        result = stage.alone(
            recipe, Path(facts["home"]), Spoken(), Path(facts["folder"]), facts["device_batch"]
        )
        speak({"result": result})
    except LocalInstructError as error:
        speak({"error": error.message, "kind": type(error).__name__, "hint": error.hint})
        return error.exit_code
    finally:
        _leave()
    return 0


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    sys.stdout.flush()
    os._exit(code)  # a process of a broken group may hang while Python tidies up
