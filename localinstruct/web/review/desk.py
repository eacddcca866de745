"""Desk of a review: the rows of a run or a file, indexed, with people's decisions on them."""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from localinstruct.curate.filters import Filters
from localinstruct.dataset.review_gate import (
    EMBEDDED,
    confirmed,
    is_of_gate,
    key_of,
    objections,
    rules_of,
)
from localinstruct.dataset.reviewed import METHOD, is_written, written
from localinstruct.dataset.rows import RunRows
from localinstruct.errors import DataError, LocalInstructError
from localinstruct.formats import Reader, Reading
from localinstruct.generation.inputs import seeds_of
from localinstruct.judge.people import agreements
from localinstruct.judge.rubric import Rubric
from localinstruct.pipeline import recipe_of
from localinstruct.progress import Progress
from localinstruct.records import Instance, Reject, digest
from localinstruct.store import reviews as store
from localinstruct.store.durable import sha256
from localinstruct.store.reviews import Review, Reviewed, Reviews
from localinstruct.store.run import Run
from localinstruct.web.review import index as indexes
from localinstruct.web.review.blind import view
from localinstruct.web.review.index import Found, Index, Item, item_of_reject, item_of_row
from localinstruct.web.review.likeness import Comparing, Looked

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
    """Key -> row with a decision, as this person may see it (`blind`)."""
    hidden: set[str] = field(default_factory=set)
    """Rows on which others have decided, which this person may not see yet."""
    needs_rows: bool = False
    """A file without rows is refused; a run may get some."""
    sees_all: bool = False
    """Decisions of others are shown before one's own."""
    rules: Filters | None = None
    """Rules that rows of people must pass; a file has none."""
    left_out: dict[str, Reject] = field(default_factory=dict)
    """Key -> why the data set left out what a person wrote, when it was last made."""
    comparing: Comparing | None = None
    """Compares what people wrote with the other rows, while a page is served."""
    late: dict[str, str] = field(default_factory=dict)
    """Key -> reason that comparing gave when its page was gone."""
    notes: dict[str, str] = field(default_factory=dict)
    """Words for the next page, under keys that its address has."""
    seed: int = 0
    _broken: dict[str, tuple[int, list[Reject]]] = field(default_factory=dict)
    """Key -> (number of the decision, what its row breaks)."""
    _last: int = 0
    _looked: float = 0.0
    _number: Iterator[int] = field(default_factory=count)
    _seeds: dict[str, Instance] | None = None

    def fill(self, progress: Progress) -> None:
        """Index everything that is not yet, with progress; then take in the decisions.

        A first index that comes to no end is deleted. DataError for a file without rows.
        """
        try:
            for name, items, total in self.sources(self.index):
                begun = self.index.mark(name)
                for done in self.index.add(name, items):
                    progress.update(f"indexing {name}", begun + done, max(total(), begun + done))
            if self.needs_rows and not self.index.every("SELECT 1 FROM items LIMIT 1"):
                raise DataError(f"{self.name}: expected rows to look at, found none.")
        except BaseException:
            if not self.index.ended:
                self.index.discard()
            raise
        self.index.end()
        self._take_in()
        self._know_sample()

    def refresh(self) -> None:
        """Take in rows and decisions of other processes, at most once a second."""
        if time.monotonic() - self._looked > REFRESH_EVERY:
            for name, items, _ in self.sources(self.index):
                for _ in self.index.add(name, items):
                    pass
            self.index.look_again()
            self._looked = time.monotonic()
        self._take_in()
        self._take_news()
        self._know_sample()

    def compared(self, key: str) -> Looked | None:
        """What comparing gives of a row that a person wrote, begun where it was not."""
        one = self.decided.get(key)
        if one is None or self.comparing is None:
            return None
        return self.comparing.begin(one, self.hidden, self._last)

    def _take_news(self) -> None:
        """Take in what comparing rows has given meanwhile."""
        for key in self.comparing.news() if self.comparing else ():
            self._broken.pop(key, None)
            one = self.decided.get(key)
            broken = [reject.reason for reject in self.breaks(one)] if one else []
            if one and broken:
                self.index.decided([one], lambda _: True)
                if broken[-1] in EMBEDDED:
                    self.late[key] = broken[-1]

    def _know_sample(self) -> None:
        self.index.know("sampled", (key for key, *_ in self.reviews.sample()))

    def show_all(self) -> None:
        """Show decisions of others before this person's own."""
        self.sees_all, self._last = True, 0
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

    def seen(self, key: str) -> tuple[Review, bool]:
        """(what is said of a row as this person may see it, True where others' is hidden)."""
        if self.sees_all:
            return self.reviews.state(key)[0], False
        return view(self.reviews.log(key), self.who)

    def breaks(self, one: Reviewed) -> list[Reject]:
        """What stands against a row that a person wrote, for the data set leaves it out then."""
        known = self._broken.get(one.key)
        if known is None or known[0] != one.number:
            known = (one.number, self._objections(one))
            self._broken[one.key] = known
        return known[1]

    def _objections(self, one: Reviewed) -> list[Reject]:
        if self.rules is None or not is_written(one):
            return []
        row = written(one)
        found = objections(row, self.rules, confirmed(one))[1]
        alike = self._alike(one, row)
        if alike is None or alike.reason in (*confirmed(one), *(o.reason for o in found)):
            return found
        return [*found, alike]

    def _alike(self, one: Reviewed, row: Instance) -> Reject | None:
        """The reject of a row that is like another, as the page or the data set has found it."""
        looked = self.comparing.looked(one) if self.comparing else None
        if looked and looked.done.is_set() and not looked.problem:
            return looked.reject
        left_out = self.left_out.get(one.key)
        if left_out and left_out.reason in EMBEDDED and left_out.text == row.instruction:
            return left_out
        return None

    def _take_in(self) -> None:
        last = self.reviews.last()
        if last == self._last and self._last:
            return
        people = self.reviews.people()
        is_alone = self.sees_all or people <= {self.who}
        new = list[Reviewed]()
        for one in self.reviews.since(self._last):
            review, is_hidden = one.review, False
            if not is_alone:
                review, is_hidden = view(self.reviews.log(one.key), self.who)
            (self.hidden.add if is_hidden else self.hidden.discard)(one.key)
            self.decided.pop(one.key, None)
            new.append(replace(one, review=review))
            if review.decided:
                self.decided[one.key] = new[-1]
        self.index.decided(new, lambda one: bool(self.breaks(one)))
        self._last = last
        if len(people) > 1:
            every = agreements(self.reviews.opinions())
            self.index.know("differing", (row for two in every for row in two.differ))
        self.index.know("others", self.hidden)


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
    desk = Desk(run.path.name, takes, index, reviews, rubric, who, sources, read_seeds)
    desk.rules = rules_of(run)
    desk.left_out = {key_of(one): one for one in RunRows(run).dropped if is_of_gate(one)}
    return desk


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
    reviews = Reviews(store.place(path))
    return Desk(path.name, takes, index, reviews, rubric, who, sources, needs_rows=True)


def _place(path: Path) -> Path | None:
    """The index's place; None where nothing may be written."""
    return path if os.access(path.parent, os.W_OK) else None


def _lines(path: Path) -> int:
    """Line ends of a file: about its rows, where each has a line."""
    with path.open("rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(2**20), b""))
