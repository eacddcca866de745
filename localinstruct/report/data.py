"""Counts for the report: one pass over each table of the store, and the training metrics.

Everything is aggregated or sampled on the way, so 52,000 rows need little more memory than 300, and
the same store gives the same numbers and the same samples. Not covered: words and layout
(sections.py, report.html.j2).
"""

import bisect
import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from localinstruct.curate.diversity import dc_score, sample
from localinstruct.dataset.rows import RunRows
from localinstruct.records import Instance, JsonObject, Reject
from localinstruct.store.durable import read_json_lines
from localinstruct.store.run import Run

EXAMPLES = 3
"""Rejects shown per reason."""
BORDERLINE = 5
"""Pairs shown on each side of the novelty threshold."""
SAMPLES = 12
"""Kept rows shown."""
MOST_BINS = 120
"""Equal spans of the time at work over which a run that is watched is counted."""
SPEED_OVER = 10.0
"""Seconds, at least, over which a speed is taken."""
PAUSE = 30.0
"""Seconds without a completion before a gap can count as a pause."""
STAGES = ("parse", "filter", "novelty")
"""Stages that reject, in the order in which a candidate meets them."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A row, its nearest row when it was decided on, and their cosine."""

    text: str
    neighbour: str
    score: float
    kept: bool


RankedPair = tuple[float, int, Pair]
"""Minus the distance to the threshold, minus the place in the store, and the pair: heap order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A kept row with its nearest neighbour ("" when it had none)."""

    instance: Instance
    neighbour: str
    score: float | None
    source: str = ""
    """The file or run that it was mixed in from."""


@dataclass(slots=True)
class KeptSurvey:
    """The kept rows: lengths in words, cosines to the nearest row, borderline pairs, a sample.

    `borderline` has the pairs just below the threshold. `mixed` of them were brought by files or
    other runs, which were asked for `asked` rows.
    """

    count: int = 0
    mixed: int = 0
    asked: int = 0
    with_input: int = 0
    words: dict[str, list[int]] = field(
        default_factory=lambda: {"instruction": [], "input": [], "output": []}
    )
    scores: list[float] = field(default_factory=list)
    borderline: list[Pair] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    changes: Counter[str] = field(default_factory=Counter)
    """What was repaired, masked or found in them, by name."""


@dataclass(slots=True)
class Reason:
    """One reason for rejects: how many, and a few of them."""

    stage: str
    reason: str
    count: int
    examples: list[Reject] = field(default_factory=list)


@dataclass(slots=True)
class RejectSurvey:
    """The rejects by reason, the cosines of those too similar, borderline pairs.

    `borderline` has the pairs just above the threshold. `dropped` of them are rows that the data
    set left out, kept ones among them.
    """

    reasons: list[Reason]
    dropped: int = 0
    scores: list[float] = field(default_factory=list)
    borderline: list[Pair] = field(default_factory=list)

    def of_stage(self, stage: str) -> int:
        """Number of rejects at this stage."""
        return sum(reason.count for reason in self.reasons if reason.stage == stage)

    @property
    def count(self) -> int:
        """Number of rejects at all stages."""
        return sum(reason.count for reason in self.reasons)


@dataclass(frozen=True, slots=True)
class CompletionSurvey:
    """The completion log in numbers, of committed episodes; `unfinished` counts other prompts.

    `truncated` completions were cut off at the token limit.
    """

    prompts: int = 0
    completions: int = 0
    truncated: int = 0
    unfinished: int = 0


@dataclass(frozen=True, slots=True)
class Clock:
    """Seconds at work since `start`: the pauses (begin, end) of a resumed run take no time."""

    start: float
    pauses: tuple[tuple[float, float], ...]

    def at(self, moment: float) -> float:
        """Seconds at work until this unix time."""
        paused = sum(min(end, moment) - begin for begin, end in self.pauses if begin < moment)
        return max(moment - self.start - paused, 0.0)


def survey_kept(run: Run, threshold: float, rng: Random) -> KeptSurvey:
    """Read the rows once, mixed ones too; a row's score is the one it was admitted with."""
    rows = RunRows(run)
    total = rows.count()
    sampled = set(rng.sample(range(total), min(SAMPLES, total)))
    survey = KeptSurvey(mixed=len(rows.mixed), asked=rows.asked)
    nearest: list[RankedPair] = []
    for place, (instance, neighbours) in enumerate(rows.with_neighbours()):
        _measure(survey, instance)
        top = neighbours[0] if neighbours and neighbours[0].text else None
        score = instance.lineage.scores.get("novelty_max", top.score) if top else None
        if score is not None and top is not None and math.isfinite(score):
            survey.scores.append(score)
            pair = Pair(instance.instruction, top.text, score, True)
            _push_nearest(nearest, abs(threshold - score), place, pair)
        if place in sampled:
            source = rows.source_of.get(instance.id, "")
            survey.samples.append(Sample(instance, top.text if top else "", score, source))
    survey.borderline = _nearest_first(nearest)
    return survey


def _measure(survey: KeptSurvey, instance: Instance) -> None:
    survey.count += 1
    survey.changes.update(set(instance.lineage.changes))
    survey.words["instruction"].append(len(instance.instruction.split()))
    survey.words["output"].append(len(instance.output.split()))
    if instance.input:
        survey.with_input += 1
        survey.words["input"].append(len(instance.input.split()))


def survey_rejects(run: Run, threshold: float, rng: Random) -> RejectSurvey:
    """Read the rejects once. Examples are a uniform sample of each reason."""
    rows = RunRows(run)
    reasons = {
        (stage, reason): Reason(stage, reason, count)
        for stage, reason, count in rows.reject_counts()
    }
    seen: Counter[tuple[str, str]] = Counter()
    survey = RejectSurvey(list(reasons.values()), len(rows.dropped))
    nearest: list[RankedPair] = []
    for place, (_, reject) in enumerate(rows.rejects()):
        key = (reject.stage, reject.reason)
        if key in reasons:  # a writer may have committed a new reason since they were counted
            _sample(reasons[key].examples, reject, seen[key], rng)
            seen[key] += 1
        if reject.stage == "novelty" and reject.score is not None and math.isfinite(reject.score):
            survey.scores.append(reject.score)
            if reject.reason == "too similar":
                pair = Pair(reject.text, reject.detail, reject.score, False)
                _push_nearest(nearest, abs(reject.score - threshold), place, pair)
    survey.borderline = _nearest_first(nearest)
    return survey


def candidates(kept: KeptSurvey, rejects: RejectSurvey) -> int:
    """Rows that were up for being kept: all that a teacher wrote, and all that files brought."""
    return kept.count - kept.mixed + rejects.count - rejects.dropped + kept.asked


def diversity(run: Run) -> JsonObject | None:
    """DCScore of the rows that were kept, as a share ("score"), and how many were looked at."""
    count = run.count_kept()
    vectors = run.vectors({int(place) for place in sample(count)}) if count else None
    if vectors is None or not vectors.size:
        return None  # rows were compared by their words
    return {"score": round(dc_score(vectors), 4), "rows": len(vectors)}


def _sample(examples: list[Reject], reject: Reject, earlier: int, rng: Random) -> None:
    """Reservoir sampling (Vitter 1985, algorithm R), with `earlier` rejects before this one.

    Each of the rejects so far is equally likely to be among the EXAMPLES.
    """
    if len(examples) < EXAMPLES:
        examples.append(reject)
    elif (place := rng.randrange(earlier + 1)) < EXAMPLES:
        examples[place] = reject


def _push_nearest(nearest: list[RankedPair], distance: float, place: int, pair: Pair) -> None:
    """Keep the BORDERLINE pairs of the smallest distance, the earlier one of equals, in a heap."""
    heapq.heappush(nearest, (-distance, -place, pair))
    if len(nearest) > BORDERLINE:
        heapq.heappop(nearest)


def _nearest_first(nearest: list[RankedPair]) -> list[Pair]:
    return [pair for *_, pair in sorted(nearest, key=lambda entry: entry[:2], reverse=True)]


def survey_completions(run: Run) -> CompletionSurvey:
    """Count prompts and completions; episodes that were never committed are counted apart."""
    committed = {episode for episode, *_ in run.episodes()}
    counts: Counter[str] = Counter()
    for episode, _, _, _, completions in run.completion_log():
        if episode not in committed:
            counts["unfinished"] += 1
            continue
        counts["prompts"] += 1
        counts["completions"] += len(completions)
        counts["truncated"] += sum(answer.finish_reason == "length" for answer in completions)
    return CompletionSurvey(**counts)


def clock(moments: Sequence[float]) -> Clock:
    """A clock over unix times.

    A pause is a gap above PAUSE and above five times the usual wait between two bursts.
    """
    ordered = sorted(moments)
    gaps = [(a, b) for a, b in itertools.pairwise(ordered) if b - a > 1]
    usual = sorted(b - a for a, b in gaps)[len(gaps) // 2] if len(gaps) >= 2 * EXAMPLES else 0.0
    limit = max(PAUSE, 5 * usual)
    return Clock(ordered[0] if ordered else 0.0, tuple((a, b) for a, b in gaps if b - a > limit))


@dataclass
class Bins:
    """Amounts over time in equal spans of at most MOST_BINS, whose width doubles as time goes on.

    They depend on what is added, and not on how it is divided among looks.
    """

    width: float = 1.0
    counts: list[Counter[str]] = field(default_factory=list)

    def add(self, seconds: float, amounts: Mapping[str, int]) -> None:
        """Add amounts by name at a time, seconds from 0."""
        while seconds >= MOST_BINS * self.width:
            self.width *= 2
            pairs = zip(self.counts[::2], [*self.counts[1::2], Counter[str]()], strict=False)
            self.counts = [one + other for one, other in pairs]
        place = int(max(seconds, 0.0) / self.width)
        self.counts += [Counter() for _ in range(place + 1 - len(self.counts))]
        self.counts[place].update(amounts)

    def sums(self, name: str) -> list[tuple[float, float]]:
        """(end of a span, everything so far)."""
        points, so_far = [(0.0, 0.0)], 0
        for number, count in enumerate(self.counts, 1):
            so_far += count[name]
            points.append((number * self.width, float(so_far)))
        return points

    def rates(self, name: str) -> list[tuple[float, float]]:
        """(end of a span, amount a second of it and of those before it, SPEED_OVER in all).

        Shorter spans would show how answers come at once, a speed that nothing has. The last span,
        which is not over, is left out.
        """
        some = math.ceil(SPEED_OVER / self.width)
        amounts, points = [count[name] for count in self.counts[:-1]], []
        for end in range(1, len(amounts) + 1):
            lately = amounts[max(0, end - some) : end]
            points.append((end * self.width, sum(lately) / (some * self.width)))
        return points


def bins(values: Sequence[float], edges: Sequence[float]) -> list[int]:
    """Values counted by bin [edges[i], edges[i + 1]); those outside go to the first or the last."""
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect.bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    return counts


def read_metrics(path: Path) -> list[JsonObject]:
    """The lines of train/metrics.jsonl without torn or foreign ones; none for a missing file."""
    return read_json_lines(path)


def curve(metrics: Sequence[JsonObject], name: str) -> list[tuple[float, float]]:
    """(step, value) in order of steps; of a step that a resumed training repeated, the last."""
    points = {
        line["step"]: line[name]
        for line in metrics
        if _is_number(line.get("step")) and _is_number(line.get(name))
    }
    return sorted(points.items())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
