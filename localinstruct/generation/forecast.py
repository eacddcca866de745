"""Forecast of a run: rows an episode brings, episodes still needed, and the time left, as a range.

It begins with what the method says, learns from every episode that was played, and forgets old ones
slowly: as a pool fills, fewer rows are new, and an average over the whole run would be too high.
What is launched depends on it, never what is kept.
"""

import math
import statistics
from dataclasses import dataclass, field

MEMORY = 0.97
"""Weight of an episode after the next one: about the last 33 count."""
RESERVE = 1.2
"""Share of the missing rows that is aimed at: some episodes bring less than expected."""
LEAST = 0.05
"""Rows an episode is expected to bring at least, so that the number needed stays finite."""

SPANS, MOST_POINTS = 6, 512
"""Spans whose speeds are compared, and commits that are remembered."""
WATCHED = 8.0
"""Seconds to watch before a time left is given."""


@dataclass
class Forecast:
    """Rows per episode, from `guess` on."""

    guess: float
    _episodes: float = 1.0
    """Episodes seen, old ones counting less; the guess counts as one."""
    _passed: float = 0.0
    """Rows of theirs that passed the filters."""
    _judged: float = 1.0
    """Rows judged for novelty, old ones counting less; one that was new is taken for granted."""
    _kept: float = 1.0
    waiting_episodes: int = 0
    """Episodes that were played and wait for their commit."""
    waiting_rows: int = 0
    """Rows of theirs that passed the filters."""

    def __post_init__(self) -> None:
        self._passed = self.guess

    def played(self, passed: int) -> None:
        """Count an episode of which so many rows passed the filters; its commit is to come."""
        self._episodes = MEMORY * self._episodes + 1
        self._passed = MEMORY * self._passed + passed
        self.waiting_episodes += 1
        self.waiting_rows += passed

    def committed(self, passed: int, kept: int) -> None:
        """Count the commit of a played episode."""
        self._judged = MEMORY * self._judged + passed
        self._kept = MEMORY * self._kept + kept
        self.waiting_episodes -= 1
        self.waiting_rows -= passed

    @property
    def share_new(self) -> float:
        """Share of the rows that pass the filters which is kept."""
        return min(1.0, self._kept / max(self._judged, 1e-9))

    @property
    def per_episode(self) -> float:
        """Rows that the next episode is expected to bring."""
        return max(LEAST, self._passed / self._episodes * self.share_new)

    def ahead(self, missing: int) -> int:
        """Episodes that should be ahead of the commit for so many missing rows."""
        rest = RESERVE * missing - self.share_new * self.waiting_rows
        return self.waiting_episodes + (math.ceil(rest / self.per_episode) + 1 if rest > 0 else 0)


@dataclass
class TimeLeft:
    """The time left, from the speeds of equal spans of the time that was watched."""

    _points: list[tuple[float, float]] = field(default_factory=list)
    """(seconds, done) after each commit."""

    def after(self, now: float, done: float, total: float) -> tuple[float, float] | None:
        """The time left after this commit at `now` (seconds): `add` and `left`."""
        self.add(now, done)
        return self.left(total)

    def add(self, now: float, done: float) -> None:
        """Remember a commit at `now` (seconds), after which so much is done."""
        self._points.append((now, done))
        if len(self._points) > MOST_POINTS:
            self._points = self._points[::2]

    def left(self, total: float) -> tuple[float, float] | None:
        """The least and the most seconds that are likely, or None while little has been seen.

        Two standard errors of the mean speed on both sides, and of the later half's if that is
        slower: a pool that fills gives fewer new rows. Nothing is said beyond twenty times the
        time that was watched.
        """
        if len(self._points) < 2 * SPANS:
            return None
        (first, _), (last, done) = self._points[0], self._points[-1]
        if last - first < WATCHED or done >= total:
            return None
        edges = [first + (last - first) * span / SPANS for span in range(SPANS + 1)]
        there = [max(y for x, y in self._points if x <= edge) for edge in edges]
        span = edges[1] - edges[0]
        speeds = [(there[n + 1] - there[n]) / span for n in range(SPANS)]
        error = 2 * statistics.stdev(speeds) / math.sqrt(SPANS)
        means = statistics.mean(speeds), statistics.mean(speeds[SPANS // 2 :])
        slowest, fastest = min(means) - error, max(means) + error
        most = (total - done) / slowest if slowest > 0 else math.inf
        return ((total - done) / fastest, most) if most <= 20 * (last - first) else None


def in_words(seconds: tuple[float, float]) -> str:
    """A range of times as people read it: 20 to 45 s, 3 to 6 min, 2 to 3 h."""
    low, high = seconds
    size, unit = (1, "s") if high < 90 else (60, "min") if high < 5_400 else (3_600, "h")
    least, most = math.floor(low / size), math.ceil(high / size)
    return f"{least} to {most} {unit}" if least else f"up to {most} {unit}"
