"""Audit hook: notes attempts of our Python code to leave, and the programs that it starts.

Each attempt is noted with its stack and the package that made it. This is Python's audit hook, and
it is not the wall: C code, ctypes and other programs pass it unseen (`UNSEEN`). The wall is the
namespace, and the kernel's own count of refused packets (`evidence`) includes theirs. Only our own
processes have the hook: each arms it when it enters the seal, children of ours find the file in
their environment. It is put into no other program, by neither sitecustomize nor PYTHONPATH, because
that would change the programs that are watched.
"""

import ipaddress
import json
import os
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

from localinstruct.records import JsonObject

FILE = "LOCALINSTRUCT_AUDIT_HOOK"
"""Environment variable: the file that all our processes of one run append to."""
MAX_ENTRIES = 1000
"""Entries per process; after that only the kernel counts."""
MAX_FRAMES = 40
"""Frames of a stack that are noted, innermost first."""
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
LOCAL_NAMES = {"", "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"}
LIBRARY = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), "<frozen "})
INSTALLED = ("site-packages", "dist-packages")
UNSEEN = (
    "Not seen by the audit hook: what ctypes and other C code ask of the kernel.",
    "Not seen by the audit hook: what programs do that are not processes of ours. "
    "Their start is noted where Python's own calls made it, "
    "so not when C code did, and not of the workers of multiprocessing's spawn.",
    "It is the wall that holds these back. The kernel counts their packets without a road, "
    "but not sockets and look-ups that it refused, and does not say whose they were.",
)
"""Attempts of which no entry can be made, said in every report."""

Arguments = tuple[Any, ...]
"""Arguments of an audit event; number and types differ by event, see Python's table of them."""


class Recorder:
    """Entries of this process: in memory until a file is known, then appended, one JSON a line."""

    def __init__(self) -> None:
        self.entries: list[JsonObject] = []
        self.path: Path | None = None
        self.descriptor = -1
        self.count = 0
        self.forks = 0
        self.lock = threading.Lock()

    def add(self, entry: JsonObject) -> None:
        """Keep one entry; more than MAX_ENTRIES are dropped."""
        with self.lock:
            self.count += 1
            if self.count > MAX_ENTRIES:
                return
            self.entries.append(entry)
            self._append(entry)

    def write_to(self, path: Path) -> None:
        """Append to this file from now on, earlier entries included."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        with self.lock:
            if self.path == path:
                return
            if self.descriptor >= 0:
                os.close(self.descriptor)
            self.path = path
            self.descriptor = os.open(path, flags, 0o600)
            for entry in self.entries:
                self._append(entry)

    def after_fork(self) -> None:
        """Take a new lock in a forked child: the thread that held the old one is not there."""
        self.lock = threading.Lock()
        self.forks = 0

    def _append(self, entry: JsonObject) -> None:
        if self.descriptor >= 0:
            os.write(self.descriptor, (json.dumps(entry, ensure_ascii=True) + "\n").encode())


_recorder: list[Recorder] = []
_busy = threading.local()


def arm() -> None:
    """Put the hook on this process, once and for good; it appends to our parent's file if any."""
    if _recorder:
        return
    recorder = Recorder()
    _recorder.append(recorder)
    if path := os.environ.get(FILE):
        recorder.write_to(Path(path))
    command = [word[:200] for word in sys.orig_argv[:12]]
    recorder.add({"kind": "process", "pid": os.getpid(), "time": time.time(), "command": command})
    os.register_at_fork(after_in_child=recorder.after_fork)
    sys.addaudithook(_hook)


def keep_in(path: Path) -> None:
    """Write to this file, and have our later children do so."""
    os.environ[FILE] = str(path)
    if _recorder:
        _recorder[0].write_to(path)


def entries() -> list[JsonObject]:
    """Entries of this process so far."""
    return list(_recorder[0].entries) if _recorder else []


def _hook(event: str, arguments: Arguments) -> None:
    """Called by the interpreter for every audit event, so the common case is one look-up."""
    describe = EVENTS.get(event)
    if describe is None or getattr(_busy, "now", False):
        return
    _busy.now = True
    try:
        target = describe(arguments)
        if target and _recorder:
            _recorder[0].add(_entry(event, target))
    except Exception as problem:
        target = f"unreadable: {problem!r}"[:200]
        _recorder[0].add({"kind": "attempt", "event": event, "target": target, "stack": []})
    finally:
        _busy.now = False


def _entry(event: str, target: str) -> JsonObject:
    """`package` is the innermost outside the standard library, `packages` all, innermost first."""
    stack = _stack(sys._getframe(2))
    packages = list(dict.fromkeys(name for name, _ in stack if name))
    return {
        "kind": "child" if event in CHILDREN else "attempt",
        "event": event,
        "target": target,
        "package": packages[0] if packages else "",
        "packages": packages,
        "pid": os.getpid(),
        "time": time.time(),
        "stack": [text for _, text in stack],
    }


def _stack(frame: FrameType | None) -> list[tuple[str, str]]:
    """Innermost first: (package, or "" for the standard library; "file:line function")."""
    stack: list[tuple[str, str]] = []
    while frame is not None and len(stack) < MAX_FRAMES:
        code = frame.f_code
        if code.co_filename != __file__:
            stack.append((_package(frame), f"{code.co_filename}:{frame.f_lineno} {code.co_name}"))
        frame = frame.f_back
    return stack


def _package(frame: FrameType) -> str:
    path = frame.f_code.co_filename
    if path.startswith(LIBRARY) and not any(part in path for part in INSTALLED):
        return ""
    return str(frame.f_globals.get("__name__", "?")).partition(".")[0]


def _connection(arguments: Arguments) -> str:
    """socket.connect, sendto, sendmsg: (socket, address)."""
    family, address = arguments[0].family, arguments[1]
    if family in (AF_UNIX, AF_NETLINK) or address is None:
        return ""
    if family in (AF_INET, AF_INET6):
        return "" if _is_local(str(address[0])) else f"{address[0]} port {address[1]}"
    return f"address family {int(family)}: {address!r}"


def _lookup(arguments: Arguments) -> str:
    """socket.getaddrinfo, gethostbyname, gethostbyaddr: the name; an address needs no look-up."""
    host = arguments[0]
    name = host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host or "")
    return "" if _is_local(name) or _is_address(name) else f"look-up of {name}"


def _new_socket(arguments: Arguments) -> str:
    """socket.__new__: (socket, family, type, protocol); only families no program of ours needs."""
    family, kind = int(arguments[1]), int(arguments[2])
    raw = kind & 0xF == 3
    if family in (AF_UNIX, AF_NETLINK, -1) or (family in (AF_INET, AF_INET6) and not raw):
        return ""
    return f"socket of family {family}{', raw' if raw else ''}"


def _program(arguments: Arguments) -> str:
    """subprocess.Popen: (executable, arguments, …)."""
    return _line(arguments[1] if isinstance(arguments[1], list | tuple) else [arguments[1]])


def _shell(arguments: Arguments) -> str:
    """os.system: (command,)."""
    return _line(arguments)


def _exec(arguments: Arguments) -> str:
    """os.exec: (path, arguments, environment)."""
    # os.execvp tries every folder of PATH, of which one has the program.
    exists = isinstance(arguments[0], int) or os.access(arguments[0], os.X_OK)
    return _line([arguments[0], *arguments[1][1:]]) if exists else ""


def _spawn(arguments: Arguments) -> str:
    """os.posix_spawn: (path, arguments, environment)."""
    # When subprocess makes this call, its own event has been noted.
    caller = sys._getframe(2).f_globals.get("__name__")
    return "" if caller == "subprocess" else _line([arguments[0], *arguments[1][1:]])


def _fork(_: Arguments) -> str:
    """os.fork, os.forkpty, without arguments; the 1st, 2nd, 4th, 8th … is noted."""
    recorder = _recorder[0]  # pools make many forks
    with recorder.lock:
        recorder.forks += 1
        number = recorder.forks
    return f"fork number {number} of this process" if number & (number - 1) == 0 else ""


def _line(words: Iterable[object]) -> str:
    texts = (os.fsdecode(word) if isinstance(word, bytes) else str(word) for word in words)
    return " ".join(texts)[:300]


EVENTS: dict[str, Callable[[Arguments], str]] = {
    "socket.connect": _connection,
    "socket.sendto": _connection,
    "socket.sendmsg": _connection,
    "socket.getaddrinfo": _lookup,
    "socket.gethostbyname": _lookup,
    "socket.gethostbyaddr": _lookup,
    "socket.__new__": _new_socket,
    "subprocess.Popen": _program,
    "os.system": _shell,
    "os.exec": _exec,
    "os.posix_spawn": _spawn,
    "os.fork": _fork,
    "os.forkpty": _fork,
}
"""Audit event -> its target in words, "" when it stays on this machine."""
CHILDREN = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}
"""Events that start a process. os.spawnv and its kin are a fork and an exec on Linux."""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    """True for names and addresses of this machine; as a target, the unspecified one is too."""
    if name.lower() in LOCAL_NAMES:
        return True
    if not _is_address(name):
        return False
    address = ipaddress.ip_address(name.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None) or address
    return bool(mapped.is_loopback or mapped.is_unspecified)
