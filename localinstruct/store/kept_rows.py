"""Kept rows of a run as a sequence that lies in its store: a million of them take no memory.

A row is read when it is asked for. Rows that are kept meanwhile are in memory too.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import overload

from localinstruct.records import Instance
from localinstruct.store.run import Run


class KeptRows(Sequence[Instance]):
    """The rows that a run has when this is made, in their order, and those added since."""

    def __init__(self, run: Run) -> None:
        self._run, self._stored = run, run.count_kept()
        self._added = list[Instance]()

    def __len__(self) -> int:
        return self._stored + len(self._added)

    @overload
    def __getitem__(self, index: int) -> Instance: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Instance]: ...
    def __getitem__(self, index: int | slice) -> Instance | Sequence[Instance]:
        """Give a row, or the rows of a slice, as a list of these rows would."""
        places = range(len(self))[index]
        if not isinstance(places, int):
            return [self[place] for place in places]
        if places < self._stored:
            return self._run.kept_row(places)
        return self._added[places - self._stored]

    def __iter__(self) -> Iterator[Instance]:
        yield from islice(self._run.kept(), self._stored)
        yield from self._added

    def extend(self, rows: Iterable[Instance]) -> None:
        """Add rows that the run has just kept."""
        self._added += rows
