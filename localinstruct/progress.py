"""Progress of a long step: lasting lines, a moving one with the share done, and the time left.

Also how shares, times, speeds, losses and similarities are written wherever they are shown.
"""

import time
from bisect import bisect_right
from collections.abc import Callable
from typing import Protocol

WATCHED = 5.0
"""Seconds of steady work, after its first result, below which no time left is given."""
HORIZON = 20.0
"""Longest time left that is given, in multiples of the time that was watched."""
UNSTEADY = 3.0
"""Ratio of the speeds of late and in all beyond which work is too unsteady for a word."""
POINTS = 256
"""Points of a phase that are remembered; beyond them every second one is forgotten."""


class Progress(Protocol):
    """Display that a long step is given; `console.py` draws it, tests record it."""

    def say(self, text: str) -> None:
        """Show a lasting line: a choice and its reason, a phase that begins, a warning."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Replace the moving line: `done` of `total`, the time left, and `note` after it."""


class Silent:
    """A Progress that shows nothing, for callers that only want the result."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Drop the update."""


def counter(progress: Progress, label: str, total: float) -> Callable[[float], None]:
    """Function that takes what was done since its last call, and shows the sum of all."""
    done = 0.0

    def tick(more: float) -> None:
        nonlocal done
        done += more
        progress.update(label, done, total)

    return tick


class Pace:
    """Time left of a phase, from the work seen of it: none while that says too little.

    The wait for the first result is no pace: work of which much is in flight at once begins late
    and goes on fast. So watching begins with the first result, lasts at least WATCHED seconds and
    as long as that first wait, and nothing beyond HORIZON times of what was watched is said. The
    speed is that of the later half, so the estimate follows what it sees; while that differs much
    from the speed in all, as between two batches, nothing is said. Not covered: work that ends
    before its total, as a training does that may stop early.
    """

    def __init__(self) -> None:
        self._label = ""
        self._began = self._at_start = 0.0
        self._points: list[tuple[float, float]] = []  # (seconds, done), from the first result on

    def left(self, label: str, done: float, total: float) -> str:
        """The time left, as "about 3 min left", or "" while it rests on nothing."""
        seconds = self.seconds_left(label, done, total, time.monotonic())
        return f"{roughly(seconds)} left" if seconds is not None else ""

    def seconds_left(self, label: str, done: float, total: float, now: float) -> float | None:
        """The seconds left after this update at `now` (seconds, monotonic), or None."""
        if label != self._label or (self._points and done < self._points[-1][1]):
            self._label, self._began, self._points = label, now, []
            self._at_start = done
        if not self._points and done <= self._at_start:
            return None  # nothing has come yet
        self._points.append((now, done))
        if len(self._points) > POINTS:
            self._points = self._points[::2] + self._points[-1:]
        first = self._points[0][0]
        watched = now - first
        if not total or done >= total or watched < max(WATCHED, first - self._began):
            return None
        middle = self._points[bisect_right(self._points, (first + watched / 2, float("inf"))) - 1]
        lately, overall = done - middle[1], done - self._points[0][1]
        if lately <= 0:
            return None
        pace = (now - middle[0]) / lately  # seconds for one
        if not 1 / UNSTEADY <= pace * overall / watched <= UNSTEADY:
            return None
        left = (total - done) * pace
        return left if left <= HORIZON * watched else None


def roughly(seconds: float) -> str:
    """A time that is only estimated: about 40 s, about 7 min, about 3 h 20 min."""
    if seconds < 5:
        return "a few seconds"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s"
    if seconds < 3570:
        return f"about {max(1, round(seconds / 60))} min"
    return f"about {duration(600 * round(seconds / 600)).removesuffix(' 0 min')}"


def percent(share: float) -> str:
    """A share as people read it: 61.3%, 4.2%, and never 0% or 100% for what is not quite that."""
    value = 100 * share
    if 0 < value < 0.05 or 99.95 <= value < 100:
        return "<0.1%" if value < 1 else ">99.9%"
    return f"{value:.1f}%" if 0 < value < 100 else f"{value:.0f}%"


def duration(seconds: float) -> str:
    """A time as people read it: 4.1 s, 48 s, 4 min 10 s, 3 h 12 min, 2 d 5 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400:,} d {whole % 86_400 // 3600} h"


def per_second(speed: float) -> str:
    """A speed in tokens a second: 1,439, and 3.2 below ten."""
    return f"{speed:,.0f}" if speed >= 9.95 else f"{speed:.1f}"


def loss(value: float) -> str:
    """A loss in nats per answer token: 0.627."""
    return f"{value:,.3f}" if abs(value) < 1e6 else f"{value:.1e}"


def similarity(value: float) -> str:
    """A similarity from -1 to 1, of two rows: 0.912."""
    return f"{value:.3f}"
