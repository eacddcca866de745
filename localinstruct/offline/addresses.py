"""Addresses of servers: unix sockets, loopback, and other machines that the person has allowed.

A recipe or models.yaml can name another machine, but not allow it: that takes `--allow-host NAME`,
or the file hosts.yaml in the workspace, which no bundle brings. A name is looked up once in a
process; the address found is used for every connection (a name that is looked up again may lead
elsewhere). Public addresses are refused whatever is allowed, and in the seal every other machine,
before any look-up. Not covered: what the allowed machine does with a prompt, and who listens on the
way there (the egress report says where a connection is not encrypted).
"""

import ipaddress
import os
import re
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from pydantic import Field

from localinstruct.config import Section, load_yaml, parse
from localinstruct.errors import RecipeError, UsageError
from localinstruct.offline import seal
from localinstruct.offline.switches import ALLOWED_HOSTS

HOSTS = "hosts.yaml"
_CLOSED = "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 169.254.0.0/16 127.0.0.0/8 fc00::/7 fe80::/10"
CLOSED = tuple(map(ipaddress.ip_network, f"{_CLOSED} ::1/128".split()))
"""Networks that are not routed on the internet (RFC 1918, 3927, 4193, 4291), and loopback."""
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,252}[A-Za-z0-9])?")
EXPECTED = "Expected unix:///absolute/path.sock or http://127.0.0.1:PORT/v1"


class Hosts(Section):
    """The file hosts.yaml of a workspace."""

    allow: list[str] = Field(default_factory=list)
    """Names or addresses of other machines whose servers may be asked."""


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint that may be asked, and the address that its connections go to."""

    url: str
    host: str = ""
    """Name of the other machine as it is written; "" for a unix socket and loopback."""
    ip: str = ""
    """Its address, as it was found once; "" for a unix socket and loopback."""

    @property
    def road(self) -> str:
        """How a prompt gets there, in words."""
        if self.url.startswith("unix:"):
            return "unix socket"
        if not self.host:
            return "loopback"
        secret = "HTTPS" if self.url.startswith("https:") else "plain HTTP, unencrypted"
        return f"network, {secret}, to {self.ip}"


_found: dict[str, str] = {}
"""Name -> address, of every name that this process has looked up."""


def allow(names: Sequence[str]) -> None:
    """Allow these machines in this process and its children; UsageError for what names none."""
    for name in names:
        if not _is_host(name):
            raise UsageError(
                f"--allow-host {name}: expected the name or address of one machine, without port "
                "or pattern.",
                "For example: --allow-host gpu-box-2",
            )
    if names and seal.status() is not seal.OPEN:
        raise UsageError(
            f"--allow-host {names[0]}: no road leads to another machine in the seal (--sealed).",
            f"Leave one of the two out, or forward a socket of that machine: {_forward(names[0])}",
        )
    before = os.environ.get(ALLOWED_HOSTS, "").split()
    os.environ[ALLOWED_HOSTS] = " ".join(dict.fromkeys([*before, *map(str.lower, names)]))


def allowed_hosts(workspace: Path) -> frozenset[str]:
    """Names that the person has allowed: --allow-host, and hosts.yaml of the workspace."""
    names, file = os.environ.get(ALLOWED_HOSTS, "").split(), workspace / HOSTS
    if file.is_file():
        written = parse(Hosts, load_yaml(file), str(file)).allow
        if wrong := [name for name in written if not _is_host(name)]:
            raise RecipeError(
                f"{file}: expected names or addresses of single machines, found {wrong[0]!r}.",
                "For example: allow: [gpu-box-2, 10.0.0.7]",
            )
        names = [*names, *written]
    return frozenset(name.lower() for name in names)


def require_form(url: str) -> None:
    """RecipeError for what can be no endpoint, whoever allows it; nothing is looked up."""
    parts = _parts(url)
    host = (parts.hostname or "") if parts else ""
    if parts is None or (parts.scheme != "unix" and not (is_local(url) or _is_host(host))):
        raise RecipeError(
            f"{url}: not on this machine, and no address of another. {EXPECTED}, or "
            "http://HOST:PORT/v1 of a machine that is allowed (docs/cluster.md).",
            "Correct the address in models.yaml.",
        )
    if _is_address(host) and not _is_closed(host) and not is_local(url):
        raise _public(url, host)


def is_local(url: str) -> bool:
    """Tell whether an endpoint is a unix socket or loopback."""
    parts = _parts(url)
    if parts is None:
        return False
    if parts.scheme == "unix":
        return True
    host = parts.hostname or ""
    return parts.scheme == "http" and (
        host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)
    )


def resolve(url: str, allowed: Collection[str] = ()) -> Address:
    """The address of an endpoint; RecipeError where it may not be asked.

    `allowed` are names in small letters.
    """
    require_form(url)
    if is_local(url):
        return Address(url)
    host = urlsplit(url).hostname or ""
    if seal.status() is not seal.OPEN:
        raise RecipeError(
            f"{url}: not on this machine, and the run is sealed: no road leads there.",
            f"Forward a socket of that machine to this one ({_forward(host)}), or leave --sealed "
            "(sealed: true) out.",
        )
    if host not in allowed:
        raise RecipeError(
            f"{url}: not on this machine, and {host} is not allowed. {EXPECTED}, or a machine that "
            "you allow.",
            f"For one command: --allow-host {host}. For this workspace: a file {HOSTS} with "
            f"`allow: [{host}]`.",
        )
    return Address(url, host, _address_of(url, host))


def _address_of(url: str, host: str) -> str:
    """The address of a machine, looked up once; RecipeError where it has a public one."""
    if host not in _found:
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise RecipeError(
                f"{url}: {host} has no address here ({error}).",
                "Write its address in place of its name, or enter it in /etc/hosts.",
            ) from None
        addresses = [str(entry[4][0]) for entry in entries]
        for address in addresses:
            if not _is_closed(address):
                raise _public(url, address)
        _found[host] = addresses[0]
    return _found[host]


def _public(url: str, address: str) -> RecipeError:
    return RecipeError(
        f"{url}: not on this machine, and {address} is an address on the internet, which nobody "
        "can allow: expected one of a closed network (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, "
        "fc00::/7, link-local).",
        "Use the address of that machine in the closed network.",
    )


def _parts(url: str) -> SplitResult | None:
    """The parts of an address without anything that could mean another one; None otherwise."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return None
    if parts.scheme == "unix":
        return parts if parts.path.startswith("/") and not parts.netloc else None
    is_http = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return parts if is_http else None


def _is_host(name: str) -> bool:
    """Tell whether this names one other machine: a name, or an address that is no loopback."""
    if _is_address(name):
        address = ipaddress.ip_address(name)
        return not (address.is_loopback or address.is_unspecified or address.is_multicast)
    digits = name.rpartition(".")[2]
    return bool(NAME.fullmatch(name)) and not digits.isdigit() and name.lower() != "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_closed(name: str) -> bool:
    """Tell whether an address belongs to a closed network."""
    address = ipaddress.ip_address(name)
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any(mapped in network for network in CLOSED)


def _forward(host: str) -> str:
    return f"ssh -N -L /tmp/model.sock:127.0.0.1:8000 {host}"
