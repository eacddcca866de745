"""The scheduler: many episodes of a method in flight, committed strictly in order.

Episode k draws its random numbers from (run seed, k) and sees the pool as it was after episode k -
in_flight, so neither depends on which completion came first. Every completion is in the completion
log before anyone uses it; after a kill, logged completions are replayed and only the missing ones
are asked again: with the same log the kept rows are the same.

    play(k)     prompts ─▶ completion log or teacher ─▶ rows ─▶ filters ─▶ embeddings
                many at once, in any order
    commit(k)   novelty ─▶ one transaction
                one at a time, in order of k

How many episodes are launched ahead is only a matter of speed: enough to keep the engine's batch
full, not many more than the target still needs.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import count, islice
from random import Random
from typing import TYPE_CHECKING, cast, overload

from localinstruct.curate.embeddings import Encoder
from localinstruct.curate.filters import Filters, first_reason
from localinstruct.curate.novelty import Gate, Novelty, text_of
from localinstruct.errors import NothingNew
from localinstruct.methods import MethodSection, Then, play
from localinstruct.recipe.generate import Generate
from localinstruct.records import Completion, Instance, Kept, PoolView, Prompt, Reject
from localinstruct.store.run import Run
from localinstruct.teacher import Teacher
from localinstruct.topics.coverage import (
    Coverage,
    episode_view,
    is_covered,
    within_quota,
    within_source,
)

if TYPE_CHECKING:
    import numpy as np

FIRST_GUESS = 14
"""Kept rows an episode is assumed to bring before any has been seen."""


@dataclass(frozen=True, slots=True)
class Job:
    """Settings, seeds and digests of one generation."""

    method: MethodSection
    then: Then
    generate: Generate
    filters: Filters
    novelty: Novelty
    coverage: Coverage
    seed: int
    in_flight: int
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


@dataclass(frozen=True, slots=True)
class Commit:
    """Counts of one committed episode, and `total`, the kept rows of the run after it."""

    kept: int
    rejected: int
    tokens: int
    total: int


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
    gate: Gate
    on_commit: Callable[[Commit], None]
    kept: list[Instance] = field(default_factory=list)
    _kept_after: list[int] = field(default_factory=list)
    """Kept rows after each committed episode."""
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    """(kept, candidates) of the last episodes, about stop_window candidates in all."""
    _embedding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "embed"))

    def restore(self) -> None:
        """Take up what an earlier process committed."""
        for _, kept, rejected, tokens, _ in self.run.episodes():
            self._kept_after.append((self._kept_after[-1] if self._kept_after else 0) + kept)
            self._note_yield(kept, kept + rejected, tokens)
        self.kept = list(self.run.kept())
        self.gate.remember(self.kept, self.run.vectors())

    async def work(self) -> None:
        """Play and commit episodes until `generate.target` rows are kept, or the method ends.

        NothingNew when the stop rule says so.
        """
        playing: dict[int, asyncio.Task[Played]] = {}
        try:
            while len(self.kept) < self.job.generate.target and not self.exhausted:
                self._check_yield()
                committed = len(self._kept_after)
                for episode in range(committed, committed + self._ahead()):
                    if episode not in playing:
                        playing[episode] = asyncio.create_task(self._play(episode))
                self._commit(committed, await playing.pop(committed))
                # awaiting a finished task does not yield: Ctrl-C would wait for the whole backlog
                await asyncio.sleep(0)
        finally:
            for task in playing.values():
                task.cancel()
            await asyncio.gather(*playing.values(), return_exceptions=True)
            self._embedding.shutdown(wait=False, cancel_futures=True)

    @property
    def exhausted(self) -> bool:
        """True when the method has no episode left, or every topic has its quota."""
        if is_covered(self.job.coverage, self.kept):
            return True
        return self._last is not None and len(self._kept_after) >= self._last

    @property
    def _last(self) -> int | None:
        return self.job.method.episodes(self.job.seeds)

    def _ahead(self) -> int:
        """The number of episodes to have in flight.

        That is `in_flight`, or fewer where the rest of the target is likely to need fewer, or where
        fewer are left.
        """
        committed = len(self._kept_after)
        per_episode = len(self.kept) / committed if committed >= 4 else FIRST_GUESS
        missing = self.job.generate.target - len(self.kept)
        likely = math.ceil(1.2 * missing / max(per_episode, 0.05)) + 1
        left = likely if self._last is None else self._last - committed
        return min(self.job.in_flight, likely, left)

    async def _play(self, number: int) -> Played:
        """Play one episode to its end, then filter and embed what it returned."""
        rng = Random(f"{self.job.seed}:{number}")
        view = self._view(number)
        episode = play(self.job.method, self.job.then, view, rng)
        tokens, answers = 0, cast("list[list[Completion]]", None)  # None is what starts a generator
        for call in count():
            try:
                prompts = episode.send(answers)
            except StopIteration as end:
                return await self._curate(view, end.value, tokens)
            asked = (self._ask(number, call, i, prompt) for i, prompt in enumerate(prompts))
            answers = await asyncio.gather(*asked)
            tokens += sum(answer.tokens for completions in answers for answer in completions)
        raise AssertionError("count() does not end")

    def _view(self, number: int) -> PoolView:
        """The pool as episode `number` may see it."""
        last = number - self.job.in_flight
        kept = Prefix(self.kept, self._kept_after[last]) if last >= 0 else ()
        return episode_view(self.job.coverage, self.job.seeds, kept, number, self.job.seed)

    async def _ask(self, episode: int, call: int, index: int, prompt: Prompt) -> list[Completion]:
        """The completions of one prompt, from the completion log where they are in it."""
        logged = self.run.recall(episode, call, index, prompt.digest)
        if logged is not None:
            return logged
        answers = await self.teacher.complete(prompt)
        self.run.record(episode, call, index, prompt.to_dict(), prompt.digest, answers)
        return answers

    async def _curate(
        self, view: PoolView, results: list[Instance | Reject], tokens: int
    ) -> Played:
        rejects = [result for result in results if isinstance(result, Reject)]
        passed = []
        for row in results:
            if isinstance(row, Instance):
                reject = first_reason(row, self.job.filters)
                rejects.append(reject) if reject else passed.append(self._with_origin(row, view))
        texts, vectors = [text_of(row, self.job.novelty) for row in passed], None
        if texts:
            loop = asyncio.get_running_loop()
            vectors = await loop.run_in_executor(self._embedding, self.encoder.encode, texts)
        return Played(passed, vectors, rejects, tokens, view.topic)

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

    def _commit(self, number: int, played: Played) -> None:
        per_source = getattr(self.job.method.options, "per_source", None)
        rows, over = within_quota(self.job.coverage, played.topic, played.passed, self.kept)
        rows, more = within_source(per_source, rows, self.kept)
        verdicts: list[Kept | Reject] = []
        if played.vectors is not None and rows:
            verdicts = self.gate.admit(rows, played.vectors[: len(rows)])
        kept = [verdict for verdict in verdicts if isinstance(verdict, Kept)]
        similar = [verdict for verdict in verdicts if isinstance(verdict, Reject)]
        rejects = played.rejects + over + more + similar
        self.run.commit_episode(number, kept, rejects, played.tokens)
        self.kept.extend(row.instance for row in kept)
        self._kept_after.append(len(self.kept))
        self._note_yield(len(kept), len(kept) + len(rejects), played.tokens)
        self.on_commit(Commit(len(kept), len(rejects), played.tokens, len(self.kept)))

    def _note_yield(self, kept: int, candidates: int, tokens: int) -> None:
        if not candidates and not tokens:  # nothing was asked: its document is full
            return
        self._recent.append((kept, max(candidates, 1)))
        while sum(c for _, c in self._recent) - self._recent[0][1] >= self.job.generate.stop_window:
            self._recent.popleft()

    def _check_yield(self) -> None:
        """Apply the stop rule.

        An episode without any candidate counts as one, so that silence stops too.
        """
        generate = self.job.generate
        kept, candidates = sum(k for k, _ in self._recent), sum(c for _, c in self._recent)
        if candidates < generate.stop_window or kept >= generate.stop_below * candidates:
            return
        counts = self.run.reject_counts()[:4]
        reasons = ", ".join(f"{reason} {count}" for _, reason, count in counts)
        raise NothingNew(
            f"Only {kept} of the last {candidates} candidates were new (generate.stop_below is "
            f"{generate.stop_below:.0%}); {len(self.kept)} rows are kept. Rejects so "
            f"far: {reasons}.",
            f"Look at them: localinstruct show {self.run.path} --rejects. Then try more or other "
            "seeds, a higher sampling.temperature or novelty.threshold, or take what is there: "
            f"--set generate.target={max(len(self.kept), 1)}",
        )
