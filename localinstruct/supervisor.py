"""No child outlives us: a small guard process between localinstruct and every server it starts.

vLLM is several processes, and an orphan keeps a GPU's memory. Signals alone cannot prevent that,
because SIGKILL gives its victim no chance to tidy up. So the server is started below a supervisor
that holds one end of a pipe; whichever way localinstruct ends, the kernel closes the other end, and
the supervisor stops the server with all its descendants (it is their subreaper, so none can slip
away) and removes the server's private folder. Not covered: SIGKILL aimed at the supervisor itself
stops the server's first process only.

    python -m localinstruct.supervisor LIFELINE_FD FOLDER COMMAND...
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from localinstruct.interrupt import reset_signals
from localinstruct.store.durable import lock

GRACE = 2.0
"""Seconds between SIGTERM and SIGKILL.

vLLM alone needs 1.5 to 2.5 and has nothing to save; Ctrl-C must be over within 5.
"""
CHILD = "LOCALINSTRUCT_STAGE"
"""Environment variable of a stage that `run` started: the process id of its parent.

Such a stage dies with its parent and leaves the last words to it.
"""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


def line_child(
    words: Sequence[str],
    environment: Mapping[str, str],
    own_session: bool = False,
) -> "subprocess.Popen[str]":
    """A Python that is told lines on stdin and answers in lines on stdout; `words` go to it.

    Its stderr is dropped; with `own_session` no Ctrl-C of ours reaches it.
    """
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        env=environment,
        start_new_session=own_session,
    )


class Ward:
    """A guarded server process; `folder` is its private directory (0700), removed when it ends."""

    def __init__(
        self,
        command: list[str],
        folder: Path,
        log: Path,
        environment: dict[str, str],
        lock_file: Path,
    ) -> None:
        held = _take_over(lock_file)
        reading, self._lifeline = os.pipe()
        guarded = [sys.executable, "-m", __name__, str(reading), str(folder), *command]
        try:
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    guarded,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                    pass_fds=(reading, held),
                    start_new_session=True,
                    umask=0o077,
                )
        finally:
            os.close(reading)
            os.close(held)

    def alive(self) -> bool:
        """True while the server runs."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the server and everything it started; returns when all are gone."""
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1
        self.process.wait()


def die_with_parent(number: int = signal.SIGTERM, parent: int | None = None) -> None:
    """Ask the kernel to send us this signal when our parent ends, however it ends.

    With the process id of `parent`, the signal comes at once when it has ended already.
    """
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), number)


def _take_over(path: Path) -> int:
    """A descriptor with the lock that the last supervisor held until its server was gone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    lock(descriptor, wait=True)
    return descriptor


def guard(lifeline: int, folder: Path, command: list[str]) -> int:
    """Run `command` until it ends or `lifeline` closes, stop its descendants, remove `folder`."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    reset_signals()
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _pass_over)  # not SIG_IGN, which the server would inherit

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, _pass_over)  # once: a second one finds it closed
        os.close(lifeline)

    signal.signal(signal.SIGTERM, end)
    ours = os.getpid()
    child = subprocess.Popen(command, preexec_fn=lambda: die_with_parent(signal.SIGKILL, ours))
    _wait_for_either(child.pid, lifeline)
    _stop_descendants()
    shutil.rmtree(folder, ignore_errors=True)
    return child.poll() or 0


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Do nothing: it is for our parent to say when the server stops."""


def _wait_for_either(pid: int, lifeline: int) -> None:
    ended = os.pidfd_open(pid)
    try:
        select.select([lifeline, ended], [], [])
    except (OSError, ValueError):
        return  # SIGTERM closed the lifeline under us


def _stop_descendants() -> None:
    """SIGTERM to our children, SIGKILL to whatever is left after the grace, until there is none."""
    deadline = time.monotonic() + GRACE
    for pid in _children():
        _send(pid, signal.SIGTERM)
    while children := _children():
        if time.monotonic() > deadline:
            for pid in children:
                _send(pid, signal.SIGKILL)
        _reap()
        time.sleep(0.02)


def _children() -> list[int]:
    """Direct children, zombies included; orphans of our descendants become direct children."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    return [int(pid) for pid in text.split()]


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


if __name__ == "__main__":
    sys.exit(guard(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]))
