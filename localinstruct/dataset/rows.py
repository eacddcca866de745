"""Rows and rejects of a run, wherever they came from: the teacher, or files and runs mixed in.

A row that the teacher wrote is in the store. One that `dataset.from` brought is in the data set's
files, with its source in sources.jsonl, and what the data set's stage dropped is in its
rejects.jsonl. Whoever shows, counts or exports rows asks here. Not covered: seeds trained on
(`dataset.include_seeds`), which are no rows of the run.
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from localinstruct.dataset.review_gate import ReviewGate, rules_of
from localinstruct.dataset.reviewed import apply, counts, decisions, taken_back, words
from localinstruct.records import Instance, JsonObject, Neighbour, Reject
from localinstruct.store.durable import read_json_lines
from localinstruct.store.folder import HELD_OUT, REJECTS, SOURCES, TRAIN, UNREAD_SEEDS
from localinstruct.store.run import Run

OWN = "this run"
"""Source of the rows that the teacher of this run wrote."""
NO_EPISODE = -1
"""Episode of a reject that no episode brought, as in a row's lineage."""


@dataclass(frozen=True)
class RunRows:
    """The rows of a run as they are on disk now; the data set's files are read once."""

    run: Run

    @cached_property
    def source_of(self) -> dict[str, str]:
        """Id of a row mixed in -> the file or run that it came from."""
        return {row.id: source for row, source in self.mixed_with_source}

    @cached_property
    def mixed_with_source(self) -> list[tuple[Instance, str]]:
        """Rows of the data set that were mixed in, each with its source, in the files' order."""
        folder = self.run.path / "dataset"
        if not self.sources:
            return []
        known = {
            line["id"]: str(line["source"])
            for line in read_json_lines(folder / SOURCES)
            if {"id", "source"} <= set(line)
        }
        rows = [*_rows(folder / TRAIN), *_rows(folder / HELD_OUT)]
        named = [(row, next((known[id] for id in _ids(row) if id in known), OWN)) for row in rows]
        return [(row, source) for row, source in named if source != OWN]

    @property
    def mixed(self) -> list[Instance]:
        """Rows of the data set that were mixed in."""
        return [row for row, _ in self.mixed_with_source]

    def count(self) -> int:
        """Number of all rows."""
        return self.run.count_kept() + len(self.mixed)

    def __iter__(self) -> Iterator[Instance]:
        """Kept rows in the order they were committed, then those mixed in."""
        yield from self.run.kept()
        yield from self.mixed

    def as_reviewed(self) -> Iterator[Instance]:
        """All rows as people left them: without those dropped, with those taken back last.

        What a person wrote passes the run's rules; likeness is asked by the data set's stage.
        """
        decided = decisions(self.run.path)
        rules = rules_of(self.run) if decided else None
        gate = ReviewGate(rules) if rules else None
        for row in self:
            yield from apply([row], decided, gate).rows
        yield from taken_back(decided.values(), gate).rows

    def by_people(self) -> list[Instance]:
        """Rows that people mended, as children of the teacher's, and those they took back.

        Each as the data set has it, and as the person wrote it where the two differ.
        """
        decided = decisions(self.run.path)
        rules = rules_of(self.run) if decided else None
        looked_at = [row for row in self if row.id in decided]
        rows = list[Instance]()
        for gate in (None, ReviewGate(rules) if rules else None):
            rows += (new for new in apply(looked_at, decided, gate).rows if new not in looked_at)
            rows += taken_back(decided.values(), gate).rows
        return list({row.id: row for row in rows}.values())

    def with_neighbours(self) -> Iterator[tuple[Instance, list[Neighbour]]]:
        """All rows with the rows they resemble most; a row mixed in was compared with none."""
        yield from self.run.kept_with_neighbours()
        yield from ((row, []) for row in self.mixed)

    @cached_property
    def dropped(self) -> list[Reject]:
        """Rows that the data set's stage left out, and seeds that could not be read."""
        kept = json.loads(self.run.get(UNREAD_SEEDS) or "[]")
        unread = [Reject(**one) for one in kept]
        if not self._is_written():
            return unread
        names, there = (
            ("stage", "reason", "text", "detail", "score"),
            {one.detail for one in unread},
        )
        lines = read_json_lines(self.run.path / "dataset" / REJECTS)
        return unread + [
            Reject(**{name: line[name] for name in names if name in line})
            for line in lines
            # with include_seeds the file of seeds is read again
            if {"stage", "reason", "text"} <= set(line) and line.get("detail") not in there - {""}
        ]

    def rejects(self, reason: str | None = None) -> Iterator[tuple[int, Reject]]:
        """(episode, reject) in order, all or those of one reason; the data set's come last."""
        yield from self.run.rejects(reason)
        yield from ((NO_EPISODE, one) for one in self.dropped if reason in (None, one.reason))

    def reject_counts(self) -> list[tuple[str, str, int]]:
        """(stage, reason, count), most frequent first."""
        counts = Counter({(stage, reason): n for stage, reason, n in self.run.reject_counts()})
        counts.update((one.stage, one.reason) for one in self.dropped)
        ordered = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
        return [(stage, reason, count) for (stage, reason), count in ordered]

    @cached_property
    def sources(self) -> list[JsonObject]:
        """What each source gave: {"source", "has", "asked", "taken", "dropped"}, without ours."""
        entry = self.run.stage("dataset")
        if entry is None or entry.finished is None:
            return []
        return [one for one in entry.result.get("sources") or [] if one.get("source") != OWN]

    @cached_property
    def reviewed(self) -> JsonObject:
        """Rows that people said something of, by what they said; {} for none."""
        return counts(decisions(self.run.path).values())

    @property
    def reviewed_words(self) -> str:
        """What people said of the rows, counted, in a sentence; "" for nothing."""
        return words(self.reviewed, self.count()) if self.reviewed else ""

    @property
    def asked(self) -> int:
        """Rows that were asked of files and other runs."""
        return sum(int(one.get("asked") or 0) for one in self.sources)

    def _is_written(self) -> bool:
        """Tell whether the data set's stage has finished; its files count only then."""
        entry = self.run.stage("dataset")
        return entry is not None and entry.finished is not None


def _rows(path: Path) -> Iterator[Instance]:
    """The rows of a file of the data set, as `write` wrote them; other lines are passed over."""
    for line in read_json_lines(path):
        try:
            yield Instance.from_dict(line)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _ids(row: Instance) -> tuple[str, ...]:
    """A row's id, and that of the row which was put in other words (dataset.phrasing)."""
    return (row.id, *row.lineage.parents)
