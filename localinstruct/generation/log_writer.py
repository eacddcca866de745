"""Writer of the completion log: replies that arrive in one turn of the loop share a transaction.

Each transaction is synced, which takes milliseconds on an ordinary disk; replies that come faster
than that would wait for each other's. Nobody gets a completion before it is in the log.
"""

import asyncio

from localinstruct.store.run import LogEntry, Run


class LogWriter:
    """The completion log of a run, for many tasks of one loop."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._unwritten: list[tuple[LogEntry, asyncio.Future[None]]] = []

    async def write(self, entry: LogEntry) -> None:
        """Return when the entry is on the disk; StoreError when the disk refuses it."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        self._unwritten.append((entry, written))
        if len(self._unwritten) == 1:
            loop.call_soon(self._flush)
        await written

    def _flush(self) -> None:
        batch, self._unwritten = self._unwritten, []
        problem: Exception | None = None
        try:
            self._run.record_all([entry for entry, _ in batch])
        except Exception as error:  # whatever it is, it is the error of those who wait
            problem = error
        for _, written in batch:
            if written.done():
                continue
            if problem is None:
                written.set_result(None)
            else:
                written.set_exception(problem)
