"""The fastest way to get completions out of vLLM: every prompt in its hands at once,
`LLM.generate`, no server.

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
from typing import Any

from benchmarks.setting import Setting
from localinstruct.errors import TeacherError
from localinstruct.models.catalog import checked
from localinstruct.offline import switches
from localinstruct.progress import Silent
from localinstruct.records import Prompt
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

Arrivals = list[tuple[float, int]]
"""(seconds on some clock, output tokens) of every finished prompt, in order of arrival."""
START_TIMEOUT = 300.0


class AtOnce:
    """A loaded `vllm.LLM` in another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> tuple[float, Arrivals]:
        """Complete all prompts; seconds from handing them over to the last one's end, and the
        arrivals."""
        job = {"prompts": [asdict(prompt) for prompt in prompts], "sampling": sampling.model_dump()}
        self._connection.send_bytes(json.dumps(job).encode())
        reply = json.loads(self._connection.recv_bytes())
        return reply["seconds"], [(moment, tokens) for moment, tokens in reply["arrivals"]]


@contextmanager
def loaded(setting: Setting) -> Iterator[AtOnce]:
    """Start the child and wait until its engine is ready."""
    with tempfile.TemporaryDirectory(
        prefix="localinstruct-bench-"
    ) as outer:  # short: a socket's path has 108 bytes at most
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
    """Wait for the child to connect; TeacherError with the end of its log when it ends or takes too
    long."""
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


def engine_arguments(model: Path, serve: Serve) -> dict[str, Any]:
    """Arguments of `vllm.LLM` that equal those of our server's command line."""
    server = vllm_command(
        Server(model, "unused", serve, Path("unused"), "vllm", Silent()), Path("unused")
    )
    arguments: dict[str, Any] = {
        "model": str(model),
        "dtype": server[server.index("--dtype") + 1],
        "enforce_eager": "--enforce-eager" in server,
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


def answer_jobs(path: str, arguments: dict[str, Any]) -> None:
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


def _answer(engine: Any, job: dict[str, Any]) -> dict[str, Any]:
    sampling = [_sampling(prompt, job["sampling"]) for prompt in job["prompts"]]
    began = time.monotonic()
    if job["prompts"][0]["messages"]:
        outputs = engine.chat(
            [prompt["messages"] for prompt in job["prompts"]], sampling, use_tqdm=False
        )
    else:
        outputs = engine.generate(
            [prompt["text"] for prompt in job["prompts"]], sampling, use_tqdm=False
        )
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "arrivals": sorted((o.metrics.last_token_ts, len(o.outputs[0].token_ids)) for o in outputs),
    }


def _sampling(prompt: dict[str, Any], recipe: dict[str, Any]) -> Any:
    """What `teacher/client.py` asks for, in the words of the library."""
    from vllm import SamplingParams

    return SamplingParams(
        temperature=recipe["temperature"]
        if prompt["temperature"] is None
        else prompt["temperature"],
        top_p=recipe["top_p"] if prompt["top_p"] is None else prompt["top_p"],
        max_tokens=prompt["max_tokens"] or recipe["max_tokens"],
        stop=list(prompt["stop"]) or None,
    )


if __name__ == "__main__":
    answer_jobs(sys.argv[1], json.loads(sys.argv[2]))
