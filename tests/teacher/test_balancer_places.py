"""The balancer with servers whose places are known: all places are filled, unequal servers too.

The clock is virtual: the machine's load has no part in it.
"""

import asyncio
import time
from random import Random

import pytest

from benchmarks import virtual_clock
from benchmarks.endpoints import FOUND, SLOWER, shares
from benchmarks.simulated_server import CAP, LENGTHS, Engine
from localinstruct.records import JsonObject
from localinstruct.teacher.balancer import Balancer, Place

PLACES, KIND, STEP = 16, "log-normal, sigma 0.5", 1 / 226


async def filled(steps: list[float], seconds: float) -> JsonObject:
    """Shares of the places that were filled: twice as many requests as places, about so long."""
    engines = [Engine(PLACES, step, KIND) for step in steps]
    places = [Place(f"unix:///nowhere/{number}", 600) for number in range(len(steps))]
    balancer = Balancer(places, "m", start=PLACES // 2)
    behind = dict(zip([replica.url for replica in balancer.replicas], engines, strict=True))
    at_once = asyncio.Semaphore(2 * PLACES * len(steps))

    async def ask(number: int) -> None:
        content = f"Tell what happened on day {number}."
        async with at_once, balancer.place() as replica:
            asked_at = time.monotonic()
            await behind[replica.url].answer({"messages": [{"content": content}]})
            length = max(1, min(CAP, round(LENGTHS[KIND](Random(content)))))
            replica.replied(asked_at, length)

    tasks = round(sum(PLACES * STEP / step for step in steps) * (FOUND + seconds))
    await asyncio.gather(*(ask(number) for number in range(tasks)))
    await balancer.close()
    return shares([engine.trace() for engine in engines], steps, FOUND, PLACES)


@pytest.mark.parametrize(
    ("steps", "least"),
    [([STEP] * 8, 0.95), ([STEP] * 64, 0.95), ([SLOWER * STEP] + [STEP] * 7, 0.9)],
    ids=["8", "64", "one of 8 slower"],
)
def test_the_places_of_all_servers_are_filled(steps: list[float], least: float) -> None:
    assert virtual_clock.run(filled(steps, 8), cpu=False)["share"] >= least


def test_the_virtual_clock_waits_for_nothing() -> None:
    async def sleeper() -> float:
        began = time.monotonic()
        await asyncio.gather(asyncio.sleep(3_600), asyncio.sleep(7_200))
        return time.monotonic() - began

    assert virtual_clock.run(sleeper(), cpu=False) == pytest.approx(7_200)
    assert virtual_clock.run(sleeper(), cpu=True) >= 7_200
