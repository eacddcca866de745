"""Processes outside of the seal: one of our own to try on, and what must not be done to it or to
any other.

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
    """The process id of a child of ours that only waits, started before the seal; gone afterwards,
    or when we are."""
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
        with suppress(
            ChildProcessError
        ):  # whoever started us may have had children reaped by themselves
            os.waitpid(child, 0)


def take_descriptor(pid: int) -> None:
    """Take an open file of another process, as its socket could be taken; the child of `outside`
    has one below 64."""
    process = checked(LIBC.syscall(PIDFD_OPEN, pid, 0), "pidfd_open")
    try:
        taken = [LIBC.syscall(PIDFD_GETFD, process, number, 0) for number in range(64)]
        number = ctypes.get_errno()
    finally:
        os.close(process)
    for descriptor in taken:
        if descriptor >= 0:
            os.close(descriptor)
    if max(taken) < 0:
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")


def read_memory(pid: int) -> None:
    """Read eight bytes of another process; a fork of ours has them at the same address."""
    mine, theirs = ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)
    here, there = Piece(ctypes.addressof(mine), 8), Piece(ctypes.addressof(theirs), 8)
    one = ctypes.c_ulong(1)
    read = LIBC.process_vm_readv(
        pid, ctypes.byref(here), one, ctypes.byref(there), one, ctypes.c_ulong(0)
    )
    checked(read, "process_vm_readv")


def trace(pid: int) -> None:
    """Become the tracer of another process."""
    checked(LIBC.ptrace(ctypes.c_long(PTRACE_SEIZE), pid, None, None), "ptrace")


TAKING: dict[str, Callable[[int], None]] = {
    "open files of a process outside": take_descriptor,
    "memory of a process outside": read_memory,
    "tracing a process outside": trace,
}
"""What must fail on a process outside, by the words it is reported with."""


def in_other_networks() -> list[int]:
    """Process ids of those in another network namespace whose memory we may open; nothing is
    read."""
    ours = Path("/proc/self/ns/net").readlink()
    return [
        int(path.name)
        for path in Path("/proc").iterdir()
        if path.name.isdecimal() and _is_open(path, ours)
    ]


def _is_open(process: Path, ours: Path) -> bool:
    try:
        if (process / "ns/net").readlink() == ours:
            return False
        (process / "mem").open("rb").close()
    except OSError:
        return False
    return True
