"""Signals: what a process of ours begins with, and stopping at a good moment.

Whoever starts us may have had signals ignored or blocked, and children inherit that: a script that
ends a command with `&` has SIGINT ignored, `nohup` SIGHUP. Ignored by them, these two stay ignored
where a person started us; SIGTERM always stops.

In training the first signal only raises a flag, which the loop reads after each step. When the step
does not end in time, or a second signal comes, KeyboardInterrupt is raised where the program
stands; what was saved before then counts. Not covered: other threads than the main one, where
Python delivers no signals; there the flag is never raised.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import NoReturn, TypeVar

T = TypeVar("T")
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a system that shuts down, a terminal that is closed."""
NEEDED = (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD)
"""Signals that must reach us: to stop, to end what takes too long, to learn how a child ended."""
GRACE_SECONDS = 3.0
INSISTING = 3
"""The signal that no longer waits for the loop."""


def reset_signals(*, interruptible: bool = False) -> None:
    """Block no signal, and ignore none of NEEDED: the first call in every `main` of ours.

    What we start, foreign programs too, begins with the same. `interruptible` is for a child that
    its parent stops: there SIGINT raises KeyboardInterrupt, also where the parent ignores it.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in NEEDED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def stop_as_ctrl_c_does() -> None:
    """Have SIGTERM, and SIGHUP unless nohup has it ignored, raise KeyboardInterrupt from now on."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


@dataclass
class StopRequest:
    """A flag: `asked` once somebody wants us to stop."""

    asked: bool = False


@contextlib.contextmanager
def stop_request(grace: float = GRACE_SECONDS) -> Iterator[StopRequest]:
    """Give a flag that SIGINT, SIGTERM and SIGHUP raise, unless they are ignored.

    KeyboardInterrupt at the second signal, or `grace` seconds after the first if still inside the
    block.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if request.asked:
            raise KeyboardInterrupt
        request.asked = True
        signal.setitimer(signal.ITIMER_REAL, grace)

    heard = [n for n in STOPPING if signal.getsignal(n) is not signal.SIG_IGN]
    with _handling({**dict.fromkeys(heard, ask), signal.SIGALRM: _interrupt}):
        try:
            yield request
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)


def run_async(work: Coroutine[object, object, T]) -> T:
    """asyncio.run, in which Ctrl-C, SIGTERM and SIGHUP cancel `work` between two steps of the loop.

    Then KeyboardInterrupt. An exception that a handler raises in the middle of the loop can lose
    the wake-up of a task, for which the loop's end then waits for ever. Signals that are ignored,
    or that end the process as the system does, are left alone.
    """
    import asyncio  # here, because every child of ours needs the functions above

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
    heard = [n for n in STOPPING if here and callable(signal.getsignal(n))]
    with _handling(dict.fromkeys(heard, stop)):
        try:
            result = asyncio.run(main())
        except asyncio.CancelledError:
            if not asked:
                raise
            raise KeyboardInterrupt from None
    if asked:
        raise KeyboardInterrupt
    return result


Handler = Callable[[int, FrameType | None], object]


@contextlib.contextmanager
def _handling(handlers: dict[signal.Signals, Handler]) -> Iterator[None]:
    """Have these signals handled so inside the block, and as before after it."""
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
