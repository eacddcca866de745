"""Rows of a Python program: read, cleaned, near-duplicates removed, written."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from localinstruct.api.child import OnProgress, run_in_child
from localinstruct.api.given import (
    a_mapping,
    a_path,
    a_text,
    require_callable,
    rows_of,
    speaks_python,
)
from localinstruct.config import parse
from localinstruct.curate.filters import Filters, OwnFilter, examine
from localinstruct.curate.novelty import Novelty
from localinstruct.errors import DataError, UsageError
from localinstruct.formats import (
    EXPORTS,
    Malformed,
    Reader,
    Reading,
    Report,
    require_place,
    to_instances,
    write,
)
from localinstruct.own_code import digest_of, holding, name_of
from localinstruct.recipe import find_workspace
from localinstruct.records import Instance

Row = str | Instance | Mapping[str, object]
"""A text, a row, or an object with the keys of any format that can be read."""
R = TypeVar("R", bound=Row)
Keep = Callable[[Instance], bool | str]
"""An own filter: True keeps a row, False or a text with the reason rejects it."""
FORMATS = {".jsonl": "jsonl", ".parquet": "parquet"}
"""Ending of a file -> the format it is written in when none is named."""


@speaks_python
def read_rows(
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    on_bad_row: Literal["stop", "skip"] = "stop",
    on_report: Callable[[Report], None] | None = None,
) -> list[Instance]:
    """All rows of a file, a folder or a pattern of names, in any format that a recipe reads.

    `columns` names columns that are not told from the data ({"instruction": "question"}). DataError
    names every bad line; with `on_bad_row` "skip" they are left out, and `on_report` is given what
    was skipped, repaired and not read.
    """
    require_callable(on_report, "on_report")
    named = a_mapping(columns, "columns", '{"instruction": "question"}')
    given = {"columns": named, "encoding": encoding, "on_bad_row": on_bad_row}
    reader = Reader(
        a_path(path, "path"), parse(Reading, given, "read_rows"), paste="columns={columns}"
    )
    rows = list(reader)
    if on_report is not None:
        on_report(reader.report)
    return rows


@speaks_python
def write_rows(rows: Iterable[Row], path: str | Path, format: str | None = None) -> int:
    """Write rows whole or not at all, and return how many.

    `format` is jsonl, alpaca, messages, sharegpt, parquet or preference; by default parquet or
    jsonl, as the file's name ends. DataError for a row that cannot be read or written.
    """
    place = a_path(path, "path")
    given = "" if format is None else a_text(format, "format", "alpaca")
    chosen = given or FORMATS.get(place.suffix.lower(), "")
    if not chosen:
        raise UsageError(
            f"{place}: expected a name that ends with {' or '.join(FORMATS)}, or a format.",
            f"For example format='alpaca'. Formats: {', '.join(EXPORTS)}.",
        )
    if chosen in EXPORTS:
        require_place(place, chosen)
    try:
        return write(_instances(rows), chosen, place)
    except Malformed as problem:
        raise DataError(f"{place}: {problem}") from None


@dataclass(frozen=True, slots=True)
class Dropped(Generic[R]):
    """A row that was not kept, and why: `reason` is a word to count by, `detail` about this row."""

    row: R
    reason: str
    detail: str
    like: R | None = None
    """The kept row that it resembles, where that is the reason."""
    score: float | None = None
    """How much, from 0 to 1; or the grade by a judge, on its scale."""


@dataclass(frozen=True, slots=True)
class Selection(Generic[R]):
    """Rows that were kept, in order, and each one that was dropped with its reason."""

    kept: list[R]
    dropped: list[Dropped[R]]
    threshold: float | None = None
    """Above this similarity a row was dropped, where rows were compared."""
    grades: list[float | None] = field(default_factory=list)
    """Grade of each kept row, where a judge was asked; None where it gave none in form."""

    def counts(self) -> dict[str, int]:
        """Reason -> dropped rows, most frequent first."""
        return dict(Counter(one.reason for one in self.dropped).most_common())

    def closest(self, count: int = 10) -> list[Dropped[R]]:
        """The dropped rows least like what they resemble: to choose a threshold by eye."""
        scored = [one for one in self.dropped if one.like is not None and one.score is not None]
        return sorted(scored, key=lambda one: one.score or 0.0)[:count]

    def __str__(self) -> str:
        total = len(self.kept) + len(self.dropped)
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts().items())
        return f"{len(self.kept)} of {total} rows kept" + (
            f"; dropped: {reasons}" if reasons else ""
        )


@speaks_python
def clean(
    rows: Iterable[R],
    rules: str | Mapping[str, object] = "localinstruct",
    keep: Keep | None = None,
    *,
    judge: str | Mapping[str, object] | None = None,
    progress: OnProgress | None = None,
) -> Selection[R]:
    """Rows that pass the rules of a set, in order, and the others with what is wrong with them.

    `rules` is the name of a set (localinstruct, alpaca, self-instruct, none) or a mapping of the
    recipe's `filters` section; `keep` is asked last. Every row is judged as repaired; an `Instance`
    comes back repaired and masked (`lineage.changes` says how), other rows as they were given.

    `judge` is a chat model in models.yaml, or a mapping with more ({"model": …, "at_least": 3.5,
    "grading": {…}}). A child has it grade the rows that nothing else drops: `grades`, and
    `lineage.scores` of an `Instance`. They are not stored; `localinstruct clean` does that.
    """
    example = '{"min_words": 2} or "alpaca"'
    data = {"set": rules} if isinstance(rules, str) else a_mapping(rules, "rules", example)
    filters = parse(Filters, data, "rules")
    require_callable(keep, "keep")
    if keep is not None:
        entry = holding(OwnFilter(name=name_of(keep), sha256=digest_of(keep)), keep)
        filters = filters.model_copy(update={"own": entry})
    kept, dropped = list[R](), list[Dropped[R]]()
    rows = _listed(rows)
    for row, instance in zip(rows, _instances(rows), strict=True):
        verdict = examine(instance, filters)
        if verdict.reject is None:
            kept.append(cast(R, verdict.row) if isinstance(row, Instance) else row)
        else:
            dropped.append(Dropped(row, verdict.reject.reason, verdict.reject.detail))
    return Selection(kept, dropped) if judge is None else _judged(kept, dropped, judge, progress)


def _judged(
    rows: list[R],
    dropped: list[Dropped[R]],
    judge: str | Mapping[str, object],
    progress: OnProgress | None,
) -> Selection[R]:
    """The rows that the judge leaves, with their grades; the others join `dropped`."""
    from localinstruct.cleaning.settings import Judge
    from localinstruct.worker import JudgeJob

    example = '"my-judge" or {"model": "my-judge", "at_least": 3.5}'
    data = {"model": judge} if isinstance(judge, str) else a_mapping(judge, "judge", example)
    section = parse(Judge, data, "judge")
    require_callable(progress, "progress")
    job = JudgeJob(_encodable(_instances(rows)), section, str(find_workspace(Path.cwd())))
    kept, grades = list[R](), list[float | None]()
    for row, (grade, scores, reason, detail) in zip(
        rows, run_in_child(job, progress)["rows"], strict=True
    ):
        if reason:
            dropped.append(Dropped(row, reason, detail, score=grade))
            continue
        kept.append(cast(R, row.with_scores(**scores)) if isinstance(row, Instance) else row)
        grades.append(grade)
    return Selection(kept, dropped, grades=grades)


@speaks_python
def deduplicate(
    rows: Iterable[R],
    threshold: float = 0.9,
    measure: Literal["cosine", "rouge_l"] = "cosine",
    *,
    encoder: str = "all-minilm-l6-v2",
    static: bool = False,
    progress: OnProgress | None = None,
) -> Selection[R]:
    """Rows that resemble none before them, in order, and the others with the row they resemble.

    The decision is that of the novelty gate, exact, over instruction and input; `encoder` is a name
    in models.yaml. With `static`, for very many rows, a static encoder that is distilled from it
    here proposes the pairs that it decides (extra `static`); a few near-duplicates stay then.
    """
    from localinstruct.worker import DuplicatesJob

    given = _listed(rows)
    require_callable(progress, "progress")
    a_text(encoder, "encoder", "all-minilm-l6-v2")
    asked = {"threshold": threshold, "measure": measure, "against": "kept"}
    novelty = parse(Novelty, {**asked, "text": "instruction+input", "remember": 1}, "deduplicate")
    workspace = str(find_workspace(Path.cwd()))
    job = DuplicatesJob(_encodable(_instances(given)), novelty, encoder, workspace, static)
    result = run_in_child(job, progress)
    if unseen := result["unseen"]:
        warnings.warn(_unseen(unseen, len(given), encoder), stacklevel=2)
    found = {row: rest for row, *rest in result["dropped"]}
    kept = [row for number, row in enumerate(given) if number not in found]
    dropped = [_like(given, row, *rest) for row, rest in found.items()]
    return Selection(kept, dropped, threshold)


def _unseen(unseen: int, rows: int, encoder: str) -> str:
    return (
        f"{unseen:,} of {rows:,} rows are in letters that {encoder} does not know, so they were "
        'compared for exact repetition only. Name another encoder, or use measure="rouge_l".'
    )


def _like(rows: Sequence[R], row: int, like: int, reason: str, score: float) -> Dropped[R]:
    other = rows[like]
    return Dropped(rows[row], reason, _instance(other).instruction, other, score)


def _listed(rows: Iterable[R]) -> list[R]:
    """The rows as a list; UsageError for a single row, whose letters or keys would be taken."""
    if isinstance(rows, Instance):
        raise UsageError(
            "rows: expected a list of rows, found a single Instance.",
            "Put it into a list: [row]",
        )
    return cast(list[R], list(rows_of(rows)))


def _instances(rows: Iterable[Row]) -> Iterator[Instance]:
    """Rows as instances; DataError with the number (from 1) of one that cannot be read."""
    for number, row in enumerate(_listed(rows), 1):
        try:
            yield _instance(row)
        except (Malformed, UsageError) as problem:
            raise DataError(f"row {number}: {problem}") from None


def _encodable(instances: Iterable[Instance]) -> list[Instance]:
    """Instances whose texts are Unicode; DataError with the number of one that is not."""
    rows = list(instances)
    for number, row in enumerate(rows, 1):
        try:
            f"{row.instruction}{row.input}".encode()
        except UnicodeEncodeError:
            raise DataError(f"row {number}: expected Unicode, found a lone surrogate.") from None
    return rows


def _instance(row: Row) -> Instance:
    if isinstance(row, Instance):
        return row
    if isinstance(row, str):
        return Instance(row)
    if not isinstance(row, Mapping):
        raise UsageError(f"expected a text, a row or a mapping, found {type(row).__name__}.")
    made = to_instances(dict(row))
    if len(made) != 1:
        raise UsageError(f"expected one row, found a task with {len(made)} instances.")
    return made[0]
