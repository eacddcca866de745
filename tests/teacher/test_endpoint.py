"""An endpoint is asked before it is needed: what was found there, and what to do."""

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from localinstruct.errors import TeacherError
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Silent
from localinstruct.teacher import Serve, endpoint
from localinstruct.teacher.endpoint import Answer, answers_of, require_answers
from localinstruct.teacher.serving import serving
from localinstruct.teacher.transport import KEPT, http_transport


def spec(address: str) -> ModelSpec:
    return ModelSpec(
        name="m", endpoint=address, served_name="big", roles=["teacher"], context=64, licence="x"
    )


def ask(model: ModelSpec) -> Answer:
    [(_, answer)] = answers_of(model)
    return answer


@contextmanager
def answering(status: int, body: bytes) -> Iterator[ModelSpec]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1/models"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield spec(f"http://127.0.0.1:{server.server_port}/v1")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def names(*models: str) -> bytes:
    return json.dumps({"data": [{"id": name} for name in models]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "found", "fix", "doubt"),
    [
        (200, names("big", "small"), "answers with big", "", ""),
        (200, names("bgi"), "big is not in its list", "", "did you mean 'bgi'"),
        (200, b"<html>", "without a list", "", ""),
        (200, b"[1]", "without a list", "", ""),
        (404, b"", "without a list", "", ""),
        (501, b"", "without a list", "", ""),
        (401, b"", "wants a key", "without a key", ""),
        (503, b"loading", "HTTP 503", "", "asked again"),
    ],
)
def test_what_answers_is_told_by_its_answer(
    status: int, body: bytes, found: str, fix: str, doubt: str
) -> None:
    with answering(status, body) as model:
        answer = ask(model)
    assert found in answer.found
    assert fix in answer.fix
    assert bool(fix) == bool(answer.fix)
    assert doubt in answer.doubt
    assert bool(doubt) == bool(answer.doubt)


@pytest.fixture
def short() -> Path:
    return Path(tempfile.mkdtemp(dir="/tmp"))


def test_where_nobody_is_the_address_and_the_way_out_are_named(short: Path) -> None:
    (short / "file").touch()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(short / "left"))
    for address, found in {
        "http://127.0.0.1:9/v1": "refused",
        f"unix://{short}/none": "no socket is there",
        f"unix://{short}/file": "is no socket",
        f"unix://{short}/left": "refused",
    }.items():
        answer = ask(spec(address))
        assert found in answer.found
        assert "Start that server" in answer.fix


def test_a_server_that_listens_and_is_silent_is_waited_for(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "SLOW", 0.2)
    said: list[str] = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(short / "s"))
        busy.listen()
        require_answers(spec(f"unix://{short}/s"), said.append)
    assert "said nothing for 0.2 s" in said[0]


def test_nothing_is_asked_of_a_server_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "PATIENCE", 0.3)
    away = spec("http://127.0.0.1:9/v1")
    with pytest.raises(TeacherError) as caught, serving(away, Serve(), tmp_path, Silent()):
        pass
    assert caught.value.message.startswith("m: http://127.0.0.1:9/v1 does not answer")
    assert ".." not in caught.value.message


def test_an_idle_connection_is_given_up_before_a_server_closes_it() -> None:
    """After 5 seconds in vLLM: a request at that moment would be lost with its connection."""
    _, transport = http_transport("unix:///nowhere", asynchronous=True)
    assert transport._pool._keepalive_expiry == KEPT < 5
