"""Processes outside the seal: one of our own, and the attempts on it that must fail.

A process of the same user has sockets that work outside. Whoever may look into it can take them
(pidfd_getfd) or have it send (ptrace, process_vm_writev, /proc/PID/mem). Not covered: what such a
process does of its own accord.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from localinstruct.offline.kernel import LIBC, checked

PIDFD_OPEN, PIDFD_GETFD = 434, 438
"""System call numbers, the same on every machine."""
PTRACE_SEIZE = 0x4206


class Piece(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@contextmanager
def outside() -> Iterator[int]:
    """Process id of a child of ours that only waits, started before the seal.

    It is gone afterwards, or when we are.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(writing)
            os.read(reading, 1)
        finally:
            os._exit(0)
    os.close(reading)
    try:
        yield child
    finally:
        os.close(writing)
        # Whoever started us may have had children reaped by themselves.
        with suppress(ChildProcessError):
            os.waitpid(child, 0)


def take_descriptor(pid: int) -> None:
    """Take an open file of another process, as its socket could be taken.

    The child of `outside` has one below 64.
    """
    process = checked(LIBC.syscall(PIDFD_OPEN, pid, 0), "pidfd_open")
    try:
        descriptors = [LIBC.syscall(PIDFD_GETFD, process, number, 0) for number in range(64)]
        number = ctypes.get_errno()
    finally:
        os.close(process)
    for descriptor in descriptors:
        if descriptor >= 0:
            os.close(descriptor)
    if max(descriptors) < 0:
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")


def read_memory(pid: int) -> None:
    """Read eight bytes of another process; a fork of ours has them at the same address."""
    target, source = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    local, remote = Piece(ctypes.addressof(target), 8), Piece(ctypes.addressof(source), 8)
    count = ctypes.c_ulong(1)
    pieces = ctypes.byref(local), count, ctypes.byref(remote), count
    checked(LIBC.process_vm_readv(pid, *pieces, ctypes.c_ulong(0)), "process_vm_readv")


def trace(pid: int) -> None:
    """Become the tracer of another process."""
    checked(LIBC.ptrace(ctypes.c_long(PTRACE_SEIZE), pid, None, None), "ptrace")


TAKING: dict[str, Callable[[int], None]] = {
    "open files of a process outside": take_descriptor,
    "memory of a process outside": read_memory,
    "tracing a process outside": trace,
}
"""Attempts that must fail on a process outside, by the words they are reported with."""


def in_other_networks() -> list[int]:
    """Process ids in another network namespace whose memory we may open; nothing is read."""
    ours = Path("/proc/self/ns/net").readlink()
    processes = (path for path in Path("/proc").iterdir() if path.name.isdecimal())
    return [int(path.name) for path in processes if _is_open(path, ours)]


def _is_open(process: Path, ours: Path) -> bool:
    try:
        if (process / "ns/net").readlink() == ours:
            return False
        (process / "mem").open("rb").close()
    except OSError:
        return False
    return True
