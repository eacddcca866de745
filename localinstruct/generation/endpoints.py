"""Endpoints of a run at work: their number, and their state for who watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from localinstruct.models.catalog import ModelSpec
from localinstruct.records import JsonObject
from localinstruct.store.run import Run
from localinstruct.teacher import Serve

ENDPOINTS = "endpoints"
"""Stored text of a run: the states of its endpoints, while there are several and it is at work."""
EVERY = 2.0
"""Seconds between two notes."""


def servers_of(specs: Iterable[ModelSpec], serve: Serve) -> int:
    """Servers of all models that are asked, each model counted once."""
    models = {spec.name: spec for spec in specs}
    return sum(len(spec.servers) or serve.copies for spec in models.values())


@asynccontextmanager
async def noted(run: Run, states: Callable[[], list[JsonObject]]) -> AsyncIterator[None]:
    """Keep the states of several endpoints in the run's store while the block lasts."""
    if len(states()) < 2:
        yield
        return

    async def note() -> None:
        before = ""
        while True:
            if (now := json.dumps(states())) != before:
                run.put(ENDPOINTS, now)
                before = now
            await asyncio.sleep(EVERY)

    noting = asyncio.create_task(note())
    try:
        yield
    finally:
        noting.cancel()
        await asyncio.gather(noting, return_exceptions=True)
        run.put(ENDPOINTS, "[]")


def endpoints_at_work(run: Run) -> list[JsonObject]:
    """The states that were noted last: model, url, state, in_flight, limit, answered, why."""
    states: list[JsonObject] = json.loads(run.get(ENDPOINTS) or "[]")
    return states
