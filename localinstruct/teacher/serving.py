"""Serving of the models of models.yaml: our own vLLM or llama.cpp, or endpoints of others.

A recipe may name several models that work at the same time (teacher, answerer, judge, rivals): each
is served once, whatever number of roles it plays, and they share the GPU's memory evenly. Endpoints
that are asked are noted for the run's egress report.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from localinstruct.errors import RecipeError
from localinstruct.interrupt import run_async
from localinstruct.models.catalog import ModelSpec, checked
from localinstruct.models.chat_template import served_template, template_text
from localinstruct.offline.addresses import resolve
from localinstruct.offline.sessions import note_endpoint
from localinstruct.progress import Progress
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.balancer import Balancer, Place
from localinstruct.teacher.client import Client
from localinstruct.teacher.endpoint import Facts, require_answers
from localinstruct.teacher.llama_cpp import llama_server
from localinstruct.teacher.spelling import Spelling
from localinstruct.teacher.vllm import Server, running_copies

Connect = Callable[[str, Sampling], Client]
"""(served model or adapter name, sampling) -> a client.

It is called inside the event loop that uses the client.
"""


@dataclass(frozen=True)
class ModelRouter:
    """A `Teacher` of several models: each prompt goes to the model that plays its role."""

    clients: Mapping[str, Client]
    """Model name -> client."""
    asked: Mapping[str, str]
    """Role -> model name."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """`prompt.n` completions of the model that plays `prompt.role`."""
        name = self.asked.get(prompt.role)
        if name is None:
            raise RecipeError(
                f"A step asks {prompt.role}, but `models` names only {', '.join(self.asked)}.",
                "Name more models.rivals in the recipe.",
            )
        return await self.clients[name].complete(prompt)

    def endpoints(self) -> list[JsonObject]:
        """Every endpoint of every model at this moment, with its model."""
        return [
            {"model": name, **state}
            for name, client in self.clients.items()
            for state in client.balancer.states()
        ]

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(client.close() for client in self.clients.values()))


@contextmanager
def serving_all(
    specs: Mapping[str, ModelSpec], serve: Serve, home: Path, progress: Progress
) -> Iterator[Callable[[Sampling], ModelRouter]]:
    """Serve the model of every role for as long as the context lasts; gives (sampling) -> a router.

    A router is made inside the event loop that uses it.
    """
    models = {spec.name: spec for spec in specs.values()}
    memory = {"gpu_memory_utilization": serve.gpu_memory_utilization / len(models)}
    share = serve.model_copy(update=memory)
    with ExitStack() as stack:
        connects = {
            name: stack.enter_context(
                serving(spec, share, home, progress, label=f"vllm-{name}" if number else "vllm")
            )
            for number, (name, spec) in enumerate(models.items())
        }
        asked = {role: spec.name for role, spec in specs.items()}
        yield lambda sampling: ModelRouter(
            {name: connect(name, sampling) for name, connect in connects.items()}, asked
        )


@contextmanager
def serving(
    spec: ModelSpec,
    serve: Serve,
    home: Path,
    progress: Progress,
    adapters: dict[str, Path] | None = None,
    label: str = "vllm",
) -> Iterator[Connect]:
    """Serve this model for as long as the context lasts.

    `adapters` (name -> directory) can be asked by name beside the model itself, on our own vLLM
    only. `progress` shows vLLM's starts. ModelError when the directory is missing or unsafe,
    TeacherError when the server does not start, or
    nothing answers at the endpoint.
    """
    if spec.servers:
        facts = require_answers(spec, progress.say)
        for one in spec.servers:
            note_endpoint(home, spec.name, one.url, resolve(one.url, spec.allowed).road)
        places = [Place(one.url, one.timeout or serve.request_timeout) for one in spec.servers]
        yield connector(spec, serve, places, facts=facts, say=progress.say)
        return
    labels = [f"{label}-{copy}" if copy else label for copy in range(serve.copies)]
    servers = [server_of(spec, serve, home, progress, adapters, one) for one in labels]
    for copy, server in enumerate(servers):
        server.copy = copy
    with running_copies(servers):
        places = [Place(one.url, serve.request_timeout, one.recover) for one in servers]
        yield connector(spec, serve, places, servers[0], say=progress.say)


def server_of(
    spec: ModelSpec,
    serve: Serve,
    home: Path,
    progress: Progress,
    adapters: dict[str, Path] | None = None,
    label: str = "vllm",
    port: int = 0,
) -> Server:
    """The vLLM, not yet started, for a directory, or llama.cpp's server for a GGUF file.

    It will listen at `port` of 127.0.0.1, or at a unix socket when that is 0.
    """
    model = checked(spec)
    if spec.gguf:
        return llama_server(spec, serve, home, label, progress, adapters, port)
    return Server(
        model=model,
        name=spec.name,
        serve=serve,
        home=home,
        label=label,
        progress=progress,
        adapters=adapters or {},
        chat_template=served_template(model, spec.template),
        chat_template_kwargs=spec.chat_template_kwargs,
        reasoning_parser=spec.reasoning_parser,
        port=port,
    )


def connector(
    spec: ModelSpec,
    serve: Serve,
    places: Sequence[Place],
    server: Server | None = None,
    facts: Facts | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Connect:
    """The function that makes clients for the servers at these places.

    `server` is one of them where they are ours; `facts` are what others say of their model.
    """
    spelling = None
    if server and not spec.gguf:
        given = server.chat_template
        spelling = Spelling(server.model, spec.chat, template_text(given) if given else None)

    def connect(name: str, sampling: Sampling) -> Client:
        served = spec.served_name if spec.servers and spec.served_name else name
        balancer = Balancer(
            places,
            served,
            allowed=spec.allowed,
            start=max(1, serve.max_num_seqs // 2),
            facts=facts,
            say=say,
        )
        return Client(
            balancer,
            served,
            chat=spec.chat,
            sampling=sampling,
            recover=places[0].recover if len(places) == 1 else None,
            stop=spec.stop,
            schema_timeout=serve.schema_timeout,
            spelling=spelling,
            llama_cpp=bool(spec.gguf),
            chat_template_kwargs=spec.chat_template_kwargs if spec.servers else {},
        )

    return connect


def ask_all(
    spec: ModelSpec, prompts: Sequence[Prompt], sampling: Sampling, progress: Progress, label: str
) -> list[Completion]:
    """Serve a model outside of a run, ask it all prompts, and stop it; its log is not kept."""
    with (
        tempfile.TemporaryDirectory(prefix="localinstruct-") as home,
        serving(spec, Serve(), Path(home), progress) as connect,
    ):
        show = partial(progress.update, label, total=len(prompts))
        return answer_all(connect, spec.name, prompts, sampling, show)


def answer_all(
    connect: Connect,
    name: str,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    on_answer: Callable[[int], None],
) -> list[Completion]:
    """The first completion of each prompt, all in flight together; `on_answer(done)` after each."""
    return run_async(_answer_all(connect(name, sampling), prompts, on_answer))


async def _answer_all(
    client: Client, prompts: Sequence[Prompt], on_answer: Callable[[int], None]
) -> list[Completion]:
    answered = 0

    async def answer_one(prompt: Prompt) -> Completion:
        nonlocal answered
        [answer] = await client.complete(prompt)
        answered += 1
        on_answer(answered)
        return answer

    try:
        return list(await asyncio.gather(*(answer_one(prompt) for prompt in prompts)))
    finally:
        await client.close()
