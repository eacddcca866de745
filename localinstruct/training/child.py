"""One of the processes that train together: python -m localinstruct.training.child JOB PARENT.

`processes` starts it, wrote JOB, and has the process id PARENT. It writes JSON objects to stdout,
one a line: {"say"}, {"update"}, and at the end {"result"} or {"error", "kind", "hint"}. Not
covered: being started by anything else.
"""

import json
import os
import signal
import sys
from pathlib import Path

from localinstruct.errors import LocalInstructError
from localinstruct.interrupt import reset_signals
from localinstruct.recipe import recipe_from_text
from localinstruct.records import Json
from localinstruct.supervisor import die_with_parent
from localinstruct.training import ranks


class ToParent:
    """A Progress that is shown by the parent process; only the first child sends any."""

    def say(self, text: str) -> None:
        """Pass a sentence on."""
        self._send({"say": text})

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Pass on how far the training is."""
        self._send({"update": [label, done, total, note]})

    def _send(self, message: Json) -> None:
        if ranks.first():
            send(message)


def send(message: Json) -> None:
    """Write one line to the parent."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main(job: Path, parent: int) -> int:
    """Train as this process's rank; the exit code."""
    reset_signals(interruptible=True)
    die_with_parent(signal.SIGKILL, parent)
    from localinstruct.training import stage

    facts = json.loads(job.read_text(encoding="utf-8"))
    recipe = recipe_from_text(facts["recipe"], str(job))
    home, folder = Path(facts["home"]), Path(facts["folder"])
    try:
        result = stage.train_in_this_process(
            recipe, home, ToParent(), folder, facts["device_batch"], facts["chat_template"]
        )
        send({"result": result})
    except LocalInstructError as error:
        send({"error": error.message, "kind": type(error).__name__, "hint": error.hint})
        return error.exit_code
    finally:
        _leave()
    return 0


def _leave() -> None:
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    code = main(Path(sys.argv[1]), int(sys.argv[2]))
    sys.stdout.flush()
    os._exit(code)  # a process of a broken group may hang while Python tidies up
