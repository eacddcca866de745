"""`localinstruct seeds`: what is wrong with a seed file before a run costs a night, and better
wordings for a person to review.

A teacher never changes a seed file: `improve` writes a review beside it, a person cuts and mends
it, `apply` does what is left. Not covered: seeds that say the same in other words (`novelty`
compares by meaning, in a run).
"""

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, Sealed, SealedAlone

if TYPE_CHECKING:
    from localinstruct.formats.review import Change
    from localinstruct.records import Completion, Instance, Prompt

app = typer.Typer(
    no_args_is_help=True, help="Seed files: what is wrong with them, and better wordings to review."
)
SeedLines = Annotated[
    Path, typer.Argument(metavar="FILE", help="A seed file, one JSON object a line.")
]


@app.command("check")
def seeds_check(
    file: Annotated[Path, typer.Argument(help="A seed file in any format that a recipe reads.")],
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Seeds that are repeated, and seeds that the default filters would reject. Exit code 2 where
    there are any."""
    from localinstruct.formats import read_instances

    rows = read_instances(file, first_instance_only=True)
    found = problems(rows)
    if json:
        named = [{"seed": int(s), "problem": p, "instruction": i} for s, p, i in found]
        console.as_json({"seeds": len(rows), "problems": named})
    else:
        if found:
            console.table(("seed", "problem", "instruction"), found)
        wrong = len({seed for seed, _, _ in found})
        console.line(f"{len(rows)} seeds read, {wrong} with a problem")
    if found:
        raise typer.Exit(2)


@app.command("improve")
def seeds_improve(
    file: SeedLines,
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="MODEL", help="A chat model from models.yaml.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: FILE.review.txt")
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=16, help="Output tokens of one wording, at most.")
    ] = 512,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Ask a model for clearer wordings of every seed, and write them down for a person to review;
    FILE stays as it is."""
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.formats import review, write_text
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.teacher import Sampling
    from localinstruct.teacher.serving import ask_all

    target = output or file.with_name(f"{file.name}.review.txt")
    require_free(target)
    rows = review.lines_of(_text(file), str(file))
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(teacher), "--teacher")
    prompts = [wording_prompt(row) for row in rows.values()]
    with console.progress() as progress:
        replies = ask_all(
            spec,
            prompts,
            Sampling(temperature=0.7, max_tokens=max_tokens),
            progress,
            "rewriting seeds",
        )
    changes, dropped = offered(rows, replies)
    write_text(target, review.written(changes, str(file), teacher))
    if json:
        counts = {"seeds": len(rows), "wordings": len(changes), "not_offered": dropped}
        console.as_json({"review": str(target), **counts})
        return
    left = f"; not offered: {dropped}" if dropped else ""
    console.line(f"{len(changes)} new wordings for {len(rows)} seeds in {target}{left}")
    console.note(
        f"Read them, delete or mend what you dislike, then: localinstruct seeds apply {file} "
        f"{target}"
    )


@app.command("apply")
def seeds_apply(
    file: SeedLines,
    review_file: Annotated[
        Path, typer.Argument(metavar="REVIEW", help="What `seeds improve` wrote and you reviewed.")
    ],
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Put the reviewed wordings into FILE. Nothing is written when a line says something else than
    was reviewed."""
    from localinstruct.formats import review, write_text

    changes = review.read(_text(review_file), str(review_file))
    write_text(file, review.applied(_text(file), changes, str(file)))
    if json:
        console.as_json({"file": str(file), "reworded": len(changes)})
        return
    console.line(f"{len(changes)} seeds of {file} reworded")
    console.note(
        "Their answers stayed as they were. Look for new repetitions: localinstruct seeds check "
        f"{file}"
    )


def wording_prompt(row: dict[str, Any]) -> "Prompt":
    """What the method rewrite asks, about one line of a seed file and its first input."""
    from localinstruct.methods.rewrite import asked

    instances = row.get("instances")
    first = (
        instances[0]
        if isinstance(instances, list) and instances and isinstance(instances[0], dict)
        else row
    )
    return asked("rewrite", row["instruction"], str(first.get("input") or "(none)"))


def offered(
    rows: "dict[int, dict[str, Any]]", replies: "list[Completion]"
) -> "tuple[list[Change], str]":
    """The wordings that can be used, and how many of the others failed for which reason."""
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


def require_free(target: Path) -> None:
    """UsageError when a review is there already, on which a person may have worked, or none can be
    written there."""
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
    """Number, problem and beginning of every seed that repeats an earlier one or fails a filter."""
    from localinstruct.curate.filters import Filters, first_reason

    seen: defaultdict[str, list[int]] = defaultdict(list)
    found = []
    for number, row in enumerate(rows, 1):
        earlier = seen[" ".join(f"{row.instruction}\n{row.input}".casefold().split())]
        if earlier:
            found.append((str(number), f"the same as seed {earlier[0]}", row.instruction[:60]))
        earlier.append(number)
        if (reject := first_reason(row, Filters())) is not None:
            found.append((str(number), reject.reason, row.instruction[:60]))
    return found
