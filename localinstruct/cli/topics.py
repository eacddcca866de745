"""`localinstruct topics`: a tree of topics that a teacher grows, level by level, in a file that a
person edits."""

import tempfile
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, Sealed

if TYPE_CHECKING:
    from localinstruct.records import Completion, Prompt
    from localinstruct.topics.tree import Branch

    Ask = Callable[[list[Prompt]], list[Completion]]

app = typer.Typer(no_args_is_help=True, help="Trees of topics that rows are spread over.")


@app.callback()
def topics() -> None:
    """Trees of topics that rows are spread over."""


@app.command("grow")
def topics_grow(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A YAML file of topics; begun with --about if it is not there."
        ),
    ],
    teacher: Annotated[
        str, typer.Option("--teacher", metavar="MODEL", help="A chat model from models.yaml.")
    ],
    about: Annotated[
        str, typer.Option("--about", metavar="TEXT", help="The topic at the top of a new file.")
    ] = "",
    branching: Annotated[
        int, typer.Option(min=1, max=50, help="Topics below each one, at most.")
    ] = 5,
    depth: Annotated[
        int, typer.Option(min=1, max=5, help="Levels below the topics at the top.")
    ] = 2,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Have a model name subtopics where a topic has fewer than --branching; what stands in FILE
    stays, comments as well."""
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.store.durable import require_writable
    from localinstruct.teacher import Sampling, Serve
    from localinstruct.teacher.serving import answer_all, serving

    text = begun(file, about)
    require_writable(file)
    missing = lacking(text, file, branching, depth)
    if not missing:
        if json:
            console.as_json({"file": str(file), "added": 0, "not_used": {}})
            return
        console.line(f"{file}: every topic has {branching} below it already, down to level {depth}")
        return
    require_growable(text, file, missing)
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(teacher), "--teacher")
    with (
        console.progress() as progress,
        tempfile.TemporaryDirectory(prefix="topics-") as home,
        serving(spec, Serve(), Path(home), progress) as connect,
    ):
        show = partial(progress.update, "naming topics")
        sampling = Sampling(temperature=0.7)
        added, why = grow(
            file,
            text,
            branching,
            depth,
            lambda prompts: answer_all(
                connect, teacher, prompts, sampling, partial(show, total=len(prompts))
            ),
        )
    if json:
        console.as_json({"file": str(file), "added": added, "not_used": dict(why)})
        return
    told = "; ".join(f"{count} {reason}" for reason, count in why.items())
    console.line(f"{added} topics added to {file}" + (f"; not used: {told}" if told else ""))
    console.note(
        f"Read it, delete and reword what you like, then in a recipe: coverage: {{topics: {file}}}"
    )


def begun(file: Path, about: str) -> str:
    """The file's text, or that of a new one; UsageError where neither can be had, and RecipeError
    for a file that is none."""
    from localinstruct.config import load_yaml
    from localinstruct.errors import UsageError
    from localinstruct.topics.tree import planted

    if file.exists():
        if about:
            raise UsageError(
                f"{file}: is there already; --about begins a new one.",
                "Leave --about out, or write it into the file.",
            )
        load_yaml(file)
        return file.read_bytes().decode()
    if not about.strip():
        raise UsageError(
            f"{file}: no such file.",
            f'A new one: localinstruct topics grow {file} --about "gardening" --teacher MODEL',
        )
    return planted(about.strip())


def lacking(text: str, file: Path, branching: int, depth: int) -> "list[Branch]":
    """The topics down to `depth` levels that have fewer than `branching` below them."""
    from localinstruct.topics.tree import branches

    return [
        one
        for one in branches(text, str(file))
        if len(one.path) <= depth and len(one.below) < branching
    ]


def require_growable(text: str, file: Path, missing: "list[Branch]") -> None:
    """RecipeError, before a model is started, when a topic of the file cannot take a name where it
    stands."""
    from localinstruct.topics.tree import grown

    for level in {len(one.path) for one in missing}:
        grown(
            text,
            {one.path: ["a name on trial"] for one in missing if len(one.path) == level},
            str(file),
        )


def grow(file: Path, text: str, branching: int, depth: int, ask: "Ask") -> tuple[int, Counter[str]]:
    """Ask level by level and write the file after each; how many were added, and why others were
    not.

    TeacherError when a whole level brings nothing, UsageError when somebody else changes the file
    meanwhile.
    """
    from localinstruct.errors import TeacherError
    from localinstruct.store.durable import write_text
    from localinstruct.topics.tree import grown, new_names, subtopics_prompt

    total, all_why, before = 0, Counter[str](), text if file.exists() else None
    for level in range(1, depth + 1):
        asked = [one for one in lacking(text, file, branching, depth) if len(one.path) == level]
        wanted = [branching - len(one.below) for one in asked]
        replies = (
            ask([subtopics_prompt(one, count) for one, count in zip(asked, wanted, strict=True)])
            if asked
            else []
        )
        more = {}
        for one, count, reply in zip(asked, wanted, replies, strict=True):
            more[one.path], why = new_names(reply, one, count)
            all_why += why
        added = sum(map(len, more.values()))
        if asked and not added:
            told = ", ".join(f"{count} {reason}" for reason, count in all_why.items())
            raise TeacherError(
                f"None of {len(asked)} replies named a new topic on level {level}: {told}.",
                "Try a stronger teacher, or a smaller --branching.",
            )
        text, total = grown(text, more, str(file)), total + added
        require_unchanged(file, before)
        write_text(file, text)
        before = text
    return total, all_why


def require_unchanged(file: Path, before: str | None) -> None:
    """UsageError when the file is not as it was read or written last; nothing is lost then but the
    last level."""
    from localinstruct.errors import UsageError

    now = file.read_bytes().decode(errors="replace") if file.exists() else None
    if now != before:
        raise UsageError(
            f"{file}: somebody changed it meanwhile, so it was left as it is now.",
            "Run the same command again.",
        )
