"""A teacher that misbehaves: a server on a unix socket that plays recorded replies with faults; the
client is the product's."""

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from random import Random
from typing import Any

from tests.support.openai_server import _Server, completion, failure
from tests.torture.kills import GENERATE, Tick, judge
from tests.torture.program import Outcome, exported, recorded, run, workspace

Fault = Callable[[BaseHTTPRequestHandler, bytes], None]
SHARE = 0.3
"""Prompts whose first try meets the fault; the second is answered."""


def _send(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, length: int | None = None
) -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def _drip(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """A byte at a time, for longer than a request may take."""
    _send(handler, 200, b"", len(body))
    for byte in body[:40]:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.03)
    handler.close_connection = True


def _half(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    _send(handler, 200, body[: len(body) // 2], len(body))
    handler.close_connection = True


def _hang(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    time.sleep(1.0)
    handler.close_connection = True


def _refuse(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    handler.close_connection = True


TRANSPORT: dict[str, Fault] = {
    "hangs up": _refuse,
    "answers 500": lambda h, body: _send(h, 500, failure("out of cheese")),
    "answers 429": lambda h, body: _send(h, 429, failure("later")),
    "hangs": _hang,
    "drips": _drip,
    "closes mid-answer": _half,
    "bad JSON": lambda h, body: _send(h, 200, body[: len(body) // 2]),
    "empty body": lambda h, body: _send(h, 200, b""),
    "not UTF-8": lambda h, body: _send(h, 200, b"\xff\xfe" + body),
    "JSON of another form": lambda h, body: _send(h, 200, b'{"choices": {"0": "none"}}'),
}
"""Faults after which the same prompt is asked again: the run must come out equal."""
SPOKEN: dict[str, bytes] = {
    "empty answer": completion(""),
    "huge answer": completion("word " * 400_000),
    "cut off": completion(" Name two", reason="length"),
}
"""Answers that are answers: a Reject with a reason each, and the run still reaches its target."""


@contextmanager
def server(
    socket: Path, reply: Callable[[BaseHTTPRequestHandler, str, int], None]
) -> Iterator[int]:
    """A server in a process of its own; `reply(handler, prompt, how often it was asked)`. Gives its
    pid."""
    pid = os.fork()
    if pid == 0:
        _serve(socket, reply)
    deadline = time.monotonic() + 120
    while not socket.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    try:
        yield pid
    finally:
        _end(pid)
        socket.unlink(missing_ok=True)


def _end(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        return


def _serve(socket: Path, reply: Callable[[BaseHTTPRequestHandler, str, int], None]) -> None:
    asked: dict[str, int] = {}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request: dict[str, Any] = json.loads(
                self.rfile.read(int(self.headers["Content-Length"]))
            )
            asked[request["prompt"]] = asked.get(request["prompt"], 0) + 1
            reply(self, request["prompt"], asked[request["prompt"]])

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    try:
        listening = _Server(str(socket), Handler)
        listening.handle_error = lambda *_: None  # type: ignore[method-assign]
        listening.serve_forever(0.01)
    finally:
        os._exit(0)


def good(handler: BaseHTTPRequestHandler, prompt: str, time_asked: int) -> None:
    """The recorded reply."""
    _send(handler, 200, completion(recorded(prompt)))


def faults(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """Every kind `count` times: a run in which three prompts in ten meet it once."""
    expected, wrong, done = undisturbed(folder / "undisturbed"), [], 0
    for kind in (*TRANSPORT, *SPOKEN):
        for number in range(count):
            here, lot = folder / f"{kind.replace(' ', '-')}-{number}", f"{rng.random()}"
            outcome = served_run(here, lambda h, p, n, k=kind, lot=lot: _faulty(k, lot, h, p, n))
            wrong += judge(here.name, here, outcome, outcome.shown)
            if outcome.code != 0 or not outcome.clean:
                wrong.append(f"{here.name}: exit {outcome.code}: {outcome.said[-300:]}")
            elif kind in TRANSPORT and exported(here)[0] != expected:
                wrong.append(f"{here.name}: the export differs from the undisturbed run's")
            shutil.rmtree(here)
            done += 1
            tick(done)
    return wrong


def _faulty(kind: str, lot: str, handler: BaseHTTPRequestHandler, prompt: str, asked: int) -> None:
    if asked > 1 or Random(lot + prompt).random() > SHARE:
        good(handler, prompt, asked)
    elif kind in TRANSPORT:
        TRANSPORT[kind](handler, completion(recorded(prompt)))
    else:
        _send(handler, 200, SPOKEN[kind])


def undisturbed(folder: Path) -> bytes:
    """The export of a run on a server without faults."""
    outcome = served_run(folder, good)
    assert outcome.code == 0, outcome.said
    return exported(folder)[0]


def served_run(
    folder: Path, reply: Callable[[BaseHTTPRequestHandler, str, int], None], target: int = 60
) -> Outcome:
    """One run against such a server."""
    socket = folder.parent / "s"  # one address for all: it is part of a teacher's digest
    workspace(folder, target, str(socket))
    with server(socket, reply):
        return run(folder, GENERATE, served=True)


def deaths(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """The server dies every k requests and comes back a moment later; k = 1, 2, 5, 10, `count` runs
    each."""
    expected, wrong, done = undisturbed(folder / "undisturbed"), [], 0
    for k in (1, 2, 5, 10):
        for number in range(count):
            here = folder / f"k{k}-{number}"
            workspace(here, 60, str(folder / "s"))
            outcome = _with_dying_server(here, folder / "s", k)
            if outcome.code != 0 or exported(here)[0] != expected:
                wrong.append(
                    f"{here.name}: exit {outcome.code}, or another export: {outcome.said[-300:]}"
                )
            shutil.rmtree(here)
            done += 1
            tick(done)
    return wrong


def _with_dying_server(folder: Path, socket: Path, k: int) -> Outcome:
    """A keeper process starts the server anew whenever it has died."""
    keeper = os.fork()
    if keeper == 0:
        os.setpgid(0, 0)
        while True:
            socket.unlink(missing_ok=True)
            pid = os.fork()
            if pid == 0:
                _serve(socket, _dying(k))
            os.waitpid(pid, 0)
            time.sleep(0.05)
    while not socket.exists():
        time.sleep(0.005)
    try:
        return run(folder, GENERATE, served=True)
    finally:
        os.killpg(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
        socket.unlink(missing_ok=True)


MINUTE, MOMENT = 60.0, 1.5
"""Seconds without a teacher, in a full run and in a small one."""


def away(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """In the middle of a run the server is gone for a minute (in a small matrix a moment), then it
    is there again.

    Twenty runs wait at the same time, each in a process of its own.
    """
    seconds, wrong, done = MINUTE if count >= 10 else MOMENT, list[str](), 0
    expected = undisturbed(folder / "undisturbed")
    while done < count:
        group = range(done, min(count, done + 20))
        pids = {
            number: _in_fork(
                lambda n=number: _while_away(folder, n, seconds, expected),
                folder / f"{number}.wrong",
            )
            for number in group
        }
        for number, pid in pids.items():
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            wrong += (folder / f"{number}.wrong").read_text().splitlines()
            wrong += [f"away-{number}: the test itself ended with {code}"] if code else []
        done = group.stop
        tick(done)
    return wrong


def _in_fork(work: Callable[[], list[str]], said: Path) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            said.write_text("".join(f"{' '.join(line.split())}\n" for line in work()))
        except BaseException as error:
            said.write_text(f"{type(error).__name__}: {error}\n")
            os._exit(1)
        os._exit(0)
    return pid


def _while_away(folder: Path, number: int, seconds: float, expected: bytes) -> list[str]:
    """Serve two requests, be away, serve the rest. The socket's address must be the same for all,
    so each has its own root."""
    here, socket = folder / f"away-{number}", folder / f"root-{number}" / "s"
    socket.parent.mkdir()
    gone = folder / f"{number}.gone"
    workspace(here, 60, str(socket))
    stop, keeper = time.monotonic() + 600, os.fork()
    if keeper == 0:
        os.setpgid(0, 0)
        for reply in (_dying(2, after=0.5), good):  # the two answers arrive
            pid = os.fork()
            if pid == 0:
                _serve(socket, reply)
            os.waitpid(pid, 0)
            socket.unlink(missing_ok=True)
            gone.touch()
            time.sleep(seconds)
        os._exit(0)
    while not socket.exists() and time.monotonic() < stop:
        time.sleep(0.005)
    try:
        outcome = run(here, GENERATE, served=True)
    finally:
        os.killpg(keeper, signal.SIGKILL)
        os.waitpid(keeper, 0)
    wrong = (
        []
        if outcome.code == 0 and outcome.clean
        else [f"{here.name}: exit {outcome.code}: {outcome.said[-300:]}"]
    )
    wrong += (
        [] if gone.exists() and outcome.seconds > seconds else [f"{here.name}: nobody was away"]
    )
    rows = exported(here)[0] if not wrong else b""
    return wrong + (
        []
        if wrong or _without_teacher(rows) == _without_teacher(expected)
        else [f"{here.name}: other rows"]
    )


def _without_teacher(rows: bytes) -> list[dict[str, Any]]:
    """The rows but for the teacher's digest, which holds the address of the socket."""
    found = [json.loads(line) for line in rows.splitlines()]
    for row in found:
        row["lineage"].pop("teacher", None)
    return found


def _dying(k: int, after: float = 0.0) -> Callable[[BaseHTTPRequestHandler, str, int], None]:
    answered = 0

    def reply(handler: BaseHTTPRequestHandler, prompt: str, asked: int) -> None:
        nonlocal answered
        answered += 1
        if answered > k:
            time.sleep(after)
            os._exit(1)  # in the middle of a request, with others in flight
        good(handler, prompt, asked)
        handler.wfile.flush()

    return reply


def gone_for_good(count: int, rng: Random, folder: Path, tick: Tick) -> list[str]:
    """No server, or one that does not know the model: exit 4 with a sentence; when it is there, the
    same command finishes."""
    expected, wrong = undisturbed(folder / "undisturbed"), []
    for number in range(count):
        here = folder / f"gone-{number}"
        socket, unknown = folder / "s", number % 2 == 0
        workspace(here, 60, str(socket))
        if unknown:
            with server(
                socket, lambda h, p, n: _send(h, 404, failure("the model `played` does not exist"))
            ):
                first = run(here, GENERATE, served=True)
        else:
            first = run(here, GENERATE, served=True)
        with server(socket, good):
            second = run(here, GENERATE, served=True)
        if first.code != 4 or not first.clean or "next:" not in first.said:
            wrong.append(f"{here.name}: exit {first.code}: {first.said[-300:]}")
        if second.code != 0 or exported(here)[0] != expected:
            wrong.append(f"{here.name}: exit {second.code} once it was back: {second.said[-300:]}")
        tick(number + 1)
    return wrong
