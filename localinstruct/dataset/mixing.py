"""Other runs and files mixed into the dataset (`dataset.from`), with the source of every row.

Rows of a source are taken whole, up to max_rows, or in the proportion of the weights, drawn by seed
and content. A row that asks what a row of an earlier source asks is dropped: exactly (instruction
and input), or by cosine of embeddings, in one matrix product per block, exact. Within one source
nothing is compared by cosine: its own rules decided there. Not covered: weights among the run's own
rows; they always come first, and whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.config import listing
from localinstruct.curate.contamination import fingerprint
from localinstruct.curate.embeddings import Encoder, encode_in_blocks
from localinstruct.dataset.rows import OWN, RunRows
from localinstruct.errors import DataError
from localinstruct.formats import read_instances
from localinstruct.progress import Progress
from localinstruct.recipe.dataset import Dataset, Source
from localinstruct.records import Instance, JsonObject, Reject, digest
from localinstruct.store.durable import sha256
from localinstruct.store.run import read_run

if TYPE_CHECKING:
    import numpy as np

BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Contribution:
    """The rows of one source."""

    source: str
    has: int
    """Rows in the source."""
    asked: int
    """Rows asked of it."""
    taken: int
    dropped: dict[str, int]
    """Reason -> rows dropped for it."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Rows of all sources, with the counts of each and the rejects."""

    rows: list[Instance]
    """Rows taken, the run's own first."""
    source_of: dict[str, str]
    """Row's id -> its source."""
    contributions: list[Contribution]
    rejects: list[Reject]

    def as_result(self) -> list[JsonObject]:
        """The counts per source as plain values."""
        return [asdict(contribution) for contribution in self.contributions]


def require_sources(section: Dataset, workspace: Path) -> None:
    """DataError that names every source that is neither a run nor a file."""
    missing = [source.path for source in section.sources if _place(source, workspace) is None]
    if missing:
        problems = listing([f"{path}: no such run or file" for path in missing])
        raise DataError(
            f"dataset.from: {problems}",
            "Paths are relative to this directory or to the recipe's workspace.",
        )


def state_of(section: Dataset, workspace: Path) -> list[str]:
    """A digest of every source's content, so that a changed source makes the stage run again."""
    places = [_place(source, workspace) for source in section.sources]
    return [_digest(place) if place else "missing" for place in places]


def mix(
    own: Sequence[Instance],
    section: Dataset,
    seed: int,
    workspace: Path,
    encoder: Encoder | None,
    progress: Progress,
) -> Mixture:
    """The run's own rows and those of every source.

    Without an encoder only exact repetitions are dropped.
    """
    require_sources(section, workspace)
    pools = [_rows(place) for source in section.sources if (place := _place(source, workspace))]
    counts = amounts([len(pool) for pool in pools], section.sources)
    chosen = [(OWN, len(own), list(own))]
    for source, pool, count in zip(section.sources, pools, counts, strict=True):
        drawn = sorted(pool, key=lambda row: digest([seed, row.id]))[:count]
        chosen.append((source.path, len(pool), drawn))
    return _joined(chosen, section, encoder, progress)


def amounts(has: Sequence[int], sources: Sequence[Source]) -> list[int]:
    """Rows that each source gives: all, at most max_rows, or in proportion to its weight.

    Weights are kept to exactly by the source that runs out first.
    """
    most = [min(n, source.max_rows or n) for n, source in zip(has, sources, strict=True)]
    weighted = [n / source.weight for n, source in zip(most, sources, strict=True) if source.weight]
    scale = min(weighted, default=0.0)
    return [
        min(n, round(source.weight * scale)) if source.weight else n
        for n, source in zip(most, sources, strict=True)
    ]


def _joined(
    chosen: list[tuple[str, int, list[Instance]]],
    section: Dataset,
    encoder: Encoder | None,
    progress: Progress,
) -> Mixture:
    mixed = Mixture([], {}, [], [])
    seen: set[object] = set()
    near = None
    if encoder is not None and section.similar:
        near = _Near(encoder, section.similar, progress)
    for name, has, rows in chosen:
        fresh, rejects = _exact(rows, seen, name)
        if near is not None:
            fresh, close = near.apart(fresh, name)
            rejects += close
        seen.update(_question(row) for row in fresh)
        mixed.rows.extend(fresh)
        mixed.source_of.update((row.id, name) for row in fresh)
        mixed.rejects.extend(rejects)
        dropped = Counter(reject.reason for reject in rejects)
        mixed.contributions.append(Contribution(name, has, len(rows), len(fresh), dict(dropped)))
    return mixed


def _exact(
    rows: Sequence[Instance], seen: set[object], name: str
) -> tuple[list[Instance], list[Reject]]:
    """Rows whose question no earlier row asks, and rejects; the run's own rows are all kept."""
    if name == OWN:
        return list(rows), []
    fresh, rejects, known = list[Instance](), list[Reject](), set(seen)
    for row in rows:
        if _question(row) in known:
            rejects.append(Reject("mix", "in another source", row.instruction, name))
            continue
        known.add(_question(row))
        fresh.append(row)
    return fresh, rejects


class _Near:
    """Embeddings of the rows taken from earlier sources."""

    def __init__(self, encoder: Encoder, threshold: float, progress: Progress) -> None:
        self._encoder, self._threshold, self._progress = encoder, threshold, progress
        self._earlier: np.ndarray | None = None  # (n, d) float32, unit rows

    def apart(self, rows: list[Instance], name: str) -> tuple[list[Instance], list[Reject]]:
        """Rows that resemble none of an earlier source, and rejects for the others.

        The rows are remembered for the sources to come.
        """
        import numpy as np

        if not rows:
            return rows, []
        texts = [
            "\n".join([*(turn.content for turn in row.history), row.instruction, row.input])
            for row in rows
        ]
        activity = f"embedding {name}"
        vectors = encode_in_blocks(
            self._encoder, texts, lambda count: self._progress.update(activity, count, len(texts))
        )
        top = self._nearest(vectors)
        is_new = top <= self._threshold
        kept = vectors[is_new]
        self._earlier = kept if self._earlier is None else np.concatenate([self._earlier, kept])
        fresh, close = list[Instance](), list[Reject]()
        for row, new, score in zip(rows, is_new, top, strict=True):
            if new:
                fresh.append(row)
            else:
                reason, cosine = "like a row of another source", round(float(score), 4)
                close.append(Reject("mix", reason, row.instruction, name, cosine))
        return fresh, close

    def _nearest(self, vectors: "np.ndarray") -> "np.ndarray":
        """(m,) largest cosine of each of (m, d) with an earlier row, -1 where there is none."""
        import numpy as np

        if self._earlier is None or not len(self._earlier):
            return np.full(len(vectors), -1.0, dtype=np.float32)
        blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
        return np.concatenate([(block @ self._earlier.T).max(axis=1) for block in blocks])


def _question(row: Instance) -> object:
    return (row.history, *fingerprint(row))


def _place(source: Source, workspace: Path) -> Path | None:
    """The run's directory or the file of a source, seen from here or from the workspace."""
    for path in (Path(source.path), workspace / source.path):
        if path.is_file() or (path / "run.sqlite").is_file():
            return path
    return None


def _rows(place: Path) -> list[Instance]:
    if place.is_file():
        return read_instances(place)
    with read_run(place) as run:
        return list(RunRows(run))


def _digest(place: Path) -> str:
    return sha256(place) if place.is_file() else digest([row.id for row in _rows(place)])
