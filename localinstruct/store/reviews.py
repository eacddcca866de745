"""Decisions of people on rows: kept, dropped, mended, labelled, each a committed record.

One SQLite file, `review.sqlite` in a run's folder or FILE.review.sqlite beside a file of rows; none
is made before the first decision. It stands apart from run.sqlite so that a person decides while
`generate` holds the run's lock, and so that runs of earlier releases stay as they are. A decision
is a line of a log (who, when, what was there before, what is there now) that is never changed; an
undo is one more line. The row as the teacher wrote it is kept beside, untouched. Decisions of
several windows and processes take turns; one made on an older state of a row is refused. Not
covered: network file systems; a run that is started over with --fresh, whose decisions lie beside
it from then on, unread.
"""

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from localinstruct.errors import RunConflict, StoreError
from localinstruct.records import Instance, Json, JsonObject, digest
from localinstruct.store.checksums import checksum
from localinstruct.store.folder import DECISIONS as FILE
from localinstruct.store.integrity import plain_words, read_only

SCHEMA = """
CREATE TABLE decisions(number INTEGER PRIMARY KEY, row TEXT NOT NULL, action TEXT NOT NULL,
  before TEXT NOT NULL, after TEXT NOT NULL, who TEXT NOT NULL, at REAL NOT NULL, undoes INTEGER,
  checksum TEXT NOT NULL);
CREATE TABLE states(row TEXT PRIMARY KEY, number INTEGER NOT NULL, state TEXT NOT NULL);
CREATE TABLE originals(row TEXT PRIMARY KEY, kind TEXT NOT NULL, row_text TEXT NOT NULL);
CREATE TABLE sample(place INTEGER PRIMARY KEY, row TEXT NOT NULL, stratum TEXT NOT NULL,
  share REAL NOT NULL);
CREATE INDEX by_row ON decisions(row);
"""
Kind = Literal["row", "reject"]
MENDED = ("instruction", "input", "output", "rejected", "system")
"""Fields of a row that a person may write anew."""
VERDICTS = ("keep", "drop", "edit", "insist")
"""Actions that say whether a row is to stay."""
_BETTER = ("", "first", "second", "tie")


def mended(row: Instance, edited: Mapping[str, str]) -> Instance:
    """A row with the texts that a person wrote; its lineage stays."""
    return replace(
        row,
        instruction=edited.get("instruction", row.instruction),
        input=edited.get("input", row.input),
        output=edited.get("output", row.output),
        rejected=edited.get("rejected", row.rejected),
        system=edited.get("system", row.system),
    )


@dataclass(frozen=True, slots=True)
class Review:
    """Opinion of people on one row, as it stands after all decisions."""

    verdict: Literal["", "keep", "drop"] = ""
    edited: dict[str, str] = field(default_factory=dict)
    """Field -> its new text; only fields that are otherwise than before."""
    scores: dict[str, int] = field(default_factory=dict)
    """Criterion of a rubric, or "grade" for the whole -> grade."""
    better: Literal["", "first", "second", "tie"] = ""
    """Better answer of a pair: `first` is the row's output, `second` its rejected one."""
    tags: tuple[str, ...] = ()
    despite: tuple[str, ...] = ()
    """Reasons for which the data set would leave it out, and which a person has confirmed."""

    @property
    def decided(self) -> bool:
        """True once a person has said anything of the row."""
        return self != Review()

    @property
    def shapes(self) -> bool:
        """True where the data set is another than without it."""
        return self.verdict != "" or bool(self.edited)

    @staticmethod
    def from_dict(data: JsonObject) -> "Review":
        """Rebuild what `dataclasses.asdict` made plain; ValueError for what is no review."""
        lists = {name: tuple(data.get(name, ())) for name in ("tags", "despite")}
        one = Review(**{**data, **lists})
        grades = all(isinstance(grade, int) for grade in one.scores.values())
        every = (*one.edited.values(), *one.tags, *one.despite)
        texts = all(isinstance(text, str) for text in every)
        known = one.verdict in ("", "keep", "drop") and one.better in _BETTER
        if not (grades and texts and known and set(one.edited) <= set(MENDED)):
            raise ValueError("expected a review of a row")
        return one


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A row with what people said of it: the key, what it was, and the number of the decision."""

    key: str
    kind: Kind
    original: JsonObject
    review: Review
    number: int


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the log; `undoes` is the number of the decision that it takes back."""

    number: int
    row: str
    action: str
    before: Review
    after: Review
    who: str
    at: float
    undoes: int | None = None


def place(target: Path) -> Path:
    """The file of decisions on the rows of a run's folder, or of a file."""
    return target / FILE if target.is_dir() else target.with_name(f"{target.name}.{FILE}")


def reject_key(stage: str, reason: str, text: str) -> str:
    """Key of a reject, which has no id: a hash of its content, after "r-"."""
    return f"r-{digest([stage, reason, text])[:16]}"


class Reviews:
    """The decisions on a run's or a file's rows; a file is made with the first one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db: sqlite3.Connection | None = None

    def close(self) -> None:
        """Close the file; everything decided is already on the disk."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def last(self) -> int:
        """Number of the last decision; 0 without any."""
        found = self._rows("SELECT coalesce(max(number), 0) FROM decisions")
        return int(found[0][0]) if found else 0

    def since(self, number: int) -> Iterator[Reviewed]:
        """Rows with a decision after this one, as they stand; 0 for all that were ever decided."""
        query = (
            "SELECT s.row, o.kind, o.row_text, s.state, s.number FROM states s JOIN originals o "
            "ON o.row = s.row WHERE s.number > ? ORDER BY s.number"
        )
        for key, kind, text, state, last in self._rows(query, number):
            yield Reviewed(key, kind, json.loads(text), Review.from_dict(json.loads(state)), last)

    def state(self, row: str) -> tuple[Review, int]:
        """(opinion on a row, number of its last decision); 0 without one."""
        found = self._rows("SELECT state, number FROM states WHERE row = ?", row)
        return (Review.from_dict(json.loads(found[0][0])), found[0][1]) if found else (Review(), 0)

    def original(self, row: str) -> tuple[Kind, JsonObject]:
        """(kind, the row as the teacher wrote it) of a row that was decided on."""
        kind, text = self._rows("SELECT kind, row_text FROM originals WHERE row = ?", row)[0]
        return kind, json.loads(text)

    def log(self, row: str = "") -> list[Decision]:
        """All decisions in order, or those on one row."""
        where = "WHERE row = ?" if row else "WHERE ? = ''"
        query = f"SELECT {_COLUMNS} FROM decisions {where} ORDER BY number"
        return [_decision(values) for values in self._rows(query, row)]

    def people(self) -> set[str]:
        """Everybody who has decided on a row."""
        return {who for (who,) in self._rows("SELECT DISTINCT who FROM decisions")}

    def opinions(self) -> dict[str, dict[str, str]]:
        """Person -> row -> the last verdict that this person gave it and did not take back."""
        log = self.log()
        undone = {one.undoes for one in log}
        found: dict[str, dict[str, str]] = {}
        for one in log:
            if one.action in VERDICTS and one.number not in undone:
                verdict = "drop" if one.action == "drop" else "keep"
                found.setdefault(one.who, {})[one.row] = verdict
        return found

    def decide(
        self,
        row: tuple[str, Kind, JsonObject],
        action: str,
        after: Review,
        who: str,
        seen: int | None = None,
    ) -> int:
        """Commit a decision on a row (key, kind, as the teacher wrote it); its number.

        RunConflict when the row was decided on after `seen`, the number that the person saw.
        """
        key, kind, original = row
        with self._writing() as database:
            before, number = self.state(key)
            if seen is not None and seen != number:
                raise RunConflict(
                    "This row was decided on in another window or by somebody else meanwhile.",
                    "Look at it as it is now, and decide again.",
                )
            text = json.dumps(original, ensure_ascii=False)
            database.execute("INSERT OR IGNORE INTO originals VALUES (?,?,?)", (key, kind, text))
            return self._append(database, key, action, before, after, who, None)

    def undo(self, who: str) -> Decision | None:
        """Take back the last decision of a person that still stands; None when there is none.

        RunConflict when somebody has decided on the same row after it.
        """
        query = (
            f"SELECT {_COLUMNS} FROM decisions WHERE who = ? AND action != 'undo' AND number "
            "NOT IN (SELECT undoes FROM decisions WHERE undoes IS NOT NULL) "
            "ORDER BY number DESC LIMIT 1"
        )
        with self._writing() as database:
            found = database.execute(query, (who,)).fetchone()
            if found is None:
                return None
            last = _decision(found)
            now, _ = self.state(last.row)
            if now != last.after:
                raise RunConflict(
                    "Somebody else has decided on the same row since.", "Look at it as it is now."
                )
            self._append(database, last.row, "undo", now, last.before, who, last.number)
            return last

    def add(self, decisions: Iterator[tuple[Decision, Kind, JsonObject]]) -> int:
        """Append decisions from elsewhere that are not here yet; how many were."""
        added = 0
        with self._writing() as database:
            known = set(database.execute("SELECT row, action, who, at FROM decisions"))
            for one, kind, original in decisions:
                if (one.row, one.action, one.who, one.at) in known:
                    continue
                text = json.dumps(original, ensure_ascii=False)
                values = (one.row, kind, text)
                database.execute("INSERT OR IGNORE INTO originals VALUES (?,?,?)", values)
                before, _ = self.state(one.row)
                after, at = one.after, one.at
                self._append(database, one.row, one.action, before, after, one.who, None, at)
                added += 1
        return added

    def sample(self) -> list[tuple[str, str, float]]:
        """The proposed sample in order: (row, stratum, the stratum's share of the whole)."""
        return self._rows("SELECT row, stratum, share FROM sample ORDER BY place")

    def propose(self, rows: list[tuple[str, str, float]]) -> None:
        """Store a proposed sample in place of the one before."""
        with self._writing() as database:
            database.execute("DELETE FROM sample")
            values = [(place, *row) for place, row in enumerate(rows)]
            database.executemany("INSERT INTO sample VALUES (?,?,?,?)", values)

    def _append(
        self,
        database: sqlite3.Connection,
        row: str,
        action: str,
        before: Review,
        after: Review,
        who: str,
        undoes: int | None,
        at: float | None = None,
    ) -> int:
        query = "SELECT coalesce(max(number), 0) + 1 FROM decisions"
        number = int(database.execute(query).fetchone()[0])
        states = [json.dumps(asdict(state), ensure_ascii=False) for state in (before, after)]
        at = time.time() if at is None else at
        values = (number, row, action, *states, who, at, undoes)
        database.execute(
            "INSERT INTO decisions VALUES (?,?,?,?,?,?,?,?,?)", (*values, checksum(values))
        )
        database.execute("INSERT OR REPLACE INTO states VALUES (?,?,?)", (row, number, states[1]))
        return number

    def _rows(self, query: str, *values: Json) -> list[tuple]:
        """Rows of a query; none where nobody has decided yet."""
        database = self._connected(create=False)
        if database is None:
            return []
        with plain_words(self.path):
            return database.execute(query, values).fetchall()

    def _connected(self, *, create: bool) -> sqlite3.Connection | None:
        if self._db is not None:
            return self._db
        if not create and not self.path.is_file():
            return None
        with plain_words(self.path):
            writable = create or _may_write(self.path)
            name = str(self.path) if writable else read_only(self.path)
            database = sqlite3.connect(
                name, uri=not writable, isolation_level=None, check_same_thread=False, timeout=5
            )
            database.execute("PRAGMA synchronous = FULL")
            if create:
                _make_tables(database)
            elif not _version(database):  # killed while it was made: nothing is decided there
                database.close()
                return None
            _require_whole(database, self.path)
        self._db = database
        return database

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Commit and sync what the block decides; StoreError, and no change, on a refusal."""
        database = self._connected(create=True)
        assert database is not None
        with plain_words(self.path):
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise


_COLUMNS = "number, row, action, before, after, who, at, undoes"


def _decision(values: tuple) -> Decision:
    number, row, action, before, after, *rest = values
    states = [Review.from_dict(json.loads(text)) for text in (before, after)]
    return Decision(number, row, action, states[0], states[1], *rest)


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _make_tables(database: sqlite3.Connection) -> None:
    """Make the tables where there are none, whoever else is about to."""
    database.execute("BEGIN IMMEDIATE")
    if not _version(database):
        for statement in filter(str.strip, SCHEMA.split(";")):
            database.execute(statement)
        database.execute("PRAGMA user_version = 1")
    database.execute("COMMIT")


def _require_whole(database: sqlite3.Connection, path: Path) -> None:
    """StoreError where a decision is not as it was written."""
    with plain_words(path):
        rows = database.execute("SELECT * FROM decisions")
        altered = [row[0] for row in rows if checksum(row[:-1]) != row[-1]]
    if altered:
        raise StoreError(
            f"{path}: {len(altered)} decision(s) are not as they were written, the first is "
            f"number {altered[0]}.",
            "Put back a copy of the file from before. Nothing was changed in it.",
        )


def _may_write(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
