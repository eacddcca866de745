"""Fires the leaks of some groups, one line of JSON per leak on stdout; see the package."""

import contextlib
import json
import os
import shutil
import socket
import sys
import time
from pathlib import Path
from typing import Any

from tests.leaks import GROUPS, Leak, world
from tests.leaks.leak import REAL_SLEEP
from tests.support.strace_log import MARK

WORLD = "world.jsonl"


def noted() -> list[dict[str, Any]]:
    """What the audit hook noted so far, forked children included."""
    from localinstruct.offline import audit_hook
    from localinstruct.store.durable import read_json_lines

    return read_json_lines(Path(os.environ[audit_hook.FILE]))


def arrived() -> list[str]:
    """What came to the world outside, in the mode "open"."""
    notes = Path(os.environ["TMPDIR"], WORLD)
    return list(map(json.loads, notes.read_text().splitlines())) if notes.exists() else []


def wait_for_arrivals(there: int) -> list[str]:
    """What has come since `there`; the world is another process, so it is given ten seconds."""
    for _ in range(200):
        if not Path(os.environ["TMPDIR"], WORLD).exists() or len(arrived()) > there:
            break
        REAL_SLEEP(0.05)
    return arrived()[there:]


def mark(name: str) -> None:
    """A call that strace shows and that goes nowhere: what follows in its log was done by this
    leak."""
    with socket.socket(socket.AF_UNIX) as nobody, contextlib.suppress(OSError):
        nobody.connect(f"\0{MARK}{name}")


def measure(leak: Leak) -> dict[str, Any]:
    """Fire one leak; what it raised, what the audit hook and the kernel saw of it, and packets on
    every interface."""
    from localinstruct.offline import evidence

    mark(leak.name)
    before, old, there = evidence.snapshot(), len(noted()), len(arrived())
    began, error = time.monotonic(), ""
    try:
        leak.fire()
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}"[:200]
    after, new = evidence.snapshot(), noted()[old:]
    seen = [entry for entry in new if entry["kind"] == "attempt"]
    return {
        "name": leak.name,
        "error": error,
        "seen": [entry["target"] for entry in seen],
        "packages": sorted({name for entry in seen for name in entry["packages"]}),
        "stacks": [entry["stack"] for entry in seen],
        "programs": [entry["target"] for entry in new if entry["kind"] == "child"],
        "arrived": wait_for_arrivals(there),
        "counted": sum(after["no_route"].values()) - sum(before["no_route"].values()),
        "sent": sum(i["sent_packets"] for i in after["interfaces"].values())
        - sum(i["sent_packets"] for i in before["interfaces"].values()),
        "interfaces": sorted(after["interfaces"]),
        "seconds": round(time.monotonic() - began, 2),
    }


def main(mode: str, *groups: str) -> None:
    """Seal (or not), take the switches away (or not), fire every leak of the groups; TMPDIR becomes
    a run with its session."""
    from localinstruct.offline import audit_hook, kernel, seal, sessions, switches

    # libraries wait between attempts
    time.sleep = lambda seconds: REAL_SLEEP(min(float(seconds), 0.01))
    if mode in ("control", "open"):
        kernel.own_namespaces()
        world.add_way_out()
        if mode == "open":
            world.begin(Path(os.environ["TMPDIR"], WORLD))
        audit_hook.arm()
    else:
        seal.enter()
    if mode in ("sealed", "open"):
        for name in switches.SWITCHES:
            os.environ.pop(name, None)
    with sessions.session(Path(os.environ["TMPDIR"])):
        for leak in (leak for group in groups for leak in GROUPS[group]):
            if not leak.needs or shutil.which(leak.needs):
                print(json.dumps(measure(leak)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)
