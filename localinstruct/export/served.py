"""Base and student on vLLM at the same time, for a person or a program to ask.

One server for an adapter and its base, two for a student of which all weights were trained. One
process at a time serves a run's student under one label; others are told so. Not covered: a base
that is served elsewhere, as a student is trained from a directory.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from localinstruct.errors import RunInUse
from localinstruct.evaluation.answers import STUDENT, Contender, Which, trained_contender
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.store.durable import lock
from localinstruct.teacher import Serve
from localinstruct.teacher.serving import Connect, connector, server_of
from localinstruct.teacher.vllm import Server, running


@dataclass(frozen=True, slots=True)
class Served:
    """One side that answers: by which name it is asked, and where."""

    name: str
    server: Server
    connect: Connect


@contextmanager
def serving_both(
    recipe: Recipe, spec: ModelSpec, run_path: Path, label: str, progress: Progress, port: int = 0
) -> Iterator[dict[Which, Served]]:
    """Have base and student of a run answer for as long as the context lasts; a second server has
    the next port.

    `label` names the servers' logs and locks. DataError before the student is trained, ModelError
    for a base that is missing or unsafe, TeacherError when a server does not start, RunInUse when
    another process has them under this label.
    """
    student = trained_contender("the student", spec, recipe, run_path)
    require_free(run_path, label)
    with ExitStack() as stack:
        if student.adapter:
            one = stack.enter_context(
                running(_server(spec, recipe.serve, run_path, progress, label, port, student))
            )
            yield {
                "base": _served(spec, spec.name, one, recipe),
                "student": _served(spec, STUDENT, one, recipe),
            }
            return
        half = recipe.serve.model_copy(
            update={"gpu_memory_utilization": recipe.serve.gpu_memory_utilization / 2}
        )
        second = port + 1 if port else 0
        base = stack.enter_context(
            running(_server(spec, half, run_path, progress, f"{label}-base", second))
        )
        whole = student.spec.model_copy(update={"name": STUDENT})
        mine = stack.enter_context(running(_server(whole, half, run_path, progress, label, port)))
        yield {
            "base": _served(spec, spec.name, base, recipe),
            "student": _served(whole, STUDENT, mine, recipe),
        }


def require_free(run_path: Path, label: str) -> None:
    """RunInUse when another process serves this run's student under this label."""
    with (run_path / f"{label}.lock").open("a") as file:
        if not lock(file.fileno()):
            raise RunInUse(
                f"{run_path}: another process serves its student ({label}).",
                "End that one, or wait until it has ended.",
            )


def _server(
    spec: ModelSpec,
    serve: Serve,
    home: Path,
    progress: Progress,
    label: str,
    port: int,
    student: Contender | None = None,
) -> Server:
    adapters = {STUDENT: student.adapter} if student and student.adapter else None
    return server_of(spec, serve, home, progress, adapters, label, port)


def _served(spec: ModelSpec, name: str, server: Server, recipe: Recipe) -> Served:
    return Served(name, server, connector(spec, recipe.serve, server.url, server))
