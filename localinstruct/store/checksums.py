"""Checksums of the store's rows, and the rows that do not fit theirs.

SQLite does not notice a flipped bit inside a value, so a checksum is written with each row. Reading
a million rows again takes a minute of one core; where there are many, a second process reads the
later half.
"""

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing, nullcontext
from pathlib import Path

Value = int | float | str | bytes | None
"""A value in SQLite."""
TABLES = ("meta", "tape", "episodes", "kept", "rejects", "stages")
NUMBERED = {"tape": "episode", "kept": "seq", "rejects": "seq"}
"""Table that can be long -> its first column, a number that rises."""
MANY = 50_000
"""Rows of these tables from which a second process is worth its start."""


def checksum(values: tuple[Value, ...]) -> str:
    """16 hex digits over the values of a row, as SQLite gives them back."""
    return hashlib.blake2b(repr(values).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def altered(database: sqlite3.Connection) -> dict[str, list[Value]]:
    """First values of the rows that do not fit their checksum, of the tables that have such rows.

    `database` is in a transaction. A second process sees what was committed before it; where that
    process fails, its part is read here.
    """
    later = _later_halves(database)
    with _second_process(database, later) if later else nullcontext() as process:
        try:
            bad = {}
            for table in TABLES:
                half = later[table][0] if table in later else None
                bad[table] = _unfit(database, table, last=half)
            theirs = _printed(process) if process else {}
            for table, (after, last) in later.items():
                is_read = table in theirs
                bad[table] += theirs[table] if is_read else _unfit(database, table, after, last)
        finally:
            if process:
                process.kill()  # finished, unless the first half could not be read
    return {table: keys for table, keys in bad.items() if keys}


def _later_halves(database: sqlite3.Connection) -> dict[str, tuple[int, int]]:
    """Table -> (number after which its later half begins, its last number); none where few rows."""
    spans = dict[str, tuple[int, int]]()
    for table, column in NUMBERED.items():
        query = f"SELECT min({column}), max({column}) FROM {table}"
        first, last = database.execute(query).fetchone()
        if last is not None:
            spans[table] = first, last
    rows = sum(last - first + 1 for first, last in spans.values())
    is_worth_it = rows > MANY and len(os.sched_getaffinity(0)) > 1
    return {table: ((a + b) // 2, b) for table, (a, b) in spans.items()} if is_worth_it else {}


def _unfit(
    database: sqlite3.Connection, table: str, after: int | None = None, last: int | None = None
) -> list[Value]:
    """First values of the altered rows of a table, of the numbers over `after`, up to `last`."""
    ends = ((">", after), ("<=", last))
    words = [f"{NUMBERED[table]} {sign} ?" for sign, end in ends if end is not None]
    where = f" WHERE {' AND '.join(words)}" if words else ""
    values = [end for _, end in ends if end is not None]
    rows = database.execute(f"SELECT * FROM {table}{where}", values)
    return [row[0] for row in rows if checksum(row[:-1]) != row[-1]]


def _printed(process: "subprocess.Popen[str]") -> dict[str, list[Value]]:
    output, _ = process.communicate()
    return json.loads(output) if process.returncode == 0 else {}


def _second_process(
    database: sqlite3.Connection, later: Mapping[str, tuple[int, int]]
) -> "subprocess.Popen[str]":
    """A process that prints the altered rows of these parts."""
    path = database.execute("PRAGMA database_list").fetchone()[2]
    parts = [f"{table}:{after}:{last}" for table, (after, last) in later.items()]
    return subprocess.Popen(
        [sys.executable, "-m", "localinstruct.store.checksums", path, *parts],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def main(words: Iterable[str]) -> None:
    """Print the altered rows of parts of a store, as JSON: STORE TABLE:AFTER:LAST …"""
    from localinstruct.store.connection import connect_read_only

    path, *parts = words
    with closing(connect_read_only(Path(path))) as database:
        found = {}
        for part in parts:
            table, after, last = part.split(":")
            found[table] = _unfit(database, table, int(after), int(last))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
