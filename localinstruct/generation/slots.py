"""Places for requests at the server: so many at once, the earliest episode first.

More wait here than there are places, so that a place is filled in the moment it is free; the order
keeps the oldest episode from waiting behind younger ones.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from heapq import heappop, heappush


class Slots:
    """`count` places; `in_use` of them are taken."""

    def __init__(self, count: int) -> None:
        self.in_use = 0
        self._count = count
        self._arrivals = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        """(episode, order of arrival, its turn), a heap."""

    @asynccontextmanager
    async def place(self, episode: int) -> AsyncIterator[None]:
        """Wait for a place, and hold it inside the block."""
        if self.in_use < self._count:
            self.in_use += 1
        else:
            await self._turn(episode)
        try:
            yield
        finally:
            self._leave()

    async def _turn(self, episode: int) -> None:
        """Wait until somebody who leaves passes the place on."""
        turn = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heappush(self._waiting, (episode, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # given and cancelled in one turn of the loop
                self._leave()
            raise

    def _leave(self) -> None:
        while self._waiting:
            *_, turn = heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self.in_use -= 1
