"""Desk of a review: the rows of a run or a file, indexed, with people's decisions on them."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from localinstruct.dataset.reviewed import METHOD
from localinstruct.dataset.rows import RunRows
from localinstruct.errors import LocalInstructError
from localinstruct.formats import Reader, Reading
from localinstruct.generation.inputs import seeds_of
from localinstruct.judge.people import agreements
from localinstruct.judge.rubric import Rubric
from localinstruct.pipeline import recipe_of
from localinstruct.progress import Progress
from localinstruct.records import Instance, digest
from localinstruct.store import reviews as store
from localinstruct.store.durable import sha256
from localinstruct.store.reviews import Reviewed, Reviews
from localinstruct.store.run import Run
from localinstruct.web.review import index as indexes
from localinstruct.web.review.index import Found, Index, Item, item_of_reject, item_of_row

REFRESH_EVERY = 1.0
"""Seconds between two looks for new rows of a run that generates."""
Source = tuple[str, Iterable[tuple[int, Item]], Callable[[], int]]
"""Name of a source, its numbered items after what is indexed, and how many it has in all."""


@dataclass
class Desk:
    """Everything that the pages of one review work on."""

    name: str
    takes: str
    """The command that takes what was decided."""
    index: Index
    reviews: Reviews
    rubric: Rubric
    who: str
    sources: Callable[[Index], Iterator[Source]]
    read_seeds: Callable[[], list[Instance]] = list
    decided: dict[str, Reviewed] = field(default_factory=dict)
    """Key -> row with a decision."""
    notes: dict[str, str] = field(default_factory=dict)
    """Words for the next page, under keys that its address has."""
    seed: int = 0
    _last: int = 0
    _looked: float = 0.0
    _number: Iterator[int] = field(default_factory=count)
    _seeds: dict[str, Instance] | None = None

    def fill(self, progress: Progress) -> None:
        """Index everything that is not yet, with progress; then take in the decisions."""
        for name, items, total in self.sources(self.index):
            begun = self.index.mark(name)
            for done in self.index.add(name, items):
                progress.update(f"indexing {name}", begun + done, max(total(), begun + done))
        self.index.end()
        self._take_in()

    def refresh(self) -> None:
        """Take in rows and decisions of other processes, at most once a second."""
        if time.monotonic() - self._looked > REFRESH_EVERY:
            for name, items, _ in self.sources(self.index):
                for _ in self.index.add(name, items):
                    pass
            self.index.look_again()
            self._looked = time.monotonic()
        self._take_in()

    def say(self, words: str) -> str:
        """Keep words for the next page; the key that its address must have."""
        key = str(next(self._number))
        self.notes[key] = words
        while len(self.notes) > 20:
            del self.notes[next(iter(self.notes))]
        return key

    def relative(self, key: str) -> Found | Instance | None:
        """A row of this key, or a seed; None for neither."""
        return self.index.by_key(key) or self.seeds.get(key)

    @property
    def seeds(self) -> dict[str, Instance]:
        """Id -> seed or passage of the run; read when one is first asked for."""
        if self._seeds is None:
            try:
                self._seeds = {seed.id: seed for seed in self.read_seeds()}
            except (LocalInstructError, OSError):  # a run from elsewhere comes without them
                self._seeds = {}
        return self._seeds

    def _take_in(self) -> None:
        last = self.reviews.last()
        if last != self._last:
            new = list(self.reviews.since(self._last))
            self.index.decided(new)
            for one in new:
                self.decided.pop(one.key, None)
                if one.review.decided:
                    self.decided[one.key] = one
            self._last = last
            every = agreements(self.reviews.opinions())
            self.index.know("differing", (row for two in every for row in two.differ))
        self.index.know("sampled", (key for key, *_ in self.reviews.sample()))


def desk_of_run(run: Run, who: str, rubric: Rubric) -> Desk:
    """The desk of a run's rows and rejects, those that its data set brought and left out too."""
    entry = run.stage("dataset")
    first = run.episodes()[:1]
    stamp = digest([indexes.VERSION, first, entry.finished if entry else None])

    def sources(index: Index) -> Iterator[Source]:
        kept = (
            (seq, item_of_row(json.loads(row), json.loads(near)))
            for seq, row, near in run.kept_after(index.mark("rows"))
        )
        yield "rows", kept, run.count_kept
        rejects = ((n, item_of_reject(one)) for n, one in run.rejects_after(index.mark("rejects")))
        yield "rejects", rejects, lambda: sum(count for *_, count in run.reject_counts())
        if not index.ended:
            rows = RunRows(run)
            mixed = (item_of_row(r.to_dict(), source=s) for r, s in rows.mixed_with_source)
            yield "rows of files", enumerate(mixed, 1), lambda: len(rows.mixed)
            dropped = [one for one in rows.dropped if one.stage != METHOD]
            items = enumerate(map(item_of_reject, dropped), 1)
            yield "rejects of the data set", items, lambda: len(dropped)

    index = Index(_place(run.path / indexes.FILE), stamp)
    reviews = Reviews(store.place(run.path))

    def read_seeds() -> list[Instance]:
        return seeds_of(*recipe_of(run))

    takes = f"localinstruct dataset {run.path}"
    return Desk(run.path.name, takes, index, reviews, rubric, who, sources, read_seeds)


def desk_of_file(path: Path, reading: Reading, who: str, rubric: Rubric, paste: str) -> Desk:
    """The desk of a file's rows; those that cannot be read are its rejects.

    `paste` is what to type for a file whose columns cannot be told.
    """
    stamp = digest([indexes.VERSION, sha256(path), reading.model_dump(mode="json")])

    def sources(index: Index) -> Iterator[Source]:
        if index.ended:
            return
        reader = Reader(path, reading, paste=paste)
        lines = _lines(path)
        rows = (item_of_row(row.to_dict()) for row in reader)
        yield "rows", enumerate(rows, 1), lambda: lines
        rejects = map(item_of_reject, reader.report.rejects)
        yield "rejects", enumerate(rejects, 1), lambda: len(reader.report.rejects)

    index = Index(_place(path.with_name(f"{path.name}.{indexes.FILE}")), stamp)
    takes = f"localinstruct review {path} --rows OUTPUT"
    return Desk(path.name, takes, index, Reviews(store.place(path)), rubric, who, sources)


def _place(path: Path) -> Path | None:
    """The index's place; None where nothing may be written."""
    return path if os.access(path.parent, os.W_OK) else None


def _lines(path: Path) -> int:
    """Line ends of a file: about its rows, where each has a line."""
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(2**20), b""))
