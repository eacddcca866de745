"""Listening sockets of a process and all that it started, from the kernel's own tables."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from socket import ntohl
from stat import S_IMODE
from struct import pack

import psutil

LISTEN, ACCEPTS = "0A", 0x10000
"""State of a TCP socket that listens, and flag of a unix socket that does."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A listening socket; the mode and the owner's folder are those of its file."""

    kind: str
    """tcp, tcp6 or unix."""
    where: str
    """Address of TCP, or path; "@…" for a name that is no file."""
    port: int = 0
    mode: int = 0
    folder_mode: int = 0

    @property
    def is_private(self) -> bool:
        """True for loopback, and for a socket that its owner alone can reach."""
        if self.kind == "unix":
            return not self.where.startswith("@") and not self.mode & self.folder_mode & 0o077
        return ip_address(self.where).is_loopback


def listening(pid: int) -> set[Listening]:
    """Listening sockets of a process and of all below it; what ends meanwhile is left out."""
    held, tables = set[int](), set[tuple[int, Listening]]()
    for each in [pid, *_below(pid)]:
        held |= _inodes(each)
        tables |= set(_tcp(each)) | set(_unix(each))
    return {socket for inode, socket in tables if inode in held}


@contextmanager
def watched(pid: int, seconds: float = 0.05) -> Iterator[set[Listening]]:
    """All that listened in the tree of a process while the block lasted, looked at so often."""
    seen, over = set[Listening](), threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.update(listening(pid))
            time.sleep(seconds)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()


def _below(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _inodes(pid: int) -> set[int]:
    found = set[int]()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(entry.readlink())
            except OSError:
                continue
            if target.startswith("socket:["):
                found.add(int(target[8:-1]))
    except OSError:
        pass
    return found


def _lines(pid: int, table: str) -> list[list[str]]:
    """Lines of a table of the network in which the process is."""
    try:
        return [line.split() for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()]
    except OSError:
        return []


def _tcp(pid: int) -> Iterator[tuple[int, Listening]]:
    for kind in ("tcp", "tcp6"):
        for line in _lines(pid, kind)[1:]:
            if line[3] == LISTEN:
                address, port = line[1].split(":")
                yield int(line[9]), Listening(kind, address_of(address), int(port, 16))


def address_of(hexadecimal: str) -> str:
    """Address of the kernel's words of 32 bits; one of IPv4 in IPv6 is that of IPv4."""
    words = [hexadecimal[at : at + 8] for at in range(0, len(hexadecimal), 8)]
    found = ip_address(b"".join(pack("!I", ntohl(int(word, 16))) for word in words))
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return str(mapped or found)


def _unix(pid: int) -> Iterator[tuple[int, Listening]]:
    for line in _lines(pid, "unix")[1:]:
        if int(line[3], 16) & ACCEPTS:
            name = line[7] if len(line) > 7 else "@"
            yield int(line[6]), Listening("unix", name, 0, *_modes(pid, name))


def _modes(pid: int, name: str) -> tuple[int, int]:
    """(mode of a socket's file, of its folder); 0 for a name that is no file."""
    if name.startswith("@"):
        return 0, 0
    path = Path(f"/proc/{pid}/root{name}")
    try:
        return S_IMODE(path.stat().st_mode), S_IMODE(path.parent.stat().st_mode)
    except OSError:
        return 0o777, 0o777
