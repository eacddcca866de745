"""Sets of defects that others than the author of the rules wrote, and their first looks.

A set counts most at its first look: rules were mended by the kinds that it showed, and what it
shows since is an upper bound. Later sets have the classes that stood lowest. `caught_now` runs all.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks import (
    defects_fifth,
    defects_fourth,
    defects_sixth,
    defects_third,
    defects_unseen,
)
from localinstruct.curate.filters import KINDS, Filters, examine
from localinstruct.records import Instance

Row = dict[str, str]
_CLASS = {
    "non_answers": "non-answers",
    "unanswerable": "requests nobody can answer",
    "escapes": "escapes and control characters",
}


@dataclass(frozen=True)
class DefectSet:
    """One author's rows: of each class some number, and the per cent caught when they were new."""

    name: str
    rows_of: Callable[[str, int], Iterator[Row]]
    first_look: Mapping[str, float]

    def caught_now(self, count: int = 200) -> dict[str, float]:
        """Class -> per cent caught of `count` rows: rejected, repaired or masked."""
        filters, found = Filters(secret_kinds=list(KINDS)), dict[str, float]()
        for name in self.first_look:
            rows = [
                Instance(one["instruction"], one["input"], one["output"])
                for one in self.rows_of(name, count)
            ]
            verdicts = [examine(one, filters) for one in rows]
            hits = sum(bool(one.reject or one.repairs or one.secrets) for one in verdicts)
            found[name] = round(100 * hits / len(rows), 1)
        return found


_SECOND = {name: two for name, (_, two) in defects_unseen.FIRST_LOOK.items() if two is not None}
SETS = (
    DefectSet(
        "first",
        defects_unseen.rows_of,
        {name: one for name, (one, _) in defects_unseen.FIRST_LOOK.items()},
    ),
    DefectSet(
        "second", lambda name, count: defects_unseen.rows_of(name, count, second=True), _SECOND
    ),
    DefectSet("third", defects_third.rows_of, defects_third.FIRST_LOOK),
    DefectSet(
        "fourth",
        defects_fourth.rows_of,
        {name: first for name, (first, _) in defects_fourth.LOOKS.items()},
    ),
    DefectSet("fifth", defects_fifth.rows_of, defects_fifth.FIRST_LOOK),
    DefectSet("sixth", defects_sixth.rows_of, defects_sixth.FIRST_LOOK),
)


def looks(count: int = 200) -> dict[str, dict[str, tuple[float, float]]]:
    """Class -> set -> per cent caught at the first look, and of `count` rows now."""
    found = dict[str, dict[str, tuple[float, float]]]()
    for one in SETS:
        now = one.caught_now(count)
        for name, first in one.first_look.items():
            known = _CLASS.get(name, name.replace("_", " "))
            found.setdefault(known, {})[one.name] = (first, now[name])
    return found
