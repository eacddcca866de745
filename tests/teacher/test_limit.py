"""The limit of an endpoint, against servers whose places are known: it finds them, and keeps them
filled."""

import heapq
from random import Random

import pytest

from localinstruct.teacher.limit import Limit


def served(
    limit: Limit, places: int, answers: int, step: float = 0.01, now: float = 0.0
) -> tuple[float, list[int]]:
    """(share of the places that was filled, limits on the way) of a server with so many places.

    Requests come as fast as the limit lets them, are taken in order, and have unequal lengths.
    """
    rng, busy, queue, done = Random(7), list[tuple[float, float, int]](), list[float](), 0
    filled, began, seen = 0.0, now, list[int]()
    while done < answers:
        while len(busy) + len(queue) < limit.value:
            queue.append(now)
            if len(busy) + len(queue) >= limit.value:
                limit.reached()
        while queue and len(busy) < places:
            tokens = max(1, round(200 * rng.lognormvariate(0, 0.7)))
            heapq.heappush(busy, (now + tokens * step, queue.pop(0), tokens))
        end, asked, tokens = heapq.heappop(busy)
        filled += (len(busy) + 1) * (end - now)
        now, done = end, done + 1
        limit.answered(asked, now, tokens)
        seen.append(limit.value)
    return filled / ((now - began) * places), seen


def with_limit(value: int) -> Limit:
    limit = Limit()
    limit._value = float(value)
    return limit


@pytest.mark.parametrize("places", [4, 16, 64, 256])
def test_the_places_of_a_server_are_found_and_kept_filled(places: int) -> None:
    limit = Limit()
    _, first = served(limit, places, 10 * places + 100)
    assert max(first) >= places
    share, seen = served(limit, places, 200 * places, now=1e6)
    assert share > 0.95
    assert max(seen[100 * places :]) <= 2 * places + 8


def test_a_slow_server_has_its_places_filled_too() -> None:
    """A speed that was always low is no reason for a lower limit."""
    limit = Limit()
    served(limit, 64, 640, step=0.1)
    assert served(limit, 64, 6_400, step=0.1, now=1e6)[0] > 0.95


def test_a_server_that_becomes_slower_or_gets_more_places_is_followed() -> None:
    limit = Limit()
    served(limit, 32, 3_200)
    assert served(limit, 32, 3_200, step=0.05, now=1e6)[0] > 0.95
    served(limit, 64, 6_400, step=0.05, now=2e6)
    assert served(limit, 64, 6_400, step=0.05, now=3e6)[0] > 0.95
    _, seen = served(limit, 16, 12_800, now=4e6)
    assert max(seen[-3_200:]) < 48


def test_failures_halve_it_once_for_all_requests_of_before() -> None:
    limit = with_limit(64)
    for _ in range(20):
        limit.failed(asked_at=1.0, now=2.0)
    assert limit.value == 32
    limit.failed(asked_at=2.5, now=3.0)
    assert limit.value == 16
    for moment in range(4, 30):
        limit.failed(asked_at=moment, now=moment)
    assert limit.value == 1


def test_a_server_with_free_places_says_nothing_about_its_limit() -> None:
    limit = with_limit(64)
    for _ in range(1_000):
        limit.answered(1.0, 2.0, 10)
    assert limit.value == 64
