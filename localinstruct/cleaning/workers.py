"""Workers of a cleaning: who encodes texts and looks rows up in cells.

`Alone` is this process, on all its cores; `on_ray.OnRay` spreads both over a Ray cluster.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from localinstruct.cleaning.decisions import Decisions
from localinstruct.curate.cells import Here, Work
from localinstruct.curate.embeddings import Encoder

if TYPE_CHECKING:
    import numpy as np

SCRATCH = "kept.scratch"
"""Copy of the vectors of rows that stay, while neighbours are looked for."""
NEAR = "cells.i32"
"""Cells in which each row is looked up, where workers have found them."""


class Workers(Protocol):
    """What encodes texts and compares vectors for a cleaning."""

    def encoder(
        self, make: Callable[..., Encoder], directory: Path, exact: bool = False
    ) -> Encoder:
        """The encoder that `make(directory, exact=exact)` makes, here or there."""

    def cells(self, store: Decisions) -> Work:
        """The holder of the cells of a cleaning, beside the files of its store."""


class Alone:
    """No other process than this one."""

    def encoder(
        self, make: Callable[..., Encoder], directory: Path, exact: bool = False
    ) -> Encoder:
        """The encoder itself."""
        return make(directory, exact=exact)

    def cells(self, store: Decisions) -> Work:
        """All cells here, the copy of the rows that stay in a file."""
        return Here(store.folder / SCRATCH)


@runtime_checkable
class Streaming(Protocol):
    """An encoder that takes many pieces at once."""

    def stream(self, pieces: Iterable[list[str]]) -> "Iterator[np.ndarray]":
        """(k, d) float32 of each piece, in order; few of them are in memory."""


def encoded(encoder: Encoder, pieces: Iterable[list[str]]) -> "Iterator[np.ndarray]":
    """(k, d) float32 of each piece of texts, in order."""
    if isinstance(encoder, Streaming):
        return encoder.stream(pieces)
    return map(encoder.encode, pieces)
