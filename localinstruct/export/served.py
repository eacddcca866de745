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
from localinstruct.evaluation.answers import STUDENT, Which, trained_contender
from localinstruct.models.catalog import ModelSpec
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.store.durable import lock
from localinstruct.teacher.balancer import Place
from localinstruct.teacher.serving import Connect, connector, server_of
from localinstruct.teacher.vllm import Server, running


@dataclass(frozen=True, slots=True)
class Served:
    """A side that answers: the model name to ask for, its server, and how to connect."""

    name: str
    server: Server
    connect: Connect


@contextmanager
def serving_both(
    recipe: Recipe, spec: ModelSpec, run_path: Path, label: str, progress: Progress, port: int = 0
) -> Iterator[dict[Which, Served]]:
    """Serve base and student of a run for as long as the context lasts.

    `label` names the servers' logs and locks; a second server has the next port. DataError before
    the student is trained, ModelError for a base that is missing or unsafe, TeacherError when a
    server does not start, RunInUse when another process has them under this label.
    """
    student = trained_contender("the student", spec, recipe, run_path)
    require_free(run_path, label)
    with ExitStack() as stack:
        if student.adapter:
            adapters = {STUDENT: student.adapter}
            server = server_of(spec, recipe.serve, run_path, progress, adapters, label, port)
            stack.enter_context(running(server))
            yield {
                "base": _served(spec, spec.name, server, recipe),
                "student": _served(spec, STUDENT, server, recipe),
            }
            return
        memory = recipe.serve.gpu_memory_utilization
        half = recipe.serve.model_copy(update={"gpu_memory_utilization": memory / 2})
        whole = student.spec.model_copy(update={"name": STUDENT})
        base_port = port + 1 if port else 0
        base = server_of(spec, half, run_path, progress, None, f"{label}-base", base_port)
        stack.enter_context(running(base))
        exact = student.served_by(half)
        own = server_of(whole, exact, run_path, progress, None, label, port)
        stack.enter_context(running(own))
        yield {
            "base": _served(spec, spec.name, base, recipe),
            "student": _served(whole, STUDENT, own, recipe),
        }


def require_free(run_path: Path, label: str) -> None:
    """RunInUse when another process serves this run's student under this label."""
    with (run_path / f"{label}.lock").open("a") as file:
        if not lock(file.fileno()):
            raise RunInUse(
                f"{run_path}: another process serves its student ({label}).",
                "End that one, or wait until it has ended.",
            )


def _served(spec: ModelSpec, name: str, server: Server, recipe: Recipe) -> Served:
    place = Place(server.url, recipe.serve.request_timeout, server.recover)
    return Served(name, server, connector(spec, recipe.serve, [place], server))
