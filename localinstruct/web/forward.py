"""`localinstruct open`: one port of loopback for a page that stands in the seal, and nothing else.

The page's unix socket can be reached from outside the seal, a browser cannot. This process, which
is not sealed, copies bytes between a port of 127.0.0.1 and that one socket; it reads no rows. Only
connections from this user's processes are forwarded. Beginning and end stand in the run's egress
report.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

from localinstruct import console
from localinstruct.errors import UsageError
from localinstruct.interrupt import run_async
from localinstruct.offline.sessions import page_noted
from localinstruct.store.folder import STORE
from localinstruct.web.doors import reachable, read_token
from localinstruct.web.guard import is_same_user

PIECE = 2**16


def forward(folder: Path) -> None:
    """Forward until Ctrl-C; UsageError when no page of this run waits on a unix socket."""
    path = _socket_in(folder)
    token = read_token(path)

    def ready(port: int) -> None:
        console.line(f"http://127.0.0.1:{port}/?token={token}")
        console.note(f"forwards port {port} to {path} alone, outside the seal; Ctrl-C ends it")

    place = f"a port of 127.0.0.1, forwarded to {path.name}"
    noted = page_noted(folder, "open", place) if (folder / STORE).is_file() else nullcontext()
    with noted, suppress(KeyboardInterrupt):
        run_async(_forwarded(path, ready))
    console.note("stopped; the port is closed.")


def _socket_in(folder: Path) -> Path:
    found = sorted(folder.glob("*.sock"))
    if not found:
        raise UsageError(
            f"{folder}: no page waits on a unix socket there.",
            f"Begin one in another terminal: localinstruct review {folder} --sealed",
        )
    if not os.access(found[0], os.W_OK):
        raise UsageError(f"{found[0]}: belongs to another user.", "Open it as that user.")
    return found[0]


async def _forwarded(path: Path, ready: Callable[[int], None]) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = (writer.get_extra_info("peername"), writer.get_extra_info("sockname"))
        if is_same_user(*ends):
            with suppress(OSError):
                await _joined(path, reader, writer)
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    ready(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


async def _joined(path: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with reachable(path) as name:
        inner_reader, inner_writer = await asyncio.open_unix_connection(name)
    try:
        await asyncio.gather(_copied(reader, inner_writer), _copied(inner_reader, writer))
    finally:
        inner_writer.close()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(PIECE):
        writer.write(piece)
        await writer.drain()
    with suppress(OSError):
        writer.write_eof()
