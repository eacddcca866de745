"""From a models.yaml entry to something that answers: our own vLLM for a directory, or an endpoint already there."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from localinstruct.models import ModelSpec, checked
from localinstruct.progress import Progress
from localinstruct.records import Completion, Prompt
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.client import Client
from localinstruct.teacher.vllm import Server, running

Connect = Callable[[str, Sampling], Client]
"""(served model or adapter name, sampling) -> a client; call it inside the event loop that uses it."""


@contextmanager
def serving(
    spec: ModelSpec, serve: Serve, home: Path, progress: Progress, adapters: dict[str, Path] | None = None
) -> Iterator[Connect]:
    """Have this model answer for as long as the context lasts.

    `adapters` (name -> directory) can be asked by name beside the model itself, on our own vLLM only. `progress`
    shows vLLM's starts. ModelError when the directory is missing or unsafe, TeacherError when the server does not start.
    """
    if spec.endpoint:
        yield _connector(spec, serve, spec.endpoint, None)
        return
    server = Server(checked(spec), spec.name, serve, home, progress, adapters or {})
    with running(server):
        yield _connector(spec, serve, server.url, server)


def _connector(spec: ModelSpec, serve: Serve, url: str, server: Server | None) -> Connect:
    def connect(name: str, sampling: Sampling) -> Client:
        served = spec.served_name if spec.endpoint and spec.served_name else name
        recover = server.recover if server else None
        return Client(url, served, chat=spec.chat, sampling=sampling, timeout=serve.request_timeout, recover=recover)

    return connect


def answer_all(
    connect: Connect, name: str, prompts: Sequence[Prompt], sampling: Sampling, on_answer: Callable[[int], None]
) -> list[Completion]:
    """The first completion of each prompt, all in flight together; `on_answer(done)` after each."""
    return asyncio.run(_answer_all(connect(name, sampling), prompts, on_answer))


async def _answer_all(client: Client, prompts: Sequence[Prompt], on_answer: Callable[[int], None]) -> list[Completion]:
    done = 0

    async def one(prompt: Prompt) -> Completion:
        nonlocal done
        [answer] = await client.complete(prompt)
        done += 1
        on_answer(done)
        return answer

    try:
        return list(await asyncio.gather(*(one(prompt) for prompt in prompts)))
    finally:
        await client.close()
