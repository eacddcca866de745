"""The time left: said once it rests on something, following what is seen, never hours for what ends
in a second; shares and times with one rounding each."""

from collections.abc import Iterable

import pytest

from localinstruct.progress import HORIZON, WATCHED, Pace, duration, per_second, percent, roughly

Update = tuple[float, float]
"""(seconds, done)."""


def told(updates: Iterable[Update], total: float, label: str = "rows") -> list[float | None]:
    """The seconds left after each update."""
    pace = Pace()
    return [pace.seconds_left(label, done, total, at) for at, done in updates]


def steady(count: int, every: float, start: float = 0.0, first: float = 0.0) -> list[Update]:
    return [(start + every * n, first + n) for n in range(count)]


def test_steady_work_is_told_within_a_tenth_once_it_was_watched() -> None:
    seen = told(steady(100, 1.0), 100)
    assert seen[: int(WATCHED) + 1] == [None] * (int(WATCHED) + 1)
    for done, left in enumerate(seen):
        if left is not None:
            assert left == pytest.approx(100 - done, rel=0.1)


KINDS: dict[str, tuple[list[Update], float]] = {
    # prompts all in flight at once: the first answer after a while, the others with it
    "cached answers": ([(0, 0), (20, 1), *[(20 + n / 100, n) for n in range(2, 274)]], 275),
    "commits in order behind a slow first episode": (
        [(0, 0), (60, 12), *[(60 + n / 10, 12 * n) for n in range(2, 34)]],
        400,
    ),
    "few rows": ([(0, 0), (8, 1), (9, 2)], 3),
    "a batch at a time": ([(10.0 * n, 64.0 * n) for n in range(5)], 257),
    "resumed, quickly through what is there": (
        [(n / 100, float(n)) for n in range(300)] + [(3 + n, 300.0 + n) for n in range(8)],
        310,
    ),
    "a second batch, of which the first comes late": (
        [(n / 128, float(n)) for n in range(128)] + [(21 + n / 128, 128.0 + n) for n in range(146)],
        275,
    ),
    "target nearly reached": ([(0, 396), (30, 397), (31, 398), (31.5, 399)], 400),
    "one step that is slow at first": ([(0, 0), (90, 1), (91, 2), (92, 3), (93, 4)], 5),
}
"""Kind of work -> its updates; it ends within a second or some after the last."""


@pytest.mark.parametrize("kind", KINDS)
def test_what_ends_at_once_is_never_said_to_last(kind: str) -> None:
    updates, total = KINDS[kind]
    end = updates[-1][0] + 10
    for (at, _), left in zip(updates, told(updates, total), strict=True):
        assert left is None or left <= 6 * max(end - at, 10)


def test_nothing_far_beyond_what_was_watched_is_said() -> None:
    for (at, _), left in zip(steady(400, 1.0), told(steady(400, 1.0), 1e6), strict=True):
        assert left is None or left <= HORIZON * at
    assert all(left is None for left in told(steady(400, 1.0), 1e6))
    assert told(steady(4000, 1.0), 60_000)[-1] == pytest.approx(56_000, rel=0.01)


def test_the_estimate_follows_a_change_of_speed() -> None:
    slow = steady(60, 1.0)
    quick = [(60 + n / 10, 60.0 + n) for n in range(1000)]
    left = told(slow + quick, 1100)
    assert left[59] == pytest.approx(1040, rel=0.1)
    assert left[-1] == pytest.approx(4, rel=0.25)


def test_a_phase_that_begins_again_forgets_the_one_before() -> None:
    pace = Pace()
    for at, done in steady(20, 1.0):
        pace.seconds_left("embedding", done, 20, at)
    assert pace.seconds_left("embedding", 1, 20, 30.0) is None
    assert pace.seconds_left("judging", 15, 20, 40.0) is None


def test_many_updates_take_little_memory_and_change_nothing() -> None:
    pace, updates = Pace(), steady(20_000, 0.01)
    seen = [pace.seconds_left("rows", done, 40_000, at) for at, done in updates]
    assert seen[-1] == pytest.approx(200, rel=0.02)
    assert len(pace._points) < 300


def test_without_a_total_there_is_nothing_to_say() -> None:
    assert told(steady(30, 1.0), 0) == [None] * 30
    assert told([*steady(30, 1.0), (31, 40)], 40)[-1] is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "a few seconds"),
        (41, "about 40 s"),
        (57.6, "about 1 min"),
        (200, "about 3 min"),
        (3569, "about 59 min"),
        (3590, "about 1 h"),
        (5940, "about 1 h 40 min"),
        (200_000, "about 2 d 7 h"),
    ],
)
def test_estimates_are_rough(seconds: float, words: str) -> None:
    assert roughly(seconds) == words


def test_one_rounding_each() -> None:
    assert [percent(share) for share in (0, 1e-4, 0.042, 0.612, 0.9999, 1)] == [
        "0%",
        "<0.1%",
        "4.2%",
        "61.2%",
        ">99.9%",
        "100%",
    ]
    assert [duration(s) for s in (4.06, 9.96, 48.4, 250, 11_520, 190_800)] == [
        "4.1 s",
        "10 s",
        "48 s",
        "4 min 10 s",
        "3 h 12 min",
        "2 d 5 h",
    ]
    assert [per_second(speed) for speed in (3.21, 9.97, 1439.4)] == ["3.2", "10", "1,439"]
