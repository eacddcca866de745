"""`localinstruct clean`: rows that are there already pass the gate of a run, and stay or go."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import AllowHost, Json, Sealed, require_choice
from localinstruct.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from localinstruct.cleaning.decisions import Decisions
    from localinstruct.cleaning.settings import Clean
    from localinstruct.cleaning.steps import Source
    from localinstruct.cleaning.work import Job, Outcome
    from localinstruct.progress import Progress
    from localinstruct.records import Instance, JsonObject

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILE…|RUN", help="Files, folders or patterns of rows; or a run."),
]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="File to write; its decisions go beside it."),
]
Format = Annotated[
    str,
    typer.Option("--format", help="Of the output: jsonl, alpaca, messages, sharegpt, parquet …"),
]
Rules = Annotated[
    str, typer.Option("--rules", help="Rule set: localinstruct, alpaca, self-instruct or none.")
]
Disable = Annotated[
    list[str] | None, typer.Option("--disable", metavar="RULE", help="Leave out a rule of the set.")
]
Enable = Annotated[
    list[str] | None, typer.Option("--enable", metavar="RULE", help="Add a rule to the set.")
]
Similar = Annotated[
    float,
    typer.Option(
        "--similar", min=0, max=1, help="Cosine above which a row is like another; 0 asks no model."
    ),
]
Answers = Annotated[
    int | None,
    typer.Option("--answers-per-prompt", min=1, help="Different answers to keep; default: all."),
]
Keep = Annotated[
    str, typer.Option("--keep", help="Which of rows that are alike stays: first, longest or best.")
]
Judge = Annotated[
    str,
    typer.Option(
        "--judge",
        metavar="MODEL|FILE",
        help="Have the rows that would stay graded: a chat model, or a YAML file that says more.",
    ),
]
AtLeast = Annotated[
    float | None,
    typer.Option("--at-least", metavar="GRADE", help="Drop rows that the judge grades lower."),
]
Against = Annotated[
    list[Path] | None,
    typer.Option("--against", metavar="FILE", help="Rows that are there already: drop their like."),
]
Tasks = Annotated[
    list[Path] | None,
    typer.Option("--tasks", metavar="FILE", help="Evaluation tasks that may not be in the output."),
]
Columns = Annotated[
    str,
    typer.Option(
        "--columns", metavar="NAME=COLUMN,…", help="For example instruction=question,output=reply."
    ),
]
Encoding = Annotated[str, typer.Option("--encoding", help="Of the text, where it is not UTF-8.")]
OnBadRow = Annotated[
    str, typer.Option("--on-bad-row", help="skip or stop, at a row that cannot be used.")
]
Secrets = Annotated[
    str, typer.Option("--secrets", help="Keys, card numbers …: mask, drop, report or off.")
]
Encoder = Annotated[str, typer.Option("--encoder", metavar="MODEL", help="From models.yaml.")]
Static = Annotated[
    bool,
    typer.Option("--static", help="Let a fast static encoder propose the pairs it decides."),
]
Ray = Annotated[
    str,
    typer.Option(
        "--ray",
        metavar="local|HOST:PORT",
        help="Encode and compare on a Ray cluster; local starts one here.",
    ),
]
Sample = Annotated[
    int | None,
    typer.Option("--sample", min=1, help="Read so many rows, write nothing, show what would go."),
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget the decisions made before.")]

SHOWN = 3
"""Rows shown for each reason."""


def clean(
    files: Files,
    output: Output = None,
    format: Format = "",
    rules: Rules = "localinstruct",
    disable: Disable = None,
    enable: Enable = None,
    similar: Similar = 0.9,
    answers_per_prompt: Answers = None,
    keep: Keep = "first",
    against: Against = None,
    tasks: Tasks = None,
    judge: Judge = "",
    at_least: AtLeast = None,
    columns: Columns = "",
    encoding: Encoding = "",
    on_bad_row: OnBadRow = "skip",
    secrets: Secrets = "",
    encoder: Encoder = "all-minilm-l6-v2",
    static: Static = False,
    ray: Ray = "",
    sample: Sample = None,
    fresh: Fresh = False,
    json: Json = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Clean a data set: rules, repeated and similar rows, evaluation tasks, secrets, a judge.

    Every decision is kept beside the output with its reason, and in a report. A cleaning that was
    interrupted goes on where it was: give the same command again.
    """
    require_choice("--keep", keep, ["first", "longest", "best"])
    require_choice("--on-bad-row", on_bad_row, ["skip", "stop"])
    require_choice("--rules", rules, ["localinstruct", "alpaca", "self-instruct", "none"])
    require_choice("--secrets", secrets or "mask", ["mask", "drop", "report", "off"])
    if static and not similar:
        raise UsageError(
            "--static: proposes rows that are alike, and --similar 0 asks for none.",
            "Leave one of the two out.",
        )
    filters = {"set": rules, "disable": disable or [], "enable": enable or []}
    with console.progress() as progress:  # what follows imports much
        given: JsonObject = {
            "reading": _reading(columns, encoding, on_bad_row),
            "filters": {**filters, **({"secrets": secrets} if secrets else {})},
            "similar": similar or None,
            "answers_per_prompt": answers_per_prompt,
            "keep": keep,
            "encoder": encoder,
            "static": static,
            "tasks": list(map(str, tasks or [])),
            "against": list(map(str, against or [])),
            "judge": _judge(judge, at_least),
        }
        if sample:
            show = _look(files, given, sample, json, ray, progress)
        else:
            show = _write(files, output, format, given, fresh, json, ray, progress)
    show()


def _settings(given: "JsonObject") -> "Clean":
    from localinstruct.cleaning.settings import Clean
    from localinstruct.config import parse

    return parse(Clean, given, "clean")


def _judge(name: str, at_least: float | None) -> "JsonObject | None":
    """The judge section: a model's name, or a YAML file, whose rubric may be a file beside it."""
    from localinstruct.config import load_yaml

    if not name:
        if at_least is not None:
            raise UsageError("--at-least: expected a judge as well.", "For example --judge MODEL")
        return None
    section: JsonObject = {"model": name}
    if name.endswith((".yaml", ".yml")):
        section = load_yaml(Path(name))
        grading = section.get("grading")
        rubric = grading.get("rubric") if isinstance(grading, dict) else None
        if isinstance(rubric, str) and rubric.endswith((".yaml", ".yml")):
            content = load_yaml(Path(name).parent / rubric)
            section["grading"] = {**section["grading"], "rubric": content}
    return section if at_least is None else {**section, "at_least": at_least}


def _write(
    files: Sequence[str],
    output: Path | None,
    format: str,
    given: "JsonObject",
    fresh: bool,
    json: bool,
    ray: str,
    progress: "Progress",
) -> Callable[[], None]:
    """Clean into a file; a function that shows what became of it."""
    from localinstruct.cleaning import work
    from localinstruct.formats import require_place
    from localinstruct.formats.read import files_of
    from localinstruct.report.cleaning import write_report
    from localinstruct.store.durable import require_writable
    from localinstruct.store.folder import require_outside

    if output is None:
        raise UsageError(
            "expected a file to write the rows to.",
            "For example --output clean.jsonl; --sample 500 only shows what would go.",
        )
    settings = _settings(given)
    require_outside(output, "Choose an --output elsewhere: clean.jsonl")
    require_writable(output)
    chosen = format or _format_of(output)
    named = [] if _run(files) else map(Path, files)
    paths = [*named, *settings.against, *settings.tasks]
    require_place(output, chosen, [file for path in paths for file in files_of(path)[0]])
    job = _job(files, output, chosen, settings, None, ray, progress)
    if fresh:
        work.forget(output)
    try:
        outcome = work.clean(job, progress)
        report = write_report(job, outcome)
    except KeyboardInterrupt:
        raise Interrupted(
            f"what was decided on {output} so far is kept.",
            "The same command goes on where it stopped.",
        ) from None
    if json:
        found = {**_as_json(outcome), "output": str(output), "report": str(report)}
        return lambda: console.as_json(found)

    def show() -> None:
        _show(outcome)
        rows = f"{outcome.kept:,} row{'' if outcome.kept == 1 else 's'}"
        console.line(f"{output}: {rows}. Every decision, with examples: {report}")

    return show


def _reading(columns: str, encoding: str, on_bad_row: str) -> "JsonObject":
    from localinstruct.formats import parse_columns

    given = {"columns": parse_columns(columns), "encoding": encoding or None}
    return {**given, "on_bad_row": on_bad_row}


def _look(
    files: Sequence[str],
    given: "JsonObject",
    sample: int,
    json: bool,
    ray: str,
    progress: "Progress",
) -> Callable[[], None]:
    """Clean the first rows into a folder that goes away; a function that shows what would go."""
    from localinstruct.cleaning import work
    from localinstruct.cleaning.decisions import opened

    with TemporaryDirectory(prefix="localinstruct-") as folder:
        output = Path(folder) / "rows.jsonl"
        job = _job(files, output, "jsonl", _settings(given), sample, ray, progress)
        outcome = work.clean(job, progress)
        with opened(job.folder, None) as store:
            examples = [one for reason in outcome.dropped for one in _examples(store, reason)]
    if json:
        return lambda: console.as_json(_as_json(outcome))

    def show() -> None:
        _show(outcome)
        for example in examples:
            console.line(f"  {example}")
        console.line(f"A look at the first {sample:,} rows; nothing was written.")

    return show


def _examples(store: "Decisions", reason: str) -> list[str]:
    """A few rows that would go for this reason, a line for each."""
    quoted = reason.replace("'", "''")
    found = islice(store.rows(f"reason = '{quoted}'"), SHOWN)
    return [
        f"{reason}{f' ({one.detail})' if one.detail else ''}, {Path(one.file).name}:{one.line}: "
        f"{_short(one.row)}"
        for one in found
    ]


def _job(
    files: Sequence[str],
    output: Path,
    format: str,
    settings: "Clean",
    sample: int | None,
    ray: str,
    progress: "Progress",
) -> "Job":
    from localinstruct.cleaning.ray_cluster import require_ray
    from localinstruct.cleaning.work import Job
    from localinstruct.curate.static import require_model2vec
    from localinstruct.formats import EXPORTS
    from localinstruct.models.catalog import checked, load_catalog
    from localinstruct.recipe import find_workspace

    require_choice("--format", format, list(EXPORTS))
    if ray:
        require_ray(ray, settings, sample)
    encoder = judge = None
    if settings.similar is not None or settings.judge:
        catalog = load_catalog(find_workspace(Path.cwd()))
    if settings.similar is not None:
        if settings.static:
            require_model2vec()
        encoder = checked(catalog.get(settings.encoder))
    if settings.judge:
        from localinstruct.readiness import require_judge

        judge = require_judge(settings.judge, catalog, progress.say)
    run = _run(files)
    given = [_run_source(run)] if run else None
    paths = [] if run else [Path(name) for name in files]
    return Job(paths, output, format, settings, encoder, sample, given, judge, ray)


def _run(names: Sequence[str]) -> Path | None:
    """The folder of a run that is given in place of files."""
    from localinstruct.workspace import RUNS

    found = [
        path
        for name in names
        for path in (Path(name), RUNS / name)
        if (path / "run.sqlite").is_file()
    ]
    if found and len(names) > 1:
        raise UsageError(f"{found[0]}: expected files, or one run.", "Export the run first.")
    return found[0] if found else None


def _run_source(path: Path) -> "Source":
    from localinstruct.cleaning.steps import Source
    from localinstruct.records import digest
    from localinstruct.store.run import read_run

    def rows() -> Iterator[tuple[str, int, tuple[str, ...], list["Instance"]]]:
        with read_run(path) as run:
            for number, row in enumerate(run.kept(), 1):
                yield str(path), number, (), [row]

    with read_run(path) as run:
        ids = digest([row.id for row in run.kept()])
    return Source(path, rows, digest=ids)


def _format_of(output: Path) -> str:
    return {".parquet": "parquet", ".json": "alpaca"}.get(output.suffix.lower(), "jsonl")


def _as_json(outcome: "Outcome") -> dict[str, object]:
    return {
        "read": outcome.read,
        "unread": outcome.unread,
        "kept": outcome.kept,
        "dropped": outcome.dropped,
        "repaired": outcome.repaired,
        "judge": outcome.facts["judge"] or None,
        "diversity": outcome.facts["survey"].get("diversity"),
    }


def _show(outcome: "Outcome") -> None:
    total = outcome.read + outcome.unread
    rows = [
        (reason, f"{count:,}", f"{count / total:.1%}") for reason, count in outcome.dropped.items()
    ]
    console.line(f"{outcome.kept:,} of {total:,} rows stay.")
    if rows:
        console.table(("dropped", "rows", "share"), rows)
    if outcome.repaired:
        console.table(
            ("repaired", "rows"), [(name, f"{n:,}") for name, n in outcome.repaired.items()]
        )
    if judged := outcome.facts["judge"]:
        mean = "" if judged["mean"] is None else f", {judged['mean']:.2f} on average"
        counts = f"{judged['graded']:,} of {judged['asked']:,} rows graded{mean}"
        console.line(f"{judged['model']} by {judged['rubric']}: {counts}")
    ignored = outcome.facts.get("reading", {}).get("ignored_keys", {})
    if ignored:
        named = ", ".join(f"{key} ({count:,})" for key, count in ignored.items())
        console.note(f"Keys that nothing reads: {named}")


def _short(row: "Instance") -> str:
    text = f"{row.instruction} → {row.output}".replace("\n", " ")
    return text if len(text) <= 110 else f"{text[:109]}…"
