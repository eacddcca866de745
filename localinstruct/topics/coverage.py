"""Steering for coverage: which topic and persona an episode has, and which part of the pool it may
look at.

An episode's topic depends on (run seed, episode) and on the rows it may see, so it can be repeated:
among topics whose quota is not reached, the one with the fewest rows for its weight is likeliest. A
quota is honoured to the row when an episode is committed. A topic that names seeds is a domain kept
apart: its demonstrations are its own seeds and rows. Not covered: whether a row is about its topic
(a judge); nothing here reads what was written.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section, listing
from localinstruct.errors import RecipeError
from localinstruct.records import Instance, PoolView, Reject


class Topic(Section):
    """One topic."""

    topic: str = Field(min_length=1, max_length=500)
    """What the tasks are to be about, in the words that the prompt says."""
    quota: int | None = Field(None, ge=1)
    """Rows to keep of it at most; None sets no limit."""
    weight: float = Field(1.0, gt=0)
    """How many rows it should have, compared with the others."""
    seeds: list[str] = Field(default_factory=list)
    """Names of the seed tasks that belong to it ("sort_*" for several): the topic is then a domain
    kept apart, which sees no other seeds and no rows of other topics."""


class Coverage(Section):
    """What the rows are spread over."""

    topics: list[Topic] = Field(default_factory=list)
    """Topics by name, or as mappings with quota, weight and seeds; or the path of a YAML file:
    `topics:` with such a list, or a tree whose leaves count ("Cooking: [bread, soups]")."""
    personas: list[str] = Field(default_factory=list)
    """Who asks, one drawn for every episode; or the path of a text file with one a line."""
    demonstrations: Literal["any", "sparse"] = "any"
    """"sparse" shows only those half of the kept rows that lay in the emptier regions when they
    were kept (by their mean cosine with the pool)."""

    @field_validator("topics", mode="before")
    @classmethod
    def _leaves(cls, value: Any) -> Any:
        return leaves(value)

    @model_validator(mode="after")
    def _no_topic_twice(self) -> "Coverage":
        counts = Counter(topic.topic for topic in self.topics)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"expected every topic once; found twice: {', '.join(twice)}")
        return self


def leaves(tree: Any, path: tuple[str, ...] = ()) -> Any:
    """A list or tree of topics as a flat list of mappings; a leaf's name is its whole path. Other
    values stay."""
    if isinstance(tree, list):
        flat: list[Any] = []
        for item in tree:
            inner = leaves(item, path)
            flat += inner if isinstance(inner, list) else [inner]
        return flat
    if isinstance(tree, str | int | float):
        return {"topic": ": ".join((*path, str(tree)))}
    if not isinstance(tree, dict) or "topic" in tree:
        return (
            {**tree, "topic": ": ".join((*path, str(tree["topic"])))}
            if isinstance(tree, dict)
            else tree
        )
    below = [
        ({"topic": ": ".join((*path, str(n)))} if v is None else leaves(v, (*path, str(n))))
        for n, v in tree.items()
    ]
    return [leaf for one in below for leaf in (one if isinstance(one, list) else [one])]


@dataclass(frozen=True, slots=True)
class Achieved:
    """Rows kept of a topic, and how many were wanted at most."""

    topic: str
    kept: int
    quota: int | None


def achieved(coverage: Coverage, kept: Sequence[Instance]) -> list[Achieved]:
    """What was kept of every topic, in the order of the recipe."""
    counts = _counts(kept)
    return [Achieved(one.topic, counts[one.topic], one.quota) for one in coverage.topics]


def is_covered(coverage: Coverage, kept: Sequence[Instance]) -> bool:
    """Whether every topic has a quota and has reached it."""
    return bool(coverage.topics) and not _open(coverage, _counts(kept))


def steered(
    coverage: Coverage, seeds: Sequence[Instance], kept: Sequence[Instance], number: int, seed: int
) -> PoolView:
    """The view of episode `number`, to which `kept` is visible: its topic, its persona, and its
    part of the pool."""
    rng = Random(f"{seed}:{number}:coverage")
    topic = _draw_topic(coverage, kept, rng)
    persona = rng.choice(coverage.personas) if coverage.personas else ""
    if topic is not None and topic.seeds:
        seeds = seeds_of(topic, seeds)
        kept = [row for row in kept if row.lineage.topic == topic.topic]
    if coverage.demonstrations == "sparse":
        kept = sparse_half(kept)
    return PoolView(seeds, kept, number, topic.topic if topic else "", persona)


def seeds_of(topic: Topic, seeds: Sequence[Instance]) -> list[Instance]:
    """The seed tasks whose names belong to the topic."""
    return [seed for seed in seeds if any(fnmatchcase(seed.name, name) for name in topic.seeds)]


def require_seeds(coverage: Coverage, seeds: Sequence[Instance]) -> None:
    """RecipeError that names every topic whose seeds are not in the seed file."""
    empty = [topic for topic in coverage.topics if topic.seeds and not seeds_of(topic, seeds)]
    if empty:
        wanted = listing([f"{topic.topic}: {', '.join(topic.seeds)}" for topic in empty])
        known = (
            ", ".join(sorted({seed.name for seed in seeds if seed.name})[:12]) or "none has a name"
        )
        raise RecipeError(
            f"coverage.topics: no seed task has such a name: {wanted}",
            f"Names of seed tasks: {known}.",
        )


def sparse_half(kept: Sequence[Instance]) -> list[Instance]:
    """Those rows whose mean cosine with the pool was below the median, in their order."""
    means = sorted(row.lineage.scores.get("novelty_mean", 0.0) for row in kept)
    if not means:
        return []
    return [
        row
        for row in kept
        if row.lineage.scores.get("novelty_mean", 0.0) <= means[(len(means) - 1) // 2]
    ]


def within_quota(
    coverage: Coverage, topic: str, rows: Sequence[Instance], kept: Sequence[Instance]
) -> tuple[list[Instance], list[Reject]]:
    """The rows for which the topic still has room, and rejects for the others."""
    quota = next((one.quota for one in coverage.topics if one.topic == topic), None)
    if quota is None:
        return list(rows), []
    room = max(0, quota - _counts(kept)[topic])
    over = [
        Reject("coverage", "quota full", row.instruction, f"{topic}: {quota} rows")
        for row in rows[room:]
    ]
    return list(rows[:room]), over


def within_source(
    most: int | None, rows: Sequence[Instance], kept: Sequence[Instance]
) -> tuple[list[Instance], list[Reject]]:
    """The rows of an episode for which their document still has room, and rejects for the
    others."""
    if most is None or not rows:
        return list(rows), []
    source = rows[0].lineage.source  # an episode is about one passage
    room = max(0, most - sum(row.lineage.source == source for row in kept))
    over = [
        Reject("coverage", "document full", row.instruction, f"{source}: {most} rows")
        for row in rows[room:]
    ]
    return list(rows[:room]), over


def _draw_topic(coverage: Coverage, kept: Sequence[Instance], rng: Random) -> Topic | None:
    if not coverage.topics:
        return None
    counts = _counts(kept)
    choices = _open(coverage, counts) or coverage.topics
    return rng.choices(
        choices, [one.weight / (1 + counts[one.topic] / one.weight) for one in choices]
    )[0]


def _open(coverage: Coverage, counts: Counter[str]) -> list[Topic]:
    return [one for one in coverage.topics if one.quota is None or counts[one.topic] < one.quota]


def _counts(kept: Sequence[Instance]) -> Counter[str]:
    return Counter(row.lineage.topic for row in kept)
