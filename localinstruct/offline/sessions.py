"""Which programs wrote to a run, and whether they were sealed: egress/sessions.jsonl in the run
directory.

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
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from localinstruct.offline import audit_hook, evidence
from localinstruct.offline.seal import Seal, status
from localinstruct.store.durable import append_lines, read_json_lines

FOLDER, SESSIONS, ATTEMPTS = "egress", "sessions.jsonl", "attempts.jsonl"


@contextmanager
def session(run: Path) -> Iterator[None]:
    """Note that this process writes to the run `run`, from now until the block ends; attempts to
    leave are kept there.

    For the program a person started; the stages it starts are its children and belong to its
    session.
    """
    folder = run / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    seal = status()
    if seal.sealed or seal.checks:
        audit_hook.keep_in(folder / ATTEMPTS)
    number = len(read_json_lines(folder / SESSIONS))
    _append(
        folder / SESSIONS,
        {"event": "begin", "number": number, "time": time.time(), **_beginning(seal)},
    )
    try:
        yield
    finally:
        _append(
            folder / SESSIONS,
            {"event": "end", "number": number, "time": time.time(), "after": evidence.snapshot()},
        )


def sessions(run: Path) -> list[dict[str, Any]]:
    """Every session in order, with "ended" (unix seconds, None after a kill) and "after" (counters
    at the end)."""
    found: dict[int, dict[str, Any]] = {}
    for line in read_json_lines(run / FOLDER / SESSIONS):
        if line.get("event") == "begin":
            content = {
                key: value for key, value in line.items() if key not in ("event", "time", "number")
            }
            found[line["number"]] = {"began": line["time"], "ended": None, "after": None, **content}
        elif line.get("number") in found:
            found[line["number"]] |= {"ended": line["time"], "after": line["after"]}
    return list(found.values())


def attempts(run: Path) -> list[dict[str, Any]]:
    """What the audit hooks of all sealed processes of the run noted: processes, children,
    attempts."""
    return audit_hook.read(run / FOLDER / ATTEMPTS)


def is_covered(began: float, finished: float, sessions: list[dict[str, Any]]) -> bool:
    """Whether work between these two times (unix seconds) began and finished in sessions, and every
    one was sealed."""
    spans = [
        (s["began"], s["ended"] or until, s["seal"]["sealed"])
        for s, until in zip(sessions, _next_beginnings(sessions), strict=True)
    ]
    noted = all(
        any(first <= moment <= last for first, last, _ in spans) for moment in (began, finished)
    )
    return noted and all(
        sealed for first, last, sealed in spans if first <= finished and last >= began
    )


def _next_beginnings(sessions: list[dict[str, Any]]) -> list[float]:
    """When the session after each one began: a killed one may have worked until then."""
    return [*(session["began"] for session in sessions[1:]), float("inf")][: len(sessions)]


def _beginning(seal: Seal) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "command": [word[:200] for word in sys.argv[:12]],
        "seal": asdict(seal) | {"headline": seal.headline},
        "machine": evidence.machine(),
        "environment": evidence.environment(),
        "before": evidence.snapshot(),
    }


def _append(path: Path, line: dict[str, Any]) -> None:
    """One line, on disk before the work goes on; a line torn by a kill before it is closed
    first."""
    append_lines(path, [json.dumps(line)], 0o600)
