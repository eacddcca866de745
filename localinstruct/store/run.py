"""The run directory runs/NAME/: the store of completion log, kept rows, rejects and results.

One file, run.sqlite, is the truth (WAL, synchronous=FULL); everything else in the directory can be
made again from it. "Kept" means committed here before it is counted on the screen. One writer at a
time holds the lock (flock, so the kernel frees it when the owner dies); readers never wait. An
episode is committed in one transaction, in order, so after a kill the store holds a whole number of
episodes and the completion log holds every completion that had arrived.

    run.sqlite     completion log, kept, rejects, episodes, stages, meta
    run.lock       pid of the writer
    review.sqlite  people's decisions on the rows (store/reviews.py)
    recipe.yaml    the resolved recipe, for people
    logs/          what vLLM said
    dataset/       train.jsonl, held_out.jsonl, rejects.jsonl
    adapter/       the LoRA adapter
    report.html, report.vectors (embeddings for the next report)

Where the directory cannot be written it can still be read. Not covered: network file systems (flock
and WAL need a local disk); and reading, where nothing may be written, a run that another machine
begins to write just then.
"""

import json
import os
import sqlite3
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct.errors import RunConflict, UsageError
from localinstruct.records import (
    Completion,
    Instance,
    Json,
    JsonObject,
    Kept,
    Message,
    Neighbour,
    Reject,
    StageResult,
)
from localinstruct.store.checksums import Value, checksum
from localinstruct.store.connection import SCHEMA, connect, connect_read_only
from localinstruct.store.folder import make_folder
from localinstruct.store.integrity import damage, damaged, plain_words
from localinstruct.store.lock import only_writer

if TYPE_CHECKING:
    import numpy as np

LogEntry = tuple[int, int, int, JsonObject, str, Sequence[Completion]]
"""Entry of the completion log: episode, call, index, prompt, its digest, its completions."""


class Run:
    """An open run directory. Use `open_run` to write and `read_run` to look."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._db = connection

    def close(self) -> None:
        """Close the store; everything committed is already on disk."""
        self._db.close()

    # -- meta

    def get(self, key: str) -> str | None:
        """A stored text ("recipe", "version", …), or None."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(self, key: str, value: str) -> None:
        """Store a text under `key`, replacing an earlier one."""
        with self._transaction():
            self._insert("meta", key, value)

    # -- completion log

    def recall(self, episode: int, call: int, index: int, digest: str) -> list[Completion] | None:
        """The completions in the log for this place, or None when they were never asked for.

        A log that answers another prompt than `digest` means the method or its prompts changed:
        RunConflict.
        """
        place = (episode, call, index)
        row = self._db.execute(
            "SELECT digest, completions FROM tape WHERE episode = ? AND call = ? AND idx = ?", place
        ).fetchone()
        if row is None:
            return None
        if row[0] != digest:
            raise RunConflict(
                f"{self.path}: the completion log at episode {episode}, call {call}, prompt "
                f"{index} answers another prompt; the method, its prompts or the seeds have "
                "changed since.",
                "Use another --name, or start over with --fresh.",
            )
        return [Completion(**data) for data in json.loads(row[1])]

    def record(
        self,
        episode: int,
        call: int,
        index: int,
        prompt: JsonObject,
        digest: str,
        answers: Sequence[Completion],
    ) -> None:
        """Put completions in the completion log, durably, before anyone uses them."""
        self.record_all([(episode, call, index, prompt, digest, answers)])

    def record_all(self, entries: Sequence[LogEntry]) -> None:
        """Put several prompts' completions in the completion log, in one transaction."""
        with self._transaction():
            for episode, call, index, prompt, digest, answers in entries:
                texts = _json(prompt), _json([asdict(answer) for answer in answers])
                tokens = sum(answer.tokens for answer in answers)
                self._insert("tape", episode, call, index, digest, *texts, tokens, time.time())

    def completion_log(self) -> Iterator[tuple[int, int, int, JsonObject, list[Completion]]]:
        """Everything asked and answered: (episode, call, index, prompt, completions)."""
        query = (
            "SELECT episode, call, idx, prompt, completions FROM tape ORDER BY episode, call, idx"
        )
        for episode, call, index, prompt, completions in self._db.execute(query):
            answers = [Completion(**answer) for answer in json.loads(completions)]
            yield episode, call, index, json.loads(prompt), answers

    def completion_usage(self) -> tuple[int, list[tuple[float, int]]]:
        """The number of prompts in the log, and (arrival time, output tokens) of each, in order."""
        rows = self._db.execute("SELECT arrived, tokens FROM tape ORDER BY arrived").fetchall()
        return len(rows), rows

    # -- episodes

    def commit_episode(
        self, episode: int, kept: Sequence[Kept], rejects: Sequence[Reject], tokens: int
    ) -> None:
        """Commit one episode whole (kept rows, rejects, its own entry), in one transaction."""
        with self._transaction():
            for seq, row in enumerate(kept, self._next("kept")):
                text = _json(row.instance.to_dict())
                similar = _json([asdict(neighbour) for neighbour in row.most_similar])
                vector = row.vector.astype("<f4").tobytes()
                self._insert("kept", seq, row.instance.id, episode, text, similar, vector)
            for seq, reject in enumerate(rejects, self._next("rejects")):
                fields = (reject.stage, reject.reason, reject.text, reject.detail, reject.score)
                self._insert("rejects", seq, episode, *fields)
            self._insert("episodes", episode, len(kept), len(rejects), tokens, time.time())

    def _next(self, table: str) -> int:
        return int(self._db.execute(f"SELECT coalesce(max(seq), 0) + 1 FROM {table}").fetchone()[0])

    def _insert(self, table: str, *values: Value) -> None:
        """Write one row with its checksum; a row of meta and stages replaces the one before it."""
        verb = "INSERT OR REPLACE" if table in ("meta", "stages") else "INSERT"
        places = ", ".join("?" * (len(values) + 1))
        self._db.execute(f"{verb} INTO {table} VALUES ({places})", (*values, checksum(values)))

    def episodes(self) -> list[tuple[int, int, int, int, float]]:
        """(episode, kept, rejected, output tokens, unix time) of every commit, in order."""
        query = "SELECT episode, kept, rejected, tokens, committed FROM episodes ORDER BY episode"
        return self._db.execute(query).fetchall()

    def count_kept(self) -> int:
        """The number of kept rows."""
        return int(self._db.execute("SELECT count(*) FROM kept").fetchone()[0])

    def is_blank(self) -> bool:
        """True while nothing was asked or kept, so that the run can still become any other."""
        return not self._db.execute(
            "SELECT EXISTS(SELECT 1 FROM tape) OR EXISTS(SELECT 1 FROM episodes)"
        ).fetchone()[0]

    def kept(self) -> Iterator[Instance]:
        """Kept instances in the order they were committed."""
        for (text,) in self._db.execute("SELECT instance FROM kept ORDER BY seq"):
            yield Instance.from_dict(json.loads(text))

    def kept_row(self, place: int) -> Instance:
        """The kept row at this place of their order, from 0."""
        query = "SELECT instance FROM kept WHERE seq = ?"  # rows are numbered from 1, without gaps
        return Instance.from_dict(json.loads(self._db.execute(query, (place + 1,)).fetchone()[0]))

    def kept_ids(self) -> list[str]:
        """Ids of the kept rows in the order they were committed."""
        return [id for (id,) in self._db.execute("SELECT id FROM kept ORDER BY seq")]

    def kept_with_neighbours(self) -> Iterator[tuple[Instance, list[Neighbour]]]:
        """Kept instances with the rows they resemble most, nearest first."""
        query = "SELECT instance, most_similar FROM kept ORDER BY seq"
        for instance, similar in self._db.execute(query):
            neighbours = [Neighbour(**neighbour) for neighbour in json.loads(similar)]
            yield Instance.from_dict(json.loads(instance)), neighbours

    def kept_after(self, seq: int) -> Iterator[tuple[int, str, str]]:
        """(number, instance, most similar rows) of kept rows after a number, as stored JSON."""
        query = "SELECT seq, instance, most_similar FROM kept WHERE seq > ? ORDER BY seq"
        return self._db.execute(query, (seq,))

    def rejects_after(self, seq: int) -> Iterator[tuple[int, Reject]]:
        """(number, reject) after a number, in order."""
        query = "SELECT seq, stage, reason, text, detail, score FROM rejects WHERE seq > ?"
        for number, *fields in self._db.execute(f"{query} ORDER BY seq", (seq,)):
            yield number, Reject(*fields)

    def vectors(self, places: Container[int] | None = None) -> "np.ndarray":
        """Embeddings of the kept rows in their order, (n, d) float32; (0, 0) without any.

        All of them, or those at some places (from 0).
        """
        import numpy as np

        blocks, start = [], 0
        for block in self.vector_blocks():  # one at a time: a few rows of a million stay few
            wanted = range(start, start + len(block)) if places is None else places
            blocks.append(block[[n for n in range(len(block)) if start + n in wanted]])
            start += len(block)
        return np.concatenate(blocks) if blocks else np.zeros((0, 0), dtype=np.float32)

    def vector_blocks(self, rows: int = 8192) -> "Iterator[np.ndarray]":
        """Embeddings of the kept rows in their order, (up to `rows`, d) float32 at a time."""
        import numpy as np

        found = self._db.execute("SELECT vector FROM kept ORDER BY seq")
        while blobs := [blob for (blob,) in found.fetchmany(rows)]:
            yield np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), -1)

    def compared_blocks(
        self, rows: int = 8192
    ) -> "Iterator[tuple[list[str], list[Instance], np.ndarray]]":
        """What novelty compares of the kept rows, in their order, up to `rows` of them at a time.

        Their ids, instances that have nothing but earlier turns, instruction and input, and their
        (n, d) float32 embeddings. SQLite reads the JSON, a fifth of the time of `kept`; a row with
        escaped characters, which it may read otherwise, is left to Python.
        """
        import numpy as np

        found = self._db.execute(
            r"""SELECT id, vector, json_extract(instance, '$.instruction'),
                       json_extract(instance, '$.input'), json_extract(instance, '$.history'),
                       CASE WHEN instr(instance, '\u') THEN instance END FROM kept ORDER BY seq"""
        )
        while block := found.fetchmany(rows):
            vectors = np.frombuffer(b"".join([row[1] for row in block]), dtype="<f4")
            instances = [_compared(*row[2:]) for row in block]
            yield [row[0] for row in block], instances, vectors.reshape(len(block), -1)

    def rejects(self, reason: str | None = None) -> Iterator[tuple[int, Reject]]:
        """(episode, reject) in order, all or those of one reason."""
        query = "SELECT episode, stage, reason, text, detail, score FROM rejects"
        where, values = (" WHERE reason = ?", (reason,)) if reason else ("", ())
        for episode, *fields in self._db.execute(f"{query}{where} ORDER BY seq", values):
            yield episode, Reject(*fields)

    def reject_counts(self) -> list[tuple[str, str, int]]:
        """(stage, reason, count), most frequent first."""
        query = (
            "SELECT stage, reason, count(*) FROM rejects GROUP BY stage, reason ORDER BY "
            "count(*) DESC, stage, reason"
        )
        return self._db.execute(query).fetchall()

    def select(self, query: str, values: Sequence[Value] = ()) -> list[tuple[Any, ...]]:
        """Rows of a query, for who follows what is added (`tail`)."""
        return self._db.execute(query, values).fetchall()

    # -- stages

    def start_stage(self, name: str, inputs: str) -> None:
        """Note that a stage begins; `inputs` is the digest of all that shapes its result.

        A stage that goes on with the same inputs keeps its first start time.
        """
        with self._transaction():
            row = self._db.execute(
                "SELECT started FROM stages WHERE name = ? AND inputs = ?", (name, inputs)
            ).fetchone()
            started = row[0] if row else time.time()
            self._insert("stages", name, inputs, started, None, "{}")

    def finish_stage(self, name: str, result: StageResult) -> None:
        """Store a stage's result; from now on it is skipped while its inputs stay the same."""
        entry = self.stage(name)
        if entry is None:
            raise RunConflict(f"{self.path}: {name} was never started.")
        with self._transaction():
            self._insert("stages", name, entry.inputs, entry.started, time.time(), _json(result))

    def forget_stage(self, name: str) -> None:
        """Make a stage unfinished again."""
        with self._transaction():
            self._db.execute("DELETE FROM stages WHERE name = ?", (name,))

    def restore_stage(self, entry: "StageEntry") -> None:
        """Put an entry back as it was."""
        with self._transaction():
            result = _json(entry.result)
            self._insert("stages", entry.name, entry.inputs, entry.started, entry.finished, result)

    def stage(self, name: str) -> "StageEntry | None":
        """The entry of a stage, or None when it was never started."""
        query = "SELECT name, inputs, started, finished, result FROM stages WHERE name = ?"
        row = self._db.execute(query, (name,)).fetchone()
        return StageEntry(row[0], row[1], row[2], row[3], json.loads(row[4])) if row else None

    def require_sound(self) -> None:
        """Read the whole store once; StoreError, with the damage, when a row has changed."""
        problems = damage(self._db, SCHEMA)
        if problems:
            raise damaged(self.path / "run.sqlite", problems)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Commit and sync what the block wrote; StoreError, and no change, if the disk refuses."""
        with plain_words(self.path / "run.sqlite"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:  # some refusals roll back by themselves
                    self._db.execute("ROLLBACK")
                raise


def _compared(instruction: str, input: str, history: str, whole: str | None) -> Instance:
    if whole is not None:
        return Instance.from_dict(json.loads(whole))
    turns = () if history == "[]" else tuple(Message(**turn) for turn in json.loads(history))
    return Instance(instruction, input, history=turns)


@dataclass(frozen=True, slots=True)
class StageEntry:
    """A stage of a run: digest of its inputs, unix times in seconds, its result once finished."""

    name: str
    inputs: str
    started: float
    finished: float | None
    result: StageResult


@contextmanager
def open_run(path: Path) -> Iterator[Run]:
    """Open a run for writing, made if missing; RunInUse, with its pid, when another process has it.

    StoreError when the disk refuses or the store is damaged; a stage started by `run` relies on its
    parent's check.
    """
    with plain_words(path):
        make_folder(path)
    with only_writer(path) as ours:
        run = Run(path, connect(path / "run.sqlite", create=True))
        try:
            if ours:
                run.require_sound()
            yield run
        finally:
            run.close()


@contextmanager
def read_run(path: Path) -> Iterator[Run]:
    """Open an existing run to look at it, also while another process writes to it.

    StoreError when it is damaged. Nothing is written where the folder may not be written (a read-
    only disk, another user's run).
    """
    if not (path / "run.sqlite").is_file():
        raise UsageError(f"{path}: not a run (no run.sqlite in it).", runs_beside(path))
    store = path / "run.sqlite"
    writable = os.access(path, os.W_OK)  # then SQLite keeps its index of the log beside the store
    run = Run(path, connect(store, create=False) if writable else connect_read_only(store))
    try:
        run.require_sound()
        yield run
    finally:
        run.close()


def runs_beside(path: Path) -> str:
    """The hint for a place where no run is: those beside it, or how to make one."""
    names = sorted(p.parent.name for p in path.parent.glob("*/run.sqlite"))
    return (
        f"Runs in {path.parent}: {', '.join(names)}."
        if names
        else "Make one with: localinstruct run RECIPE"
    )


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
