"""The page of `watch`: a run at work, drawn here from its facts and asked for once a second.

The numbers are those of the terminal view (report/live_words.py). However many windows are open,
the store is read at most once a second, and not at all while nobody looks. A part that is as the
window has it is not sent again.
"""

import hashlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from localinstruct import console
from localinstruct.errors import LocalInstructError
from localinstruct.offline import seal
from localinstruct.records import JsonObject
from localinstruct.report import charts, live_words
from localinstruct.report.live import Watch, WatchFacts
from localinstruct.web import doors, pages

if TYPE_CHECKING:
    from markupsafe import Markup

EVERY = 0.9
"""Seconds for which facts are good: a little less than between two questions of a page."""
GRACE = 8.0
"""Seconds after the end of a run in which its last state is still shown, with --until-end."""

STOPPED = "stopped; the page is closed, and the run goes on as it was."


class Shown:
    """The newest facts of a run, for every window of the page."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._watch, self._lock = Watch(path), threading.Lock()
        self._facts: WatchFacts | None = None
        self._looked = 0.0

    def facts(self) -> WatchFacts:
        """The facts, looked up anew when they are a second old."""
        with self._lock:
            if self._facts is None or time.monotonic() - self._looked >= EVERY:
                self._facts = self._watch.look()
                self._looked = time.monotonic()
            return self._facts


def routes(shown: Shown) -> list[Route]:
    """The page, its part that changes, and the static files."""

    def page(request: Request) -> Response:
        return pages.respond("watch.html.j2", name=shown.path.name, **_now(shown))

    def now(request: Request) -> Response:
        values = _now(shown)
        if values["digest"] == request.query_params.get("seen"):
            return Response(status_code=204)
        return pages.respond("watch_now.html.j2", **values)

    return [Route("/", page), Route("/now", now), pages.static_route()]


def _now(shown: Shown) -> JsonObject:
    """Values of the part that changes; its digest says when it has."""
    try:
        facts = shown.facts()
    except (LocalInstructError, OSError) as problem:
        words = getattr(problem, "message", str(problem))
        return {"facts": None, "words": words, "digest": _digest(words)}
    values: JsonObject = {
        "facts": facts,
        "words": live_words.headline(facts),
        "next": live_words.next_step(facts),
        "stages": live_words.stages(facts),
        "pace": live_words.pace(facts),
        "rejects": live_words.rejects(facts),
        "topics": live_words.topics(facts),
        "done": live_words.done(facts),
        "bar": charts.bar,
        "spark": charts.spark,
        "charts": _charts(facts),
    }
    ids = [row.id for row in facts.rows]
    told = [values[name] for name in ("words", "next", "stages", "pace", "rejects", "topics")]
    return {
        **values,
        "digest": _digest(told, ids, facts.remarks, facts.generation.tokens_over_time[-2:]),
    }


def _digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def _charts(facts: WatchFacts) -> "list[Markup]":
    """Rows and speed over the time at work, and the losses over the steps."""
    made, drawn = facts.generation, []
    unit, size = charts.time_unit(made.seconds)
    label = f"time at work, {unit}"
    for title, points, whole in (
        ("Rows kept", made.rows_over_time, True),
        ("Output tokens per second", made.tokens_over_time, False),
    ):
        if len(points) > 1:
            line = charts.Series(title, [(seconds / size, value) for seconds, value in points])
            drawn.append(charts.line_chart(title, [line], label, whole=whole))
    if facts.training and len(facts.training.losses) + len(facts.training.held_out) > 1:
        series = [
            charts.Series("training", facts.training.losses),
            charts.Series("held out", facts.training.held_out, "ink"),
        ]
        drawn.append(charts.line_chart("Loss, nats per answer token", series, "step"))
    return drawn


def serve_watch(path: Path, port: int = 0, until_end: bool = False) -> None:
    """Serve the page until Ctrl-C; `until_end`: or until the run has ended."""
    shown = Shown(path)
    in_seal = seal.status() is not seal.OPEN
    with doors.open_door(path, "watch", use_socket=in_seal, port=port) as door:

        def ready() -> None:
            console.line(door.address or f"localinstruct open {path}")
            console.note(
                f"watches {path}, and only reads. This address is yours alone; Ctrl-C ends it"
            )
            if until_end:
                threading.Thread(target=_end_with, args=(shown,), daemon=True).start()

        doors.serve(routes(shown), door, ready)
    console.note(STOPPED)


def _end_with(shown: Shown) -> None:
    """End this process some seconds after nothing works in the run any more."""
    idle = 0.0
    while idle < GRACE:
        time.sleep(2)
        try:
            idle = 0.0 if shown.facts().state == "running" else idle + 2
        except (LocalInstructError, OSError):
            idle += 2
    os.kill(os.getpid(), signal.SIGTERM)
