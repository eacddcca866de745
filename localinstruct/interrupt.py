"""Stopping at a good moment: Ctrl-C and SIGTERM in training (finish the step, save), and in an
event loop.

In training the first signal only raises a flag, which the loop reads after each step. When the step
does not end in time, or a second signal comes, KeyboardInterrupt is raised where the program
stands; what was saved before then counts. Not covered: other threads than the main one, where
Python delivers no signals; there the flag is never raised.
"""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")
GRACE_SECONDS = 3.0
INSISTING = 3
"""The signal that no longer waits for the loop."""


@dataclass
class StopRequest:
    """Whether somebody asked to stop."""

    asked: bool = False


@contextlib.contextmanager
def stop_request(grace: float = GRACE_SECONDS) -> Iterator[StopRequest]:
    """Give a flag that SIGINT and SIGTERM raise; KeyboardInterrupt `grace` seconds later if still
    inside the block."""
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


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run, in which Ctrl-C, SIGTERM and SIGHUP cancel `work` between two steps of the loop;
    then KeyboardInterrupt.

    An exception that a handler raises in the middle of the loop can lose the wake-up of a task, for
    which the loop's end then waits for ever. Signals that are ignored, or that end the process as
    the system does, are left alone.
    """
    asked, running = 0, list[tuple[asyncio.AbstractEventLoop, asyncio.Task[T]]]()

    async def main() -> T:
        task = asyncio.current_task()
        assert task
        running.append((asyncio.get_running_loop(), task))
        return await work

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked >= INSISTING or not running or running[0][0].is_closed():
            raise KeyboardInterrupt
        loop, task = running[0]
        loop.call_soon_threadsafe(task.cancel)

    here = threading.current_thread() is threading.main_thread()
    heard = [
        n
        for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if here and callable(signal.getsignal(n))
    ]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        result = asyncio.run(main())
    except asyncio.CancelledError:
        if not asked:
            raise
        raise KeyboardInterrupt from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        raise KeyboardInterrupt
    return result
