"""Time at work of a run: seconds in which a stage, or its teacher, was really at work.

Every session is noted with its begin and its end in the store, so that pauses between sessions do
not count. A session that was killed has no end; it counts up to its last completion or commit
before the next session. Not covered: what a killed stage other than generate did, and runs of
versions that noted no sessions.
"""

import json
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from localinstruct.errors import LocalInstructError
from localinstruct.store.run import Run

ASKING = "asking the teacher"
"""What is timed beside the stages: from the first question to the last answer and commit."""


@contextmanager
def at_work(run: Run, what: str, inputs: str = "", began: float | None = None) -> Iterator[None]:
    """Note a session of `what`; sessions with other `inputs` (a digest) do not count any more.

    `began` is a unix time, where work began before this call.
    """
    earlier = sessions(run, what) if _inputs(run, what) == inputs else []
    noted = [*earlier, (began or time.time(), None)]
    _store(run, what, inputs, noted)
    try:
        yield
    except BaseException:
        with suppress(LocalInstructError):  # a full disk, say: the first trouble is reported
            _end(run, what, inputs, noted)
        raise
    _end(run, what, inputs, noted)


def _end(run: Run, what: str, inputs: str, sessions: list[tuple[float, float | None]]) -> None:
    _store(run, what, inputs, [*sessions[:-1], (sessions[-1][0], time.time())])


def worked(run: Run, what: str) -> float | None:
    """Seconds at work in all sessions, the present one up to now; None where none is noted."""
    noted = sessions(run, what)
    if not noted:
        return None
    killed = any(end is None for _, end in noted[:-1])
    last = last_moments([begin for begin, _ in noted], _moments(run) if killed else [])
    return sum(end - begin for begin, end in ended(noted, last, time.time()))


def ended(
    noted: Sequence[tuple[float, float | None]], last: Mapping[int, float], now: float
) -> list[tuple[float, float]]:
    """(begin, end) of sessions: the present one ends `now`, a killed one at its last moment.

    `last` is number of a session -> its last moment, as `last_moments` gives it.
    """
    lasts = [last.get(number, begin) for number, (begin, _) in enumerate(noted)]
    lasts[-1:] = [now] if noted else []
    pairs = zip(noted, lasts, strict=True)
    return [(begin, max(begin, at if end is None else end)) for (begin, end), at in pairs]


def last_moments(begins: Sequence[float], moments: Iterable[float]) -> dict[int, float]:
    """Number of a session -> the last of these unix times that lie in it."""
    last: dict[int, float] = {}
    for moment in moments:
        number = bisect_right(begins, moment) - 1
        if moment > last.get(number, 0):
            last[number] = moment
    return last


def since(run: Run, what: str) -> float:
    """The unix time at which the first session that is noted began; 0 where none is."""
    return min((began for began, _ in sessions(run, what)), default=0.0)


def _moments(run: Run) -> list[float]:
    """Unix times of all completions and commits."""
    arrived = [moment for moment, _ in run.completion_usage()[1]]
    return arrived + [committed for *_, committed in run.episodes()]


def _noted(run: Run, what: str) -> dict[str, object]:
    noted = json.loads(run.get(f"time of {what}") or "{}")
    return noted if isinstance(noted, dict) else {}


def _inputs(run: Run, what: str) -> str:
    return str(_noted(run, what).get("inputs", ""))


def sessions(run: Run, what: str) -> list[tuple[float, float | None]]:
    """(begin, end or None) of every session, unix times, in order."""
    noted = _noted(run, what).get("sessions")
    return [(begin, end) for begin, end in noted] if isinstance(noted, list) else []


def _store(run: Run, what: str, inputs: str, sessions: list[tuple[float, float | None]]) -> None:
    run.put(f"time of {what}", json.dumps({"inputs": inputs, "sessions": sessions}))
