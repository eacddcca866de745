"""Landlock for the socketless rung: no TCP, no abstract unix sockets or signals to the outside, without any privilege.

Kernel 6.7 (ABI 4) forbids TCP, 6.12 (ABI 6) adds the scopes. Seccomp forbids the same sockets already; this is the second
lock on the door. Not covered: UDP before ABI 10, and unix sockets with a path before ABI 9.
"""

import ctypes
import os

from localinstruct.seal.kernel import LIBC, checked

CREATE_RULESET, RESTRICT_SELF = 444, 446
"""System call numbers, the same on every machine."""
BIND_TCP, CONNECT_TCP, SCOPE_ABSTRACT_UNIX, SCOPE_SIGNAL = 1, 2, 1, 2


class Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr of ABI 6."""

    _fields_ = (("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64),
                ("scoped", ctypes.c_uint64))  # fmt: skip


def abi() -> int:
    """The version this kernel offers; 0 when it has none or it is switched off."""
    return max(0, LIBC.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1)))


def promise() -> str:
    """What `forbid_tcp` puts on here, in words."""
    version = abi()
    if version < 4:
        return "Landlock for TCP is not in this kernel: seccomp alone"
    return f"TCP a second time, by Landlock ABI {version}" + (", and abstract unix sockets" if version >= 6 else "")


def forbid_tcp() -> None:
    """Forbid TCP to this process and its children; nothing happens where the kernel cannot."""
    version = abi()
    if version < 4:
        return
    scoped = SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL if version >= 6 else 0
    rules = Ruleset(0, BIND_TCP | CONNECT_TCP, scoped)
    size = ctypes.sizeof(Ruleset) if version >= 6 else 16
    created = LIBC.syscall(CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    descriptor = checked(created, "landlock_create_ruleset")
    try:
        checked(LIBC.syscall(RESTRICT_SELF, descriptor, ctypes.c_uint32(0)), "landlock_restrict_self")
    finally:
        os.close(descriptor)
