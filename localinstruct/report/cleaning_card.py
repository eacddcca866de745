"""The card of a data set that was cleaned, README.md, and the command that cleans it again."""

import json
import shlex

import yaml

from localinstruct import __version__
from localinstruct.cleaning.decisions import Decisions
from localinstruct.cleaning.judging import JUDGE
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.survey import SURVEY
from localinstruct.cleaning.work import Job, Outcome
from localinstruct.records import JsonObject

RULES = "docs/rules.md"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def inputs(store: Decisions) -> list[tuple[str, str]]:
    """(name, digest) of every file, or other source, that was read or compared with."""
    begun: JsonObject = json.loads(store.get("inputs") or "{}")
    return [*begun.get("files", {}).items(), *map(tuple, begun.get("sources", ()))]


def command(job: Job) -> str:
    """The command that makes the same choice of the same files."""
    settings, plain = job.settings, Clean()
    words = [*map(str, job.files), *(str(one.path) for one in job.sources or ())]
    options: list[tuple[str, object, object]] = [
        ("--output", job.output, None),
        ("--format", job.format, "jsonl"),
        ("--rules", settings.filters.set, plain.filters.set),
        *(("--disable", name, None) for name in settings.filters.disable),
        *(("--enable", name, None) for name in settings.filters.enable),
        ("--similar", settings.similar or 0, plain.similar),
        ("--answers-per-prompt", settings.answers_per_prompt, None),
        ("--keep", settings.keep, plain.keep),
        *(("--against", path, None) for path in settings.against),
        *(("--tasks", path, None) for path in settings.tasks),
        *_judge_options(settings),
        ("--columns", ",".join(f"{a}={b}" for a, b in settings.reading.columns.items()), ""),
        ("--encoding", settings.reading.encoding, None),
        ("--on-bad-row", settings.reading.on_bad_row, plain.reading.on_bad_row),
        ("--secrets", settings.filters.secrets, None),
        ("--encoder", settings.encoder, plain.encoder),
        ("--sample", job.most_rows, None),
    ]
    given = [
        word for name, value, usual in options if value != usual for word in (name, f"{value}")
    ]
    return shlex.join(["localinstruct", "clean", *words, *given])


def _judge_options(settings: Clean) -> list[tuple[str, object, object]]:
    judge = settings.judge
    if judge is None:
        return []
    if _judge_file(settings):
        return [("--judge", "judge.yaml", None)]
    return [("--judge", judge.model, None), ("--at-least", judge.at_least, None)]


def _judge_file(settings: Clean) -> str:
    """The YAML of a judge with more settings than options can say; "" for others."""
    judge = settings.judge
    if judge is None:
        return ""
    data = judge.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False) if set(data) - {"model", "at_least"} else ""


def dataset_card(job: Job, outcome: Outcome, read: list[tuple[str, str]]) -> str:
    """The card, as hubs read it; its licence is left to a person."""
    size = next((name for most, name in SIZES if outcome.kept < most), "1M<n<10M")
    lines = [
        "---",
        "license: unknown",
        "task_categories: [text-generation]",
        f"size_categories: [{size}]",
        "tags: [localinstruct, cleaned]",
        "---",
        "",
        f"# {job.output.stem}",
        "",
        f"{outcome.kept:,} of {outcome.read + outcome.unread:,} rows, chosen on the owner's "
        "machine. The licence above is `unknown`: it is that of the rows that were read, which "
        "no program here knows. Whoever passes them on looks it up and writes it there.",
        "",
        "## What was read",
        "",
        *(f"- `{name}` {digest}" for name, digest in read),
        *_table("could not be read, or dropped", outcome.dropped),
        *_table("repaired, of the rows that stay", outcome.repaired),
        "",
        "## How rows were chosen",
        "",
        *_choice(job.settings),
        *_judge(job.settings, outcome.facts.get(JUDGE, {})),
        *_diversity(outcome.facts.get(SURVEY, {}).get("diversity", {})),
        "- Not looked at: whether an answer is right"
        + (", beyond the judge's grade." if job.settings.judge else ".")
        + " Names and addresses of people.",
        "",
        "## To make it again",
        "",
        f"With localinstruct {__version__} and the files above:",
        "",
        "```sh",
        command(job),
        "```",
    ]
    if text := _judge_file(job.settings):
        lines += ["", "`judge.yaml`:", "", "```yaml", text.rstrip(), "```"]
    return "\n".join([*lines, ""])


def _table(head: str, counts: dict[str, int]) -> list[str]:
    rows = [f"| {reason} | {count:,} |" for reason, count in counts.items()]
    return ["", f"| {head} | rows |", "|---|---|", *rows] if rows else []


def _choice(settings: Clean) -> list[str]:
    filters = settings.filters
    names = ", ".join(filters.active) or "none"
    lines = [f"- Rules `{filters.set}`, version {filters.version} ({RULES}): {names}."]
    if settings.tasks:
        files = ", ".join(f"`{path.name}`" for path in settings.tasks)
        lines.append(f"- Evaluation tasks that may not be in it: {files}.")
    most = settings.answers_per_prompt
    lines.append(f"- Answers to one question: {f'at most {most}' if most else 'all that differ'}.")
    if settings.similar:
        which = {"first": "the first", "longest": "the longest answer", "best": "the best graded"}
        lines.append(
            f"- Rows are alike above a cosine of {settings.similar:g} ({settings.encoder}); of "
            f"them {which[settings.keep]} stays."
        )
    return lines


def _judge(settings: Clean, judged: JsonObject) -> list[str]:
    judge = settings.judge
    if judge is None or not judged:
        return []
    mean = judged["mean"]
    graded = f"{judged['graded']:,} of {judged['asked']:,} rows graded"
    return [
        f"- Judge: {judge.model} by `{judge.grading.rubric.name}`; {graded}"
        + ("" if mean is None else f", {mean:.2f} on average")
        + ("" if judge.at_least is None else f"; a row needs {judge.at_least:g}")
        + "."
    ]


def _diversity(measured: JsonObject) -> list[str]:
    if not measured:
        return []
    parts = {name: f"{one['score']:.3f} of {one['rows']:,}" for name, one in measured.items()}
    return [
        f"- Diversity (DCScore as a share of the rows): {parts['kept']} that stay, "
        f"{parts['random']} random ones, {parts['all']} of all."
    ]
