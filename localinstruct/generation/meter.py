"""Meter of a generation: the moving line after each commit, and the diagnosis once."""

import time

from localinstruct.curate.embeddings import Encoder
from localinstruct.curate.sight import not_compared
from localinstruct.generation.diagnosis import CANDIDATES, diagnosis
from localinstruct.generation.forecast import TimeLeft, in_words
from localinstruct.generation.scheduler import Commit, Job
from localinstruct.progress import Progress, percent
from localinstruct.store.integrity import require_space
from localinstruct.store.run import Run

LAST_EPISODE = "last episode"
"""Stored text of a run: episodes there are, where they end before the target; for who watches."""


class Meter:
    """Display of the progress after each commit; it also watches the free space of the disk."""

    def __init__(
        self, progress: Progress, job: Job, run: Run, encoder: Encoder | None = None
    ) -> None:
        self._job, self._encoder, self._has_said = job, encoder, False
        self._run = run
        self._progress = progress
        self._began = time.monotonic()
        episodes = run.episodes()
        self._kept = sum(kept for _, kept, *_ in episodes)
        self._candidates = self._kept + sum(rejected for _, _, rejected, *_ in episodes)
        self._tokens = 0
        self._diagnosed = False
        self._left = TimeLeft()
        last, rows = job.method.episodes(job.seeds), job.method.shape.rows
        self._last = last if last is not None and last * rows < job.generate.target else None
        """Episodes there are, where they end before the target can be reached."""
        if run.get(LAST_EPISODE) != (known := "" if self._last is None else str(self._last)):
            run.put(LAST_EPISODE, known)

    def __call__(self, commit: Commit) -> None:
        """Count a committed episode, and show the new state."""
        self._kept += commit.kept
        self._candidates += commit.kept + commit.rejected
        self._tokens += commit.tokens
        speed = self._tokens / max(time.monotonic() - self._began, 1e-9)
        share = self._kept / max(self._candidates, 1)
        note = f"{percent(share)} of {self._candidates:,} candidates new · {speed:,.0f} tokens/s"
        note += f" · {commit.in_flight} in flight"
        if commit.waiting:
            note += f", {commit.waiting} wait for an earlier one ({commit.held / 1e6:,.1f} MB)"
        label, done, total = "kept rows", commit.total, self._job.generate.target
        if self._last is not None:
            note = f"{commit.total:,} rows kept · {note}"
            label, done, total = "episodes", commit.episodes, self._last
        if left := self._left.after(time.monotonic(), done, total):
            note = f"{in_words(left)} left · {note}"
        self._progress.update(label, done, total, note)
        if (unseen := getattr(self._encoder, "unseen", 0)) and not self._has_said:
            self._has_said = True
            self._progress.say(not_compared(unseen, "seeds and rows so far"))
        self._diagnose()
        require_space(self._run.path, 0)

    def _diagnose(self) -> None:
        """Say once, after some candidates, which reject matters most and what cures it."""
        if self._diagnosed or self._candidates < CANDIDATES:
            return
        self._diagnosed = True
        counts = self._run.reject_counts()
        if line := diagnosis(self._job, counts, self._run.count_kept()):
            self._progress.say(line)
