"""The scheduler: many episodes of a method in flight, committed strictly in order.

Episode k draws its random numbers from (run seed, k) and sees the pool as it was after episode k -
window, so neither depends on which completion came first. Every completion is in the completion log
before anyone uses it; after a kill, logged completions are replayed and only the missing ones are
asked again: with the same log the kept rows are the same.

    play(k)     prompts ─▶ completion log or teacher ─▶ rows ─▶ filters ─▶ embeddings
                many at once, in any order
    commit(k)   novelty ─▶ one transaction
                one at a time, in order of k

Two numbers say how much goes on at once. At the server are at most `in_flight` requests, those of
the earliest episodes first. Ahead of the commit are as many episodes as it takes to keep that many
requests there, however long the one at the head takes: up to the window where the method looks at
kept rows, else as many as their rows fit into HELD_BYTES; and not many more than the target still
needs, which is only a matter of speed.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import count, islice
from random import Random
from typing import TYPE_CHECKING, cast, overload

from localinstruct.curate.embeddings import Encoder
from localinstruct.curate.filters import Filters, examine
from localinstruct.curate.novelty import Gate, Novelty, text_of
from localinstruct.generation.forecast import Forecast
from localinstruct.generation.log_writer import LogWriter
from localinstruct.generation.slots import Slots
from localinstruct.generation.stop_rule import StopRule
from localinstruct.methods import MethodSection, Then, play
from localinstruct.recipe.generate import Generate
from localinstruct.records import Completion, Instance, Kept, PoolView, Prompt, Reject
from localinstruct.store.kept_rows import KeptRows
from localinstruct.store.run import Run
from localinstruct.teacher import Sampling, Teacher
from localinstruct.topics.coverage import (
    Coverage,
    episode_view,
    is_covered,
    within_quota,
    within_source,
)

if TYPE_CHECKING:
    import numpy as np

MOST_AHEAD = 64
"""Episodes ahead of the commit for each request in flight, where no window sets the limit."""
VECTOR_BYTES, ENTRY_BYTES = 4_096, 1_000
"""Memory of an embedding, 1,024 dimensions of float32, and of the objects around a text."""
HEAD_START = 0.2
"""Seconds for the first prompts to leave, before the libraries of an encoder are loaded: meanwhile
this process does little else."""
HELD_BYTES = 256 * 2**20
"""Memory for rows that were played and wait for the commit of an earlier episode."""


@dataclass(frozen=True, slots=True)
class Job:
    """Settings, seeds and digests of one generation."""

    method: MethodSection
    then: Then
    generate: Generate
    filters: Filters
    novelty: Novelty
    coverage: Coverage
    sampling: Sampling
    seed: int
    in_flight: int
    """Requests at the server at the same time, at most."""
    window: int
    """Episode k sees the rows kept up to episode k - window; 0 where it sees none."""
    seeds: Sequence[Instance]
    teacher_digest: str
    digests: Mapping[str, str] = field(default_factory=dict)
    """Role -> digest of the model that plays it."""


@dataclass(frozen=True, slots=True)
class Played:
    """Results of an episode before its commit: rows that passed the filters, and rejects."""

    passed: list[Instance]
    vectors: "np.ndarray | None"
    """Embeddings of the rows that passed, (m, d) float32; None when no row passed."""
    rejects: list[Reject]
    tokens: int
    """Output tokens."""
    topic: str = ""
    bytes: int = 0
    """Memory that it takes until its commit, about."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Counts of one committed episode, and the state of the run after it."""

    kept: int
    rejected: int
    tokens: int
    total: int
    """Kept rows of the run."""
    episodes: int = 0
    """Committed episodes of the run."""
    in_flight: int = 0
    """Requests at the server."""
    waiting: int = 0
    """Episodes that were played and wait for an earlier one."""
    held: int = 0
    """Memory that their rows take, bytes."""


@dataclass(frozen=True, slots=True)
class Prefix(Sequence[Instance]):
    """The first `length` rows of a list that only grows: the pool as it was, without a copy.

    Each episode in flight has one.
    """

    rows: Sequence[Instance]
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Instance]: ...
    def __getitem__(self, index: int | slice) -> Instance | Sequence[Instance]:
        """Give a row, or the rows of a slice, as a tuple of these rows would."""
        places = range(self.length)[index]
        if isinstance(places, int):
            return self.rows[places]
        return [self.rows[place] for place in places]

    def __iter__(self) -> Iterator[Instance]:
        return islice(self.rows, self.length)


@dataclass
class Scheduler:
    """One generate run: `await work()` until the target is reached."""

    job: Job
    run: Run
    teacher: Teacher
    encoder: Encoder
    gate: Gate | Callable[[], Gate]
    """The gate, or what makes it in the embedding thread while the teacher is asked.

    Nothing is committed before it is there.
    """
    on_commit: Callable[[Commit], None]
    kept: list[Instance] | KeptRows = field(default_factory=list)
    _kept_after: list[int] = field(default_factory=list)
    """Kept rows after each committed episode."""
    _playing: dict[int, asyncio.Task[Played]] = field(default_factory=dict)
    """Episodes ahead of the commit."""
    _open: int = 0
    """Requests that wait for a place at the server or are there."""
    _held: int = 0
    """Bytes of the episodes that were played and wait for their embeddings or their commit."""
    _failed: bool = False
    """True when an episode raised; its error comes at its turn, and nothing more is launched."""
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _embedding: Executor = field(default_factory=lambda: ThreadPoolExecutor(1, "embed"))

    def __post_init__(self) -> None:
        self._slots = Slots(self.job.in_flight)
        self._log = LogWriter(self.run)
        self._shape = self.job.method.shape
        self._forecast = Forecast(self._shape.rows)
        self._rule = StopRule(self.job.generate, self.job.method)

    def restore(self) -> None:
        """Take up what an earlier process committed."""
        for _, kept, rejected, tokens, _ in self.run.episodes():
            self._kept_after.append((self._kept_after[-1] if self._kept_after else 0) + kept)
            self._rule.note(kept, kept + rejected, tokens)
            self._forecast.played(kept)
            self._forecast.committed(kept, kept)
        self.kept = list(self.run.kept()) if self._looks_at_all else KeptRows(self.run)

    @property
    def _looks_at_all(self) -> bool:
        """True where every kept row is looked at again and again, not a few drawn ones."""
        coverage = self.job.coverage
        is_steered = bool(coverage.topics) or coverage.demonstrations == "sparse"
        return is_steered or getattr(self.job.method.options, "per_source", None) is not None

    async def work(self) -> None:
        """Play and commit episodes until `generate.target` rows are kept, or the method ends.

        NothingNew when the stop rule says so.
        """
        if self.is_done:
            return
        opening = asyncio.create_task(self._opened_gate())
        opening.add_done_callback(self._woken)
        try:
            while not self.is_done:
                self._rule.check(self.run, len(self.kept))
                played = await self._turn(opening)
                began = time.monotonic()
                self._commit(len(self._kept_after), played, opening.result())
                # awaiting a finished task does not yield: Ctrl-C would wait for the whole backlog;
                # and while a backlog is committed, replies have half of the time
                spent = time.monotonic() - began
                await asyncio.sleep(spent if self._slots.in_use else 0)
        finally:
            tasks = [opening, *self._playing.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._embedding.shutdown(wait=False, cancel_futures=True)

    @property
    def is_done(self) -> bool:
        """True when the target is reached, or no more rows can come."""
        return len(self.kept) >= self.job.generate.target or self.exhausted

    @property
    def exhausted(self) -> bool:
        """True when the method has no episode left, or every topic has its quota."""
        if is_covered(self.job.coverage, self.kept):
            return True
        return self._last is not None and len(self._kept_after) >= self._last

    @cached_property
    def _last(self) -> int | None:
        return self.job.method.episodes(self.job.seeds)

    async def _opened_gate(self) -> Gate:
        """The gate, with what an earlier process kept."""
        gate = self.gate
        if not isinstance(gate, Gate):
            await asyncio.sleep(HEAD_START)
            gate = await asyncio.get_running_loop().run_in_executor(self._embedding, gate)
        for ids, instances, vectors in self.run.compared_blocks():
            gate.remember(instances, vectors, ids)
            await asyncio.sleep(0)  # requests go on meanwhile
        return gate

    async def _turn(self, opening: "asyncio.Task[Gate]") -> Played:
        """The played episode whose turn it is, once it and the gate are ready.

        Meanwhile episodes are launched: at every reply there may be room for one.
        """
        committed = len(self._kept_after)
        while True:
            self._launch(committed)
            if opening.done() and (opening.exception() or self._playing[committed].done()):
                await opening
                return await self._playing.pop(committed)
            self._wake.clear()
            await self._wake.wait()

    def _woken(self, _: object = None) -> None:
        self._wake.set()

    def _launch(self, committed: int) -> None:
        """Start the next episodes while the server and the memory have room for them."""
        number = committed + len(self._playing)
        last = committed + self._ahead(committed)
        while number < last and not self._failed and (number == committed or self._has_room()):
            task = asyncio.create_task(self._play(number))
            task.add_done_callback(partial(self._has_played, number))
            self._playing[number] = task
            self._open += self._shape.prompts
            number += 1

    def _has_room(self) -> bool:
        return self._open < self.job.in_flight and self._held < HELD_BYTES

    def _ahead(self, committed: int) -> int:
        """The number of episodes to have ahead of the commit.

        It is the window, or fewer where the rest of the target is likely to need fewer, or where
        fewer are left.
        """
        likely = self._forecast.ahead(self.job.generate.target - len(self.kept))
        most = self.job.window or MOST_AHEAD * self.job.in_flight
        return max(1, min(most, likely, most if self._last is None else self._last - committed))

    def _has_played(self, number: int, task: "asyncio.Task[Played]") -> None:
        if task.cancelled():
            return
        self._failed = self._failed or task.exception() is not None
        self._wake.set()

    async def _play(self, number: int) -> Played:
        """Play one episode to its end, then filter and embed what it returned."""
        counted = self._shape.prompts
        try:
            rng = Random(f"{self.job.seed}:{number}")
            view = self._view(number)
            episode = play(self.job.method, self.job.then, view, rng)
            tokens, answers = 0, cast("list[list[Completion]]", None)  # None starts a generator
            for call in count():
                try:
                    prompts = episode.send(answers)
                except StopIteration as end:
                    results = end.value
                    break
                self._open += len(prompts) - counted
                counted = 0
                self._wake.set()
                asked = (self._ask(number, call, i, prompt) for i, prompt in enumerate(prompts))
                answers = await asyncio.gather(*asked)
                await asyncio.sleep(0)  # a method that asks nothing leaves the others a turn
                tokens += sum(answer.tokens for completions in answers for answer in completions)
        finally:
            self._open -= counted
        return await self._curate(view, results, tokens)

    def _view(self, number: int) -> PoolView:
        """The pool as episode `number` may see it."""
        last = number - self.job.window
        sees = self.job.window and last >= 0
        kept = Prefix(self.kept, self._kept_after[last]) if sees else ()
        view = episode_view(self.job.coverage, self.job.seeds, kept, number, self.job.seed)
        return replace(view, faithful=self.job.filters.faithful)

    async def _ask(self, episode: int, call: int, index: int, prompt: Prompt) -> list[Completion]:
        """The completions of one prompt, from the completion log where they are in it."""
        try:
            digest = prompt.digest
            logged = self.run.recall(episode, call, index, digest)
            if logged is not None:
                return logged
            async with self._slots.place(episode):
                answers = await self.teacher.complete(prompt)
            entry = (episode, call, index, prompt.to_dict(), digest, answers)
            await self._log.write(entry)
            return answers
        finally:
            self._open -= 1
            self._wake.set()

    async def _curate(
        self, view: PoolView, results: list[Instance | Reject], tokens: int
    ) -> Played:
        rejects = [result for result in results if isinstance(result, Reject)]
        passed = []
        for row in results:
            if isinstance(row, Instance):
                verdict = examine(row, self.job.filters)
                if verdict.reject:
                    rejects.append(verdict.reject)
                else:
                    passed.append(self._with_origin(verdict.row, view))
        texts, vectors = [text_of(row, self.job.novelty) for row in passed], None
        size = _memory(passed, rejects)
        self._held += size
        self._forecast.played(len(passed))
        if texts:
            loop = asyncio.get_running_loop()
            vectors = await loop.run_in_executor(self._embedding, self.encoder.encode, texts)
        return Played(passed, vectors, rejects, tokens, view.topic, size)

    def _with_origin(self, row: Instance, view: PoolView) -> Instance:
        """The row with its episode, topic and models in its lineage."""
        lineage, digests = row.lineage, self.job.digests
        origin = replace(
            lineage,
            episode=view.number,
            teacher=self.job.teacher_digest,
            topic=view.topic,
            answered_by=digests.get(lineage.answered_by, lineage.answered_by),
            rejected_by=digests.get(lineage.rejected_by, lineage.rejected_by),
        )
        return replace(row, lineage=origin)

    def _commit(self, number: int, played: Played, gate: Gate) -> None:
        per_source = getattr(self.job.method.options, "per_source", None)
        rows, over = within_quota(self.job.coverage, played.topic, played.passed, self.kept)
        rows, more = within_source(per_source, rows, self.kept)
        verdicts: list[Kept | Reject] = []
        if played.vectors is not None and rows:
            verdicts = gate.admit(rows, played.vectors[: len(rows)])
        kept = [verdict for verdict in verdicts if isinstance(verdict, Kept)]
        similar = [verdict for verdict in verdicts if isinstance(verdict, Reject)]
        rejects = played.rejects + over + more + similar
        self.run.commit_episode(number, kept, rejects, played.tokens)
        self.kept.extend(row.instance for row in kept)
        self._kept_after.append(len(self.kept))
        self._rule.note(len(kept), len(kept) + len(rejects), played.tokens)
        self._forecast.committed(len(played.passed), len(kept))
        self._held -= played.bytes
        self.on_commit(
            Commit(
                len(kept),
                len(rejects),
                played.tokens,
                total=len(self.kept),
                episodes=len(self._kept_after),
                in_flight=self._slots.in_use,
                waiting=self._forecast.waiting_episodes,
                held=self._held,
            )
        )


def _memory(rows: Sequence[Instance], rejects: Sequence[Reject]) -> int:
    """Bytes of rows with their vectors, and of rejects, about."""
    texts = [f"{row.system}{row.instruction}{row.input}{row.output}" for row in rows]
    texts += [reject.text for reject in rejects]
    return VECTOR_BYTES * len(rows) + sum(ENTRY_BYTES + 2 * len(text) for text in texts)
