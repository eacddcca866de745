"""Steering for coverage: the topic, the persona and the part of the pool that an episode has.

An episode's topic depends on (run seed, episode) and on the rows it may see, so it can be repeated:
among topics whose quota is not reached, the one with the fewest rows for its weight is likeliest. A
quota is honoured to the row when an episode is committed. A topic that names seeds is a domain kept
apart: its demonstrations are its own seeds and rows. Not covered: whether a row is about its topic
(a judge); nothing here reads the rows' words.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from random import Random
from typing import Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import Section, listing
from localinstruct.errors import RecipeError
from localinstruct.records import Instance, PoolView, Reject


class Topic(Section):
    """One topic."""

    topic: str = Field(min_length=1, max_length=500)
    """Subject of the tasks, in the words that the prompt says."""
    quota: int | None = Field(None, ge=1)
    """Rows to keep of it at most; None sets no limit."""
    weight: float = Field(1.0, gt=0)
    """Share of the rows it should have, compared with the others."""
    seeds: list[str] = Field(default_factory=list)
    """Names of the seed tasks that belong to it ("sort_*" for several).

    The topic is then a domain kept apart, which sees no other seeds and no rows of other topics.
    """


class Coverage(Section):
    """Topics and personas over which the rows are spread."""

    topics: list[Topic] = Field(default_factory=list)
    """Topics by name, or as mappings with quota, weight and seeds; or the path of a YAML file.

    The file has `topics:` with such a list, or a tree whose leaves count ("Cooking: [bread,
    soups]").
    """
    personas: list[str] = Field(default_factory=list)
    """People who ask, one drawn for every episode; or the path of a text file with one a line."""
    demonstrations: Literal["any", "sparse"] = "any"
    """Kept rows shown as demonstrations: any, or the half from the emptier regions ("sparse").

    Those are the rows whose mean cosine with the pool was below the median when they were kept.
    """

    @field_validator("topics", mode="before")
    @classmethod
    def _leaves(cls, value: object) -> object:
        is_tree = isinstance(value, list) or (isinstance(value, dict) and "topic" not in value)
        return leaves(value) if is_tree else leaves(value)[0]  # one topic is no list, and refused

    @model_validator(mode="after")
    def _no_topic_twice(self) -> "Coverage":
        counts = Counter(topic.topic for topic in self.topics)
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            raise ValueError(f"expected every topic once; found twice: {', '.join(twice)}")
        return self


def leaves(tree: object, path: tuple[str, ...] = ()) -> list[object]:
    """A list or tree of topics as a flat list of mappings; a leaf's name is its whole path.

    Values that are no topics stay as they are, for the section to refuse.
    """
    if isinstance(tree, list):
        return [leaf for item in tree for leaf in leaves(item, path)]
    if isinstance(tree, str | int | float):
        return [{"topic": ": ".join((*path, str(tree)))}]
    if not isinstance(tree, dict):
        return [tree]
    if "topic" in tree:
        return [{**tree, "topic": ": ".join((*path, str(tree["topic"])))}]
    flat: list[object] = []
    for name, below in tree.items():
        here = (*path, str(name))
        flat += [{"topic": ": ".join(here)}] if below is None else leaves(below, here)
    return flat


@dataclass(frozen=True, slots=True)
class TopicCount:
    """Rows kept of a topic, and its quota: the most that are kept."""

    topic: str
    kept: int
    quota: int | None


def topic_counts(coverage: Coverage, kept: Iterable[Instance]) -> list[TopicCount]:
    """The rows kept of every topic, in the order of the recipe."""
    counts = _counts(kept)
    return [TopicCount(entry.topic, counts[entry.topic], entry.quota) for entry in coverage.topics]


def is_covered(coverage: Coverage, kept: Sequence[Instance]) -> bool:
    """True when every topic has a quota and has reached it."""
    return bool(coverage.topics) and not _open(coverage, _counts(kept))


def episode_view(
    coverage: Coverage, seeds: Sequence[Instance], kept: Sequence[Instance], number: int, seed: int
) -> PoolView:
    """The view of episode `number`: its topic, its persona, and its part of the pool.

    `kept` are the rows that are visible to it, `seed` is the run's.
    """
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
        unknown = listing([f"{topic.topic}: {', '.join(topic.seeds)}" for topic in empty])
        names = ", ".join(sorted({seed.name for seed in seeds if seed.name})[:12])
        raise RecipeError(
            f"coverage.topics: no seed task has such a name: {unknown}",
            f"Names of seed tasks: {names or 'none has a name'}.",
        )


def sparse_half(kept: Sequence[Instance]) -> list[Instance]:
    """The rows whose mean cosine with the pool was at most the (lower) median, in their order."""
    means = [row.lineage.scores.get("novelty_mean", 0.0) for row in kept]
    if not means:
        return []
    median = sorted(means)[(len(means) - 1) // 2]
    return [row for row, mean in zip(kept, means, strict=True) if mean <= median]


def within_quota(
    coverage: Coverage, topic: str, rows: Sequence[Instance], kept: Sequence[Instance]
) -> tuple[list[Instance], list[Reject]]:
    """The rows for which the topic still has room, and rejects for the others."""
    quota = next((entry.quota for entry in coverage.topics if entry.topic == topic), None)
    if quota is None:
        return list(rows), []
    room, detail = max(0, quota - _counts(kept)[topic]), f"{topic}: {quota} rows"
    over = [Reject("coverage", "quota full", row.instruction, detail) for row in rows[room:]]
    return list(rows[:room]), over


def within_source(
    most: int | None, rows: Sequence[Instance], kept: Sequence[Instance]
) -> tuple[list[Instance], list[Reject]]:
    """The rows of an episode for which their document still has room, and rejects for others."""
    if most is None or not rows:
        return list(rows), []
    source = rows[0].lineage.source  # an episode is about one passage
    room = max(0, most - sum(row.lineage.source == source for row in kept))
    detail = f"{source}: {most} rows"
    over = [Reject("coverage", "document full", row.instruction, detail) for row in rows[room:]]
    return list(rows[:room]), over


def _draw_topic(coverage: Coverage, kept: Sequence[Instance], rng: Random) -> Topic | None:
    if not coverage.topics:
        return None
    counts = _counts(kept)
    topics = _open(coverage, counts) or coverage.topics
    weights = [topic.weight / (1 + counts[topic.topic] / topic.weight) for topic in topics]
    return rng.choices(topics, weights)[0]


def _open(coverage: Coverage, counts: Counter[str]) -> list[Topic]:
    """Topics without a quota, or with one that is not reached."""
    return [
        entry
        for entry in coverage.topics
        if entry.quota is None or counts[entry.topic] < entry.quota
    ]


def _counts(kept: Iterable[Instance]) -> Counter[str]:
    return Counter(row.lineage.topic for row in kept)
