"""Other runs and files mixed into the dataset (`dataset.from`), with the source of every row.

Rows of a source are taken whole, up to max_rows, or in the proportion of the weights, drawn by seed
and content. A row that asks what a row of an earlier source asks is dropped: exactly (instruction
and input), or by cosine of embeddings, in one matrix product per block, exact. Rows of files pass
the gate that generated rows have passed: the recipe's rules, and likeness to each other. Rows of
runs are not asked again. Not covered: weights among the run's own rows; they always come first, and
whole.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.config import listing, raise_together
from localinstruct.curate.contamination import answers, question
from localinstruct.curate.duplicates import SIMILAR, duplicates
from localinstruct.curate.embeddings import Encoder, encode_in_blocks
from localinstruct.curate.filters import Filters, examine, for_files
from localinstruct.curate.novelty import Novelty
from localinstruct.curate.sight import not_compared
from localinstruct.dataset.reviewed import state_of_reviews
from localinstruct.dataset.rows import OWN, RunRows
from localinstruct.errors import DataError
from localinstruct.formats import Reader, Report, files_of
from localinstruct.progress import Progress, Silent
from localinstruct.recipe.dataset import Dataset, Source
from localinstruct.records import Instance, JsonObject, Reject, digest
from localinstruct.store.durable import sha256
from localinstruct.store.run import read_run

if TYPE_CHECKING:
    import numpy as np

SILENT = Silent()
BLOCK = 1024
LOOKED_AT = 2_000
"""Rows of a file that are read before anything starts."""


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
    reading: JsonObject = field(default_factory=dict)
    """Counts of a file's reading: rows skipped, repairs, keys that were not read."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Rows of all sources, with the counts of each and the rejects."""

    rows: list[Instance]
    """Rows taken, the run's own first."""
    source_of: dict[str, str]
    """Row's id -> its source."""
    contributions: list[Contribution]
    rejects: list[Reject]
    of_files: set[str] = field(default_factory=set)
    """Ids of the rows that files brought; of these, several answers to a question may be kept."""

    def as_result(self) -> list[JsonObject]:
        """The counts per source as plain values."""
        return [asdict(contribution) for contribution in self.contributions]


def require_sources(section: Dataset, workspace: Path, progress: Progress = SILENT) -> None:
    """DataError that names every source that is neither a run nor a file.

    The first rows of every file are read: what cannot be used is known, and what will be repaired
    or left out is said, before anything starts.
    """
    missing = [source.path for source in section.sources if _place(source, workspace) is None]
    if missing:
        absent = listing([f"{path}: no such run or file" for path in missing])
        raise DataError(
            f"dataset.from: {absent}",
            "Paths are relative to this directory or to the recipe's workspace.",
        )
    problems = list[DataError]()
    for source in section.sources:
        place = _place(source, workspace)
        if place is not None and not _is_run(place):
            try:
                reader = _reader(source, place, most_rows=LOOKED_AT)
                for _ in reader:
                    pass
                for sentence in reader.report.sentences():
                    looked_at = f"the first {reader.report.rows:,} rows of {source.path}"
                    progress.say(f"{looked_at}: {sentence}")
            except DataError as problem:
                problems.append(problem)
    raise_together(problems)


def state_of(section: Dataset, workspace: Path) -> list[str]:
    """A digest of every source's content, so that a changed source makes the stage run again."""
    places = [_place(source, workspace) for source in section.sources]
    return [_digest(place) if place else "missing" for place in places]


def asks_rules(section: Dataset, filters: Filters, workspace: Path) -> bool:
    """True where rows of files are mixed in, which pass the recipe's rules."""
    places = [_place(source, workspace) for source in section.sources]
    return filters.version > 1 and any(place and not _is_run(place) for place in places)


def mix(
    own: Sequence[Instance],
    section: Dataset,
    seed: int,
    workspace: Path,
    encoder: Encoder | None,
    progress: Progress,
    filters: Filters | None = None,
) -> Mixture:
    """The run's own rows and those of every source.

    Rows of files pass the rules, as generated rows did before they were kept; those of version 1
    looked at generated rows only. Without an encoder only exact repetitions are dropped.
    """
    pools = pools_of(section, workspace, progress)
    counts = amounts([len(pool) for pool, _ in pools], section.sources)
    chosen = [_Chosen(OWN, len(own), list(own))]
    for source, (pool, report), count in zip(section.sources, pools, counts, strict=True):
        drawn = sorted(pool, key=lambda row: digest([seed, row.id]))[:count]
        chosen.append(_Chosen(source.path, len(pool), drawn, report))
    rules = for_files(filters) if filters is not None and filters.version > 1 else None
    return _joined(chosen, section, encoder, progress, rules)


def pools_of(
    section: Dataset, workspace: Path, progress: Progress
) -> list[tuple[list[Instance], Report | None]]:
    """All rows of every source, with what reading a file has met.

    DataError for one that is missing or cannot be read.
    """
    require_sources(section, workspace)
    places = [(source, place) for source in section.sources if (place := _place(source, workspace))]
    return [_rows(source, place, progress) for source, place in places]


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The rows asked of a source, and what reading them met where it is a file."""

    name: str
    has: int
    rows: list[Instance]
    report: Report | None = None

    @property
    def is_file(self) -> bool:
        """True for rows that no run has looked at."""
        return self.report is not None


def _examined(
    one: _Chosen, rules: Filters | None, progress: Progress
) -> tuple[_Chosen, list[Reject]]:
    """The rows of a file as the rules leave and repair them, and rejects."""
    if rules is None or not one.is_file:
        return one, []
    rows, rejects = list[Instance](), list[Reject]()
    for number, row in enumerate(one.rows, 1):
        verdict = examine(row, rules)
        if verdict.reject is None:
            rows.append(verdict.row)
        else:
            rejects.append(verdict.reject)
        if number % 500 == 0:
            progress.update(f"rules, {one.name}", number, len(one.rows))
    return replace(one, rows=rows), rejects


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
    chosen: list[_Chosen],
    section: Dataset,
    encoder: Encoder | None,
    progress: Progress,
    rules: Filters | None,
) -> Mixture:
    mixed = Mixture([], {}, [], [])
    seen: set[object] = set()
    near = None
    if encoder is not None and section.similar:
        near = _Near(encoder, section.similar, progress)
    for given in chosen:
        one, rejects = _examined(given, rules, progress)
        fresh, repeated = _exact(one, seen)
        rejects += repeated
        if near is not None:
            fresh, close = near.apart(fresh, one.name, among=rules is not None and one.is_file)
            rejects += close
        seen.update(question(row) for row in fresh)
        mixed.rows.extend(fresh)
        mixed.source_of.update((row.id, one.name) for row in fresh)
        dropped = dict(Counter(reject.reason for reject in rejects))
        reading: JsonObject = {}
        if one.report is not None:
            mixed.of_files.update(row.id for row in fresh)
            rejects = one.report.rejects + rejects
            reading = one.report.as_result()
        mixed.rejects.extend(rejects)
        contribution = Contribution(one.name, one.has, len(one.rows), len(fresh), dropped, reading)
        mixed.contributions.append(contribution)
    return mixed


def _exact(one: _Chosen, seen: set[object]) -> tuple[list[Instance], list[Reject]]:
    """Rows whose question no earlier source asks, and rejects; the run's own rows are all kept.

    Within a file, rows that ask the same and are answered differently stay.
    """
    if one.name == OWN:
        return list(one.rows), []
    fresh, rejects, known = list[Instance](), list[Reject](), set[object]()
    for row in one.rows:
        asked = question(row)
        this = (*asked, *answers(row)) if one.report is not None else asked
        if asked in seen or this in known:
            reason = "in another source" if asked in seen else "twice in its source"
            rejects.append(Reject("mix", reason, row.instruction, one.name))
            continue
        known.add(this)
        fresh.append(row)
    return fresh, rejects


class _Near:
    """Embeddings of the rows taken from earlier sources."""

    def __init__(self, encoder: Encoder, threshold: float, progress: Progress) -> None:
        self._encoder, self._threshold, self._progress = encoder, threshold, progress
        self._earlier: np.ndarray | None = None  # (n, d) float32, unit rows

    def apart(
        self, rows: list[Instance], name: str, among: bool = False
    ) -> tuple[list[Instance], list[Reject]]:
        """Rows that resemble none of an earlier source, and rejects for the others.

        With `among` they are compared with each other too, different answers to one question
        excepted. The rows are remembered for the sources to come.
        """
        import numpy as np

        if not rows:
            return rows, []
        texts = ["\n".join([*_before(row), row.instruction, row.input]) for row in rows]
        activity = f"embedding {name}"
        vectors = encode_in_blocks(
            self._encoder, texts, lambda count: self._progress.update(activity, count, len(texts))
        )
        if hidden := int((~vectors.any(axis=1)).sum()):
            what = f"of {len(texts):,} rows of {name}"
            self._progress.say(not_compared(hidden, what, "dataset.similar"))
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
        if not among:
            return fresh, close
        novelty = Novelty(threshold=self._threshold, text="instruction+input", against="kept")
        found = duplicates(fresh, kept, novelty)
        alike = {one.row: one for one in found if one.reason == SIMILAR}
        for number, one in alike.items():
            reason, detail = "like a row of its source", fresh[one.like].instruction
            close.append(Reject("mix", reason, fresh[number].instruction, detail, one.score))
        left = [row for number, row in enumerate(fresh) if number not in alike]
        return left, close

    def _nearest(self, vectors: "np.ndarray") -> "np.ndarray":
        """(m,) largest cosine of each of (m, d) with an earlier row, -1 where there is none."""
        import numpy as np

        if self._earlier is None or not len(self._earlier):
            return np.full(len(vectors), -1.0, dtype=np.float32)
        blocks = [vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK)]
        return np.concatenate([(block @ self._earlier.T).max(axis=1) for block in blocks])


def _before(row: Instance) -> list[str]:
    """Texts that stand before a row's task: its system prompt and earlier turns."""
    return [text for text in (row.system, *(turn.content for turn in row.history)) if text]


def _place(source: Source, workspace: Path) -> Path | None:
    """The run's directory, or the place of a source's files, seen from here or the workspace."""
    for path in (Path(source.path), workspace / source.path):
        if path.exists() or _is_pattern(path):
            return path
    return None


def _is_pattern(path: Path) -> bool:
    """Tell a pattern of names that some file bears."""
    try:
        return bool(files_of(path)[0])
    except DataError:
        return False


def _is_run(place: Path) -> bool:
    return (place / "run.sqlite").is_file()


def _reader(source: Source, place: Path, most_rows: int | None = None) -> Reader:
    entry = f"[{{path: {source.path}, columns: {{columns}}}}]"
    return Reader(
        place,
        source,
        needs_answer=True,
        most_rows=most_rows,
        paste=f"--set 'dataset.from={entry}'",
    )


def _rows(source: Source, place: Path, progress: Progress) -> tuple[list[Instance], Report | None]:
    """(rows of a source, what reading them met where it is no run)."""
    if not _is_run(place):
        reader = _reader(source, place)
        rows = list(reader)
        for sentence in reader.report.sentences():
            progress.say(f"{source.path}: {sentence}")
        return rows, reader.report
    with read_run(place) as run:
        return list(RunRows(run).as_reviewed()), None


def _digest(place: Path) -> str:
    if _is_run(place):
        with read_run(place) as run:
            reviews = state_of_reviews(run.path)
            return digest([run.kept_ids(), reviews] if reviews else run.kept_ids())
    files = files_of(place)[0]
    return sha256(files[0]) if files == [place] else digest([[str(f), sha256(f)] for f in files])
