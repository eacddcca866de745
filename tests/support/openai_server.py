"""A tiny server of the OpenAI protocol on a unix socket that answers as a test scripts it."""

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

Reply = tuple[int, bytes] | None
"""HTTP status and body, or None to hang up without a word."""


def completion(*texts: str, reason: str = "stop") -> bytes:
    choices = [
        {"index": i, "text": text, "finish_reason": reason, "logprobs": None}
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 1, "completion_tokens": 7, "total_tokens": 8}
    return json.dumps(
        {
            "id": "x",
            "object": "text_completion",
            "created": 0,
            "model": "m",
            "choices": choices,
            "usage": usage,
        }
    ).encode()


def chat(*texts: str | None, reason: str = "stop", **message: str) -> bytes:
    choice = [
        {
            "index": i,
            "message": {"role": "assistant", "content": text, **message},
            "finish_reason": reason,
        }
        for i, text in enumerate(texts)
    ]
    return json.dumps(
        {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": choice}
    ).encode()


def streamed(*pieces: str, talk: bool = True, end: str | None = None) -> bytes:
    """A reply in pieces, as server-sent events; of a chat, or of a text that is continued.

    `end` is the finish reason of the last piece.
    """
    kind = "chat.completion.chunk" if talk else "text_completion"
    events = []
    for number, piece in enumerate(pieces, 1):
        said: dict[str, Any] = (
            {"delta": {"content": piece}} if talk else {"text": piece, "logprobs": None}
        )
        reason = end if number == len(pieces) else None
        choice = {"index": 0, "finish_reason": reason} | said
        events.append({"id": "x", "object": kind, "created": 0, "model": "m", "choices": [choice]})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def failure(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "e", "code": 400}}).encode()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def models(*entries: str | dict[str, Any]) -> bytes:
    """The list of /v1/models; an entry is a name, or a mapping with its id."""
    data = [{"id": entry} if isinstance(entry, str) else entry for entry in entries]
    return json.dumps({"object": "list", "data": data}).encode()


@contextmanager
def serving_script(
    socket: Path,
    reply: Callable[[str, dict[str, Any], int], Reply],
    listed: Callable[[], Reply] | None = None,
) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Serve `reply(path, request, count)`; the list of requests that came.

    `listed` answers questions for the models; without it there is no such list (501).
    """
    seen: list[tuple[str, dict[str, Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, request))
            answer = reply(self.path, request, len(seen))
            if answer is None:
                self.close_connection = True
                return
            self._send(*answer)

        def do_GET(self) -> None:
            answer = listed() if listed else (501, b"")
            if answer is None:
                self.close_connection = True
                return
            self._send(*answer)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

        def address_string(self) -> str:
            return "unix"

    server = _Server(str(socket), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
