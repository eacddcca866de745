"""The parent's side of `worker.py`: start a job in a child, follow it, raise its error here.

The child has the offline environment; this process keeps its variables, signals and threads, and
may have an event loop running. Whatever ends the following (Ctrl-C, an error of `progress`) ends
the child, which keeps what was kept.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from localinstruct import errors
from localinstruct.errors import LocalInstructError
from localinstruct.offline import switches
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.worker import Job


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """One thing to show: a lasting line (`label` is ""), or how much of something is done."""

    text: str
    """The line; beside a label what stands after the numbers, such as the speed."""
    label: str = ""
    done: float = 0.0
    total: float = 0.0


STDERR = 2
OnProgress = Callable[[ProgressEvent], object]


def run_in_child(job: "Job", progress: OnProgress | None) -> JsonObject:
    """The result of a job that a child does; its error is raised here, Ctrl-C stops it."""
    from localinstruct import worker

    with tempfile.TemporaryDirectory(prefix="localinstruct-") as folder:
        file = worker.write_job(job, Path(folder))
        reading, writing = os.pipe()
        with os.fdopen(reading, encoding="utf-8") as lines:
            try:
                child = subprocess.Popen(
                    [sys.executable, *worker.COMMAND, str(file), str(writing), str(os.getpid())],
                    env=switches.child_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=STDERR,  # what libraries print is not the program's output
                    pass_fds=(writing,),
                    process_group=0,  # the terminal's Ctrl-C comes here, and is passed on below
                )
            finally:
                os.close(writing)
            with _stopped_with_us(child, lines):
                last = _follow(lines, progress)
    return _result(last, child.returncode)


@contextlib.contextmanager
def _stopped_with_us(child: "subprocess.Popen[bytes]", lines: TextIO) -> Iterator[None]:
    """Wait for the child at the end; whatever is raised in the block interrupts it first."""
    try:
        yield
        child.wait()
    except BaseException:
        child.send_signal(signal.SIGINT)
        lines.close()  # else a full pipe would hold it
        try:
            child.wait()
        except KeyboardInterrupt:  # the second one
            child.kill()
            child.wait()
        raise


def _follow(lines: Iterable[str], progress: OnProgress | None) -> tuple[str, JsonObject]:
    """Pass on what the child says; (kind, value) of its last line, ("", {}) where it had none."""
    last: tuple[str, JsonObject] = "", {}
    for line in lines:
        if not line.endswith("\n"):
            break  # the child was killed in the middle of it
        [(kind, value)] = json.loads(line).items()
        if kind in ("result", "error"):
            last = kind, value
        elif progress is not None and kind == "say":
            progress(ProgressEvent(value))
        elif progress is not None:
            label, done, total, note = value
            progress(ProgressEvent(note, label, done, total))
    return last


def _result(last: tuple[str, JsonObject], code: int) -> JsonObject:
    kind, value = last
    if kind == "result":
        return value
    if kind != "error":
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise LocalInstructError(
            f"the child that worked ended without a word ({how}).",
            "What was kept is kept. After SIGKILL the system was perhaps out of memory.",
        )
    raise _error(**value)


def _error(kind: str, message: str, hint: str, exit_code: int) -> LocalInstructError:
    """The child's error as one of this process, of the same class where errors.py has it."""
    known = getattr(errors, kind, LocalInstructError)
    problem: LocalInstructError = known(message, hint)
    problem.exit_code = exit_code
    return problem
