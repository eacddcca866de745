"""vLLM without a server: `LLM.generate` gets every prompt at once, the fastest way to use it.

It runs in a process of its own below a supervisor (`localinstruct.supervisor`), stays loaded
between measurements and idles while others are measured. Parent and child talk over a private unix
socket, JSON both ways. The engine gets what our server gets (sequences, context, precision, eager
mode, KV cache, threads); everything else is vLLM's default for offline use, which allows it twice
the tokens per step.

    python -m benchmarks.at_once SOCKET SETTINGS_JSON
"""

import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.setting import Setting
from localinstruct.errors import TeacherError
from localinstruct.models.catalog import checked
from localinstruct.offline import switches
from localinstruct.progress import Silent
from localinstruct.records import JsonObject, Prompt
from localinstruct.supervisor import Ward
from localinstruct.teacher import Sampling, Serve
from localinstruct.teacher.vllm import (
    ONE_PROCESS,
    Server,
    cpu_environment,
    in_one_process,
    on_gpu,
    vllm_command,
)

if TYPE_CHECKING:
    from vllm import LLM, SamplingParams

Arrivals = list[tuple[float, int]]
"""(seconds on some clock, output tokens) of every finished prompt, in order of arrival."""
START_TIMEOUT = 300.0
"""Seconds in which the engine must be ready."""


class AtOnce:
    """A loaded `vllm.LLM` in another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> tuple[float, Arrivals]:
        """Complete all prompts; seconds from handing them over to the last end, and arrivals."""
        job = {"prompts": [asdict(prompt) for prompt in prompts], "sampling": sampling.model_dump()}
        self._connection.send_bytes(json.dumps(job).encode())
        reply = json.loads(self._connection.recv_bytes())
        return reply["seconds"], [(moment, tokens) for moment, tokens in reply["arrivals"]]


@contextmanager
def loaded(setting: Setting) -> Iterator[AtOnce]:
    """Start the child and wait until its engine is ready."""
    # A short path, because a socket's has 108 bytes at most.
    with tempfile.TemporaryDirectory(prefix="localinstruct-bench-") as outer:
        folder, log = Path(outer, "vllm"), setting.home / "at_once.log"
        folder.mkdir(mode=0o700)
        arguments = json.dumps(engine_arguments(checked(setting.teacher), setting.recipe.serve))
        command = [sys.executable, "-m", "benchmarks.at_once", f"{outer}/s", arguments]
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{outer}/s")
            listener.listen()
            ward = Ward(
                command, folder, log, _environment(setting, folder), setting.home / "at_once.lock"
            )
            try:
                with _accepted(listener, ward, log) as connection:
                    yield AtOnce(connection)
            finally:
                ward.stop()


def _accepted(listener: socket.socket, ward: Ward, log: Path) -> Connection:
    """Wait for the child to connect.

    TeacherError with the end of its log when it ends or takes longer than START_TIMEOUT.
    """
    listener.settimeout(0.5)
    deadline = time.monotonic() + START_TIMEOUT
    while ward.alive() and time.monotonic() < deadline:
        try:
            accepted, _ = listener.accept()
        except TimeoutError:
            continue
        accepted.setblocking(True)
        return Connection(accepted.detach())
    raise TeacherError(
        f"vLLM without a server did not start; the end of its log:\n{log.read_text()[-2000:]}", ""
    )


def engine_arguments(model: Path, serve: Serve) -> dict[str, object]:
    """Arguments of `vllm.LLM` that equal those of our server's command line."""
    server = Server(model, "unused", serve, Path("unused"), "vllm", Silent())
    command = vllm_command(server, Path("unused"))
    arguments: dict[str, object] = {
        "model": str(model),
        "dtype": command[command.index("--dtype") + 1],
        "enforce_eager": "--enforce-eager" in command,
        "load_format": "safetensors",
        "generation_config": "vllm",
        "max_num_seqs": serve.max_num_seqs,
        "tensor_parallel_size": serve.tensor_parallel_size,
        "disable_log_stats": False,  # as our server; the arrivals are read from them
    }
    if in_one_process(serve):
        arguments["distributed_executor_backend"] = ONE_PROCESS
    if serve.max_model_len:
        arguments["max_model_len"] = serve.max_model_len
    if on_gpu():
        arguments["gpu_memory_utilization"] = serve.gpu_memory_utilization
    return arguments


def _environment(setting: Setting, folder: Path) -> dict[str, str]:
    extra = {
        "TMPDIR": str(folder),
        "VLLM_RPC_BASE_PATH": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    if not on_gpu():
        extra |= cpu_environment(setting.recipe.serve)
    return switches.child_environment(**extra)


def answer_jobs(path: str, arguments: JsonObject) -> None:
    """Load the engine, then answer jobs until the parent hangs up."""
    from vllm import LLM

    engine = LLM(**arguments)
    line = socket.socket(socket.AF_UNIX)
    line.connect(path)
    with Connection(line.detach()) as connection:
        while True:
            try:
                job = json.loads(connection.recv_bytes())
            except EOFError:
                return
            connection.send_bytes(json.dumps(_answer(engine, job)).encode())


def _answer(engine: "LLM", job: JsonObject) -> JsonObject:
    prompts = job["prompts"]
    sampling = [_sampling(prompt, job["sampling"]) for prompt in prompts]
    began = time.monotonic()
    if prompts[0]["messages"]:
        conversations = [prompt["messages"] for prompt in prompts]
        outputs = engine.chat(conversations, sampling, use_tqdm=False)
    else:
        texts = [prompt["text"] for prompt in prompts]
        outputs = engine.generate(texts, sampling, use_tqdm=False)
    seconds = time.monotonic() - began
    arrivals = [(out.metrics.last_token_ts, len(out.outputs[0].token_ids)) for out in outputs]
    return {"seconds": seconds, "arrivals": sorted(arrivals)}


def _sampling(prompt: JsonObject, recipe: JsonObject) -> "SamplingParams":
    """A prompt's sampling as `teacher/client.py` asks for it, in the words of the library."""
    from vllm import SamplingParams

    own = {key: prompt[key] for key in ("temperature", "top_p") if prompt[key] is not None}
    return SamplingParams(
        temperature=own.get("temperature", recipe["temperature"]),
        top_p=own.get("top_p", recipe["top_p"]),
        max_tokens=prompt["max_tokens"] or recipe["max_tokens"],
        stop=list(prompt["stop"]) or None,
    )


if __name__ == "__main__":
    answer_jobs(sys.argv[1], json.loads(sys.argv[2]))
