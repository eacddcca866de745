"""Index of rows and rejects for a page: filters, orders, full text (SQLite's FTS5).

Made when a person first looks, beside the run or the file (`review.index.sqlite`), or in a
temporary folder where nothing may be written; it can be deleted at any time. Rows that a running
`generate` adds come with `refresh`. What people decided is held in temporary tables, read anew when
there is more of it; a row that a person mended is found by the words of both. Not covered: lengths
of mended answers, which are those of the teacher's.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.store.reviews import Kind, Reviewed, reject_key
from localinstruct.web.review.query import NO_SCORE, Query, spaced

FILE = "review.index.sqlite"
VERSION = 1
SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items(n INTEGER PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL,
  reason TEXT NOT NULL, topic TEXT NOT NULL, source TEXT NOT NULL, score REAL NOT NULL,
  likeness REAL NOT NULL, words INTEGER NOT NULL);
CREATE TABLE texts(n INTEGER PRIMARY KEY, data TEXT NOT NULL, near TEXT NOT NULL);
CREATE TABLE parents(parent TEXT NOT NULL, child TEXT NOT NULL, PRIMARY KEY (parent, child))
  WITHOUT ROWID;
CREATE VIRTUAL TABLE found USING fts5(text, content='', tokenize="unicode61 remove_diacritics 2");
CREATE INDEX by_key ON items(key);
CREATE INDEX by_kind ON items(kind, n, key);
CREATE INDEX by_reason ON items(kind, reason, n);
CREATE INDEX by_topic ON items(kind, topic, n);
CREATE INDEX by_source ON items(kind, source, n);
CREATE INDEX by_score ON items(kind, score, n);
CREATE INDEX by_likeness ON items(kind, likeness DESC, n);
CREATE INDEX by_words ON items(kind, words DESC, n);
"""
DECIDED = """
CREATE TEMP TABLE state(key TEXT PRIMARY KEY, verdict TEXT, edited INTEGER, labelled INTEGER,
  grade REAL, left_out INTEGER) WITHOUT ROWID;
CREATE TEMP TABLE tagged(tag TEXT, key TEXT, PRIMARY KEY (tag, key)) WITHOUT ROWID;
CREATE TEMP TABLE sampled(key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE differing(key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE others(key TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE VIRTUAL TABLE temp.mended USING fts5(text, tokenize="unicode61 remove_diacritics 2");
"""
BATCH = 2000
MOST_CHOICES = 200
"""Reasons, topics and sources that a page offers."""


@dataclass(frozen=True, slots=True)
class Item:
    """A row or reject as it is indexed; `data` is all of it, `near` the rows it is like."""

    key: str
    kind: Kind
    data: JsonObject
    near: list[JsonObject]
    reason: str = ""
    topic: str = ""
    source: str = ""
    score: float | None = None
    likeness: float | None = None


def item_of_row(data: JsonObject, near: list[JsonObject] | None = None, source: str = "") -> Item:
    """A row as `Instance.to_dict` has it; `source` is the file or run that it was mixed in from."""
    lineage = data["lineage"]
    scores = lineage["scores"]
    judged = sorted((name for name in scores if not name.startswith("novelty")), key=len)
    return Item(
        data["id"],
        "row",
        data,
        near or [],
        topic=lineage["topic"],
        source=source or lineage["source"],
        score=scores[judged[0]] if judged else None,
        likeness=scores.get("novelty_max"),
    )


def item_of_reject(reject: Reject) -> Item:
    """A dropped row with its reason."""
    data = {
        "stage": reject.stage,
        "reason": reject.reason,
        "text": reject.text,
        "detail": reject.detail,
        "score": reject.score,
    }
    is_like = reject.stage in ("novelty", "mix")
    return Item(
        reject_key(reject.stage, reject.reason, reject.text),
        "reject",
        data,
        [],
        reason=reject.reason,
        score=None if is_like else reject.score,
        likeness=reject.score if is_like else None,
    )


@dataclass(frozen=True, slots=True)
class Found:
    """An item of the index with its number."""

    n: int
    key: str
    kind: Kind
    data: JsonObject
    near: list[JsonObject]
    reason: str
    topic: str
    source: str
    score: float | None
    likeness: float | None


class Index:
    """The open index; one thread."""

    def __init__(self, path: Path | None, stamp: str) -> None:
        """Open or make the index at `path` (None: in memory); one of another stamp is emptied."""
        self._path = path
        self._db = _opened(path, stamp)
        self._db.executescript(DECIDED)
        self._choices = dict[tuple[str, str], list[tuple[str, int]]]()
        self._counts = dict[str, int]()
        """Kind -> number of all its items."""
        self._version = 0

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def discard(self) -> None:
        """Close the file and delete it: an index that was not filled is of no use."""
        self.close()
        if self._path:
            self._path.unlink(missing_ok=True)

    def mark(self, name: str) -> int:
        """Number of the last row of a source that is indexed; 0 before any."""
        return int(self.mark_text(f"mark {name}") or 0)

    def mark_text(self, key: str) -> str | None:
        """A text that was noted under a key."""
        query = "SELECT value FROM meta WHERE key = ?"
        found = self._db.execute(query, (key,)).fetchone()
        return str(found[0]) if found else None

    def add(self, name: str, items: Iterable[tuple[int, Item]]) -> Iterator[int]:
        """Index numbered items of a source, in transactions; how many are in, after each."""
        done, batch = 0, list[tuple[int, Item]]()
        for numbered in items:
            batch.append(numbered)
            if len(batch) == BATCH:
                done += self._commit(name, batch)
                batch.clear()
                yield done
        if batch:
            yield done + self._commit(name, batch)

    def end(self) -> None:
        """Note that every source has been read to its end once."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES ('done', '1')")

    @property
    def ended(self) -> bool:
        """True once `end` was called."""
        return self.mark_text("done") is not None

    def look_again(self) -> None:
        """Forget what was counted if another process has added rows."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            self._forget()

    def count(self, query: Query) -> int:
        """Number of rows that a query finds."""
        condition, values = query.condition()
        if not query.asks and query.kind in self._counts:
            return self._counts[query.kind]
        sql = f"SELECT count(*) FROM items i WHERE {condition}"
        found = int(self._db.execute(sql, values).fetchone()[0])
        if not query.asks:
            self._counts[query.kind] = found
        return found

    def page(self, query: Query, first: int, limit: int) -> list[Found]:
        """The rows of a query from a place (from 0) on."""
        condition, values = query.condition()
        column, direction = query.ordered()
        chosen = (
            f"SELECT i.n FROM items i WHERE {condition} "
            f"ORDER BY i.{column} {direction}, i.n LIMIT ? OFFSET ?"
        )
        numbers = [n for (n,) in self._db.execute(chosen, [*values, limit, first])]
        rows = {one.n: one for one in self._found(numbers)}
        return [rows[n] for n in numbers]

    def step(self, query: Query, here: Found | None, *, back: bool = False) -> Found | None:
        """The row after (or before) one in a query's order, which need not be in it; the first."""
        condition, values = query.condition()
        column, direction = query.ordered()
        if here is not None:
            row = self._db.execute(f"SELECT {column} FROM items WHERE n = ?", (here.n,)).fetchone()
            more = "<" if (direction == "DESC") != back else ">"
            later = "<" if back else ">"
            condition += f" AND (i.{column} {more} ? OR (i.{column} = ? AND i.n {later} ?))"
            values += [row[0], row[0], here.n]
        turned = {"ASC": "DESC", "DESC": "ASC"}[direction] if back else direction
        order = f"i.{column} {turned}, i.n {'DESC' if back else 'ASC'}"
        sql = f"SELECT i.n FROM items i WHERE {condition} ORDER BY {order} LIMIT 1"
        found = self._db.execute(sql, values).fetchone()
        return self.at(found[0]) if found else None

    def at(self, n: int) -> Found | None:
        """The item of a number."""
        return next(iter(self._found([n])), None)

    def by_key(self, key: str) -> Found | None:
        """The first item of a key."""
        found = self._db.execute("SELECT n FROM items WHERE key = ? LIMIT 1", (key,)).fetchone()
        return self.at(found[0]) if found else None

    def children(self, key: str, limit: int) -> list[Found]:
        """Rows that were made from a row."""
        sql = (
            "SELECT n FROM items WHERE key IN (SELECT child FROM parents WHERE parent = ?) LIMIT ?"
        )
        return self._found([n for (n,) in self._db.execute(sql, (key, limit))])

    def choices(self, column: str, kind: str) -> list[tuple[str, int]]:
        """Values of a column with their counts, most frequent first."""
        sql = (
            f"SELECT {column}, count(*) FROM items WHERE kind = ? AND {column} != '' "
            f"GROUP BY {column} ORDER BY count(*) DESC, {column} LIMIT ?"
        )
        if (column, kind) not in self._choices:
            found = self._db.execute(sql, (kind, MOST_CHOICES)).fetchall()
            self._choices[column, kind] = found
        return self._choices[column, kind]

    def tags(self) -> list[tuple[str, int]]:
        """Tags that people gave, with their counts."""
        sql = "SELECT tag, count(*) FROM tagged GROUP BY tag ORDER BY count(*) DESC, tag"
        return self._db.execute(sql).fetchall()

    def every(self, sql: str, values: Sequence[str | float] = ()) -> list[tuple]:
        """Rows of a query on `items i`."""
        return self._db.execute(sql, values).fetchall()

    def decided(self, rows: Iterable[Reviewed], left_out: Callable[[Reviewed], bool]) -> None:
        """Take in what people decided since the last time; `left_out` is asked of each row."""
        for one in rows:
            review = one.review
            self._db.execute("DELETE FROM state WHERE key = ?", (one.key,))
            self._db.execute("DELETE FROM tagged WHERE key = ?", (one.key,))
            self._search_mended(one)
            if review.decided:
                labelled = bool(review.scores or review.better)
                facts = (review.verdict, bool(review.edited), labelled, review.scores.get("grade"))
                values = (one.key, *facts, left_out(one))
                self._db.execute("INSERT INTO state VALUES (?,?,?,?,?,?)", values)
            for tag in review.tags:
                self._db.execute("INSERT OR IGNORE INTO tagged VALUES (?,?)", (tag, one.key))

    def _search_mended(self, one: Reviewed) -> None:
        """Have the search find a row by the texts that a person wrote, beside the teacher's."""
        edited = one.review.edited
        numbers = self._db.execute("SELECT n FROM items WHERE key = ?", (one.key,)).fetchall()
        for (n,) in numbers:
            self._db.execute("DELETE FROM mended WHERE rowid = ?", (n,))
            if edited:
                text = spaced(_text({**one.original, **edited}))
                self._db.execute("INSERT INTO mended(rowid, text) VALUES (?,?)", (n, text))

    def know(self, table: Literal["sampled", "differing", "others"], keys: Iterable[str]) -> None:
        """Know these rows as the sample, as those people differ on, or others have decided on."""
        self._db.execute(f"DELETE FROM {table}")
        values = [(key,) for key in keys]
        self._db.executemany(f"INSERT OR IGNORE INTO {table} VALUES (?)", values)

    def _forget(self) -> None:
        self._counts.clear()
        self._choices.clear()

    def _found(self, numbers: list[int]) -> list[Found]:
        places = ", ".join("?" * len(numbers))
        sql = (
            "SELECT i.n, i.key, i.kind, t.data, t.near, i.reason, i.topic, i.source, i.score, "
            f"i.likeness FROM items i JOIN texts t ON t.n = i.n WHERE i.n IN ({places})"
        )
        return [_found(values) for values in self._db.execute(sql, numbers)]

    def _commit(self, name: str, batch: list[tuple[int, Item]]) -> int:
        database = self._db
        self._forget()
        database.execute("BEGIN IMMEDIATE")
        try:
            mark = self.mark(name)  # another process may have been quicker
            batch = [numbered for numbered in batch if numbered[0] > mark]
            first = database.execute("SELECT coalesce(max(n), 0) + 1 FROM items").fetchone()[0]
            numbered = list(enumerate((item for _, item in batch), first))
            database.executemany(
                "INSERT INTO items VALUES (?,?,?,?,?,?,?,?,?)", [_values(n, i) for n, i in numbered]
            )
            database.executemany(
                "INSERT INTO texts VALUES (?,?,?)",
                [(n, _json(item.data), _json(item.near)) for n, item in numbered],
            )
            database.executemany(
                "INSERT INTO found(rowid, text) VALUES (?,?)",
                [(n, spaced(_text(item.data))) for n, item in numbered],
            )
            database.executemany(
                "INSERT OR IGNORE INTO parents VALUES (?,?)",
                [(parent, item.key) for _, item in numbered for parent in _parents(item)],
            )
            if batch:
                entry = (f"mark {name}", str(batch[-1][0]))
                database.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", entry)
            database.execute("COMMIT")
        except BaseException:
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        return len(batch)


def _opened(path: Path | None, stamp: str) -> sqlite3.Connection:
    """A connection to an index of this stamp, made anew where it is another or no index."""
    name = str(path) if path else ""  # "": a temporary file of SQLite's own, gone when closed
    for attempt in range(2):
        database = sqlite3.connect(name, isolation_level=None, check_same_thread=False, timeout=60)
        try:
            database.execute("PRAGMA synchronous = OFF")  # it can be made again
            database.execute("PRAGMA cache_size = -32000")
            if not database.execute("PRAGMA user_version").fetchone()[0]:
                text = f"BEGIN IMMEDIATE;{SCHEMA}PRAGMA user_version = {VERSION};COMMIT;"
                database.executescript(text)
                database.execute("INSERT INTO meta VALUES ('stamp', ?)", (stamp,))
            found = database.execute("SELECT value FROM meta WHERE key = 'stamp'").fetchone()
            if found and found[0] == stamp and _is_whole(database):
                return database
        except sqlite3.DatabaseError:
            if attempt:
                raise
        database.close()
        if path:
            path.unlink(missing_ok=True)
    raise sqlite3.DatabaseError(f"{path}: cannot be made")


def _is_whole(database: sqlite3.Connection) -> bool:
    """False where making it was interrupted."""
    done = "SELECT EXISTS(SELECT 1 FROM meta WHERE key = 'done')"
    begun = "SELECT EXISTS(SELECT 1 FROM items)"
    return bool(database.execute(f"SELECT ({done}) OR NOT ({begun})").fetchone()[0])


def _values(n: int, item: Item) -> tuple[object, ...]:
    score = NO_SCORE if item.score is None else item.score
    likeness = -1.0 if item.likeness is None else item.likeness
    words = len(str(item.data.get("output", item.data.get("text", ""))).split())
    facts = (item.reason, item.topic, item.source)
    return (n, item.key, item.kind, *facts, score, likeness, words)


def _found(values: tuple) -> Found:
    n, key, kind, data, near, reason, topic, source, score, likeness = values
    return Found(
        n,
        key,
        kind,
        json.loads(data),
        json.loads(near),
        reason,
        topic,
        source,
        None if score == NO_SCORE else score,
        None if likeness < 0 else likeness,
    )


def _parents(item: Item) -> list[str]:
    return item.data["lineage"]["parents"] if item.kind == "row" else []


def _text(data: JsonObject) -> str:
    names = ("instruction", "input", "output", "rejected", "system", "text", "detail")
    turns = [turn["content"] for turn in data.get("history", ())]
    return "\n".join(str(data[name]) for name in names if data.get(name)) + "\n".join(turns)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def instance_of(found: Found) -> Instance:
    """The row of an item."""
    return Instance.from_dict(found.data)
