"""The signals that a program in the foreground begins with, for tests however they were started."""

import signal
from types import FrameType

from localinstruct.interrupt import reset_signals


def begin_in_foreground() -> None:
    """Undo what `&` and nohup have ignored, for this process and those that it starts.

    The programs under test would inherit it and rightly not hear what a test sends them. A closed
    terminal passes over us still: a handler, unlike SIG_IGN, is not inherited.
    """
    reset_signals(interruptible=True)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _pass_over)


def _pass_over(number: int, frame: FrameType | None) -> None:
    """Do nothing."""
