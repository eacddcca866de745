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
from localinstruct.web.doors import is_answered, reachable, read_token
from localinstruct.web.guard import is_same_user

PIECE = 2**16


def forward(folder: Path, page: str | None = None) -> None:
    """Forward until Ctrl-C; UsageError where no page of this run waits, or several do."""
    path = socket_in(folder, page)
    token = read_token(path)

    def ready(port: int) -> None:
        console.line(f"http://127.0.0.1:{port}/?token={token}")
        console.note(
            f"opens the page {path.stem}: forwards port {port} to {path} alone, outside the seal; "
            "Ctrl-C ends it"
        )

    place = f"a port of 127.0.0.1, forwarded to {path.name}"
    noted = page_noted(folder, "open", place) if (folder / STORE).is_file() else nullcontext()
    with noted, suppress(KeyboardInterrupt):
        run_async(_forwarded(path, ready))
    console.note("stopped; the port is closed.")


def socket_in(folder: Path, page: str | None = None) -> Path:
    """The unix socket of a page that answers; UsageError for none, and for several without name.

    What a killed process left behind is passed over.
    """
    found = [path for path in sorted(folder.glob("*.sock")) if page in (None, path.stem)]
    waiting = [path for path in found if is_answered(path)]
    others = [path for path in found if not os.access(path, os.W_OK)]
    if not waiting and others:
        raise UsageError(f"{others[0]}: belongs to another user.", "Open it as that user.")
    if not waiting:
        kind = f"no page {page}" if page else "no page"
        begin = page if page in ("review", "watch") else "review"
        raise UsageError(
            f"{folder}: {kind} waits on a unix socket there.",
            f"Begin one in another terminal: localinstruct {begin} {folder} --sealed",
        )
    if len(waiting) > 1:
        names = " and ".join(path.stem for path in waiting)
        raise UsageError(
            f"{folder}: expected one page that waits, found {len(waiting)}: {names}.",
            f"Say which: localinstruct open {folder} --page {waiting[0].stem}",
        )
    return waiting[0]


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
