"""Landlock: rules that a process puts on itself and its children, without any privilege.

The rules stay for good. Three uses. On every backend, `stand_apart` keeps us out of other
processes: a process in a Landlock domain may look into and take from those of its own domain only,
by ptrace, pidfd_getfd, process_vm_readv, process_vm_writev and /proc/PID/mem. Otherwise it could
take the open socket of a process of the same user outside. Inside, workers may still do so with
each other, as CUDA does. On the socketless backend, `forbid_tcp` is the second lock on the door.
`forbid_files` stands around code that a teacher wrote (`code_child`).

Kernel 5.19 (ABI 2) is the first whose domains leave renames alone, 6.7 (ABI 4) forbids TCP, 6.12
(ABI 6) adds abstract unix sockets and signals to the outside. Not covered: UDP before ABI 10, and
unix sockets with a path before ABI 9.
"""

import ctypes
import os

from localinstruct.offline.kernel import LIBC, checked

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""System call numbers, the same on every machine."""
MAKE_BLOCK, REFER = 1 << 11, 1 << 13
"""Rights on files: to make a block device (no ordinary user may), to rename across folders."""
BIND_TCP, CONNECT_TCP, SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2, 1, 2
PATH_BENEATH = 1
FILES_ABI = 3
"""The first version that covers every way to a file by its name, cutting it short included: Linux
6.2."""


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of ABI 6; older kernels take it with 0 in fields they lack."""

    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class Beneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def abi() -> int:
    """The version this kernel offers; 0 when it has none or it is switched off."""
    return max(0, LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def keeps_apart() -> bool:
    """True where `stand_apart` does something."""
    return abi() >= 2  # a domain of ABI 1 would forbid every rename to another folder


def promise() -> str:
    """Describe what `forbid_tcp` does on this kernel."""
    version = abi()
    if version < 4:
        return "Landlock for TCP is not in this kernel: seccomp alone"
    abstract = ", and abstract unix sockets" if version >= 6 else ""
    return f"TCP a second time, by Landlock ABI {version}{abstract}"


def stand_apart() -> None:
    """Enter a domain of our own, from which no process outside can be looked into.

    Needs no_new_privs. A domain must forbid something of its own; this one forbids what nobody here
    may do anyhow, and, where the kernel can, abstract unix sockets of others. Nothing happens where
    `keeps_apart` is false.
    """
    if keeps_apart():
        scoped = SCOPE_ABSTRACT_UNIX if abi() >= 6 else 0
        _restrict(Ruleset(MAKE_BLOCK | REFER, 0, scoped), everywhere=REFER)


def forbid_tcp() -> None:
    """Forbid TCP to this process and its children; nothing happens where the kernel cannot."""
    version = abi()
    if version >= 4:
        scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if version >= 6 else 0
        _restrict(Ruleset(0, BIND_TCP | CONNECT_TCP, scoped))


def forbid_files() -> None:
    """Forbid every file and folder, TCP, and signals to outside, to this process and its children.

    Files that are open stay open. Needs no_new_privs, and FILES_ABI of the kernel.
    """
    version = abi()
    rights = (1 << 15) - 1 if version < 5 else (1 << 16) - 1  # ABI 5: ioctl on devices
    network = BIND_TCP | CONNECT_TCP if version >= 4 else 0
    scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if version >= 6 else 0
    _restrict(Ruleset(rights, network, scoped))


def _restrict(rules: Ruleset, *, everywhere: int = 0) -> None:
    """Put the rules on this process; `everywhere` holds the rights on files that all files keep."""
    size, flags = ctypes.c_size_t(ctypes.sizeof(rules)), ctypes.c_uint32(0)
    result = LIBC.syscall(CREATE_RULESET, ctypes.byref(rules), size, flags)
    descriptor = checked(result, "landlock_create_ruleset")
    try:
        if everywhere:
            _allow(descriptor, everywhere)
        checked(LIBC.syscall(RESTRICT_SELF, descriptor, flags), "landlock_restrict_self")
    finally:
        os.close(descriptor)


def _allow(ruleset: int, rights: int) -> None:
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        rule, flags = ctypes.byref(Beneath(rights, root)), ctypes.c_uint32(0)
        result = LIBC.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, flags)
        checked(result, "landlock_add_rule")
    finally:
        os.close(root)
