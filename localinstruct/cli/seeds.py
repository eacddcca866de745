"""`localinstruct seeds`: problems of a seed file, and better wordings to review.

They are found before a run costs a night. A teacher never changes a seed file: `improve` writes a
review beside it, a person cuts and mends it, `apply` does what is left. Not covered: seeds that say
the same in other words (`novelty` compares by meaning, in a run).
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import (
    PASTE_COLUMNS,
    AllowHost,
    Columns,
    Encoding,
    Json,
    OnBadRow,
    Sealed,
    SealedAlone,
    reading_of,
)
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.formats.review import Change
    from localinstruct.records import Completion, Instance, Prompt

app = typer.Typer(
    no_args_is_help=True, help="Seed files: what is wrong with them, and better wordings to review."
)
SeedFile = Annotated[Path, typer.Argument(help="A seed file in any format that a recipe reads.")]
SeedLines = Annotated[
    Path, typer.Argument(metavar="FILE", help="A seed file, one JSON object a line.")
]
ReviewFile = Annotated[
    Path, typer.Argument(metavar="REVIEW", help="What `seeds improve` wrote and you reviewed.")
]
Teacher = Annotated[
    str, typer.Option("--teacher", metavar="MODEL", help="A chat model from models.yaml.")
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Default: FILE.review.txt")]
MaxTokens = Annotated[int, typer.Option(min=16, help="Output tokens of one wording, at most.")]


@app.command("check")
def seeds_check(
    file: SeedFile,
    columns: Columns = None,
    encoding: Encoding = None,
    on_bad_row: OnBadRow = "stop",
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """List seeds that are repeated, and seeds that the default filters would reject.

    Exit code 2 where there are any. What reading the file repaired or left out is said.
    """
    from localinstruct.formats import Reader

    reading = reading_of(columns, encoding, on_bad_row)
    reader = Reader(file, reading, first_instance_only=True, paste=PASTE_COLUMNS)
    rows = list(reader)
    table = problems(rows)
    if json:
        named = [{"seed": int(s), "problem": p, "instruction": i} for s, p, i in table]
        read = reader.report.as_result()
        console.as_json({"seeds": len(rows), "problems": named, "reading": read})
    else:
        for sentence in reader.report.sentences():
            console.note(sentence)
        if table:
            console.table(("seed", "problem", "instruction"), table)
        wrong = len({seed for seed, _, _ in table})
        console.line(f"{len(rows)} seeds read, {wrong} with a problem")
    if table:
        raise typer.Exit(2)


@app.command("improve")
def seeds_improve(
    file: SeedLines,
    teacher: Teacher,
    output: Output = None,
    max_tokens: MaxTokens = 512,
    json: Json = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Ask a model for a clearer wording of every seed, for a person to review.

    FILE stays as it is.
    """
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.formats import review, write_text
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.teacher import Sampling
    from localinstruct.teacher.serving import ask_all

    target = output or file.with_name(f"{file.name}.review.txt")
    require_no_review(target)
    rows = review.lines_of(_text(file), str(file))
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(teacher), "--teacher")
    prompts = [wording_prompt(row) for row in rows.values()]
    sampling = Sampling(temperature=0.7, max_tokens=max_tokens)
    with console.progress() as progress:
        replies = ask_all(spec, prompts, sampling, progress, "rewriting seeds")
    changes, dropped = usable_wordings(rows, replies)
    write_text(target, review.to_text(changes, str(file), teacher))
    if json:
        counts = {"seeds": len(rows), "wordings": len(changes), "not_offered": dropped}
        console.as_json({"review": str(target), **counts})
        return
    rest = f"; not offered: {dropped}" if dropped else ""
    console.line(f"{len(changes)} new wordings for {len(rows)} seeds in {target}{rest}")
    command = f"localinstruct seeds apply {file} {target}"
    console.note(f"Read them, delete or mend what you dislike, then: {command}")


@app.command("apply")
def seeds_apply(
    file: SeedLines, review_file: ReviewFile, json: Json = False, sealed: SealedAlone = False
) -> None:
    """Put the reviewed wordings into FILE.

    Nothing is written where a line of FILE differs from the one that was reviewed.
    """
    from localinstruct.formats import review, write_text

    changes = review.read(_text(review_file), str(review_file))
    write_text(file, review.apply(_text(file), changes, str(file)))
    if json:
        console.as_json({"file": str(file), "reworded": len(changes)})
        return
    console.line(f"{len(changes)} seeds of {file} reworded")
    check = f"localinstruct seeds check {file}"
    console.note(f"Their answers stayed as they were. Look for new repetitions: {check}")


def wording_prompt(row: JsonObject) -> "Prompt":
    """The prompt of the method `rewrite` for one line of a seed file and its first input."""
    from localinstruct.methods.rewrite import rewrite_prompt

    instances = row.get("instances")
    first = instances[0] if isinstance(instances, list) and instances else None
    source = first if isinstance(first, dict) else row
    return rewrite_prompt("rewrite", row["instruction"], str(source.get("input") or "(none)"))


def usable_wordings(
    rows: dict[int, JsonObject], replies: "list[Completion]"
) -> "tuple[list[Change], str]":
    """(wordings that can be used, counts of the others by reason)."""
    from localinstruct.formats.review import Change
    from localinstruct.methods.rewrite import wording, wording_problem

    changes, reasons = [], Counter[str]()
    for (line, row), reply in zip(rows.items(), replies, strict=True):
        before, after = row["instruction"], wording(reply)
        if (problem := wording_problem(before, after, reply)) is not None:
            reasons[problem] += 1
        else:
            changes.append(Change(line, before, after))
    return changes, ", ".join(f"{count} {reason}" for reason, count in reasons.items())


def require_no_review(target: Path) -> None:
    """UsageError for a review that is there already, perhaps edited, or cannot be written."""
    from localinstruct.errors import UsageError
    from localinstruct.store.durable import require_writable

    if target.exists():
        raise UsageError(
            f"{target}: is there already, perhaps half reviewed.",
            "Move it away, or name another: --output FILE",
        )
    require_writable(target)


def _text(file: Path) -> str:
    from localinstruct.errors import DataError
    from localinstruct.formats import Malformed
    from localinstruct.formats.strict_json import decode

    try:
        return decode(file.read_bytes())
    except Malformed as problem:
        raise DataError(f"{file}:{problem.line}: {problem}") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}.") from None


def problems(rows: "list[Instance]") -> list[tuple[str, str, str]]:
    """(number, problem, beginning) of every seed that repeats another or fails a filter."""
    from localinstruct.curate.filters import Filters, examine

    first_numbers: dict[str, int] = {}
    table = []
    for number, row in enumerate(rows, 1):
        task = " ".join(f"{row.instruction}\n{row.input}".casefold().split())
        first = first_numbers.setdefault(task, number)
        if first != number:
            table.append((str(number), f"the same as seed {first}", row.instruction[:60]))
        if (reject := examine(row, Filters()).reject) is not None:
            table.append((str(number), reject.reason, row.instruction[:60]))
    return table
