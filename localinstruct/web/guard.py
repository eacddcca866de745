"""Guard of a page: who may see it, what it takes, and the headers on every answer.

A page on loopback can be asked by every program of this machine and by every web page that the
person has open. So a request must come from a process of this user (`is_same_user`), name this
machine as its host (a name that was made to lead here is refused), come from the page itself, and
bring the cookie that the printed address is changed for. Not covered: root, and other programs of
the same user.
"""

import hmac
import os
import secrets
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOSTS = ("127.0.0.1", "localhost", "[::1]")
LARGEST_BODY = 2 * 2**20
LONGEST_QUERY = 4096
"""Bytes of a request's body, and letters of its query."""
SAFE = ("GET", "HEAD")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer, a form's Origin would be "null"
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
LOOK = "Open the address that the command printed; it ends in ?token=…"


@dataclass(frozen=True)
class Access:
    """Secrets of one serving: the token in the address, and the cookie that it is changed for.

    The cookie's name is drawn too: cookies know no ports, and two pages may be open.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    name: str = field(default_factory=lambda: f"localinstruct-{secrets.token_hex(4)}")


class Guard:
    """ASGI application around a page: refuses, or answers with the headers of every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a web socket is refused."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        answer = self._refusal(scope, headers) or self._entrance(scope, headers)
        guarded = _with_headers(send)
        if answer is None and scope["method"] not in SAFE:
            body = await _body(receive)
            receive = _again(body or b"")
            answer = _too_large() if body is None else None
        await (answer or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """An answer to what is not from this user, this machine or this page, or is too large."""
        host = headers.get("host", "")
        if not is_same_user(scope.get("client"), scope.get("server")):
            return _refused("This page belongs to another user of this machine.")
        if len(headers.getlist("host")) != 1 or _name(host) not in HOSTS:
            return _refused(f"Expected a host of {', '.join(HOSTS)}. {LOOK}")
        if not _from_here(scope["method"], headers, f"http://{host}"):
            return _refused("A request from another page is not answered.")
        if len(scope["query_string"]) > LONGEST_QUERY:
            return PlainTextResponse("The address is too long.", 414)
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > LARGEST_BODY:
            return _too_large()
        return None

    def _entrance(self, scope: Scope, headers: Headers) -> Response | None:
        """The cookie for the token; a refusal for who has neither; None for who has the cookie."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        token = query.get("token", [""])[-1]
        if token and scope["method"] == "GET":
            if not _equal(token, self._access.token):
                return _refused(f"This token is of another time or page. {LOOK}")
            answer = RedirectResponse(scope["path"], 303)
            answer.set_cookie(
                self._access.name, self._access.cookie, httponly=True, samesite="strict"
            )
            return answer
        if not _equal(_cookie(headers, self._access.name), self._access.cookie):
            return _refused(LOOK)
        return None


def is_same_user(client: object, server: object) -> bool:
    """Tell whether the other end of a connection over loopback is a process of ours, or of root.

    `client` and `server` are (address, port); True over a unix socket, whose mode has decided.
    """
    if not isinstance(client, tuple | list) or not isinstance(server, tuple | list):
        return True
    if not client[1] or not server[1]:
        return True
    ends = f":{int(client[1]):04X}", f":{int(server[1]):04X}"
    for table in ("tcp", "tcp6"):
        for line in _lines(Path("/proc/self/net") / table):
            _, local, remote, state, _, _, _, uid, *_ = line.split()
            is_it = local.endswith(ends[0]) and remote.endswith(ends[1]) and state == "01"
            if is_it and _is_loopback(local):
                return int(uid) in (os.getuid(), 0)
    return False


def _is_loopback(address: str) -> bool:
    """True for 127.x.y.z, alone or mapped into IPv6, as the kernel writes it."""
    return address.partition(":")[0][-8:].endswith("7F")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()[1:]
    except OSError:
        return []


def _name(host: str) -> str:
    """A host without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _from_here(method: str, headers: Headers, ours: str) -> bool:
    """False for a request that another page made; one that changes something must say its page."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    if origin is not None and origin != ours:
        return False
    if method in SAFE:
        # an address that was typed or printed, or a step within the page
        return site in ("none", "same-origin")
    return origin == ours


def _cookie(headers: Headers, name: str) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(name)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def _refused(why: str) -> Response:
    return PlainTextResponse(f"{why}\n", 403)


def _too_large() -> Response:
    return PlainTextResponse(f"More than {LARGEST_BODY // 2**20} MiB are not taken.\n", 413)


async def _body(receive: Receive) -> bytes | None:
    """A request's body, read before the page sees any of it; None when it is too large."""
    pieces, size, more = list[bytes](), 0, True
    while more and size <= LARGEST_BODY:
        message = await receive()
        piece, more = message.get("body", b""), message.get("more_body", False)
        size += len(piece)
        pieces.append(piece)
    return b"".join(pieces) if size <= LARGEST_BODY else None


def _again(body: bytes) -> Receive:
    """A `receive` that gives this body, whole."""

    async def given() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return given


def _with_headers(send: Send) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sent
