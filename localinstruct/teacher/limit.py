"""Limit of the requests at one endpoint: additive increase, multiplicative decrease.

The speed of a window of answers is the limit divided by the seconds of waiting for each output
token: by Little's law tokens per second, without the noise of the moment at which a window ends. It
grows with the limit until the server's places are full; from there on requests only queue. So the
limit doubles while that pays (slow start), then adds STEP after every window, and falls by CUT when
it is BEYOND times the knee, the smallest limit that had the best speed: a little below that one, to
see whether fewer would do; if not, it goes back to the knee at once. A time-out or a refusal (429,
503) halves it. After Chiu and Jain 1989, with speed in place of loss. Not covered: what several
endpoints have together, which is the scheduler's.
"""

from math import inf

STEP = 4
"""Requests that a window adds."""
BEYOND, CUT = 1.5, 0.6
"""Limit, in knees, that is cut; share that is left then (0.9 knees)."""
FEWER = 0.8
"""Share that is left where fewer requests were as fast: fewer still may be."""
FAILED_CUT = 0.5
"""Share that is left after a time-out or a refusal."""
PAYS = 1.3
"""Gain in speed for which the limit is doubled again."""
AS_FAST = 0.05
"""Difference of two speeds below which they count as equal."""
MEMORY = 0.9
"""Weight of the speeds before, in the best speed: a server that becomes slower is followed."""
LEAST_ANSWERS, ANSWERS = 16, 2
"""Answers of a window: the fewest, and for each request of the limit."""
START, MOST = 8, 4096
"""Requests of the first limit where nothing is known, and those that no limit exceeds."""


class Limit:
    """The limit of one endpoint, `start` at first."""

    def __init__(self, start: int = START) -> None:
        self._value = float(max(1, min(start, MOST)))
        self._doubles = True
        self._knee, self._speed = self._value, 0.0
        """Smallest limit that had the best speed, and that speed (tokens per second)."""
        self._changed_at = -inf
        """Time of the last change: what was asked before it met another limit."""
        self._begin_window(-inf)

    def _begin_window(self, now: float) -> None:
        self._changed_at = now
        self._answers, self._seconds, self._tokens, self._full = 0, 0.0, 0, False

    @property
    def value(self) -> int:
        """Requests that may be there at once."""
        return int(self._value)

    @property
    def speed(self) -> float:
        """Best speed so far, tokens per second; 0 before the first window."""
        return self._speed

    def reached(self) -> None:
        """Note that as many requests as may be are there."""
        self._full = True

    def answered(self, asked_at: float, now: float, tokens: int) -> None:
        """Count an answer; a window that is full may change the limit. Times are in seconds."""
        if asked_at < self._changed_at:
            return
        self._answers += 1
        self._seconds += now - asked_at
        self._tokens += max(1, tokens)
        if self._answers >= max(LEAST_ANSWERS, (1 if self._doubles else ANSWERS) * self.value):
            if self._full:  # a server with free places says nothing about the limit
                self._judge(self.value * self._tokens / max(self._seconds, 1e-9))
            self._begin_window(now)

    def _judge(self, speed: float) -> None:
        """Change the limit after a window with this speed."""
        gain = speed / self._speed if self._speed else inf
        fewer, as_fast = self._value < self._knee, gain >= 1 - AS_FAST
        if gain > 1 + AS_FAST:
            self._knee, self._speed = self._value, speed
        elif as_fast and fewer:
            self._knee = self._value
        elif not fewer:
            self._speed = MEMORY * self._speed + (1 - MEMORY) * speed
        if self._doubles and gain >= PAYS:
            self._value *= 2
        elif self._doubles:
            self._doubles, self._value = False, self._knee
        elif fewer:
            self._value = self._value * FEWER if as_fast else self._knee
        elif self._value < BEYOND * self._knee:
            self._value += STEP
        else:
            self._value *= CUT
        self._value = max(1.0, min(self._value, MOST))

    def failed(self, asked_at: float, now: float) -> None:
        """Take a time-out or a refusal into account, once for all requests of before."""
        if asked_at >= self._changed_at:
            self._doubles = False
            self._value = max(1.0, self._value * FAILED_CUT)
            self._knee = min(self._knee, self._value)
            self._begin_window(now)
