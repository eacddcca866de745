"""Serve a run's student and its base on vLLM for other programs, until Ctrl-C.

Both speak the OpenAI protocol on a unix socket in a private folder, or on a port of 127.0.0.1,
which every user of this machine can reach. Chat requests go through the template the student was
trained with, as an export has it. A server that dies is started again. Not covered: passwords,
other interfaces; whoever needs those puts a proxy of their own in front.
"""

import json
import shlex
import socket
import time
from collections.abc import Mapping

from localinstruct import console
from localinstruct.errors import UsageError
from localinstruct.evaluation.answers import Which
from localinstruct.export.chat_template import chat_template
from localinstruct.export.served import Served, serving_both
from localinstruct.interrupt import run_async
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.offline import seal
from localinstruct.pipeline import recipe_of
from localinstruct.recipe import Recipe
from localinstruct.store.run import Run
from localinstruct.training.student import artefact, load_tokenizer

LOOK_EVERY = 1.0
"""Seconds between two checks that the servers live."""
SAMPLE = "What is the opposite of hot?"


def serve(run: Run, port: int) -> None:
    """Serve until Ctrl-C (or SIGTERM); `port` of 127.0.0.1, or 0 for a unix socket.

    UsageError for a port that is in use or sealed off, DataError before the student is trained.
    """
    recipe, workspace = recipe_of(run)
    trained = artefact(run.path)
    ports = [port, port + 1] if trained.kind == "model" else [port]
    for number in ports if port else []:
        _require_port(number)
    spec = load_catalog(workspace).get(recipe.models.student)
    try:
        with console.progress() as progress:
            chat = _as_chat(spec, recipe)
            with serving_both(recipe, chat, run.path, "vllm-serve", progress, port) as sides:
                progress.say(f"base and student of {run.path} answer; Ctrl-C ends them")
                progress.update("serving", 0, 0)
                _show(sides)
                _supervise(sides)
    except KeyboardInterrupt:
        console.note("stopped; nothing of it runs any more.")


def _as_chat(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """The base with the template that the student was trained with as its chat template."""
    if recipe.train.template == "chat":
        return spec
    template = chat_template(recipe.train.template, load_tokenizer(checked(spec)))
    return spec.model_copy(
        update={"chat": True, "chat_template": template, "chat_template_kwargs": {}}
    )


def _show(sides: Mapping[Which, Served]) -> None:
    """Print names, places, and a command to paste."""
    rows = [(side, f"{served.name} at {served.server.url}") for side, served in sides.items()]
    console.pairs([*rows, ("try", curl(sides["student"]))])


def curl(side: Served) -> str:
    """A command that asks this side a sample question."""
    body = {
        "model": side.name,
        "messages": [{"role": "user", "content": SAMPLE}],
        "temperature": 0,
        "max_tokens": 100,
    }
    url = side.server.url
    socket_option = list[str]()
    if url.startswith("unix://"):
        socket_option = ["--unix-socket", url.removeprefix("unix://")]
        url = "http://localhost/v1"
    request = [f"{url}/chat/completions", "-H", "Content-Type: application/json"]
    return shlex.join(["curl", *socket_option, *request, "-d", json.dumps(body)])


def _supervise(sides: Mapping[Which, Served]) -> None:
    """Restart dead servers for ever; TeacherError when one dies again and again."""
    servers = {id(served.server): served.server for served in sides.values()}
    while True:
        time.sleep(LOOK_EVERY)
        for server in servers.values():
            if not server.alive():
                run_async(server.recover())


def _require_port(port: int) -> None:
    if seal.status().sealed:
        raise UsageError(
            "--port: nobody outside the seal could reach a port in it.",
            "Leave --port out: the unix socket is reached from outside.",
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise UsageError(
                f"--port {port}: {error.strerror}.", "Choose another one, or leave --port out."
            ) from None
