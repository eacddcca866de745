"""What a store has gained since the last look, for who watches a run beside its writer.

A look costs what came since the one before, not what is there: commits, completions and rejects are
asked for behind the last that was seen. A completion belongs to an episode, and nothing more comes
for a committed one, so only episodes without a commit are looked through again.
"""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.errors import UsageError
from localinstruct.records import Instance
from localinstruct.store.connection import connect_read_only
from localinstruct.store.integrity import plain_words
from localinstruct.store.run import Run, runs_beside

Place = tuple[int, int, int]
"""Episode, call and index of a prompt in the completion log."""


@dataclass(frozen=True, slots=True)
class Commit:
    """A committed episode: unix time, rows kept, and rejects by (stage, reason)."""

    at: float
    kept: int
    reasons: Counter[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Gained:
    """Commits and rows that came since the last look, in order."""

    commits: list[Commit]
    completions: list[tuple[float, int]]
    """(unix time, output tokens) of every prompt."""
    topics: Counter[str]
    """Kept rows by topic."""


@dataclass
class Tail:
    """The place up to which a store was read."""

    episode: int = -1
    """The last committed episode."""
    kept: int = 0
    reject: int = 0
    """Numbers (seq) of the last kept row and the last reject."""
    open: set[Place] = field(default_factory=set)
    """Prompts of episodes without a commit whose completions were seen."""

    def read(self, run: Run, *, topics: bool = False) -> Gained:
        """Everything new; with `topics` the kept rows are parsed for theirs."""
        before = self.episode
        commits = self._commits(run)
        return Gained(commits, self._completions(run, before), self._topics(run, topics))

    def _commits(self, run: Run) -> list[Commit]:
        episodes = run.select(
            "SELECT episode, kept, committed FROM episodes WHERE episode > ? ORDER BY episode",
            (self.episode,),
        )
        reasons: dict[int, Counter[tuple[str, str]]] = {}
        for seq, episode, stage, reason in run.select(
            "SELECT seq, episode, stage, reason FROM rejects WHERE seq > ? ORDER BY seq",
            (self.reject,),
        ):
            reasons.setdefault(episode, Counter())[stage, reason] += 1
            self.reject = seq
        self.episode = episodes[-1][0] if episodes else self.episode
        return [Commit(at, kept, reasons.get(number, Counter())) for number, kept, at in episodes]

    def _completions(self, run: Run, before: int) -> list[tuple[float, int]]:
        new, still_open = [], set[Place]()
        for *place, tokens, arrived in run.select(
            "SELECT episode, call, idx, tokens, arrived FROM tape WHERE episode > ?", (before,)
        ):
            where: Place = (place[0], place[1], place[2])
            if where not in self.open:
                new.append((arrived, tokens))
            if where[0] > self.episode:
                still_open.add(where)
        self.open = still_open
        return sorted(new)

    def _topics(self, run: Run, wanted: bool) -> Counter[str]:
        topics = Counter[str]()
        if wanted:
            query = "SELECT seq, json_extract(instance, '$.lineage.topic') FROM kept WHERE seq > ?"
            for seq, topic in run.select(query, (self.kept,)):
                self.kept = max(self.kept, seq)
                topics[topic or ""] += 1
        return topics


@contextmanager
def glance_at(path: Path) -> Iterator[Run]:
    """Open an existing run for one look beside its writer: nothing is written or checked.

    All of the look sees one moment of the store. UsageError for what is no run.
    """
    if not (path / "run.sqlite").is_file():
        raise UsageError(f"{path}: not a run (no run.sqlite in it).", runs_beside(path))
    connection = connect_read_only(path / "run.sqlite")
    try:
        with plain_words(path / "run.sqlite"):
            connection.execute("BEGIN")
            yield Run(path, connection)
    finally:
        connection.close()


def last_rows(run: Run, count: int) -> list[Instance]:
    """The newest kept rows, the newest first."""
    query = "SELECT instance FROM kept ORDER BY seq DESC LIMIT ?"
    return [Instance.from_dict(json.loads(text)) for (text,) in run.select(query, (count,))]
