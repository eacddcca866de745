"""A run while it is at work, from its store alone: stage, pace, time left, rejects, rows, losses.

`Watch.look` gives the facts of one moment; nothing is written, and a look costs what came since the
one before. Numbers mean what they mean in the report: rows kept of candidates, seconds in which the
teacher was asked (pauses do not count), output tokens in them. The terminal view, the page and
`show` word the same facts (live_words.py). Not covered: rows mixed in, and what evaluation asks.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from localinstruct.generation.endpoints import endpoints_at_work
from localinstruct.generation.forecast import TimeLeft
from localinstruct.generation.meter import LAST_EPISODE
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.records import Instance, JsonObject
from localinstruct.report.data import Bins, curve, read_metrics
from localinstruct.report.processes import Processes, Taken
from localinstruct.stages import NAMES, STAGES
from localinstruct.states import remarks_on, renewal_of_all, states_of
from localinstruct.store.lock import owner
from localinstruct.store.run import Run, StageEntry
from localinstruct.store.tail import Gained, Tail, glance_at, last_rows
from localinstruct.store.worktime import ASKING, ended, last_moments, sessions, since

ROWS = 5
"""Newest rows that are shown."""
REMARKS = 30.0
"""Seconds for which it is believed that no file has changed, while nothing is at work."""
LATELY = 30.0
"""Seconds whose speed is called the present one."""

ABOUT = {stage.name: stage.about for stage in STAGES}
State = Literal["running", "finished", "stopped", "dead", "waiting"]
"""`dead` was killed in a stage, `stopped` left one by itself; `waiting` has stages not begun."""
Curve = list[tuple[float, float]]
Sessions = Sequence[tuple[float, float | None]]
Entries = Mapping[str, StageEntry]


@dataclass(frozen=True, slots=True)
class ReasonCount:
    """Rejects of one reason, and how they grew: (seconds at work, so far)."""

    stage: str
    reason: str
    count: int
    over_time: Curve


@dataclass(frozen=True, slots=True)
class TopicRows:
    """Rows kept of a topic, and the most that are kept."""

    topic: str
    kept: int
    quota: int | None


@dataclass(frozen=True, slots=True)
class Generation:
    """The rows as far as they have come; shares are 0 to 1."""

    kept: int
    target: int
    candidates: int
    share_new: float | None
    episodes: int
    last_episode: int | None
    """Episodes there are, where the method ends before the target."""
    prompts: int
    output_tokens: int
    seconds: float
    """In which the teacher was asked."""
    tokens_per_second: float | None
    tokens_per_second_lately: float | None
    rows_over_time: Curve
    tokens_over_time: Curve
    reasons: list[ReasonCount]
    topics: list[TopicRows]


@dataclass(frozen=True, slots=True)
class Training:
    """The training as far as it has come; losses are (step, nats per answer token)."""

    step: int
    epoch: float
    epochs: float
    tokens_per_second: float | None
    losses: Curve
    held_out: Curve
    time_left: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class WatchFacts:
    """A run at one moment. Times are in seconds, `at` is a unix time."""

    run: str
    at: float
    recipe: str
    method: str
    state: State
    pid: int | None
    stage: str
    """The stage that is at work or was last; "" before the first."""
    doing: str
    stages: dict[str, str]
    quiet_seconds: float
    """Since the last completion, commit, line of metrics, or begin of the stage."""
    seconds_left: tuple[float, float] | None
    """Of the stage at work, the least and the most that are likely."""
    remarks: list[str]
    """Results that are stale, and files that were changed by hand, while nothing is at work."""
    renew: str
    """The command that makes stale results hold again; "" where none is known to be stale."""
    generation: Generation
    rows: list[Instance]
    """The newest ones, the newest first."""
    training: Training | None
    taken: Taken
    endpoints: list[JsonObject]
    """State of each of several endpoints that are asked: model, url, state, in_flight, limit,
    answered, why."""

    def to_dict(self) -> JsonObject:
        """Plain JSON values."""
        return asdict(self) | {"rows": [row.to_dict() for row in self.rows]}


class Watch:
    """A watcher of one run; it keeps what it has counted between two looks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._processes = Processes()
        self._store = (0, 0.0)
        self._text = ""
        self._recipe: Recipe
        self._judged: tuple[object, float, list[str], str] = (None, 0.0, [], "")
        self._forget()

    def _forget(self) -> None:
        """Begin from nothing: the first look, or the run was begun anew."""
        self._tail, self._bins, self._topics = Tail(), Bins(), Counter[str]()
        self._reasons = Counter[tuple[str, str]]()
        self._kept = self._candidates = self._prompts = self._tokens = self._timed = 0
        self._last: dict[int, float] = {}
        """Number of a session -> its last completion or commit, unix time."""
        self._recent: list[tuple[float, int]] = []
        self._left, self._left_since = TimeLeft(), 0.0

    def look(self) -> WatchFacts:
        """The facts of this moment; UsageError where no run is."""
        now, pid = time.time(), owner(self.path)
        with glance_at(self.path) as run:
            self._same_store(run)
            recipe = self._recipe_of(run)
            entries = {name: entry for name in NAMES if (entry := run.stage(name))}
            stage, asked = _stage_at_work(run, entries), sessions(run, ASKING)
            state = _state(run, pid, stage, entries)
            last_episode = int(stored) if (stored := run.get(LAST_EPISODE)) else None
            gained = self._tail.read(run, topics=bool(recipe.coverage.topics))
            self._count(gained, asked, now, by_episode=last_episode is not None)
            training = self._training(recipe, entries.get("train"))
            said, renew = ([], "") if pid else self._standing(recipe, run, entries, now)
            made = self._generation(asked, now if state == "running" else None, last_episode)
            return WatchFacts(
                run=str(self.path),
                at=now,
                recipe=recipe.name,
                method=recipe.method.name,
                state=state,
                pid=pid,
                stage=stage,
                doing=self._doing(run, state, stage, entries),
                stages={name: _word(entries.get(name)) for name in NAMES},
                quiet_seconds=max(0.0, now - self._last_sign(run, stage)),
                seconds_left=self._time_left(stage, made, training) if pid else None,
                remarks=said,
                renew=renew,
                generation=made,
                rows=last_rows(run, ROWS),
                training=training,
                taken=self._processes.look(pid),
                endpoints=endpoints_at_work(run) if pid else [],
            )

    def _same_store(self, run: Run) -> None:
        """Forget what was counted when the run was begun anew since the look before."""
        begun = ((self.path / "run.sqlite").stat().st_ino, since(run, "generate"))
        if begun != self._store:
            self._store = begun
            self._forget()

    def _recipe_of(self, run: Run) -> Recipe:
        text = run.get("recipe") or ""
        if text != self._text or not text:
            self._recipe = recipe_from_text(text, f"{self.path}/run.sqlite")
            self._text = text
        return self._recipe

    def _standing(
        self, recipe: Recipe, run: Run, entries: Entries, now: float
    ) -> tuple[list[str], str]:
        """(sentences on stale results, the command that renews them).

        Looked for when a stage has changed, or a while has passed: digests of files are taken for
        it, too much for every second.
        """
        known = [(entry.name, entry.started, entry.finished) for entry in entries.values()]
        if known != self._judged[0] or now - self._judged[1] >= REMARKS:
            states = states_of(recipe, run)
            renew = renewal_of_all(states, str(self.path))
            self._judged = (known, now, remarks_on(states), renew)
        return self._judged[2:]

    def _count(self, gained: Gained, asked: Sessions, now: float, *, by_episode: bool) -> None:
        """Add what came to the numbers, at its seconds at work."""
        begins = [begin for begin, _ in asked]
        moments = [commit.at for commit in gained.commits] + [at for at, _ in gained.completions]
        for number, at in last_moments(begins, moments).items():
            self._last[number] = max(at, self._last.get(number, 0.0))
        whole = ended(asked, self._last, now)

        def at_work(moment: float) -> float:
            return sum(max(0.0, min(moment, end) - begin) for begin, end in whole)

        for arrived, tokens in gained.completions:
            self._prompts += 1
            self._tokens += tokens
            self._timed += tokens if begins and arrived >= begins[0] else 0
            self._bins.add(at_work(arrived), {"tokens": tokens})
        lately = max(now - LATELY, begins[-1] if begins else 0.0)
        self._recent = [one for one in [*self._recent, *gained.completions] if one[0] >= lately]
        if begins and begins[-1] != self._left_since:
            self._left, self._left_since = TimeLeft(), begins[-1]
        first = self._tail.episode + 1 - len(gained.commits)
        for episode, commit in enumerate(gained.commits, first):
            self._kept += commit.kept
            self._candidates += commit.kept + commit.reasons.total()
            self._reasons += commit.reasons
            named = {f"{stage}: {reason}": n for (stage, reason), n in commit.reasons.items()}
            self._bins.add(at_work(commit.at), {"kept": commit.kept, **named})
            if commit.at >= self._left_since:
                self._left.add(commit.at, episode + 1 if by_episode else self._kept)
        self._topics += gained.topics

    def _generation(
        self, asked: Sessions, now: float | None, last_episode: int | None
    ) -> Generation:
        """The rows so far; `now` is None where nothing is at work."""
        seconds = sum(end - begin for begin, end in self._asking(asked, now))
        reasons = sorted(self._reasons.items(), key=lambda entry: (-entry[1], entry[0]))
        recent = (now or 0.0) - max(self._left_since, (now or 0.0) - LATELY)
        lately = sum(tokens for _, tokens in self._recent) / recent if recent > 0 else None
        is_asking = bool(now and asked and asked[-1][1] is None)
        return Generation(
            kept=self._kept,
            target=self._recipe.generate.target,
            candidates=self._candidates,
            share_new=self._kept / self._candidates if self._candidates else None,
            episodes=self._tail.episode + 1,
            last_episode=last_episode,
            prompts=self._prompts,
            output_tokens=self._tokens,
            seconds=seconds,
            tokens_per_second=self._timed / seconds if seconds else None,
            tokens_per_second_lately=lately if is_asking else None,
            rows_over_time=self._bins.sums("kept"),
            tokens_over_time=self._bins.rates("tokens"),
            reasons=[
                ReasonCount(where, why, count, self._bins.sums(f"{where}: {why}"))
                for (where, why), count in reasons
            ],
            topics=[
                TopicRows(topic.topic, self._topics[topic.topic], topic.quota)
                for topic in self._recipe.coverage.topics
            ],
        )

    def _asking(self, asked: Sessions, now: float | None) -> list[tuple[float, float]]:
        """Sessions in which the teacher was asked; one that was killed ends with its last sign."""
        last = self._last.get(len(asked) - 1, asked[-1][0]) if asked else 0.0
        return ended(asked, self._last, last if now is None else now)

    def _training(self, recipe: Recipe, entry: StageEntry | None) -> Training | None:
        """The losses of the training that the store knows of; None before its first line."""
        path = self.path / "train" / "metrics.jsonl"
        with suppress(OSError):
            if entry and path.stat().st_mtime >= entry.started:
                return _losses(read_metrics(path), recipe.train.epochs)
        return None

    def _time_left(
        self, stage: str, made: Generation, training: Training | None
    ) -> tuple[float, float] | None:
        """Seconds left of the stage at work, by the rule of `generate`'s own line."""
        if stage == "generate":
            return self._left.left(made.last_episode or made.target)
        return training.time_left if stage == "train" and training else None

    def _last_sign(self, run: Run, stage: str) -> float:
        signs = [*self._last.values(), *(begin for begin, _ in sessions(run, stage)[-1:])]
        if stage == "train":
            with suppress(OSError):
                signs.append((self.path / "train" / "metrics.jsonl").stat().st_mtime)
        return max(signs, default=(self.path / "run.sqlite").stat().st_mtime)

    def _doing(self, run: Run, state: State, stage: str, entries: Entries) -> str:
        """The state in a few words."""
        if state == "dead":
            return f"killed in {stage}: no process works in it"
        if state == "stopped":
            return f"stopped in {stage}"
        if state == "finished":
            return "every stage has finished"
        if state == "waiting":
            missing = next(name for name in NAMES if _word(entries.get(name)) != "finished")
            return f"{missing} has not begun"
        if not stage or _word(entries[stage]) == "finished":
            return "between two stages" if stage else "getting ready"
        begin = sessions(run, stage)[-1][0] if sessions(run, stage) else 0.0
        if stage == "generate":
            return self._asking_words(run, begin)
        has_begun = self._last_sign(run, stage) > begin
        return "loading the student" if stage == "train" and not has_begun else ABOUT[stage]

    def _asking_words(self, run: Run, begin: float) -> str:
        asked = sessions(run, ASKING)
        if not asked or asked[-1][0] < begin:
            return "the teacher is starting"
        if asked[-1][1] is not None:
            return "summing up"
        if len(asked) - 1 not in self._last:
            return "waiting for the first answers"
        return ABOUT["generate"]


def _stage_at_work(run: Run, entries: Entries) -> str:
    """The stage that was begun last and has not finished, or else the one that finished last."""
    begun = [name for name, entry in entries.items() if not entry.finished]
    if begun:
        return max(begun, key=lambda name: _began(run, entries[name]))
    return max(entries, key=lambda name: entries[name].finished or 0.0, default="")


def _began(run: Run, entry: StageEntry) -> float:
    noted = sessions(run, entry.name)
    return noted[-1][0] if noted else entry.started


def _state(run: Run, pid: int | None, stage: str, entries: Entries) -> State:
    if pid is not None:
        return "running"
    if stage and not entries[stage].finished:
        noted = sessions(run, stage)
        return "stopped" if noted and noted[-1][1] is not None else "dead"
    return "finished" if len(entries) == len(NAMES) else "waiting"


def _word(entry: StageEntry | None) -> str:
    return "not started" if entry is None else "finished" if entry.finished else "begun"


def _losses(metrics: Sequence[JsonObject], epochs: float) -> Training | None:
    """The training in lines of metrics; None without any."""
    steps = [line for line in metrics if "loss" in line]
    held_out = curve(metrics, "held_out_loss")
    if not steps:
        return Training(0, 0.0, epochs, None, [], held_out, None) if held_out else None
    left, newest = TimeLeft(), steps[-1]
    for line in steps:
        left.add(line.get("seconds", 0.0), line.get("epoch", 0.0))
    seconds, tokens = newest.get("seconds"), newest.get("tokens")
    speed = tokens / seconds if seconds and tokens else None
    step, epoch = int(newest["step"]), float(newest.get("epoch") or 0.0)
    losses = curve(metrics, "loss")
    return Training(step, epoch, epochs, speed, losses, held_out, left.left(epochs))
