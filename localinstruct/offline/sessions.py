"""Sessions: the programs that wrote to a run, sealed or not (egress/sessions.jsonl).

A report that only knew its own process could not say that another one, without the seal, had not
written half of the rows before. So every command that writes to a run notes its beginning and its
end here, sealed or not, and a stage counts as covered only if every session that overlaps it was
sealed. A session that was killed has no end; it lasts until the next. Not covered: somebody who
edits this file before the report is signed.
"""

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from localinstruct.offline import audit_hook, evidence
from localinstruct.offline.seal import status
from localinstruct.records import JsonObject
from localinstruct.store.durable import append_lines, read_json_lines

FOLDER, SESSIONS, ATTEMPTS, PAGES = "egress", "sessions.jsonl", "attempts.jsonl", "pages.jsonl"
ENDPOINTS = "endpoints.jsonl"


@contextmanager
def session(run: Path) -> Iterator[None]:
    """Note that this process writes to `run` until the block ends, and keep its attempts to leave.

    For the program a person started; the stages it starts are its children and belong to its
    session.
    """
    folder = run / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    seal = status()
    if seal.sealed or seal.checks:
        audit_hook.keep_in(folder / ATTEMPTS)
    number = len(read_json_lines(folder / SESSIONS))
    facts = {
        "pid": os.getpid(),
        "command": [word[:200] for word in sys.argv[:12]],
        "seal": seal.as_json(),
        "machine": evidence.machine(),
        "environment": evidence.environment(),
        "before": evidence.snapshot(),
    }
    _note(folder / SESSIONS, "begin", number, facts)
    try:
        yield
    finally:
        _note(folder / SESSIONS, "end", number, {"after": evidence.snapshot()})


def sessions(run: Path) -> list[JsonObject]:
    """Every session in order, with the times it "began" and "ended" (unix seconds).

    "ended" and "after", the counters at the end, are None after a kill.
    """
    by_number: dict[int, JsonObject] = {}
    for line in read_json_lines(run / FOLDER / SESSIONS):
        event, number = line.pop("event", ""), line.pop("number", None)
        if event == "begin":
            began = line.pop("time")
            by_number[number] = {"began": began, "ended": None, "after": None, **line}
        elif number in by_number:
            by_number[number] |= {"ended": line["time"], "after": line["after"]}
    return list(by_number.values())


@contextmanager
def page_noted(run: Path, page: str, address: str) -> Iterator[None]:
    """Note that a page of the run is open at `address` until the block ends.

    Where nothing may be written (another user's run), nothing is.
    """
    path = run / FOLDER / PAGES
    facts = {"page": page, "address": address, "sealed": status().sealed, "pid": os.getpid()}
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _note(path, "begin", os.getpid(), facts)
    try:
        yield
    finally:
        with suppress(OSError):
            _note(path, "end", os.getpid(), {})


def pages(run: Path) -> list[JsonObject]:
    """Every page of the run that was open, in order, with the times it "began" and "ended".

    "ended" is None after a kill, and while it is open.
    """
    found: list[JsonObject] = []
    for line in read_json_lines(run / FOLDER / PAGES):
        if line.get("event") == "begin":
            shown = {key: line[key] for key in ("page", "address", "sealed", "pid")}
            found.append({**shown, "began": line["time"], "ended": None})
        for page in reversed(found):
            if line.get("event") == "end" and page["pid"] == line.get("number"):
                page["ended"] = line["time"]
                break
    return found


def note_endpoint(run: Path, model: str, url: str, road: str) -> None:
    """Note an endpoint that is asked for a run; nothing where the folder is not that of a run."""
    if (run / "run.sqlite").is_file():
        facts = {"model": model, "url": url, "road": road, "sealed": status().sealed}
        (run / FOLDER).mkdir(mode=0o700, exist_ok=True)
        _note(run / FOLDER / ENDPOINTS, "asked", os.getpid(), facts)


def endpoints(run: Path) -> list[JsonObject]:
    """Every endpoint that was asked for a run, once for each road, with the first time."""
    found: dict[tuple[str, str, str, bool], JsonObject] = {}
    for line in read_json_lines(run / FOLDER / ENDPOINTS):
        shown = {key: line[key] for key in ("model", "url", "road", "sealed")}
        key = (line["model"], line["url"], line["road"], line["sealed"])
        found.setdefault(key, {**shown, "first": line["time"]})
    return list(found.values())


def attempts(run: Path) -> list[JsonObject]:
    """The notes of the audit hooks in all sealed processes of the run."""
    return read_json_lines(run / FOLDER / ATTEMPTS)


def is_covered(began: float, finished: float, sessions: list[JsonObject]) -> bool:
    """True when work between these times (unix seconds) lies in sessions that were all sealed."""
    next_ones = [*(session["began"] for session in sessions[1:]), float("inf")]
    spans = [  # a killed one may have worked until the next began
        (session["began"], session["ended"] or until, session["seal"]["sealed"])
        for session, until in zip(sessions, next_ones, strict=False)
    ]

    def in_a_session(moment: float) -> bool:
        return any(first <= moment <= last for first, last, _ in spans)

    beside = [sealed for first, last, sealed in spans if first <= finished and last >= began]
    return in_a_session(began) and in_a_session(finished) and all(beside)


def _note(path: Path, event: str, number: int, facts: JsonObject) -> None:
    line = {"event": event, "number": number, "time": time.time(), **facts}
    append_lines(path, [json.dumps(line)], 0o600)
