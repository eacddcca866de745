"""The steps of a cleaning: read and examine, tasks, repeated questions, near-duplicates.

Each looks at the rows that the steps before it left, and stores a reason for every row it drops.
Rules are asked in as many processes as there are cores. A step that has ended is not repeated; the
reading goes on where a kill ended it.
"""

import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from localinstruct.cleaning import repeated
from localinstruct.cleaning.blocks import LIKE, SCORE, Blocks, Decided
from localinstruct.cleaning.decisions import Decisions, Drop, Entry
from localinstruct.cleaning.repeated import REPEATED
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.workers import NEAR, SCRATCH, Alone, Workers, encoded
from localinstruct.curate.contamination import Tasks
from localinstruct.curate.embeddings import (
    BF16_MOVES,
    Encoder,
    ExactCosines,
    LocalEncoder,
    SettledCosines,
)
from localinstruct.curate.filters import Filters, examine, for_files
from localinstruct.curate.neighbours import COLUMNS, EXACT_UP_TO, Borderline, kept_neighbours
from localinstruct.curate.sight import not_compared
from localinstruct.curate.static import StaticEncoder, proposed
from localinstruct.formats import Reader
from localinstruct.formats.read import files_of
from localinstruct.formats.tasks import read_tasks
from localinstruct.interrupt import reset_signals
from localinstruct.machine import cpu_count
from localinstruct.progress import Progress
from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.store.durable import atomic_write
from localinstruct.supervisor import die_with_parent

if TYPE_CHECKING:
    import numpy as np

CHUNK = 500
"""Rows that a process examines at once."""
COMMIT = 8
"""Chunks that are stored in one transaction."""
INLINE = 2000
"""Rows up to which starting processes takes longer than they save."""
ENCODED = 2048
"""Texts that are encoded between two notes of how far it is."""
VECTORS, HEADS = "vectors.f32", "heads.npy"
"""Vectors of the rows that are compared, and the numbers of these rows, in the same order."""
ROUNDED = "vectors in bf16"
"""Key of the store: some vectors were made in bfloat16, so pairs near the threshold are settled."""
DISK = 2.5
"""Bytes of the store of decisions for each of the files: 2.46 for 15,146 short instructions."""
RULES, TASKS, ALIKE = "rules", "tasks", "alike"
STEPS = ("read", TASKS, REPEATED, ALIKE)
TO_STAY = "reason IS NULL AND NOT is_reference"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that are cleaned, or compared with."""

    path: Path
    rows: Callable[[], Iterable[tuple[str, int, tuple[str, ...], list[Instance]]]]
    """Streams (file, line, repairs that reading has made, instances)."""
    reader: Reader | None = None
    is_reference: bool = False
    bytes: int = 0
    """Size of its files; 0 where the rows come from somewhere else."""
    digest: str = ""
    """Of its rows, where they come from somewhere else."""


def sources(paths: Sequence[Path], settings: Clean, most_rows: int | None) -> list[Source]:
    """The files of `against` first, so that what is cleaned is compared with them."""
    made = []
    for path in settings.against:
        reader = Reader(path)
        made.append(Source(path, reader.numbered, reader, True, _size(path)))
    for path in paths:
        paste = "the same command with --columns {columns}"
        reader = Reader(path, settings.reading, most_rows=most_rows, paste=paste)
        made.append(Source(path, reader.numbered, reader, False, _size(path)))
    return made


def _size(path: Path) -> int:
    return sum(file.stat().st_size for file in files_of(path)[0])


def read(store: Decisions, given: Sequence[Source], settings: Clean, progress: Progress) -> None:
    """Read every source, and ask the rules about each row; what is stored already is passed by."""
    if store.is_done("read"):
        return
    stored = store.count()
    if not stored:
        _say_disk(store, DISK * sum(source.bytes for source in given), "decisions", progress)
    if stored:
        progress.say(f"going on after {stored:,} rows that were read before")
    entries, done = _entries(given, settings), stored
    readers = [source.reader for source in given if source.reader]
    store.begin_reading()
    for _ in _chunks(islice(entries, stored), CHUNK):
        store.add(done, (), _drained(readers))
    with _examiners(entries) as (executor, rest):
        work = partial(_examined, for_files(settings.filters))
        meter = _Meter(given, progress)
        for results in _in_order(executor, work, _chunks(rest, CHUNK)):
            store.add(done, results, _drained(readers))
            done += len(results)
            meter.show(done, results)
        if done > stored:
            progress.update("reading and examining", done, done)
    counts = [Counter[str](), Counter[str](), Counter[str]()]
    for reader in readers:
        report = reader.report
        for count, part in zip(counts, (report.repairs, report.ignored, report.notes), strict=True):
            count.update(part)
    store.end_reading(
        _drained(readers),
        {
            "rows": sum(reader.report.rows for reader in readers),
            "repaired": dict(counts[0]),
            "ignored_keys": dict(counts[1]),
            "holds": dict(counts[2]),
            "left_out": [name for reader in readers for name in reader.report.left_out],
        },
    )


def _say_disk(store: Decisions, size: float, what: str, progress: Progress) -> None:
    """Say what a cleaning of many rows will put on the disk, and what is free there."""
    if size > 2**30:
        free = shutil.disk_usage(store.folder).free
        progress.say(
            f"{what}: about {size / 2**30:,.1f} GiB on the disk of {store.folder}, "
            f"{free / 2**30:,.1f} GiB are free"
        )


def _drained(readers: Sequence[Reader]) -> list[Reject]:
    """Rows that could not be read since the last call, so that they lie on the disk, not here."""
    unread = [reject for reader in readers for reject in reader.report.rejects]
    for reader in readers:
        reader.report.rejects.clear()
    return unread


class _Meter:
    """How far the reading is: rows of all rows, as many as the size of the files lets expect."""

    def __init__(self, given: Sequence[Source], progress: Progress) -> None:
        self._bytes = sum(source.bytes for source in given)
        self._progress, self._seen, self._rows = progress, 1, 1

    def show(self, done: int, rows: Sequence[Entry]) -> None:
        """Add rows that were examined."""
        texts = ((one.row.instruction, one.row.input, one.row.output) for one in rows)
        self._seen += sum(len(text.encode()) + 15 for each in texts for text in each)
        self._rows += len(rows)
        likely = int(self._bytes / (self._seen / self._rows))
        self._progress.update("reading and examining", done, max(likely, done))


def _entries(given: Sequence[Source], settings: Clean) -> Iterator[Entry]:
    for source in given:
        for file, line, changes, rows in source.rows():
            for row in rows:
                yield Entry(file, line, row, None, changes, None, source.is_reference)


@contextmanager
def _examiners(entries: Iterator[Entry]) -> Iterator[tuple[Executor | None, Iterator[Entry]]]:
    """Processes that examine rows, where there are enough rows for them; and the rows."""
    head = list(islice(entries, INLINE))
    if len(head) < INLINE or cpu_count() < 2:
        yield None, iter(head)
        return
    with ProcessPoolExecutor(cpu_count(), get_context("spawn"), _prepare) as executor:
        yield executor, chain(head, entries)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Have processes that `submit` starts hear no Ctrl-C while they import: we end them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare() -> None:
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    reset_signals()


def _examined(filters: Filters, entries: Sequence[Entry]) -> list[Entry]:
    return [_examine(entry, filters) for entry in entries]


def _examine(entry: Entry, filters: Filters) -> Entry:
    if entry.is_reference:
        return entry
    verdict = examine(entry.row, filters)
    secrets = [f"secrets ({filters.on_secrets}): {kind}" for kind in verdict.secrets]
    changes = (*entry.changes, *verdict.repairs, *secrets)
    reject = verdict.reject and Reject(RULES, verdict.reject.reason, "", verdict.reject.detail)
    before = entry.row if verdict.row != entry.row else None
    return Entry(entry.file, entry.line, verdict.row, before, changes, reject)


def _chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while chunk := list(islice(items, size)):
        yield chunk


def _in_order(
    executor: Executor | None,
    work: Callable[[list[Entry]], list[Entry]],
    chunks: Iterator[list[Entry]],
) -> Iterator[list[Entry]]:
    """Results of the chunks in order, COMMIT chunks together, with few of them in memory."""
    if executor is None:
        yield from map(work, chunks)
        return
    waiting = list[Future[list[Entry]]]()
    for group in _chunks(chunks, COMMIT):
        with _no_interrupt():
            waiting += [executor.submit(work, chunk) for chunk in group]
        if len(waiting) >= 2 * COMMIT:
            yield [entry for future in waiting[:COMMIT] for entry in future.result()]
            waiting = waiting[COMMIT:]
    if waiting:
        yield [entry for future in waiting for entry in future.result()]


def find_tasks(store: Decisions, settings: Clean, progress: Progress) -> None:
    """Drop rows that ask what an evaluation task asks, or hold most of one."""
    if store.is_done(TASKS):
        return
    names = {}
    for path in settings.tasks:
        for task in read_tasks(path):
            names[f"{path.name}: {task.id}"] = task.instance
    tasks, drops, total = Tasks(names), list[Drop](), store.count(TO_STAY)
    for done, one in enumerate(store.rows(TO_STAY) if names else (), 1):
        if name := tasks.same(one.row):
            drops.append(Drop(one.seq, TASKS, "an evaluation task", name, 1.0))
        elif part := tasks.within(one.row):
            drops.append(Drop(one.seq, TASKS, "most of an evaluation task", part[0], part[1]))
        if done % 1000 == 0:
            progress.update("comparing with the tasks", done, total)
    store.end_step(TASKS, drops, {"tasks": len(names)})


def find_alike(
    store: Decisions,
    settings: Clean,
    encoder: Path,
    progress: Progress,
    workers: Workers | None = None,
) -> None:
    """Drop rows whose question is like that of a row that stays, each with that row.

    `workers` encode and compare: by default this process.
    """
    import numpy as np

    if store.is_done(ALIKE) or settings.similar is None:
        return
    workers = workers or Alone()
    heads = repeated.heads(store, settings)
    if not len(heads):
        store.end_step(ALIKE, ())
        return
    texts, at = _Texts(store, heads), settings.similar
    progress.update("embedding", 0, len(heads), "loading the encoder")
    given = partial(workers.encoder, LocalEncoder, encoder)
    fast = StaticEncoder(encoder, texts, progress) if settings.static else given()
    vectors = _vectors(store, texts, fast, progress)
    unseen = sum(_zeros(vectors[row : row + COLUMNS]) for row in range(0, len(heads), COLUMNS))
    if unseen:
        progress.say(not_compared(unseen, "rows", "--similar"))
    exact: ExactCosines | SettledCosines
    if isinstance(fast, StaticEncoder):
        exact = SettledCosines(given, texts, at)
        border: Borderline | None = proposed(vectors, at, exact)
    else:
        exact = ExactCosines(lambda: given(exact=True), texts)
        rounded = store.get(ROUNDED) is not None
        border = Borderline(at - BF16_MOVES, at + BF16_MOVES, exact) if rounded else None
    found = kept_neighbours(
        vectors,
        at,
        border,
        lambda done: progress.update("comparing", done, len(heads)),
        EXACT_UP_TO,
        work=workers.cells(store),
        known=Decided(store, len(heads)),
    )
    for name in (SCRATCH, NEAR, LIKE, SCORE):
        (store.folder / name).unlink(missing_ok=True)
    facts: JsonObject = {
        "compared": len(heads),
        "encoded_twice": exact.encoded,
        "unseen": unseen,
    }
    if not settings.static:  # another encoder's cosines would make other figures
        with atomic_write(store.folder / HEADS, "heads") as file:
            np.save(file, heads)
    store.end_step(ALIKE, _alike(store, heads, found.like, found.score), facts)


def _zeros(vectors: "np.ndarray") -> int:
    """Rows of zeros: texts that the encoder cannot see."""
    return int((~vectors.any(axis=1)).sum())


class _Texts(Sequence[str]):
    """Texts by which rows are compared, read from the store as they are needed."""

    def __init__(self, store: Decisions, heads: "np.ndarray") -> None:
        self._store, self._heads = store, heads

    def __len__(self) -> int:
        return len(self._heads)

    def __getitem__(self, place: int) -> str:  # type: ignore[override]
        return text_of(self._store.row(int(self._heads[place])).row)


def text_of(row: Instance) -> str:
    """All that a row asks: system, earlier turns, instruction and input."""
    turns = [turn.content for turn in row.history]
    return "\n".join(filter(None, [row.system, *turns, row.instruction, row.input]))


def _vectors(
    store: Decisions, texts: Sequence[str], encoder: Encoder, progress: Progress
) -> "np.ndarray":
    """(n, d) float32 unit rows, on the disk, where an earlier process may have begun them."""
    import numpy as np

    shape = (len(texts), encoder.encode([texts[0]]).shape[1])
    say = partial(_say_disk, store, 8 * shape[0] * shape[1], "vectors", progress)
    blocks = Blocks(store, VECTORS, shape, np.float32, ENCODED, say)
    missing = blocks.missing()
    pieces = ([texts[n] for n in range(part.start, part.stop)] for part in missing)
    for part, rows in zip(missing, encoded(encoder, pieces), strict=True):
        if not getattr(encoder, "is_exact", True):
            store.put(ROUNDED, "yes")
        blocks.put(part, rows)
        progress.update("embedding", part.stop, len(texts))
    return blocks.array


def _alike(
    store: Decisions, heads: "np.ndarray", like: "np.ndarray", score: "np.ndarray"
) -> Iterator[Drop]:
    import numpy as np

    for place in np.flatnonzero(like >= 0):
        other = int(heads[int(like[place])])
        cosine = round(float(score[place]), 4)
        question = f"(SELECT question FROM rows WHERE seq = {heads[place]:d})"
        query = f"SELECT seq FROM rows WHERE question = {question} AND {TO_STAY}"
        for (seq,) in list(store.select(query)):
            yield Drop(int(str(seq)), ALIKE, "too similar", "", cosine, other)
