"""Linux calls that make the seal: namespaces, capabilities, no_new_privs, covered doors.

Python 3.11 has none of them, so they go through libc. Everything here is irrevocable for this
process and its children, therefore `trial` does the same in a child first. Not covered: real root
outside, who can enter any namespace.
"""

import contextlib
import ctypes
import errno
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from localinstruct.offline import switches

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NS, NEW_USER, NEW_NET = 0x00020000, 0x10000000, 0x40000000
"""CLONE_* flags (linux/sched.h): mount, user and network namespace."""
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 0x80000
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
CAPABILITY_VERSION_3 = 0x20080522

DOORS = (
    "/run/docker.sock",
    "/run/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/crio/crio.sock",
    "/run/user/*/podman/podman.sock",
    "/run/user/*/docker.sock",
    "/run/libvirt/libvirt-sock",
    "/run/snapd.socket",
    "/run/lxd.socket",
    "/var/lib/lxd/unix.socket",
    "/var/lib/incus/unix.socket",
    "/var/snap/lxd/common/lxd/unix.socket",
    "/run/dbus/system_bus_socket",
    "/run/user/*/bus",
    "/run/user/*/systemd/private",
    "/run/systemd/private",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/nscd/socket",
    "/run/avahi-daemon/socket",
    "/run/cups/cups.sock",
    "/tmp/.X11-unix/X*",
    "/run/user/*/wayland-*",
    "/run/user/*/gnupg/S.*",
    "/run/user/*/keyring/*",
    "/tmp/ssh-*/agent.*",
    "/tmp/tmux-*/*",
    "/run/screen/S-*/*",
    "/run/user/*/emacs/server",
    "/run/user/*/vscode-*.sock",
    "/tmp/vscode-*.sock",
    "/run/WSL/*_interop",
    "/dev/infiniband/uverbs*",
    "/dev/infiniband/rdma_cm",
    "/dev/vsock",
)
"""Doors: sockets of services that work for others from outside the seal, and devices of RDMA.

Container and service managers, message buses, name resolvers, agents, displays, terminal servers,
Windows. No network namespace holds the devices of RDMA back.
"""
NAMED_DOORS = (
    "SSH_AUTH_SOCK",
    "DOCKER_HOST",
    "CONTAINER_HOST",
    "DBUS_SESSION_BUS_ADDRESS",
    "VSCODE_IPC_HOOK_CLI",
    "WSL_INTEROP",
    "TMUX",
)
"""Variables that name a door elsewhere: as a path, unix://PATH, unix:path=PATH,… or PATH,…"""


class Header(ctypes.Structure):
    """struct __user_cap_header_struct."""

    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class Sets(ctypes.Structure):
    """struct __user_cap_data_struct."""

    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def checked(result: int, what: str) -> int:
    """Check the result of a libc call and return it; OSError naming `what` when it is -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option: int, *values: int) -> int:
    """Call prctl with up to four unsigned long arguments."""
    padded = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return checked(LIBC.prctl(option, *padded), f"prctl({option})")


def own_namespaces() -> None:
    """Move this process into new user, network and mount namespaces with the same uid and gid.

    Loopback is up there and the doors are covered. Single-threaded callers only. OSError says at
    which step it failed.
    """
    uid, gid = os.geteuid(), os.getegid()
    checked(LIBC.unshare(NEW_USER | NEW_NET | NEW_NS), "unshare(user, net, mount)")
    _map("setgroups", "deny")
    _map("uid_map", f"{uid} {uid} 1")
    _map("gid_map", f"{gid} {gid} 1")
    _finish_namespaces()


def root_namespaces() -> None:
    """Move this process into new network and mount namespaces only, as root may.

    Otherwise like `own_namespaces`; for systems where user namespaces are forbidden.
    """
    checked(LIBC.unshare(NEW_NET | NEW_NS), "unshare(net, mount)")
    _finish_namespaces()


def trial(enter: Callable[[], None]) -> str:
    """Try `enter` in a child that is gone afterwards; the reason why it fails, "" when it works."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enter()
        except BaseException as problem:
            os.write(writing, str(problem).encode("utf-8", "replace")[:500] or b"failed")
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        reason = answer.read().decode("utf-8", "replace")
    os.waitpid(child, 0)
    return reason


def doors() -> list[str]:
    """Paths of DOORS and of NAMED_DOORS that exist here and this user may open."""
    paths = {str(path) for pattern in DOORS for path in Path("/").glob(pattern.lstrip("/"))}
    for value in (os.environ.get(name, "") for name in NAMED_DOORS):
        path = value.removeprefix("unix:path=").removeprefix("unix://").partition(",")[0]
        if path.startswith("/"):
            paths.add(path)
    return sorted(path for path in paths if os.access(path, os.W_OK) and not Path(path).is_dir())


def open_doors() -> list[str]:
    """Doors that still lead outside: sockets that take a connection, devices but /dev/null."""
    return [path for path in doors() if _is_open(path)]


def other_sockets() -> list[str]:
    """Paths of unix sockets on which somebody listens and which this user may open, but doors.

    The kernel lists those of our network namespace, so this is asked before we leave it.
    """
    listening = "00010000"
    lines = Path("/proc/self/net/unix").read_text(errors="replace").splitlines()[1:]
    rows = (row for line in lines if len(row := line.split(maxsplit=7)) == 8)
    paths = {row[7] for row in rows if row[3] == listening and row[7].startswith("/")}
    return sorted({path for path in paths if os.access(path, os.W_OK)} - set(doors()))


def drop_capabilities() -> None:
    """Give up every capability, and as far as we may every way to get one back."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number)
        except OSError as problem:
            if problem.errno == errno.EINVAL:  # past the last one the kernel knows
                break
            # Without CAP_SETPCAP there is none to drop, and no_new_privs bars exec.
            if problem.errno != errno.EPERM:
                raise
    with contextlib.suppress(OSError):  # kernels before 4.3
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header, sets = Header(CAPABILITY_VERSION_3, 0), (Sets * 2)()
    checked(LIBC.capset(ctypes.byref(header), ctypes.byref(sets)), "capset")


def forbid_new_privileges() -> None:
    """Keep set-uid programs from giving this process or its children anything from now on."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def close_foreign_sockets() -> list[str]:
    """Close every socket handed to us by whoever started us, and name them.

    A connected socket keeps working in any namespace, so none may stay. stdin, stdout and stderr
    may be unix sockets; OSError when one of them is a network connection.
    """
    closed = []
    for descriptor, family in list(_open_sockets()):
        if descriptor > 2:
            os.close(descriptor)
            closed.append(f"descriptor {descriptor} (address family {family})")
        elif family != socket.AF_UNIX:
            what = f"descriptor {descriptor} (stdin, stdout or stderr) is a network connection"
            raise OSError(errno.ENOTSUP, what)
    return closed


def state() -> dict[str, str]:
    """Fields of /proc/self/status: capability sets, NoNewPrivs, Seccomp, Threads."""
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Threads")
    lines = (line.partition(":") for line in Path("/proc/self/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines if name in names}


def namespaces() -> dict[str, str]:
    """Inodes of our namespaces, as the kernel names them: {"net": "net:[4026532001]", …}."""
    folder = Path("/proc/self/ns")
    return {name: str((folder / name).readlink()) for name in ("net", "user", "mnt", "pid")}


def interfaces() -> list[str]:
    """Names of the network interfaces this process can use."""
    lines = Path("/proc/self/net/dev").read_text().splitlines()[2:]
    return [line.partition(":")[0].strip() for line in lines]


def _map(name: str, text: str) -> None:
    try:
        Path(f"/proc/self/{name}").write_text(text)
    except OSError as problem:
        raise OSError(problem.errno, f"writing {name}: {problem.strerror}") from None


def _finish_namespaces() -> None:
    switches.wake_loopback()
    if not _loopback_is_up():
        raise OSError(errno.EPERM, "the new namespace gives no rights: loopback stays down")
    # A mount that is refused leaves a door open, and the self-test finds it.
    with contextlib.suppress(OSError):
        checked(LIBC.mount(b"none", b"/", None, MS_REC | MS_SLAVE, None), "mount(/, slave)")
        for path in doors():
            result = LIBC.mount(b"/dev/null", os.fsencode(path), None, MS_BIND, None)
            checked(result, f"covering {path}")


def _loopback_is_up() -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("127.0.0.1", 0))
            probe.connect(("127.0.0.1", 9))
        except OSError:
            return False
    return True


def _is_open(path: str) -> bool:
    kind = os.stat(path).st_mode  # noqa: PTH116
    if not stat.S_ISSOCK(kind):
        null = os.stat("/dev/null").st_rdev  # noqa: PTH116
        return stat.S_ISCHR(kind) and os.stat(path).st_rdev != null  # noqa: PTH116
    for shape in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
        with socket.socket(socket.AF_UNIX, shape) as probe, contextlib.suppress(OSError):
            probe.connect(path)
            return True
    return False


def _open_sockets() -> Iterator[tuple[int, int]]:
    """(descriptor, address family) of every open socket."""
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                with socket.socket(fileno=os.dup(int(name))) as copy:
                    yield int(name), int(copy.family)
