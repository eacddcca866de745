"""Journals: finished steps, one JSON line each, on the disk before they count.

A torn last line is ignored. A journal belongs to one job, named in its first line; a journal of
another job is started anew. Not covered: two writers, which their callers exclude with a lock on
the folder.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from localinstruct.errors import RunInUse
from localinstruct.records import JsonObject
from localinstruct.store.durable import append_lines, lock, read_json_lines


class Journal:
    """Steps that are done: `entries` from earlier, `add` for new ones."""

    def __init__(self, path: Path, job: str) -> None:
        self.path = path
        self.entries = read_json_lines(path)[1:]
        if first_job(path) != job:
            path.unlink(missing_ok=True)
            self.add({"job": job})
            self.entries = []

    def add(self, entry: JsonObject) -> None:
        """Append one step; when this returns, it is on the disk."""
        append_lines(self.path, [json.dumps(entry, sort_keys=True)])
        self.entries.append(entry)

    def numbered(self, key: str) -> dict[int, JsonObject]:
        """Entries that have an integer under `key`, by that number; the last one counts."""
        return {entry[key]: entry for entry in self.entries if type(entry.get(key)) is int}


def first_job(path: Path) -> str:
    """The job that a journal belongs to, or '' when there is none."""
    lines = read_json_lines(path)
    return str(lines[0].get("job", "")) if lines else ""


@contextmanager
def only_one(folder: Path, work: str) -> Iterator[None]:
    """Hold the lock of a folder; RunInUse when another process does.

    `work` is the verb for its message, such as "packs here".
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not lock(descriptor):
            raise RunInUse(
                f"{folder}: another process {work} at this moment.", "Wait for it, or stop it."
            )
        yield
    finally:
        os.close(descriptor)


def stamp(path: Path) -> list[int]:
    """Size, time of change (ns), inode and device of a file: the same stamp, the same file."""
    status = path.lstat()
    return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]
