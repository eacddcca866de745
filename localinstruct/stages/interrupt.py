"""Ctrl-C and SIGTERM at a good moment: finish the step, save, stop; but never later than the grace period. Not a stage.

The first signal only raises a flag, which the training loop reads after each step. When the step does not end in time,
or a second signal comes, KeyboardInterrupt is raised where the program stands; what was saved before then counts. Not
covered: other threads than the main one, where Python delivers no signals; there the flag is never raised.
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

GRACE_SECONDS = 3.0


@dataclass
class StopRequest:
    """Whether somebody asked to stop."""

    asked: bool = False


@contextlib.contextmanager
def stop_request(grace: float = GRACE_SECONDS) -> Iterator[StopRequest]:
    """Give a flag that SIGINT and SIGTERM raise; KeyboardInterrupt `grace` seconds later if still inside the block."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        signal.setitimer(signal.ITIMER_REAL, grace)

    def insist(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGALRM: insist}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield request
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
