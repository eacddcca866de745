"""A cleaning from beginning to end: files in, rows that stay out, every decision beside them."""

import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.cleaning import judging, repeated, steps
from localinstruct.cleaning.decisions import FILE, Decisions, opened
from localinstruct.cleaning.output import write_kept
from localinstruct.cleaning.ray_cluster import connected
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.steps import Source
from localinstruct.cleaning.survey import SURVEY, survey
from localinstruct.cleaning.workers import Alone, Workers
from localinstruct.errors import DataError, UsageError
from localinstruct.formats.read import files_of
from localinstruct.formats.tasks import read_tasks
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Progress
from localinstruct.records import JsonObject
from localinstruct.store.durable import sha256
from localinstruct.teacher.serving import Connect, serving

TO_STAY = steps.TO_STAY
SHOWN = (steps.RULES, steps.TASKS, repeated.REPEATED, steps.ALIKE, judging.JUDGE)
"""Steps that drop rows, in the order in which they are shown."""
IN_ORDER = f"INSTR('{' '.join(SHOWN)}', step)"
"""SQL by which steps are sorted so."""


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
    judge: ModelSpec | None = None
    """The model that grades, where the settings name a judge."""
    ray: str = ""
    """Cluster that encodes and compares: HOST:PORT, "local" for one of our own, "" for none.

    The rows that stay are the same, so a cleaning may go on with another.
    """

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
    of decisions belongs to another cleaning. A refusal before every row was read leaves no folder,
    unless it was there before.
    """
    shape, is_new = shape_of(job), not job.folder.exists()
    for path in job.settings.tasks:  # what is wrong with them is known before anything is read
        read_tasks(path)
    try:
        return _cleaned(job, shape, progress)
    except UsageError:
        if is_new and not _is_read(job.folder):
            forget(job.output)
        raise


def _is_read(folder: Path) -> bool:
    """True where an earlier step has ended: what was decided is kept for the next try."""
    with opened(folder, None) as store:
        return store.is_done("read") and store.count("NOT is_reference") > 0


def _cleaned(job: Job, shape: JsonObject, progress: Progress) -> Outcome:
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
        repeated.find_repeated(store, job.settings)
        if job.settings.keep == "best":
            _judge(store, job, progress)
            repeated.find_worse_answers(store, job.settings)
        if job.encoder and not store.is_done(steps.ALIKE):
            with _workers(job, progress) as workers:
                steps.find_alike(store, job.settings, job.encoder, progress, workers)
        _judge(store, job, progress)
        if job.encoder and job.most_rows is None:  # a look needs no report
            survey(store, job.encoder, progress)
        # lines are copied from the files, which were long unguarded
        write_kept(store, job.output, job.format, job.settings.reading, require_same)
        return outcome(store)


def _workers(job: Job, progress: Progress) -> AbstractContextManager[Workers]:
    """The workers of a job that encode and compare: this process, or a Ray cluster's."""
    if not job.ray:
        return nullcontext(Alone())
    return connected(job.ray, job.folder, progress)


def _judge(store: Decisions, job: Job, progress: Progress) -> None:
    """Have the rows graded that would stay, where there is a judge and they are not graded yet."""
    judge, spec = job.settings.judge, job.judge
    if judge is None or spec is None:
        return

    def serve() -> AbstractContextManager[Connect]:
        return serving(spec, judge.serve, job.folder, progress)

    judging.grade_rows(store, judge, serve, progress)


def shape_of(job: Job) -> JsonObject:
    """Inputs that shape a cleaning: digests of its files, and its settings."""
    given = [file for path in job.files for file in files_of(path)[0]]
    _require_once(given)
    beside = [*job.settings.against, *job.settings.tasks]
    files = [*given, *(file for path in beside for file in files_of(path)[0])]
    digests = {str(file): sha256(file) for file in files}
    named = [[str(source.path), source.digest] for source in job.sources or ()]
    settings = job.settings.model_dump(mode="json")
    judge = {"judge's files": job.judge.digest} if job.judge else {}
    return {"files": digests, "sources": named, "rows": job.most_rows, **settings, **judge}


def _require_once(files: Sequence[Path]) -> None:
    """UsageError for a file that two names lead to: every row of it would be its own copy."""
    places = set[Path]()
    for file in files:
        if file.resolve() in places:
            raise UsageError(f"{file}: is given twice.", "Name every file once.")
        places.add(file.resolve())


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
            f"ORDER BY {IN_ORDER}, 2 DESC"
        )
    )
    repaired: dict[str, int] = {}
    for one in store.rows(f"{TO_STAY} AND changes != ''"):
        for name in one.changes:
            repaired[name] = repaired.get(name, 0) + 1
    facts = {"reading": store.facts("read")}
    facts |= {step: store.facts(step) for step in (steps.ALIKE, judging.JUDGE, SURVEY)}
    return Outcome(
        store.count("NOT is_reference"),
        sum(unread.values()),
        store.count(TO_STAY),
        {**unread, **dropped},
        repaired,
        facts,
    )
