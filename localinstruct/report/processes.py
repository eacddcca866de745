"""The processes of a run that is watched: memory, cores, GPUs, and what vLLM has in its queue.

They are those below the process that holds the run's lock. A vLLM of theirs is found by its command
line and asked over its unix socket or port; one that does not answer is left out. Processes are
looked at every PROCESSES seconds, nvidia-smi is asked every GPUS. Not covered: the memory that
processes share (counted with each of them), and endpoints that others serve.
"""

import re
import socket
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct import machine
from localinstruct.teacher.transport import http_transport

if TYPE_CHECKING:
    import psutil

PROCESSES, GPUS = 2.0, 5.0
"""Seconds between two looks."""
ANSWER_SECONDS = 0.5
"""Seconds in which a server has to say what it has in its queue."""
GAUGE = re.compile(
    r"^vllm:(num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{.*\} (\S+)$", re.M
)
"""Lines of vLLM's /metrics, one for each engine."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A vLLM: requests that it works on and that wait there, and the share of its cache in use."""

    model: str
    running: int
    waiting: int
    cache: float


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU, with the memory that all processes take."""

    name: str
    used_gib: float
    total_gib: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What the processes of a run take now; nothing where none runs."""

    processes: int = 0
    memory_gib: float = 0.0
    cores: float | None = None
    """Cores kept busy since the look before; None at the first."""
    cards: tuple[Card, ...] = ()
    queues: tuple[Queue, ...] = ()


class Processes:
    """A watcher of the processes below one."""

    def __init__(self) -> None:
        self._taken, self._looked, self._asked_gpus = Taken(), 0.0, 0.0
        self._pid: int | None = None
        self._busy: dict[int, float] = {}

    def look(self, pid: int | None) -> Taken:
        """The newest numbers of `pid` and all below it."""
        now = time.monotonic()
        if pid is None or pid != self._pid:
            self._pid, self._taken, self._busy = pid, Taken(), {}
            self._looked = self._asked_gpus = 0.0
        if pid is not None and now - self._looked >= PROCESSES:
            self._taken = self._look(pid, now)
            self._looked = now
        return self._taken

    def _look(self, pid: int, now: float) -> Taken:
        import psutil

        memory, busy, queues = 0, dict[int, float](), list[Queue]()
        for process in _family(pid):
            try:
                with process.oneshot():
                    memory += process.memory_info().rss
                    times = process.cpu_times()
                    busy[process.pid] = times.user + times.system
                    command = process.cmdline()
            except psutil.Error:
                continue  # gone meanwhile, or another user's
            if queue := queue_of(command):
                queues.append(queue)
        spent = sum(seconds - self._busy.get(pid, seconds) for pid, seconds in busy.items())
        cores = spent / (now - self._looked) if self._busy else None
        self._busy = busy
        taken = Taken(len(busy), round(memory / machine.GIB, 2), cores, self._taken.cards)
        if now - self._asked_gpus >= GPUS:
            self._asked_gpus = now
            taken = replace(taken, cards=_cards())
        return replace(taken, queues=tuple(queues))


def _family(pid: int) -> "list[psutil.Process]":
    import psutil

    try:
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]
    except psutil.Error:
        return []


def _cards() -> tuple[Card, ...]:
    return tuple(
        Card(gpu.name, round(gpu.total_gib - gpu.free_gib, 2), gpu.total_gib)
        for gpu in machine.gpus()
    )


def queue_of(command: list[str]) -> Queue | None:
    """What the vLLM with this command line has to do; None for another program, or no answer."""
    if command[1:3] != ["-m", "vllm.entrypoints.openai.api_server"]:
        return None
    given = dict(pairwise(command))
    if "--uds" in given and not _is_open(given["--uds"]):
        return None
    port = f"http://127.0.0.1:{given.get('--port')}/v1"
    url = f"unix://{given['--uds']}" if "--uds" in given else port
    model = given.get("--served-model-name", "")
    return parse_queue(Path(model).name, _metrics(url))


def _is_open(place: str) -> bool:
    """Tell whether somebody listens; the HTTP client leaves a socket open where nobody does."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(ANSWER_SECONDS)
        try:
            door.connect(place)
        except OSError:
            return False
    return True


def _metrics(url: str) -> str:
    import httpx2

    base, transport = http_transport(url, asynchronous=False)
    try:
        with httpx2.Client(transport=transport, trust_env=False, timeout=ANSWER_SECONDS) as http:
            return http.get(base.removesuffix("/v1") + "/metrics").text
    except (httpx2.HTTPError, OSError):
        return ""


def parse_queue(model: str, metrics: str) -> Queue | None:
    """The queue in the text of vLLM's /metrics, summed over its engines; None where it is not."""
    found = [(name, float(value)) for name, value in GAUGE.findall(metrics)]
    if not found:
        return None
    sums = {name: sum(value for one, value in found if one == name) for name, _ in found}
    engines = max(1, sum(name == "num_requests_running" for name, _ in found))
    return Queue(
        model,
        int(sums.get("num_requests_running", 0)),
        int(sums.get("num_requests_waiting", 0)),
        sums.get("kv_cache_usage_perc", 0.0) / engines,
    )
