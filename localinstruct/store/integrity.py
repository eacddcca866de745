"""Damage of a store, and what a disk refuses in plain words.

`damage` reads the whole store, once, when a run is opened for writing or exported: SQLite's own
structure, every row's checksum, and that each committed episode still has all the rows it was
committed with. What the disk itself refuses (full, read-only, failing) is put into one sentence by
`plain_words`. Not covered: the write-ahead log of a killed run, where SQLite drops everything
behind a damaged place, as it must after a power cut.
"""

import errno
import os
import re
import resource
import shutil
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from localinstruct.errors import LocalInstructError, StoreError
from localinstruct.store.checksums import altered
from localinstruct.store.durable import sync

RESERVE = 64 * 2**20
"""Bytes left free on the run's disk, so that it can still be closed, shown and reported on."""
REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk failed to read or write",
    errno.EMFILE: "too many files are open in this process",
    errno.ENFILE: "too many files are open on this machine",
    errno.EACCES: "this user may not write there",
    errno.EPERM: "this user may not do that there",
    errno.EFBIG: "a file has reached the largest size allowed",
}
"""Error number of a system call -> its meaning."""
SQLITE_REFUSALS = {
    "SQLITE_FULL": "the disk is full",
    "SQLITE_READONLY": "the store is read-only",
    "SQLITE_IOERR": "the disk failed to read or write",
    "SQLITE_CANTOPEN": "the store cannot be opened (rights, or too many open files)",
    "SQLITE_BUSY": "another program holds the store",
    "SQLITE_NOMEM": "there is no memory left",
}
"""Beginning of SQLite's error name -> what it means."""
VAGUE = ("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
"""Errors with many causes, of which SQLite keeps the system's to itself: the disk is asked."""
PROBE_BYTES = 2**20
TORCH_WRITES = ("unexpected pos", "PytorchStreamWriter", "basic_ios::clear")
"""Words in torch's RuntimeError, whatever the cause, when it could not write a file."""


def damage(database: sqlite3.Connection, schema: str) -> list[str]:
    """Damage of a store of this `schema`, in sentences; none when all is as it was written."""
    try:
        database.execute("BEGIN")  # one snapshot, whoever writes meanwhile
        try:
            lines = [text for (text,) in database.execute("PRAGMA integrity_check(5)")]
            structure = [text for text in lines if text != "ok"] or _other_schema(database, schema)
            return structure or [*_altered(database), *_missing(database)]
        finally:
            database.execute("ROLLBACK")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        return [str(error)]


def _other_schema(database: sqlite3.Connection, schema: str) -> list[str]:
    """A flipped letter in the name of a column or table, which SQLite takes for the name."""
    query = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY sql"
    with closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(schema)
        expected = fresh.execute(query).fetchall()
    if database.execute(query).fetchall() == expected:
        return []
    return ["its tables are not those that were made"]


def _altered(database: sqlite3.Connection) -> Iterator[str]:
    """One sentence per table with rows that do not fit their checksum."""
    for table, bad in altered(database).items():
        yield f"{len(bad)} altered row(s) in {table}, the first is {str(bad[0])[:40]!r}"


def _missing(database: sqlite3.Connection) -> Iterator[str]:
    """One sentence for each way in which committed episodes are incomplete, or have a gap."""
    for table, column in (("kept", "kept"), ("rejects", "rejected")):
        counted = f"SELECT episode, count(*) AS rows FROM {table} GROUP BY episode"
        query = f"""SELECT count(*) FROM episodes e LEFT JOIN ({counted}) r ON r.episode = e.episode
                    WHERE e.{column} != coalesce(r.rows, 0)"""
        count = database.execute(query).fetchone()[0]
        if count:
            yield f"{count} episode(s) have not the rows in {table} that they were committed with"
    count, last = database.execute(
        "SELECT count(*), coalesce(max(episode), -1) + 1 FROM episodes"
    ).fetchone()
    if count != last:
        yield f"{last - count} episode(s) are gone"


@contextmanager
def plain_words(path: Path, numbers: Collection[int] = REFUSALS.keys()) -> Iterator[None]:
    """Turn what the disk or SQLite refuses into a StoreError with one sentence and a way on.

    `path` is named where the error names no file; `numbers` are the system's errors that are meant.
    """
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "") or ""
        meanings = (text for start, text in SQLITE_REFUSALS.items() if name.startswith(start))
        meaning = next(meanings, "")
        if name.startswith(VAGUE):
            meaning = REFUSALS.get(ask_disk(path), meaning)
        if not meaning and not name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            raise
        raise refused(path, meaning) if meaning else damaged(path, [str(error)]) from None
    except OSError as error:
        if error.errno is None or error.errno not in numbers:
            raise
        raise refused(Path(str(error.filename or path)), REFUSALS[error.errno]) from None
    except LocalInstructError:
        raise
    except Exception as error:
        number = _system_error(error, path)
        if number not in numbers:
            raise
        raise refused(path, REFUSALS[number]) from None


def _system_error(error: Exception, path: Path) -> int:
    """The number behind a library's error that is no OSError, 0 when there is none.

    Rust's (safetensors, tokenizers) say it in their text; torch only says that it could not write,
    so the disk is asked.
    """
    if number := re.search(r"\(os error (\d+)\)", str(error)):
        return int(number[1])
    if isinstance(error, RuntimeError) and any(word in str(error) for word in TORCH_WRITES):
        return ask_disk(path)
    return 0


def ask_disk(path: Path) -> int:
    """The disk's answer (errno; 0 when it takes it) to a small file in, or beside, `path`."""
    folder = path if path.is_dir() else path.parent
    probe, left = folder / ".probe", PROBE_BYTES
    try:
        descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            while left:
                left -= os.pwrite(descriptor, bytes(left), PROBE_BYTES - left)
            sync(descriptor)
        finally:
            os.close(descriptor)
        return _size_limit(folder)
    except OSError as error:
        return error.errno or 0
    finally:
        with suppress(OSError):
            probe.unlink()


def _size_limit(folder: Path) -> int:
    """EFBIG when a file of the folder has come to this process's limit (ulimit -f), else 0."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    largest = max((entry.stat().st_size for entry in folder.iterdir()), default=0)
    return errno.EFBIG if 0 <= limit < largest + PROBE_BYTES else 0


def read_only(store: Path) -> str:
    """The address by which SQLite reads a store without a write; StoreError when it cannot.

    Without a log beside the store it is told that nothing changes; a log it reads by the index that
    lies there as well.
    """
    log = store.with_name(f"{store.name}-wal")
    unread = log.is_file() and log.stat().st_size > 0
    if unread and not store.with_name(f"{store.name}-shm").is_file():
        raise StoreError(
            f"{log}: holds rows that are not in the store yet, and they cannot be read where "
            "nothing may be written.",
            f"Copy {store.parent} to a disk that may be written, and look at the copy.",
        )
    return f"{store.absolute().as_uri()}?{'mode=ro' if unread else 'immutable=1'}"


def require_space(folder: Path, bytes_needed: int) -> None:
    """StoreError when the disk of `folder` has less free than this work and RESERVE need."""
    free = shutil.disk_usage(folder).free
    if free < bytes_needed + RESERVE:
        raise StoreError(
            f"{folder}: {free / 2**20:,.0f} MiB are free on its disk, "
            f"{(bytes_needed + RESERVE) / 2**20:,.0f} MiB are needed "
            "to go on. Stopped before the disk is full; what is kept is kept.",
            f"Make room (df -h {folder}), then run the same command again: it goes on.",
        )


def refused(path: Path, meaning: str) -> StoreError:
    """The error for a disk that would not take a write."""
    return StoreError(
        f"{path}: {meaning}. What was counted as kept is kept.",
        f"Mend the cause (df -h {path.parent}; ls -ld {path.parent}), then run the same command "
        "again: it goes on.",
    )


def damaged(path: Path, problems: list[str]) -> StoreError:
    """The error for a store that is not as it was written."""
    return StoreError(
        f"{path}: the store is damaged: {'; '.join(problems[:3])}.",
        f"Put back a copy of {path.parent} from before, or use another --name. Nothing was "
        "changed in it.",
    )
