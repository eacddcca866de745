"""`localinstruct topics`: a teacher grows a tree of topics in a file that a person edits."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import AllowHost, Json, Sealed

if TYPE_CHECKING:
    from localinstruct.models.catalog import ModelSpec
    from localinstruct.records import Completion, Prompt
    from localinstruct.topics.tree import Branch

    Ask = Callable[[list[Prompt]], list[Completion]]

app = typer.Typer(no_args_is_help=True, help="Trees of topics that rows are spread over.")
TopicFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="A YAML file of topics; begun with --about if it is not there."
    ),
]
Teacher = Annotated[
    str, typer.Option("--teacher", metavar="MODEL", help="A chat model from models.yaml.")
]
About = Annotated[
    str, typer.Option("--about", metavar="TEXT", help="The topic at the top of a new file.")
]
Branching = Annotated[int, typer.Option(min=1, max=50, help="Topics below each one, at most.")]
Depth = Annotated[int, typer.Option(min=1, max=5, help="Levels below the topics at the top.")]


@app.callback()
def topics() -> None:
    """Trees of topics that rows are spread over."""


@app.command("grow")
def topics_grow(
    file: TopicFile,
    teacher: Teacher,
    about: About = "",
    branching: Branching = 5,
    depth: Depth = 2,
    json: Json = False,
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Have a model name subtopics where a topic has fewer than --branching.

    The topics and comments in FILE stay as they are.
    """
    from localinstruct.evaluation.comparison import require_chat_model
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_workspace
    from localinstruct.store.durable import require_writable

    text = initial_text(file, about)
    require_writable(file)
    missing = incomplete_topics(text, file, branching, depth)
    if not missing:
        if json:
            console.as_json({"file": str(file), "added": 0, "not_used": {}})
            return
        console.line(f"{file}: every topic has {branching} below it already, down to level {depth}")
        return
    require_growable(text, file, missing)
    spec = require_chat_model(load_catalog(find_workspace(Path.cwd())).get(teacher), "--teacher")
    with _served(spec) as ask:
        added, dropped = grow(file, text, branching, depth, ask)
    if json:
        console.as_json({"file": str(file), "added": added, "not_used": dict(dropped)})
        return
    reasons = "; ".join(f"{count} {reason}" for reason, count in dropped.items())
    console.line(f"{added} topics added to {file}" + (f"; not used: {reasons}" if reasons else ""))
    console.note(
        f"Read it, delete and reword what you like, then in a recipe: coverage: {{topics: {file}}}"
    )


@contextmanager
def _served(spec: "ModelSpec") -> "Iterator[Ask]":
    """The model, served for as long as the context lasts, as a function that answers prompts."""
    from localinstruct.teacher import Sampling, Serve
    from localinstruct.teacher.serving import answer_all, serving

    with (
        console.progress() as progress,
        tempfile.TemporaryDirectory(prefix="topics-") as home,
        serving(spec, Serve(), Path(home), progress) as connect,
    ):

        def ask(prompts: "list[Prompt]") -> "list[Completion]":
            show = partial(progress.update, "naming topics", total=len(prompts))
            return answer_all(connect, spec.name, prompts, Sampling(temperature=0.7), show)

        yield ask


def initial_text(file: Path, about: str) -> str:
    """The file's text, or that of a new file about `about`.

    UsageError where neither can be had, RecipeError for a file that is no YAML of topics.
    """
    from localinstruct.config import load_yaml
    from localinstruct.errors import UsageError
    from localinstruct.topics.tree import new_tree

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
    return new_tree(about.strip())


def incomplete_topics(text: str, file: Path, branching: int, depth: int) -> "list[Branch]":
    """The topics down to `depth` levels that have fewer than `branching` below them."""
    from localinstruct.topics.tree import branches

    upper = [branch for branch in branches(text, str(file)) if len(branch.path) <= depth]
    return [branch for branch in upper if len(branch.below) < branching]


def require_growable(text: str, file: Path, missing: "list[Branch]") -> None:
    """RecipeError, before a model starts, for a topic that can take no name where it stands."""
    from localinstruct.topics.tree import with_topics

    trial = ["a name on trial"]
    for level in {len(branch.path) for branch in missing}:
        with_topics(text, {b.path: trial for b in missing if len(b.path) == level}, str(file))


def grow(file: Path, text: str, branching: int, depth: int, ask: "Ask") -> tuple[int, Counter[str]]:
    """Ask level by level and write the file after each; (topics added, others by reason).

    TeacherError when a whole level brings nothing, UsageError when somebody else changes the file
    meanwhile.
    """
    from localinstruct.errors import TeacherError
    from localinstruct.store.durable import write_text
    from localinstruct.topics.tree import new_names, subtopics_prompt, with_topics

    total, dropped, before = 0, Counter[str](), text if file.exists() else None
    for level in range(1, depth + 1):
        incomplete = incomplete_topics(text, file, branching, depth)
        due = {b: branching - len(b.below) for b in incomplete if len(b.path) == level}
        replies = ask([subtopics_prompt(*each) for each in due.items()]) if due else []
        more = {}
        for (branch, count), reply in zip(due.items(), replies, strict=True):
            more[branch.path], reasons = new_names(reply, branch, count)
            dropped += reasons
        added = sum(map(len, more.values()))
        if due and not added:
            why = ", ".join(f"{count} {reason}" for reason, count in dropped.items())
            raise TeacherError(
                f"None of {len(due)} replies named a new topic on level {level}: {why}.",
                "Try a stronger teacher, or a smaller --branching.",
            )
        text, total = with_topics(text, more, str(file)), total + added
        require_unchanged(file, before)
        write_text(file, text)
        before = text
    return total, dropped


def require_unchanged(file: Path, before: str | None) -> None:
    """UsageError when the file differs from what was read or written last; one level is lost."""
    from localinstruct.errors import UsageError

    now = file.read_bytes().decode(errors="replace") if file.exists() else None
    if now != before:
        raise UsageError(
            f"{file}: somebody changed it meanwhile, so it was left as it is now.",
            "Run the same command again.",
        )
