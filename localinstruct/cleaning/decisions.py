"""Decisions of a cleaning: every row that was read, as it is to be written, and why it is not.

One SQLite file beside the output. Rows are stored in the order in which they were read, in
transactions of some thousand, so that a cleaning that was killed goes on where it was; the steps
after the reading each end in one transaction. What grows with the rows lies here, on the disk.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from localinstruct.curate.contamination import answers, question
from localinstruct.errors import RunConflict
from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.store.folder import make_folder
from localinstruct.store.integrity import plain_words
from localinstruct.store.lock import only_writer

FILE = "decisions.sqlite"
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE rows(seq INTEGER PRIMARY KEY, file TEXT NOT NULL, line INTEGER NOT NULL,
  instance TEXT NOT NULL, before TEXT NOT NULL, changes TEXT NOT NULL, question BLOB NOT NULL,
  answer BLOB NOT NULL, length INTEGER NOT NULL, is_reference INTEGER NOT NULL,
  step TEXT, reason TEXT, detail TEXT, score REAL, like INTEGER);
CREATE TABLE grades(seq INTEGER PRIMARY KEY, score REAL, scores TEXT NOT NULL,
  reason TEXT NOT NULL, detail TEXT NOT NULL);
CREATE TABLE unread(seq INTEGER PRIMARY KEY, reason TEXT NOT NULL, detail TEXT NOT NULL,
  text TEXT NOT NULL);
"""
INDEXES = """
CREATE INDEX IF NOT EXISTS by_question ON rows(question, seq);
CREATE INDEX IF NOT EXISTS by_reason ON rows(step, reason);
"""
"""Made once, when all rows are there: row by row, millions of them would be one seek each."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A row that was read, and what the rules said of it."""

    file: str
    line: int
    row: Instance
    """As it would be written."""
    before: Instance | None = None
    """As it was read, where the two differ."""
    changes: tuple[str, ...] = ()
    """Names of the repairs that were made."""
    reject: Reject | None = None
    is_reference: bool = False
    """True for a row of `against`: it is compared with, and never written."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it lies in the store, with its decision; `reason` is "" for a row that stays.

    A judge's grades stand in the row's lineage.
    """

    seq: int
    file: str
    line: int
    row: Instance
    before: Instance | None
    changes: tuple[str, ...]
    step: str
    reason: str
    detail: str
    score: float | None
    like: int | None


@dataclass(frozen=True, slots=True)
class Drop:
    """A decision of a later step against row `seq`; `like` is the row that stays in its place."""

    seq: int
    step: str
    reason: str
    detail: str = ""
    score: float | None = None
    like: int | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """What a judge said of row `seq`; `score` is None where it gave no grade in form.

    `scores` are the parts that the row carries, `reason` and `detail` say why it is to go.
    """

    seq: int
    score: float | None
    scores: Mapping[str, float]
    reason: str = ""
    detail: str = ""


_COLUMNS = (
    "seq, file, line, instance, before, changes, step, reason, detail, score, like, "
    "(SELECT scores FROM grades WHERE grades.seq = rows.seq)"
)


class Decisions:
    """The open store of a cleaning."""

    def __init__(self, folder: Path, database: sqlite3.Connection) -> None:
        self.folder, self._db = folder, database

    def get(self, key: str) -> str | None:
        """A value that `put` stored."""
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(found[0]) if found else None

    def put(self, key: str, value: str) -> None:
        """Store a value under a key, on the disk."""
        with self._writing():
            self._put(key, value)

    def is_done(self, step: str) -> bool:
        """True when this step has ended."""
        return self.get(f"done {step}") is not None

    def count(self, where: str = "1") -> int:
        """Rows that were read, or those among them that meet an SQL condition."""
        found = self._db.execute(f"SELECT COUNT(*) FROM rows WHERE {where}").fetchone()
        return int(found[0])

    def begin_reading(self) -> None:
        """Forget the rows that an earlier process could not read: they are met again."""
        with self._writing():
            self._db.execute("DELETE FROM unread")

    def add(self, first: int, entries: Sequence[Entry], unread: Sequence[Reject] = ()) -> None:
        """Store rows that were read, numbered from `first`, and those that could not be."""
        with self._writing():
            self._db.executemany(
                "INSERT INTO rows VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (_values(seq, entry) for seq, entry in enumerate(entries, first)),
            )
            self._add_unread(unread)

    def end_reading(self, unread: Sequence[Reject], report: JsonObject) -> None:
        """Store the last rows that could not be read, and what the reading has met."""
        with self._writing():
            self._add_unread(unread)
            for index in filter(str.strip, INDEXES.split(";")):
                self._db.execute(index)
            self._put("facts read", json.dumps(report))
            self._put("done read", "yes")

    def end_step(self, step: str, drops: Iterable[Drop], facts: JsonObject | None = None) -> None:
        """Store the decisions of a step and that it has ended, at once."""
        with self._writing():
            self._db.executemany(
                "UPDATE rows SET step=?, reason=?, detail=?, score=?, like=? WHERE seq=?",
                ((d.step, d.reason, d.detail, d.score, d.like, d.seq) for d in drops),
            )
            self._put(f"facts {step}", json.dumps(facts or {}))
            self._put(f"done {step}", "yes")

    def add_grades(self, grades: Iterable[Graded]) -> None:
        """Store what a judge said of rows."""
        with self._writing():
            self._db.executemany(
                "INSERT INTO grades VALUES (?,?,?,?,?)",
                ((g.seq, g.score, json.dumps(g.scores), g.reason, g.detail) for g in grades),
            )

    def facts(self, step: str) -> JsonObject:
        """Facts that a step has left."""
        found: JsonObject = json.loads(self.get(f"facts {step}") or "{}")
        return found

    def rows(self, where: str = "1", order: str = "seq") -> Iterator[Stored]:
        """Rows that meet an SQL condition, in order."""
        query = f"SELECT {_COLUMNS} FROM rows WHERE {where} ORDER BY {order}"
        for found in self._db.execute(query):
            yield _stored(found)

    def row(self, seq: int) -> Stored:
        """One row by its number."""
        return next(self.rows(f"seq = {seq:d}"))

    def select(self, query: str) -> Iterator[tuple[object, ...]]:
        """Rows of an SQL query over the tables `rows`, `grades` and `unread`."""
        yield from self._db.execute(query)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with plain_words(self.folder / FILE):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def _add_unread(self, unread: Sequence[Reject]) -> None:
        self._db.executemany(
            "INSERT INTO unread(reason, detail, text) VALUES (?,?,?)",
            ((one.reason, one.detail, one.text) for one in unread),
        )

    def _put(self, key: str, value: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (key, value))


@contextmanager
def opened(folder: Path, inputs: JsonObject | None) -> Iterator[Decisions]:
    """The store in this folder, for one writer; made where there is none.

    RunConflict where it was begun with other files or settings: `inputs` is what shapes it; None
    for whoever looks at one that is there.
    """
    make_folder(folder)
    with only_writer(folder, "--output"):
        with plain_words(folder / FILE):
            database = sqlite3.connect(folder / FILE, isolation_level=None, timeout=30)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                database.executescript(f"BEGIN;{SCHEMA}PRAGMA user_version = 1;COMMIT;")
        try:
            store = Decisions(folder, database)
            begun = store.get("inputs")
            nothing_read = store.count() == 0 and not store.is_done("read")
            if inputs is None:
                pass
            elif begun is None or nothing_read:  # a first try with wrong columns binds nobody
                store.put("inputs", json.dumps(inputs))
            elif json.loads(begun) != json.loads(json.dumps(inputs)):
                raise RunConflict(
                    f"{folder}: was begun with other files or settings:\n"
                    + _differences(json.loads(begun), inputs),
                    "Start over with --fresh, or choose another --output.",
                )
            yield store
        finally:
            database.close()


def _differences(before: JsonObject, now: JsonObject) -> str:
    now = json.loads(json.dumps(now))
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return "\n".join(f"  {key}: {before.get(key)} then, {now.get(key)} now" for key in keys)


def _values(seq: int, entry: Entry) -> tuple[object, ...]:
    row, reject = entry.row, entry.reject
    decision = (reject.stage, reject.reason, reject.detail) if reject else (None, None, None)
    return (
        seq,
        entry.file,
        entry.line,
        _dumped(row),
        _dumped(entry.before) if entry.before else "",
        json.dumps(entry.changes) if entry.changes else "",
        _digest(question(row)),
        _digest(answers(row)),
        len(row.output),
        int(entry.is_reference),
        *decision,
        None,
        None,
    )


def _dumped(row: Instance) -> str:
    return json.dumps(row.to_dict(), ensure_ascii=False, separators=(",", ":"))


def _digest(value: object) -> bytes:
    text = json.dumps(value, ensure_ascii=False, default=asdict)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _stored(found: Sequence[object]) -> Stored:
    seq, file, line, row, before, changes, step, reason, detail, score, like, scores = found
    instance = Instance.from_dict(json.loads(str(row)))
    return Stored(
        int(str(seq)),
        str(file),
        int(str(line)),
        instance.with_scores(**json.loads(str(scores))) if scores else instance,
        Instance.from_dict(json.loads(str(before))) if before else None,
        tuple(json.loads(str(changes))) if changes else (),
        str(step or ""),
        str(reason or ""),
        str(detail or ""),
        None if score is None else float(str(score)),
        None if like is None else int(str(like)),
    )
