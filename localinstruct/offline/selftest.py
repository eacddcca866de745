"""Self-test of the seal: attempts that must fail, and their like that must work on loopback.

A probe that can only fail proves nothing, so each kind of probe is first seen to succeed where it
is allowed. An attempt counts as held back only by an error the kernel gives on the spot; a time-out
or an answer from afar means that a packet left. The addresses are reserved for documentation (RFC
5737, RFC 3849), so that a leak would reach nobody.
"""

import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from localinstruct.offline import kernel, outside_process

LOCAL_REFUSALS = {
    errno.ENETUNREACH,
    errno.EAFNOSUPPORT,
    errno.EPERM,
    errno.EACCES,
    errno.EADDRNOTAVAIL,
    errno.ENOSYS,
    errno.EPROTONOSUPPORT,
}
"""Errors that this kernel gives without sending anything; not EHOSTUNREACH and time-outs."""
OUTSIDE4, OUTSIDE6 = ("192.0.2.1", 443), ("2001:db8::1", 443)
NAME = "seal-self-test.example"
"""A name that nobody has (RFC 2606)."""
AF_VSOCK, AF_PACKET = 40, 17
CHILD = """
import socket, sys
try:
    s = socket.socket()
    s.setblocking(False)
    s.connect(("192.0.2.1", 443))
except OSError as e: sys.exit(0 if e.errno in (97, 101) else 3)
sys.exit(4)
"""


@dataclass(frozen=True, slots=True)
class Check:
    """One attempt: `must` is "fail" or "work", `found` what happened, `ok` says that they agree."""

    name: str
    must: str
    found: str
    ok: bool

    @property
    def words(self) -> str:
        """The check as people read it: what was tried or looked at, and what came of it."""
        found = self.found
        if self.name in STATES:
            found = found.replace("there: lo", "only loopback (lo)") if self.ok else found
            return f"{self.name}: {found}" + ("" if self.ok else f"; {STATES[self.name]}")
        if self.must == "work":
            return f"{self.name}: works" if self.ok else f"{self.name}: {found}, but it must work"
        if not self.ok:
            return f"{self.name}: {found}, but it must be held back"
        return f"{self.name}: held back" + (f" ({found})" if found != "held back" else "")


def run(*, loopback: bool, outside: int) -> tuple[Check, ...]:
    """Make all attempts, in under 0.2 s.

    Without `loopback` the backend has no internet sockets at all, not even to this machine.
    `outside` is the process id of a process outside, started before the seal.
    """
    allowed: dict[str, Callable[[], None]] = {"unix socket": unix_socket}
    if loopback:
        allowed = {"TCP over loopback": loopback_tcp, "UDP over loopback": loopback_udp} | allowed
    taking = {name: partial(take, outside) for name, take in outside_process.TAKING.items()}
    return (
        *(_must_work(name, attempt) for name, attempt in allowed.items()),
        *(_must_fail(name, attempt) for name, attempt in (FORBIDDEN | taking).items()),
        _other_networks(),
        _resolver(),
        _doors(),
        _capabilities(),
        *((_interfaces(),) if loopback else ()),
        _child(),
    )


def tcp(family: int, address: tuple[str, int]) -> None:
    """Begin a TCP connection without waiting; returns only when the kernel tried to send."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if code := probe.connect_ex(address):
            raise OSError(code, os.strerror(code))


def udp(family: int, address: tuple[str, int]) -> None:
    """Send one empty datagram."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.sendto(b"", address)


def loopback_tcp() -> None:
    """Connect to ourselves with the calls of `tcp`, and see bytes arrive."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        accepted, _ = server.accept()
        with accepted:
            client.sendall(b"seal")
            if accepted.recv(8) != b"seal":
                raise OSError(errno.EIO, "other bytes arrived")


def loopback_udp() -> None:
    """Send ourselves an empty datagram by `udp`, and see it arrive."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(2)
        udp(socket.AF_INET, receiver.getsockname())
        receiver.recv(8)


def unix_socket() -> None:
    """Connect through a socket file, as the client and vLLM do."""
    with (
        tempfile.TemporaryDirectory(prefix="seal-") as folder,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(f"{folder}/s")
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(f"{folder}/s")


def lookup() -> None:
    """Ask the resolver for a name that nobody has; "no such name" is an answer from outside."""
    try:
        socket.getaddrinfo(NAME, 443)
    except socket.gaierror as problem:
        unanswered = problem.errno in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)
        if unanswered or _has_no_resolver():
            raise PermissionError(errno.EACCES, str(problem.strerror)) from None


def new_namespaces() -> None:
    """Make a user namespace, in which there would be capabilities again."""
    kernel.checked(kernel.LIBC.unshare(kernel.NEW_USER), "unshare(user)")


def join_outside() -> None:
    """Join the network namespace of process 1."""
    with Path("/proc/1/ns/net").open("rb") as outside:
        kernel.checked(kernel.LIBC.setns(outside.fileno(), 0), "setns")


def _socket(family: int, kind: int, protocol: int = 0) -> Callable[[], None]:
    return lambda: socket.socket(family, kind, protocol).close()


FORBIDDEN: dict[str, Callable[[], None]] = {
    "TCP": lambda: tcp(socket.AF_INET, OUTSIDE4),
    "TCP over IPv6": lambda: tcp(socket.AF_INET6, OUTSIDE6),
    "UDP": lambda: udp(socket.AF_INET, OUTSIDE4),
    "UDP over IPv6": lambda: udp(socket.AF_INET6, OUTSIDE6),
    "UDP broadcast": lambda: udp(socket.AF_INET, ("255.255.255.255", 9)),
    "name lookup": lookup,
    "raw socket": _socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "packet socket": _socket(AF_PACKET, socket.SOCK_RAW),
    "socket to the hypervisor": _socket(AF_VSOCK, socket.SOCK_STREAM),
    "new namespace": new_namespaces,
    "network of process 1": join_outside,
}
"""Attempts that must fail, by the words they are reported with."""
REQUIRED = {
    "TCP over loopback": "work",
    "UDP over loopback": "work",
    "unix socket": "work",
    **dict.fromkeys((*FORBIDDEN, *outside_process.TAKING), "fail"),
    "memory of processes in other networks": "fail",
    "name servers": "fail",
    "doors to services outside": "fail",
    "capabilities": "fail",
    "network interfaces": "fail",
    "TCP from a child": "fail",
}
"""Checks that a session which calls itself sealed must show -> "work" or "fail" (see `run`)."""


STATES = {
    "memory of processes in other networks": "none may be open to us",
    "name servers": "none may be within reach",
    "doors to services outside": "all must be closed",
    "capabilities": "none may be held",
    "network interfaces": "only loopback (lo) may be there",
}
"""Checks of how things stand, which try nothing -> what must hold."""


def _must_work(name: str, attempt: Callable[[], None]) -> Check:
    try:
        attempt()
    except OSError as problem:
        return Check(name, "work", f"failed: {problem}", False)
    return Check(name, "work", "worked", True)


def _must_fail(name: str, attempt: Callable[[], None]) -> Check:
    try:
        attempt()
    except OSError as problem:
        reason = problem.strerror or str(problem)
        return Check(name, "fail", reason, problem.errno in LOCAL_REFUSALS)
    return Check(name, "fail", "was let through", False)


def _other_networks() -> Check:
    """No process that has another network may be open to us, by which we could act in it."""
    pids, name = outside_process.in_other_networks(), "memory of processes in other networks"
    advice = f"open: those of the processes {pids[:20]}; end them, or use a user of its own"
    return Check(name, "fail", advice if pids else "none open", not pids)


def _resolver() -> Check:
    """No name server that this machine is set to may be reachable, and none may be on loopback."""
    for server in _name_servers():
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as probe:
                probe.settimeout(0.05)
                probe.connect((server, 53))
                probe.send(b"\0" * 12)
                probe.recv(1)
        except ConnectionRefusedError:
            continue  # our own loopback, where nobody listens
        except OSError as problem:
            if problem.errno not in LOCAL_REFUSALS:
                return Check("name servers", "fail", f"{server}: {problem}", False)
    return Check("name servers", "fail", "none can be reached", True)


def _doors() -> Check:
    doors = kernel.open_doors()
    answer = f"open: {', '.join(doors)}" if doors else "all closed"
    return Check("doors to services outside", "fail", answer, not doors)


def _capabilities() -> Check:
    state = kernel.state()
    wrong = [name for name in ("CapInh", "CapPrm", "CapEff", "CapAmb") if int(state[name], 16)]
    required = {"NoNewPrivs": "1", "Seccomp": "2"}
    wrong += [name for name, value in required.items() if state[name] != value]
    answer = ", ".join(f"{name} {state[name]}" for name in wrong) or "none held"
    return Check("capabilities", "fail", answer, not wrong)


def _interfaces() -> Check:
    names = kernel.interfaces()
    found = "only loopback (lo)" if names == ["lo"] else f"there are {', '.join(names) or 'none'}"
    return Check("network interfaces", "fail", found, names == ["lo"])


def _child() -> Check:
    """A child, run from a new program image, is held back too."""
    command = [sys.executable, "-I", "-S", "-c", CHILD]
    code = subprocess.run(command, stdin=subprocess.DEVNULL).returncode
    answer = "held back" if code == 0 else f"exit code {code}"
    return Check("TCP from a child", "fail", answer, code == 0)


def _name_servers() -> list[str]:
    try:
        lines = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = [fields for line in lines if len(fields := line.split()) > 1]
    return [address.partition("%")[0] for key, address, *_ in fields if key == "nameserver"]


def _has_no_resolver() -> bool:
    """True when names are looked up in files only: "no such name" then comes from this machine."""
    try:
        text = Path("/etc/nsswitch.conf").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    hosts = [line[6:].split() for line in text.splitlines() if line.startswith("hosts:")]
    return bool(hosts) and set(hosts[0]) <= {"files", "myhostname"}
