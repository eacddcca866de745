"""Backends of the seal: ways to hold a process back, best first, each with what it covers.

Systems differ in what they let an ordinary user do. The first backend that works is taken; one that
covers less says so, and only backends that leave no road out at all may be called sealed. None of
them needs root.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localinstruct.offline import kernel, landlock, seccomp, switches

INSIDE_BUBBLEWRAP = "LOCALINSTRUCT_BUBBLEWRAP"
"""Set for the program that bubblewrap starts again, so that it does not start a third one."""
EVERYTHING = (
    "every internet protocol of this process and all its children, names included, "
    "whatever library or program asks",
    "AF_VSOCK, raw and packet sockets, new namespaces, set-uid programs, io_uring "
    "(refused by seccomp)",
    "processes outside: their sockets cannot be taken, nor their memory read or written",
)
ALWAYS_OPEN = (
    "files and shared memory: what is written there can be read by others, and run by them",
    "unix sockets in folders that this user may open, other than the known doors",
    "processes outside that work for us of their own accord, and signals to those of the same user",
    "root of this machine, who can enter every namespace; devices such as modems and USB drives",
)
"""Roads that no backend closes, said in every report."""
_THROUGH_MEMORY = (
    "processes of this user in another network that start later, through /proc/PID/mem: "
    "this kernel has no Landlock"
)
LATER = () if landlock.keeps_apart() else (_THROUGH_MEMORY,)
"""A road that remains where no user namespace of our own keeps us apart.

The self-test finds the processes that are there already.
"""


@dataclass(frozen=True, slots=True)
class Backend:
    """One way to hold a process back, with what it covers and lacks.

    `sealed` is True when no road is left; `enter` returns "" when this process is inside, else the
    reason why not.
    """

    name: str
    sealed: bool
    covers: tuple[str, ...]
    lacks: tuple[str, ...]
    enter: Callable[[], str]


def unshare_as_user() -> str:
    """Enter user, network and mount namespaces of our own, tried in a child first."""
    return _enter(kernel.own_namespaces)


def unshare_as_root() -> str:
    """Enter network and mount namespaces only, as root where user namespaces are forbidden."""
    return "not root" if os.geteuid() else _enter(kernel.root_namespaces)


def started_with_loopback_only() -> str:
    """Accept the network stack that we were started in when it has nothing but loopback.

    A container, a systemd unit, `unshare -n` and bubblewrap give one.
    """
    names = kernel.interfaces()
    switches.wake_loopback()
    if names == ["lo"]:
        return ""
    return f"this process was started with the interfaces {', '.join(names)}"


def bubblewrap() -> str:
    """Start this program again below bubblewrap, which distributions allow to make namespaces.

    Does not return then.
    """
    program = shutil.which("bwrap")
    if program is None:
        return "bubblewrap (bwrap) is not installed"
    if INSIDE_BUBBLEWRAP in os.environ:
        return "started by bubblewrap already, and still not alone"
    command = bubblewrap_command(program)
    trial = subprocess.run([*command, "true"], capture_output=True, text=True)
    if trial.returncode:
        return f"bubblewrap: {trial.stderr.strip() or f'exit code {trial.returncode}'}"
    sys.stdout.flush()
    os.environ[INSIDE_BUBBLEWRAP] = "1"
    os.execv(program, [*command, sys.executable, *sys.orig_argv[1:]])


def socketless() -> str:
    """Give up all internet sockets, by seccomp and Landlock (where there is), for parts without."""
    kernel.forbid_new_privileges()
    landlock.forbid_tcp()
    return ""


BACKENDS = (
    Backend("own namespaces", True, EVERYTHING, (), unshare_as_user),
    Backend("own network namespace, as root", True, EVERYTHING, LATER, unshare_as_root),
    Backend(
        "network stack with only loopback, given by whoever started us",
        True,
        EVERYTHING,
        ("an interface that whoever made this network stack adds to it later", *LATER),
        started_with_loopback_only,
    ),
    Backend("bubblewrap", True, EVERYTHING, (), bubblewrap),
    Backend(
        "no internet sockets (seccomp, Landlock)",
        False,
        (
            "every socket but unix sockets, in this process and all its children",
            landlock.promise(),
            "not for generate, evaluate with a teacher, or anything else that serves a model",
        ),
        (
            "doors to services outside are not covered by mounts: "
            "the self-test only finds the open ones",
            *LATER,
        ),
        socketless,
    ),
)
"""Best first. The last one is taken only by commands that need no loopback."""


def enter(*, loopback: bool) -> tuple[Backend | None, list[str]]:
    """Enter the first backend that works, and harden; it, and why each one before it did not."""
    refusals: list[str] = []
    user = kernel.namespaces()["user"]
    for backend in BACKENDS:
        if loopback and not backend.sealed:
            continue
        reason = backend.enter()
        if not reason:
            alone = kernel.namespaces()["user"] != user
            harden(seccomp.WITH_LOOPBACK if backend.sealed else seccomp.SOCKETLESS, alone=alone)
            return backend, refusals
        refusals.append(f"{backend.name}: {reason}")
    return None, refusals


def harden(families: tuple[int, ...], *, alone: bool) -> None:
    """Give up capabilities and new privileges, enter a Landlock domain, filter system calls.

    For good, and for every child. `families` are the address families that stay; `alone`: in a user
    namespace of our own, which keeps us out of the processes of others where Landlock does not.
    """
    kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    landlock.stand_apart()
    seccomp.install(families, apart=alone or landlock.keeps_apart())


def remedies() -> list[str]:
    """Steps that would make a backend work here, those for the likely cause first."""
    return [*(text for path, value, text in CAUSES if _reads(path) == value), *GENERAL]


CAUSES = (
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "This system lets only programs with an AppArmor profile make user namespaces: "
        "install bubblewrap, whose package brings one (the seal then uses it by itself).",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        "0",
        "User namespaces are switched off: sysctl user.max_user_namespaces=10000 "
        "(by the administrator).",
    ),
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        "0",
        "User namespaces are switched off: sysctl kernel.unprivileged_userns_clone=1 "
        "(by the administrator).",
    ),
)
"""(file, its content when it is the cause, what to do)."""
GENERAL = (
    "In a container: start it with --network none; the seal then uses that.",
    "With systemd: run it as a unit with PrivateNetwork=yes (a ready one: docs/air-gap.md).",
)


def bubblewrap_command(program: str) -> list[str]:
    """Command that runs what follows it below bubblewrap: all files as they are, no network.

    The doors to services outside are covered.
    """
    covered = [word for path in kernel.doors() for word in ("--bind", "/dev/null", path)]
    return [program, "--dev-bind", "/", "/", "--unshare-net", *covered, "--die-with-parent", "--"]


def _enter(way: Callable[[], None]) -> str:
    reason = kernel.trial(way)
    if not reason:
        way()
    return reason


def _reads(path: str) -> str:
    try:
        return Path(path).read_text(encoding="ascii").strip()
    except OSError:
        return ""
