"""Doors of a page: a port of loopback or a unix socket, and serving the page there until Ctrl-C.

In the seal there is no way to a port, so the page stands on a unix socket of mode 0600 in the
folder of what it shows, with its token beside it in a file of the same mode; `forward` reads both.
"""

import asyncio
import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import UsageError
from localinstruct.interrupt import run_async
from localinstruct.store.durable import create_file
from localinstruct.web.guard import Access, Guard

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from uvicorn import Server

LONGEST_PATH = 100
"""Bytes of a unix socket's path that the kernel takes (107), with some room."""
REQUESTS_AT_ONCE = 64


@dataclass(frozen=True)
class Door:
    """An open place: its listening socket, and the address for the person ("" for a socket)."""

    listener: socket.socket
    access: Access
    address: str = ""
    path: Path | None = None
    """The unix socket; its token stands beside it, see `token_file`."""


@contextmanager
def open_door(
    folder: Path, page: str, *, use_socket: bool = False, port: int = 0
) -> Iterator[Door]:
    """Open a free port of 127.0.0.1 (or `port`), or the unix socket `folder`/`page`.sock.

    UsageError where the port is taken, or another process serves this page already.
    """
    access = Access()
    if not use_socket:
        with _listening_port(port) as listener:
            number = listener.getsockname()[1]
            yield Door(listener, access, f"http://127.0.0.1:{number}/?token={access.token}")
        return
    path = folder / f"{page}.sock"
    _clear(path)
    with _listening_socket(path) as listener:
        try:
            create_file(token_file(path), json.dumps({"token": access.token}).encode(), 0o600)
            yield Door(listener, access, "", path)
        finally:
            for left in (path, token_file(path)):
                left.unlink(missing_ok=True)


def token_file(path: Path) -> Path:
    """The file beside a unix socket that has its token."""
    return path.with_suffix(".token")


def read_token(path: Path) -> str:
    """The token of the page at a unix socket."""
    return str(json.loads(token_file(path).read_text(encoding="utf-8"))["token"])


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """A name of a unix socket that the kernel takes, however deep its folder lies."""
    if len(os.fsencode(path.absolute())) <= LONGEST_PATH:
        yield str(path.absolute())
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def serve(
    routes: "Sequence[BaseRoute]", door: Door, ready: Callable[[], None] = lambda: None
) -> None:
    """Serve a page at an open door until Ctrl-C, SIGTERM or SIGHUP; `ready` is called before."""
    import uvicorn
    from starlette.applications import Starlette

    config = uvicorn.Config(
        Guard(Starlette(routes=list(routes)), door.access),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=REQUESTS_AT_ONCE,
        timeout_graceful_shutdown=2,
    )
    server = _server(config)
    ready()
    with suppress(KeyboardInterrupt):
        run_async(_served(server, door.listener))


def _server(config: object) -> "Server":
    """A uvicorn server that leaves signals to us: its own handling ends the process with them."""
    import uvicorn

    class Quiet(uvicorn.Server):
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Quiet(config)  # type: ignore[arg-type]


async def _served(server: "Server", listener: socket.socket) -> None:
    try:
        await server.serve(sockets=[listener])
    except asyncio.CancelledError:
        if server.started:
            await server.shutdown(sockets=[listener])
        raise


@contextmanager
def _listening_port(port: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"--port {port}: {error.strerror}.", "Choose another one, or leave --port out."
            ) from None
        listener.listen()
        yield listener


@contextmanager
def _listening_socket(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener, reachable(path) as name:
        before = os.umask(0o177)  # no moment in which others may connect
        try:
            listener.bind(name)
        except OSError as error:
            raise UsageError(
                f"{path}: cannot be made: {error.strerror}.", "Choose a folder that you may write."
            ) from None
        finally:
            os.umask(before)
        listener.listen()
        yield listener


def is_answered(path: Path) -> bool:
    """True where a process serves a page at this unix socket."""
    with socket.socket(socket.AF_UNIX) as probe, reachable(path) as name:
        try:
            probe.connect(name)
        except OSError:
            return False
    return True


def _clear(path: Path) -> None:
    """Take away what a killed process left; UsageError when one is serving there."""
    if is_answered(path):
        raise UsageError(
            f"{path}: another process serves this page.",
            f"Look at it: localinstruct open {path.parent} --page {path.stem}",
        )
    for left in (path, token_file(path)):
        left.unlink(missing_ok=True)
