"""The scheduler: many episodes of a method in flight, committed strictly in order.

Episode k draws its random numbers from (run seed, k) and sees the pool as it was after episode k -
in_flight, so neither depends on which completion came first. Every completion is in the completion
log before anyone uses it; after a kill, logged completions are replayed and only the missing ones
are asked again: with the same log the kept rows are the same.

    play(k): prompts ─▶ completion log or teacher ─▶ rows ─▶ filters ─▶ embeddings     many at once, any order
    commit(k): novelty ─▶ one transaction                                     one at a time, in order of k

How many episodes are launched ahead is only a matter of speed: enough to keep the engine's batch
full, not many more than the target still needs.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
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
    """Everything the scheduler works with."""

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
    """An episode that was played: rows that passed the filters with their (m, d) vectors, rejects,
    output tokens."""

    passed: list[Instance]
    vectors: "np.ndarray | None"
    """None when no row passed."""
    rejects: list[Reject]
    tokens: int
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """What one episode brought, and the kept rows in all since."""

    kept: int
    rejected: int
    tokens: int
    total: int


@dataclass(frozen=True, slots=True)
class Prefix(Sequence[Instance]):
    """The first `length` rows of a list that only grows: the pool as it was, without a copy for
    each episode in flight."""

    rows: Sequence[Instance]
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Instance]: ...
    def __getitem__(self, index: int | slice) -> Instance | Sequence[Instance]:
        """As of a tuple of these rows."""
        places = range(self.length)[index]
        return (
            self.rows[places] if isinstance(places, int) else [self.rows[place] for place in places]
        )

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
        """Play and commit episodes until `generate.target` rows are kept, or the method has come to
        its end.

        NothingNew when the stop rule says so.
        """
        playing: dict[int, asyncio.Task[Played]] = {}
        try:
            while len(self.kept) < self.job.generate.target and not self.exhausted:
                self._check_yield()
                committed = len(self._kept_after)
                for episode in range(committed, committed + self._wanted()):
                    if episode not in playing:
                        playing[episode] = asyncio.create_task(self._play(episode))
                self._commit(committed, await playing.pop(committed))
                await asyncio.sleep(
                    0
                )  # awaiting a finished task does not yield: Ctrl-C would wait for the whole backlog
        finally:
            for task in playing.values():
                task.cancel()
            await asyncio.gather(*playing.values(), return_exceptions=True)
            self._embedding.shutdown(wait=False, cancel_futures=True)

    @property
    def exhausted(self) -> bool:
        """Whether the method has no episode left, or every topic has its quota."""
        if is_covered(self.job.coverage, self.kept):
            return True
        return self._last is not None and len(self._kept_after) >= self._last

    @property
    def _last(self) -> int | None:
        return self.job.method.episodes(self.job.seeds)

    def _wanted(self) -> int:
        """Episodes to have in flight: `in_flight`, or what the rest of the target is likely to
        need, or what is left."""
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
            answers = await asyncio.gather(
                *(self._ask(number, call, i, p) for i, p in enumerate(prompts))
            )
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
        self.run.record(episode, call, index, asdict(prompt), prompt.digest, answers)
        return answers

    async def _curate(
        self, view: PoolView, results: list[Instance | Reject], tokens: int
    ) -> Played:
        rejects = [result for result in results if isinstance(result, Reject)]
        passed = []
        for row in results:
            if isinstance(row, Instance):
                reason = first_reason(row, self.job.filters)
                rejects.append(reason) if reason else passed.append(self._signed(row, view))
        texts = [text_of(row, self.job.novelty) for row in passed]
        loop = asyncio.get_running_loop()
        vectors = (
            await loop.run_in_executor(self._embedding, self.encoder.encode, texts)
            if texts
            else None
        )
        return Played(passed, vectors, rejects, tokens, view.topic)

    def _signed(self, row: Instance, view: PoolView) -> Instance:
        made, digests = row.lineage, self.job.digests
        signed = replace(
            made,
            episode=view.number,
            teacher=self.job.teacher_digest,
            topic=view.topic,
            answered_by=digests.get(made.answered_by, made.answered_by),
            rejected_by=digests.get(made.rejected_by, made.rejected_by),
        )
        return replace(row, lineage=signed)

    def _commit(self, number: int, played: Played) -> None:
        rows, over = within_quota(self.job.coverage, played.topic, played.passed, self.kept)
        rows, more = within_source(
            getattr(self.job.method.options, "per_source", None), rows, self.kept
        )
        verdicts = (
            self.gate.admit(rows, played.vectors[: len(rows)])
            if played.vectors is not None and rows
            else []
        )
        kept = [verdict for verdict in verdicts if isinstance(verdict, Kept)]
        rejects = (
            played.rejects
            + over
            + more
            + [verdict for verdict in verdicts if isinstance(verdict, Reject)]
        )
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
        """The stop rule; an episode without any candidate counts as one, so that silence stops
        too."""
        kept, candidates = sum(k for k, _ in self._recent), sum(c for _, c in self._recent)
        if (
            candidates < self.job.generate.stop_window
            or kept >= self.job.generate.stop_below * candidates
        ):
            return
        reasons = ", ".join(
            f"{reason} {count}" for _, reason, count in self.run.reject_counts()[:4]
        )
        raise NothingNew(
            f"Only {kept} of the last {candidates} candidates were new (generate.stop_below is "
            f"{self.job.generate.stop_below:.0%}); {len(self.kept)} rows are kept. Rejects so "
            f"far: {reasons}.",
            f"Look at them: localinstruct show {self.run.path} --rejects. Then try more or other "
            "seeds, a higher "
            "sampling.temperature or novelty.threshold, or take what is there: --set "
            "generate.target="
            f"{max(len(self.kept), 1)}",
        )
