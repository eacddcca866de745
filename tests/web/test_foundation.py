"""The foundation of the pages: who may see one, what is refused, where it stands."""

import hashlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from localinstruct.errors import UsageError
from localinstruct.web import doors
from localinstruct.web.guard import HEADERS, LARGEST_BODY, Access, Guard, is_same_user
from localinstruct.web.pages import static_route

HERE = "http://127.0.0.1:8000"


async def told(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.method} {len(await request.body())}")


ROUTES = [Route("/", told, methods=["GET", "POST"]), static_route()]
ACCESS = Access()


def client() -> TestClient:
    return TestClient(
        Guard(Starlette(routes=ROUTES), ACCESS),
        base_url=HERE,
        client=("127.0.0.1", 0),
        follow_redirects=False,
    )


def admitted() -> TestClient:
    one = client()
    answer = one.get(f"/?token={ACCESS.token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    words = answer.headers["set-cookie"].lower()
    assert "httponly" in words
    assert "samesite=strict" in words
    return one


def test_the_printed_address_opens_the_page_and_every_answer_has_the_headers() -> None:
    one = admitted()
    for answer in (
        one.get("/"),
        one.get("/static/style.css"),
        one.get("/static/none"),
        one.get("/no"),
    ):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert one.get("/").text == "GET 0"
    assert "unsafe" not in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/static/style.css", "/?token=é"]
)
def test_without_the_cookie_nothing_is_shown(path: str) -> None:
    answer = client().get(path)
    assert answer.status_code == 403
    assert set(HEADERS) <= {name.title() if name else "" for name in answer.headers} | set(HEADERS)
    assert "GET" not in answer.text


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:8000", "localhost.evil.example", "", "127.0.0.2"],
)
def test_a_name_that_was_made_to_lead_here_is_refused(host: str) -> None:
    assert admitted().get("/", headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("GET", {"origin": "http://evil.example"}),
        ("GET", {"sec-fetch-site": "cross-site"}),
        ("GET", {"sec-fetch-site": "same-site"}),  # another port of this machine
        ("POST", {}),
        ("POST", {"origin": "null"}),
        ("POST", {"origin": "http://127.0.0.1:9000"}),
        ("POST", {"origin": "https://127.0.0.1:8000"}),
        ("PUT", {"origin": "http://evil.example"}),
    ],
)
def test_a_request_of_another_page_is_refused(method: str, headers: dict[str, str]) -> None:
    assert admitted().request(method, "/", headers=headers).status_code == 403


def test_a_request_of_the_page_itself_is_answered() -> None:
    answer = admitted().post("/", content="abc", headers={"origin": HERE})
    assert answer.text == "POST 3"


def test_too_much_is_refused_before_it_is_read() -> None:
    one, origin = admitted(), {"origin": HERE}
    assert one.post("/", content=b"x" * (LARGEST_BODY + 1), headers=origin).status_code == 413
    pieces = iter([b"x" * 2**20] * 3)  # without a length
    assert one.post("/", content=pieces, headers=origin).status_code == 413
    assert one.get("/?q=" + "x" * 5000).status_code == 414


def test_two_pages_do_not_take_each_others_cookie() -> None:
    assert Access().name != Access().name
    assert ACCESS.token not in repr(ACCESS)


def test_what_is_vendored_is_what_the_manifest_says() -> None:
    folder = resources.files("localinstruct.web") / "vendored"
    manifest = json.loads((folder / "manifest.json").read_text())
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith("__")}
    licences = {facts["licence_file"] for facts in manifest.values()}
    assert names == {*manifest, *licences, "manifest.json"}
    for name, facts in manifest.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == facts["sha256"]


@contextmanager
def served(
    folder: Path, *, use_socket: bool = False
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A page in a process of its own, and the address that it says."""
    script = (
        "import sys; from pathlib import Path; from localinstruct.web import doors\n"
        "from localinstruct.interrupt import reset_signals, stop_as_ctrl_c_does\n"
        "from tests.web.test_foundation import ROUTES\n"
        "reset_signals(interruptible=True); stop_as_ctrl_c_does()\n"
        f"with doors.open_door(Path({str(folder)!r}), 'test', use_socket={use_socket}) as door:\n"
        "    doors.serve(ROUTES, door, lambda: print(door.address or door.path, flush=True))\n"
        "print('ended')\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_page_on_a_port_is_seen_by_this_user_only_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    with served(tmp_path) as (address, process):
        with urllib.request.build_opener(urllib.request.HTTPCookieProcessor()).open(
            address
        ) as page:
            assert page.read() == b"GET 0"
        if os.getuid() == 0:
            steps = "import encodings.idna, os, urllib.request as r; os.setuid(65534); r.urlopen"
            script = f"{steps}({address!r})"
            other = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True)
            assert b"403" in other.stderr
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=120)[0] == "ended\n"


def test_a_page_on_a_socket_is_its_users_alone(tmp_path: Path) -> None:
    folder = tmp_path / ("deep" * 30)  # longer than the name of a socket may be
    folder.mkdir()
    with served(folder, use_socket=True) as (said, process):
        path = Path(said)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(doors.token_file(path).stat().st_mode) == 0o600
        with (
            pytest.raises(UsageError, match="another process serves"),
            doors.open_door(folder, "test", use_socket=True),
        ):
            pass
        with socket.socket(socket.AF_UNIX) as other, doors.reachable(path) as name:
            other.connect(name)
            other.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert other.recv(20).startswith(b"HTTP/1.1 403")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=120)[0] == "ended\n"
        assert list(folder.iterdir()) == []


def test_what_a_killed_page_left_is_taken_over(tmp_path: Path) -> None:
    with served(tmp_path, use_socket=True) as (said, _):
        pass
    assert Path(said).exists()
    with doors.open_door(tmp_path, "test", use_socket=True) as door:
        assert door.path == Path(said)
        assert doors.read_token(door.path) == door.access.token


def test_a_connection_that_is_in_no_table_is_nobodys() -> None:
    assert not is_same_user(("127.0.0.1", 1), ("127.0.0.1", 2))
    assert is_same_user(None, ("/a/socket", None))


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with doors.open_door(tmp_path, "test") as door:
        port = door.listener.getsockname()[1]
        with (
            pytest.raises(UsageError, match="Address already in use"),
            doors.open_door(tmp_path, "test", port=port),
        ):
            pass


def test_a_page_that_slept_goes_on(tmp_path: Path) -> None:
    with served(tmp_path) as (address, process):
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(address).close()
        process.send_signal(signal.SIGSTOP)
        threading.Timer(0.5, process.send_signal, [signal.SIGCONT]).start()
        with opener.open(address.partition("?")[0], timeout=120) as page:
            assert page.read() == b"GET 0"
