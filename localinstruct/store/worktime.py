"""Time at work of a run: seconds in which a stage, or its teacher, was really at work.

Every session is noted with its begin and its end in the store, so that pauses between sessions do
not count. A session that was killed has no end; it counts up to its last completion or commit
before the next session. Not covered: what a killed stage other than generate did, and runs of
versions that noted no sessions.
"""

import json
import time
from collections.abc import Iterator
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
    sessions = _sessions(run, what) if _inputs(run, what) == inputs else []
    sessions.append((began or time.time(), None))
    _store(run, what, inputs, sessions)
    try:
        yield
    except BaseException:
        with suppress(LocalInstructError):  # a full disk, say: the first trouble is reported
            _end(run, what, inputs, sessions)
        raise
    _end(run, what, inputs, sessions)


def _end(run: Run, what: str, inputs: str, sessions: list[tuple[float, float | None]]) -> None:
    _store(run, what, inputs, [*sessions[:-1], (sessions[-1][0], time.time())])


def worked(run: Run, what: str) -> float | None:
    """Seconds at work in all sessions, the present one up to now; None where none is noted."""
    sessions = _sessions(run, what)
    if not sessions:
        return None
    *earlier, (began, ended) = sessions
    seconds = max(0.0, (time.time() if ended is None else ended) - began)
    limits = [began for began, _ in sessions[1:]]
    killed = any(ended is None for _, ended in earlier)
    moments = _moments(run) if killed else []
    for (began, ended), limit in zip(earlier, limits, strict=True):
        if ended is None:
            last = max((at for at in moments if began <= at <= limit), default=began)
        seconds += max(0.0, (last if ended is None else ended) - began)
    return seconds


def since(run: Run, what: str) -> float:
    """The unix time at which the first session that is noted began; 0 where none is."""
    return min((began for began, _ in _sessions(run, what)), default=0.0)


def _moments(run: Run) -> list[float]:
    """Unix times of all completions and commits."""
    arrived = [moment for moment, _ in run.completion_usage()[1]]
    return arrived + [committed for *_, committed in run.episodes()]


def _noted(run: Run, what: str) -> dict[str, object]:
    noted = json.loads(run.get(f"time of {what}") or "{}")
    return noted if isinstance(noted, dict) else {}


def _inputs(run: Run, what: str) -> str:
    return str(_noted(run, what).get("inputs", ""))


def _sessions(run: Run, what: str) -> list[tuple[float, float | None]]:
    """(begin, end or None) of every session, unix times, in order."""
    sessions = _noted(run, what).get("sessions")
    return [(began, ended) for began, ended in sessions] if isinstance(sessions, list) else []


def _store(run: Run, what: str, inputs: str, sessions: list[tuple[float, float | None]]) -> None:
    run.put(f"time of {what}", json.dumps({"inputs": inputs, "sessions": sessions}))
