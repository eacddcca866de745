"""State of an improvement: its rounds with what each brought, as the state file has them.

Pure but for reading the answers of two runs. A gain is counted on the tasks that both answered, one
by one, with its 95 % interval.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from localinstruct.errors import RunConflict
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.evaluation.weak_sides import WeakSide
from localinstruct.records import JsonObject
from localinstruct.store.durable import read_json_lines

VERSION = 1
"""Version of the state file."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Right answers of a run against those of the run it began from, on the same tasks.

    Shares from 0 to 1; `interval` is the gain's at 95 %. `weak` is the same on the tasks of the
    families that the round worked on; None where it worked on none.
    """

    count: int
    before: float
    after: float
    interval: tuple[float, float]
    weak: "Gain | None" = None

    @property
    def gain(self) -> float:
        """Share right after less share right before."""
        return self.after - self.before

    @property
    def is_shown(self) -> bool:
        """True when the whole interval lies above 0."""
        return self.interval[0] > 0


@dataclass(frozen=True, slots=True)
class Round:
    """One round: its run, the run it began from, what it works on, and what it brought."""

    number: int
    run: str
    began_from: str
    sides: tuple[WeakSide, ...]
    unreached: tuple[str, ...]
    recipe: str
    """YAML."""
    gain: Gain | None = None
    """None until the round has finished."""
    total: Gain | None = None
    """Against the first run."""
    rows: int = 0
    """Rows that it generated."""
    train: int = 0
    """Rows it was trained on."""


@dataclass(frozen=True, slots=True)
class State:
    """All rounds so far; `origin` is a digest of the answers of the first run's student."""

    run: str
    origin: str
    rounds: tuple[Round, ...] = ()
    ended: str = ""
    """The reason why it ended; "" while it goes on."""

    @property
    def finished(self) -> list[Round]:
        """The rounds that have been evaluated."""
        return [one for one in self.rounds if one.gain is not None]

    @property
    def begun(self) -> Round | None:
        """The round that was begun and has not finished."""
        return next((one for one in self.rounds if one.gain is None), None)


def gain_over(before: Path, after: Path, families: Sequence[str] = ()) -> Gain:
    """The gain of a run's student over another's, on the tasks that both were asked."""
    old, new = marks_of(before), marks_of(after)
    both = [key for key in new if key in old]
    if not both:
        raise RunConflict(f"{before} and {after}: expected tasks that both answered, found none.")
    weak = [key for key in both if key[0] in families]
    return replace(
        _gain([(old[key], new[key]) for key in both]),
        weak=_gain([(old[key], new[key]) for key in weak]) if weak else None,
    )


def _gain(pairs: list[tuple[bool, bool]]) -> Gain:
    count = len(pairs)
    won = sum(new and not old for old, new in pairs)
    lost = sum(old and not new for old, new in pairs)
    before, after = sum(old for old, _ in pairs) / count, sum(new for _, new in pairs) / count
    return Gain(count, before, after, gain_interval(won, lost, count))


def marks_of(path: Path) -> dict[tuple[str, ...], bool]:
    """(family, instruction, input, "1" for the first of its kind) -> True where it is right.

    Every task that the run's student was asked and that can be checked.
    """
    marks: dict[tuple[str, ...], bool] = {}
    seen = Counter[tuple[str, ...]]()
    for one in read_json_lines(path / "evaluation" / "answers.jsonl"):
        if one.get("from") == "tasks" and "student_right" in one:
            question = (str(one.get("family", "")), str(one["instruction"]), str(one["input"]))
            seen[question] += 1
            marks[(*question, str(seen[question]))] = bool(one["student_right"])
    return marks


def as_json(state: State) -> JsonObject:
    """The state as plain values; `state_from` is its inverse."""
    return asdict(state)


def state_from(data: JsonObject) -> State:
    """The state that was stored; RunConflict for one of a later release."""
    if data.get("version") != VERSION:
        raise RunConflict(
            f"improve/state.json: expected version {VERSION}, found {data.get('version')!r}.",
            "It was written by another release: use that one, or begin again with --fresh.",
        )
    rounds = tuple(
        Round(
            **{
                **one,
                "sides": tuple(WeakSide(**side) for side in one["sides"]),
                "unreached": tuple(one["unreached"]),
                "gain": _gain_from(one["gain"]),
                "total": _gain_from(one["total"]),
            }
        )
        for one in data["rounds"]
    )
    return State(data["run"], data["origin"], rounds, data["ended"])


def _gain_from(data: JsonObject | None) -> Gain | None:
    if data is None:
        return None
    low, high = data["interval"]
    return Gain(**{**data, "interval": (low, high), "weak": _gain_from(data["weak"])})
