"""The seccomp filter: which system calls the seal refuses, on x86-64 and AArch64.

A network namespace holds back the internet protocols. It does not hold back AF_VSOCK (to the
hypervisor), and a program that could make or join namespaces, type into our terminal, or open
sockets through io_uring would get round it. The filter is inherited by every child and cannot be
taken off. Where neither a user namespace of our own nor Landlock keeps us out of the processes of
others (`landlock`), it also refuses the calls that look into another process.

Not covered: it does not see addresses, only address families; nor paths, so not /proc/PID/mem.
"""

import ctypes
import errno
import os
from collections.abc import Sequence

from localinstruct.offline.kernel import prctl

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
NETLINK_ROUTE = 0
"""The netlink protocol that programs need: getaddrinfo and getifaddrs list interfaces with it."""
WITH_LOOPBACK, SOCKETLESS = (AF_UNIX, AF_INET, AF_INET6), (AF_UNIX,)
NEW_NAMESPACES = 0x7E020000
"""All CLONE_NEW* flags that clone(2) takes (linux/sched.h)."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""ioctls that put characters into the terminal's input, for a shell outside the seal to read."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
"""Classic BPF: load a word, three jumps, return (linux/bpf_common.h)."""
ALLOW, REFUSE = 0x7FFF0000, 0x00050000
NUMBER, ARCHITECTURE, ARGUMENTS = 0, 4, 16
"""Offsets in struct seccomp_data; an argument is 8 bytes, its low word first on both machines."""
X32 = 0x40000000

_NUMBERS = (
    # name, x86_64, aarch64
    ("arch", 0xC000003E, 0xC00000B7),
    ("socket", 41, 198),
    ("clone", 56, 220),
    ("clone3", 435, 435),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("ioctl", 16, 29),
    ("io_uring_setup", 425, 425),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("pidfd_getfd", 438, 438),
    ("kill", 62, 129),
    ("tkill", 200, 130),
    ("tgkill", 234, 131),
    ("rt_sigqueueinfo", 129, 138),
    ("rt_tgsigqueueinfo", 297, 240),
    ("pidfd_send_signal", 424, 424),
    ("pidfd_open", 434, 434),
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("fork", 57, None),
    ("vfork", 58, None),
    ("prlimit64", 302, 261),
    ("shmget", 29, 194),
    ("shmat", 30, 196),
    ("memfd_create", 319, 279),
)
CALLS: dict[str, dict[str, int]] = {
    "x86_64": {name: number for name, number, _ in _NUMBERS},
    "aarch64": {name: number for name, _, number in _NUMBERS if number is not None},
}
"""System call numbers by machine (arch: AUDIT_ARCH_*); AArch64 has no fork but clone."""
NEW_PROCESSES = ("clone", "clone3", "fork", "vfork", "execve", "execveat")
"""Calls that make a process or a thread, or become another program."""
SIGNALS = (
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_open",
    "pidfd_send_signal",
)
SHARED_MEMORY = ("shmget", "shmat", "memfd_create")
"""Memory that no limit on the address space counts."""
INTO_PROCESSES = ("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd")
"""Calls that look into another process, or take its open sockets."""

Step = tuple[int, int, int, int]
"""One BPF instruction: code, jump if true, jump if false, operand."""


class Instruction(ctypes.Structure):
    """struct sock_filter."""

    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_uint16), ("filter", ctypes.POINTER(Instruction)))


def program(
    families: Sequence[int], machine: str = os.uname().machine, *, apart: bool = True
) -> list[Step]:
    """The filter that lets through sockets of these address families.

    `apart`: something else keeps us out of the processes of others; without it INTO_PROCESSES are
    refused, inside too. KeyError for a machine not in CALLS.
    """
    calls = CALLS[machine]
    steps = [_load(ARCHITECTURE), (EQUAL, 1, 0, calls["arch"]), _refuse(errno.EPERM), _load(NUMBER)]
    if machine == "x86_64":  # the x32 table would get round the numbers below
        steps += [(AT_LEAST, 0, 1, X32), _refuse(errno.ENOSYS)]
    steps += _when(calls["socket"], _socket_rule(families))
    namespaces = [_load(ARGUMENTS), (ANY_BIT, 0, 1, NEW_NAMESPACES), _refuse(errno.EPERM)]
    steps += _when(calls["clone"], namespaces)
    # The flags of clone3 lie in memory; libc falls back to clone.
    steps += _when(calls["clone3"], [_refuse(errno.ENOSYS)])
    steps += _when(calls["ioctl"], _terminal_rule())
    # io_uring opens sockets that no filter sees.
    steps += _when(calls["io_uring_setup"], [_refuse(errno.ENOSYS)])
    for name in ("unshare", "setns", *(() if apart else INTO_PROCESSES)):
        steps += _when(calls[name], [_refuse(errno.EPERM)])
    return [*steps, (RETURN, 0, 0, ALLOW)]


def alone(machine: str = os.uname().machine) -> list[Step]:
    """The filter of a process that computes and does nothing else, stacked on that of `program`.

    It refuses (EPERM) processes, threads, signals, other limits and memory beside its own.
    """
    calls = CALLS[machine]
    steps = [_load(ARCHITECTURE), (EQUAL, 1, 0, calls["arch"]), _refuse(errno.EPERM), _load(NUMBER)]
    if machine == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), _refuse(errno.ENOSYS)]
    for name in (*NEW_PROCESSES, *SIGNALS, *INTO_PROCESSES, *SHARED_MEMORY, "prlimit64"):
        if name in calls:
            steps += _when(calls[name], [_refuse(errno.EPERM)])
    return [*steps, (RETURN, 0, 0, ALLOW)]


def install(families: Sequence[int], *, apart: bool = True) -> None:
    """Put the filter of `program` on this process and its children for good; needs no_new_privs."""
    put(program(families, apart=apart))


def put(steps: Sequence[Step]) -> None:
    """Put a filter on this process and its children for good, above those that are there."""
    array = (Instruction * len(steps))(*(Instruction(*step) for step in steps))
    whole = Program(len(steps), array)
    pr_set_seccomp, mode_filter = 22, 2
    prctl(pr_set_seccomp, mode_filter, ctypes.addressof(whole))


def _socket_rule(families: Sequence[int]) -> list[Step]:
    steps = [_load(ARGUMENTS)]
    for family in families:
        steps += [(EQUAL, 0, 1, family), (RETURN, 0, 0, ALLOW)]
    if AF_INET in families:
        route = [_load(ARGUMENTS + 16), (EQUAL, 0, 1, NETLINK_ROUTE), (RETURN, 0, 0, ALLOW)]
        steps += [(EQUAL, 0, len(route), AF_NETLINK), *route]
    return [*steps, _refuse(errno.EAFNOSUPPORT)]


def _terminal_rule() -> list[Step]:
    steps = [_load(ARGUMENTS + 8)]
    for request in (TIOCSTI, TIOCLINUX):
        steps += [(EQUAL, 0, 1, request), _refuse(errno.EPERM)]
    return steps


def _when(number: int, body: list[Step]) -> list[Step]:
    """Put `body` behind a test for this system call."""
    # The number is loaded anew, because the body before leaves an argument in the register.
    return [_load(NUMBER), (EQUAL, 0, len(body), number), *body]


def _load(offset: int) -> Step:
    return (LOAD, 0, 0, offset)


def _refuse(number: int) -> Step:
    return (RETURN, 0, 0, REFUSE | number)
