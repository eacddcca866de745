"""Connections to run.sqlite: its tables, its version, and what is wrong with a file that is none.

Not covered: the lock of the one writer (`lock.py`), and whether the rows are sound (`run.py`).
"""

import sqlite3
from pathlib import Path

from localinstruct.errors import RunConflict, UsageError
from localinstruct.store.integrity import damaged, plain_words, read_only

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE tape(episode INTEGER, call INTEGER, idx INTEGER, digest TEXT NOT NULL, prompt TEXT NOT NULL,
                  completions TEXT NOT NULL, tokens INTEGER NOT NULL, arrived REAL NOT NULL,
                  checksum TEXT NOT NULL, PRIMARY KEY (episode, call, idx)) WITHOUT ROWID;
CREATE TABLE episodes(episode INTEGER PRIMARY KEY, kept INTEGER NOT NULL, rejected INTEGER NOT NULL,
                      tokens INTEGER NOT NULL, committed REAL NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE kept(seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, episode INTEGER NOT NULL, instance TEXT NOT NULL,
                  most_similar TEXT NOT NULL, vector BLOB NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE rejects(seq INTEGER PRIMARY KEY, episode INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL,
                     text TEXT NOT NULL, detail TEXT NOT NULL, score REAL, checksum TEXT NOT NULL);
CREATE TABLE stages(name TEXT PRIMARY KEY, inputs TEXT NOT NULL, started REAL NOT NULL, finished REAL,
                    result TEXT NOT NULL, checksum TEXT NOT NULL);
"""  # noqa: E501 - SQLite keeps this text letter by letter, and a run with another is refused


def connect(path: Path, *, create: bool) -> sqlite3.Connection:
    """A connection for a folder that may be written; `create` makes the tables where none are."""
    with plain_words(path):
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )
        try:
            if create:  # a reader that does so beside the writer of a new run makes both fail
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except UnicodeDecodeError as error:  # SQLite quotes what it cannot parse
            raise damaged(path, [f"its schema cannot be read ({error})"]) from None
        if version == 0 and create:
            connection.executescript(
                f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"
            )
            version = SCHEMA_VERSION
    return _of_this_version(connection, version, path)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing."""
    with plain_words(path):
        connection = sqlite3.connect(
            read_only(path), uri=True, isolation_level=None, check_same_thread=False, timeout=30
        )
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    return _of_this_version(connection, version, path)


def _of_this_version(
    connection: sqlite3.Connection, version: int, path: Path
) -> sqlite3.Connection:
    if version == 0:
        raise UsageError(
            f"{path.parent}: just being made, or never begun.", "Try again in a moment."
        )
    if version != SCHEMA_VERSION:
        raise RunConflict(
            f"{path}: written by another version of localinstruct (store {version}, this one "
            f"reads {SCHEMA_VERSION}).",
            "Use the version that made it, or another --name.",
        )
    return connection
