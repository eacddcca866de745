"""A cleaning from beginning to end: files in, rows that stay out, every decision beside them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.cleaning import steps
from localinstruct.cleaning.decisions import FILE, Decisions, opened
from localinstruct.cleaning.output import write_kept
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.steps import Source
from localinstruct.errors import DataError, UsageError
from localinstruct.formats.read import files_of
from localinstruct.progress import Progress
from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256

TO_STAY = steps.TO_STAY


@dataclass(frozen=True, slots=True)
class Job:
    """One cleaning: files in, a file out, and what a row must be to stay."""

    files: Sequence[Path]
    output: Path
    format: str
    settings: Clean
    encoder: Path | None
    """Directory of the encoder; None where rows are compared letter by letter."""
    most_rows: int | None = None
    """Rows that are read of each file: all, or so many for a look."""
    sources: Sequence[Source] | None = None
    """Where the rows come from, in place of the files."""

    @property
    def folder(self) -> Path:
        """Where the decisions lie."""
        return folder_of(self.output)


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a cleaning, in counts of rows."""

    read: int
    """Rows that could be read."""
    unread: int
    kept: int
    dropped: dict[str, int]
    """Reason -> rows, in the order of the steps, the unreadable ones first."""
    repaired: dict[str, int] = field(default_factory=dict)
    """Repair -> rows, of those that stay."""
    facts: JsonObject = field(default_factory=dict)


def folder_of(output: Path) -> Path:
    """The folder of decisions of an output file."""
    return output.with_name(f"{output.name}.decisions")


def forget(output: Path) -> None:
    """Delete the decisions of an earlier cleaning; UsageError where the folder holds no such."""
    folder = folder_of(output)
    if not folder.exists():
        return
    if not (folder / FILE).is_file():
        raise UsageError(f"{folder}: expected a folder of decisions, found something else.")
    shutil.rmtree(folder)


def clean(job: Job, progress: Progress) -> Outcome:
    """Do what is not done yet of a cleaning, write its output, and count.

    DataError for files that cannot be read or that changed meanwhile, RunConflict where the folder
    of decisions belongs to another cleaning.
    """
    shape = shape_of(job)
    with opened(job.folder, shape) as store:
        given = job.sources or steps.sources(job.files, job.settings, job.most_rows)
        steps.read(store, given, job.settings, progress)

        def require_same() -> None:
            if shape_of(job) != shape:
                raise DataError(
                    f"{', '.join(map(str, job.files))}: changed while being read.",
                    "Start over with --fresh when nothing writes to it any more.",
                )

        require_same()
        if not store.count("NOT is_reference"):
            raise DataError("expected rows to clean, found none that can be read.")
        steps.find_tasks(store, job.settings, progress)
        steps.find_repeated(store, job.settings)
        if job.encoder:
            steps.find_alike(store, job.settings, job.encoder, progress)
        # lines are copied from the files, which were long unguarded
        write_kept(store, job.output, job.format, job.settings.reading, require_same)
        return outcome(store)


def shape_of(job: Job) -> JsonObject:
    """Inputs that shape a cleaning: digests of its files, and its settings."""
    paths = [*job.files, *job.settings.against]
    files = [file for path in paths for file in files_of(path)[0]]
    digests = {str(file): sha256(file) for file in [*files, *job.settings.tasks]}
    named = [[str(source.path), source.digest] for source in job.sources or ()]
    settings = job.settings.model_dump(mode="json")
    return {"files": digests, "sources": named, "rows": job.most_rows, **settings}


def outcome(store: Decisions) -> Outcome:
    """Count what a finished cleaning has decided."""
    unread = dict(
        (str(reason), int(str(count)))
        for reason, count in store.select(
            "SELECT reason, COUNT(*) FROM unread GROUP BY reason ORDER BY 2 DESC"
        )
    )
    dropped = dict(
        (str(reason), int(str(count)))
        for reason, count in store.select(
            "SELECT reason, COUNT(*) FROM rows WHERE reason IS NOT NULL GROUP BY step, reason "
            "ORDER BY CASE step WHEN 'rules' THEN 0 WHEN 'tasks' THEN 1 WHEN 'repeated' THEN 2 "
            "ELSE 3 END, 2 DESC"
        )
    )
    repaired: dict[str, int] = {}
    for one in store.rows(f"{TO_STAY} AND changes != ''"):
        for name in one.changes:
            repaired[name] = repaired.get(name, 0) + 1
    facts = {"reading": store.facts("read"), steps.ALIKE: store.facts(steps.ALIKE)}
    return Outcome(
        store.count("NOT is_reference"),
        sum(unread.values()),
        store.count(TO_STAY),
        {**unread, **dropped},
        repaired,
        facts,
    )
