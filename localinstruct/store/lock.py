"""The lock of a run: one writer, and the kernel frees it when that one dies, however it dies.

A stage that `run` starts works under its parent's lock, handed down as an open descriptor. Not
covered: network file systems, where flock may mean nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localinstruct.errors import RunInUse, StoreError
from localinstruct.store.durable import lock

LOCK_FD = "LOCALINSTRUCT_LOCK_FD"
"""Environment variable by which a parent hands its lock to the stage it starts."""


@contextmanager
def only_writer(path: Path, option: str = "--name") -> Iterator[bool]:
    """Hold the lock of a run: our own (True), or the one that our parent handed down (False).

    RunInUse with the owner's pid when another process has it; `option` chooses another place.
    """
    inherited = os.environ.get(LOCK_FD)
    if inherited and _is_same_file(int(inherited), path / "run.lock"):
        yield False
        return
    descriptor = os.open(path / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _claim(descriptor, path, option)
        os.set_inheritable(descriptor, True)
        os.environ[LOCK_FD] = str(descriptor)
        yield True
    finally:
        os.environ.pop(LOCK_FD, None)
        os.close(descriptor)


def owner(path: Path) -> int | None:
    """The process that works in a run, or None; nothing is locked for the look.

    It is the one whose pid stands in the lock, while it holds that file open. One of another user,
    whose files cannot be seen, counts while it lives.
    """
    try:
        pid = int((path / "run.lock").read_text())
        held = Path(f"/proc/{pid}/fd").iterdir()
        return pid if any(_is_same_place(place, path / "run.lock") for place in held) else None
    except PermissionError:
        return pid
    except (OSError, ValueError):
        return None


def _is_same_place(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _claim(descriptor: int, path: Path, option: str) -> None:
    try:
        free = lock(descriptor)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be locked: {error.strerror or error}.",
            "A run needs a disk of this machine: localinstruct doctor",
        ) from None
    if not free:
        owner = os.read(descriptor, 20).decode() or "unknown"
        raise RunInUse(
            f"{path}: in use by process {owner}.",
            f"Wait for it, stop it (kill {owner}), or use another {option}.",
        )
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError:
        return False
