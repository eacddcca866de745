"""Weak sides of a student by interval, and the keys of a recipe that lead a teacher there.

Pure. A side is a family of tasks, or a kind of constraint. It is ranked by the upper end of the 95
% interval of its share of right answers, so that a few unlucky tasks do not make a family the
weakest; it is shown to be weak where that end lies below the share of all. Not covered: topics
without tasks, whose held-out loss has no interval (`verdict.weakest_topics`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from localinstruct.evaluation.constraints import HELD_OUT, SEEN
from localinstruct.evaluation.statistics import share_interval
from localinstruct.methods import OVER_SEEDS
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject, StageResult

STRONG = 0.95
"""Share of right answers from which on a side is not worked on."""
OFTENER = 8.0
"""Times that a weak kind of constraint is drawn more often than its weight says."""


@dataclass(frozen=True, slots=True)
class WeakSide:
    """A family of tasks or a kind of constraint: its share of right answers with its interval."""

    name: str
    count: int
    right: float
    low: float
    high: float
    shown: bool
    """True where the whole interval lies below the share of all sides together."""
    is_kind: bool = False
    """True for a kind of constraint."""


@dataclass(frozen=True, slots=True)
class Steering:
    """Keys of a recipe that lead the teacher to weak sides, nested as in a recipe.

    `unreached` are sides that nothing in the recipe leads to.
    """

    keys: JsonObject
    reached: tuple[str, ...]
    unreached: tuple[str, ...]


def weak_sides(recipe: Recipe, evaluated: StageResult, most: int) -> list[WeakSide]:
    """The weakest sides, at most `most`, those that are shown to be weak first."""
    tasks, form = evaluated.get("tasks") or {}, evaluated.get("form") or {}
    families = {
        name: (part["count"], part["student"])
        for name, part in (tasks.get("by_family") or {}).items()
        if name and name not in (SEEN, HELD_OUT)
    }
    options = recipe.method.constraints or recipe.then.constraints
    asked = options.weights if options else {}
    kinds = {
        name: (part["count"], part["strict"]["student"])
        for name, part in (form.get("kinds") or {}).items()
        if asked.get(name)
    }
    sides = [*_ranked(families, False), *_ranked(kinds, True)]
    return sorted(sides, key=lambda side: (not side.shown, side.high, side.name))[:most]


def _ranked(parts: Mapping[str, tuple[float, float]], is_kind: bool) -> list[WeakSide]:
    counts = {name: (int(count), round(share * count)) for name, (count, share) in parts.items()}
    every = sum(count for count, _ in counts.values())
    overall = sum(right for _, right in counts.values()) / every if every else 0.0
    sides = []
    for name, (count, right) in counts.items():
        low, high = share_interval(right, count)
        if right / count < STRONG:
            shown = high < overall
            sides.append(WeakSide(name, count, right / count, low, high, shown, is_kind))
    return sides


def steering(recipe: Recipe, sides: Sequence[WeakSide], seeds: Sequence[Instance]) -> Steering:
    """The keys that lead to these sides; without one for a side it is among `unreached`.

    A kind of constraint is drawn more often. A family becomes a topic: the recipe's own topic that
    has its name or its seeds, the seeds of that name, or its words where the prompt can say them.
    """
    keys: JsonObject = {}
    reached: list[str] = []
    if weights := _weights(recipe, [side.name for side in sides if side.is_kind]):
        place = "method" if recipe.method.constraints else "then"
        keys[place] = {"constraints": {"kinds": weights}}
        reached += [side.name for side in sides if side.is_kind]
    topics: dict[str, JsonObject] = {}
    for family in (side.name for side in sides if not side.is_kind):
        if (topic := _topic(recipe, family, seeds)) is not None:
            topics[topic["topic"]] = topic
            reached.append(family)
    if topics:
        keys["coverage"] = {"topics": list(topics.values())}
    unreached = tuple(side.name for side in sides if side.name not in reached)
    return Steering(keys, tuple(reached), unreached)


def _weights(recipe: Recipe, kinds: Sequence[str]) -> dict[str, float]:
    options = recipe.method.constraints or recipe.then.constraints
    if options is None:
        return {}
    oftener = {kind: OFTENER * options.weights[kind] for kind in kinds if kind in options.weights}
    return {**options.kinds, **oftener} if oftener else {}


def _topic(recipe: Recipe, family: str, seeds: Sequence[Instance]) -> JsonObject | None:
    """A topic of the recipe `coverage`, as a mapping, that leads to a family; None without one."""
    if recipe.method.name in OVER_SEEDS:
        return None
    for topic in recipe.coverage.topics:
        if family == topic.topic or any(fnmatchcase(family, pattern) for pattern in topic.seeds):
            return {"topic": topic.topic, **({"seeds": topic.seeds} if topic.seeds else {})}
    words = family.replace("_", " ")
    if any(seed.name == family for seed in seeds):
        return {"topic": words, "seeds": [family]}
    says_topic = getattr(recipe.method.options, "says_topic", False)
    return {"topic": words} if says_topic else None
