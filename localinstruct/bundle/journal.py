"""A list of finished steps in a file, one JSON line each, on the disk before it counts; a torn last
line is ignored.

It belongs to one job, named in its first line; a journal of another job is started anew. Not
covered: two writers, which their callers exclude with a lock on the folder.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from localinstruct.errors import RunInUse


class Journal:
    """Steps that are done: `entries` from earlier, `add` for new ones."""

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.entries = _whole_lines(path)[1:]
        if first_job(path) != job:
            path.unlink(missing_ok=True)
            self.add({"job": job})
            self.entries = []

    def add(self, entry: dict[str, Any]) -> None:
        """Append one step; when this returns, it is on the disk."""
        with self.path.open("ab") as file:
            if file.tell() and not _ends_whole(self.path):
                file.write(b"\n")
            file.write(json.dumps(entry, sort_keys=True).encode("ascii") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self.entries.append(entry)

    def numbered(self, key: str) -> dict[int, dict[str, Any]]:
        """Entries that have an integer under `key`, by that number; the last one counts."""
        return {entry[key]: entry for entry in self.entries if type(entry.get(key)) is int}


def first_job(path: Path) -> str:
    """The job that a journal belongs to, or '' when there is none."""
    lines = _whole_lines(path)
    return str(lines[0].get("job", "")) if lines else ""


@contextmanager
def only_one(folder: Path, work: str) -> Iterator[None]:
    """Hold a lock on a folder; RunInUse when another process does. The kernel frees it when the
    owner dies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _claim(descriptor, folder, work)
        yield
    finally:
        os.close(descriptor)


def _claim(descriptor: int, folder: Path, work: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunInUse(
            f"{folder}: another process {work} at this moment.", "Wait for it, or stop it."
        ) from None


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk; some file systems of media cannot, and do it when they
    like."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp(path: Path) -> list[int]:
    """Size, time of change (ns), inode and device of a file: the same stamp, the same file."""
    found = path.lstat()
    return [found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev]


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [entry for line in lines if isinstance(entry := _parsed(line), dict)]


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
