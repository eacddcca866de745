"""An event loop whose clock does not wait: where everybody sleeps, it goes to the next timer.

Between timers the clock stands still, or goes with the CPU time of this process: then a run takes
as long as on a core of its own with a disk that is ready at once, however busy this machine is.
All who take part are in this process and its event loop. Not covered: work in other threads.
"""

import asyncio
import selectors
import time
from collections.abc import Coroutine
from concurrent.futures import Executor, Future
from typing import Any, TypeVar
from unittest.mock import patch

T = TypeVar("T")
GRACE, FAR, PATIENCE = 0.001, 60.0, 0.25
"""Real seconds for the kernel before the clock moves; before it goes to what is FAR seconds away,
a time-out, PATIENCE ones. Without CPU time nothing comes from the kernel."""


class Clock:
    """Seconds since it was made: those slept, and with `cpu` those of work."""

    def __init__(self, cpu: bool) -> None:
        self.cpu = cpu
        self._began = time.process_time()
        self.slept = 0.0

    @property
    def worked(self) -> float:
        """CPU seconds of this process."""
        return time.process_time() - self._began

    def now(self) -> float:
        """Time of this clock, in seconds."""
        return self.slept + (self.worked if self.cpu else 0.0)


class _Selector(selectors.DefaultSelector):
    """A selector that moves the clock in place of waiting."""

    clock: Clock

    def select(self, timeout: float | None = None) -> Any:
        if events := super().select(0):
            return events
        if timeout is None or timeout > FAR:
            events = super().select(PATIENCE)
        elif timeout > 0 and self.clock.cpu:
            events = super().select(GRACE)
        if not events and timeout and timeout > 0:
            self.clock.slept += timeout
        return events


class Inline(Executor):
    """An executor that does the work at once, in the thread that asks for it."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The finished work."""
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # whatever it is, it is the caller's
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, T], *, cpu: bool) -> T:
    """Result of `work` under such a clock, which all callers of `time` see meanwhile."""
    selector, clock = _Selector(), Clock(cpu)
    selector.clock = clock

    class Loop(asyncio.SelectorEventLoop):
        def time(self) -> float:
            return clock.now()

    with (
        asyncio.Runner(loop_factory=lambda: Loop(selector)) as runner,
        patch.object(time, "monotonic", clock.now),
        patch.object(time, "time", clock.now),
    ):
        return runner.run(work)
