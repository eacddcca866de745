"""Transport of the HTTP client to an endpoint: a unix socket, loopback, or one pinned address.

A connection to another machine goes to the address that was found once and looked at
(`offline.addresses`); its name stays in the Host header and in the certificate's check.
"""

import ssl
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from localinstruct.offline.addresses import Address, resolve

if TYPE_CHECKING:
    import httpx2
    import openai

    Transport: TypeAlias = httpx2.AsyncHTTPTransport | httpx2.HTTPTransport

KEPT = 2.0
"""Seconds for which an idle connection is used again.

vLLM closes one after 5, and a request sent at that moment would look like a dead server.
"""


def http_transport(
    url: str, *, asynchronous: bool, allowed: Collection[str] = ()
) -> "tuple[str, Transport]":
    """(base URL, httpx2 transport) for an endpoint; RecipeError for one that may not be asked."""
    import httpx2

    address = resolve(url, allowed)
    kind = httpx2.AsyncHTTPTransport if asynchronous else httpx2.HTTPTransport
    limits = httpx2.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEPT
    )
    checks = _certificates() if url.startswith("https:") else _no_certificates()
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return "http://localhost/v1", kind(uds=parts.path, limits=limits, verify=checks)
    if address.host:
        kind = _pinned(address, asynchronous)
    return url.rstrip("/"), kind(limits=limits, verify=checks)


def openai_client(url: str, timeout: float, allowed: Collection[str] = ()) -> "openai.AsyncOpenAI":
    """A client of the OpenAI protocol for one endpoint, without retries of its own."""
    import httpx2
    import openai

    base, transport = http_transport(url, asynchronous=True, allowed=allowed)
    http = httpx2.AsyncClient(transport=transport, trust_env=False, timeout=timeout)
    return openai.AsyncOpenAI(
        base_url=base, api_key="local", max_retries=0, timeout=timeout, http_client=http
    )


def _pinned(address: Address, asynchronous: bool) -> "type[Transport]":
    """A transport that connects to the address that was found, whatever the name means now."""
    import httpx2

    def towards(request: "httpx2.Request") -> "httpx2.Request":
        if request.url.host != address.host:  # a redirect: none is followed, and none gets here
            raise httpx2.UnsupportedProtocol(f"{request.url.host} is not {address.host}")
        request.url = request.url.copy_with(host=address.ip)
        request.extensions = {**request.extensions, "sni_hostname": address.host}
        return request

    class PinnedAsync(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response":
            return await super().handle_async_request(towards(request))

    class Pinned(httpx2.HTTPTransport):
        def handle_request(self, request: "httpx2.Request") -> "httpx2.Response":
            return super().handle_request(towards(request))

    return PinnedAsync if asynchronous else Pinned


@cache
def _certificates() -> ssl.SSLContext:
    """The certificates that this system trusts."""
    return ssl.create_default_context()


@cache
def _no_certificates() -> ssl.SSLContext:
    """Trust in nobody, for roads without TLS; loading certificates would take 20 ms each."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
