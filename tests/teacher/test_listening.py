"""Every listening socket of runs with several servers: private unix sockets and loopback alone."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.simulated_server import LENGTHS
from localinstruct.progress import Silent
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server, running_copies
from tests.support.listening import Listening, address_of, listening, watched
from tests.torture.endpoints import Pair, _workspace
from tests.torture.kills import GENERATE
from tests.torture.program import run

ROOT = Path(__file__).parents[2]


class Simulated(Server):
    """A server of which only the engine is played: folder, guard and permissions are its own."""

    def require_able(self) -> None:
        """It needs no GPU."""

    def command(self, socket: Path) -> list[str]:
        job = {"socket": str(socket), "step": 0.0, "places": 1, "lengths": next(iter(LENGTHS))}
        return [sys.executable, "-m", "benchmarks.simulated_server", json.dumps(job)]


def test_what_listens_is_seen(tmp_path: Path) -> None:
    before = listening(os.getpid())
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        (tmp_path / "s").chmod(0o666)
        tmp_path.chmod(0o755)
        seen = listening(os.getpid()) - before
        port = tcp.getsockname()[1]
    assert Listening("tcp", "127.0.0.1", port) in seen
    [public] = [one for one in seen if one.kind == "unix"]
    assert (public.where, public.mode, public.is_private) == (str(tmp_path / "s"), 0o666, False)


def test_addresses_are_those_of_the_kernel() -> None:
    assert address_of("0100007F") == "127.0.0.1"
    assert address_of("00000000000000000000000001000000") == "::1"
    assert address_of("0000000000000000FFFF00000100007F") == "127.0.0.1"
    for everywhere in ("0.0.0.0", "::", "10.0.0.7"):
        assert not Listening("tcp", everywhere, 80).is_private


def test_copies_listen_at_private_sockets_alone(tmp_path: Path) -> None:
    serve, before = Serve(data_parallel_size=2), listening(os.getpid())
    copies = [
        Simulated(tmp_path, "m", serve, tmp_path, f"vllm-{copy}", Silent(), copy=copy)
        for copy in range(2)
    ]
    with running_copies(copies):
        seen = listening(os.getpid()) - before
        assert {one.where for one in seen} == {one.url.removeprefix("unix://") for one in copies}
        assert all(one.kind == "unix" and not one.mode & 0o077 for one in seen)
        assert {one.folder_mode for one in seen} == {0o700}
    assert listening(os.getpid()) <= before


def test_a_run_with_two_endpoints_listens_nowhere(tmp_path: Path) -> None:
    """Only its servers do; a run is a client."""
    _workspace(tmp_path / "run", tmp_path)
    pair, seen, looks = Pair(tmp_path), set[Listening](), list[int]()

    def look(pid: int) -> None:
        while not os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            seen.update(listening(pid))
            looks.append(pid)
            time.sleep(0.02)

    try:
        outcome = run(
            tmp_path / "run", [*GENERATE, "--set", "generate.target=40"], look, served=True
        )
    finally:
        pair.end()
    assert outcome.code == 0
    assert looks
    assert not seen


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_real_copies_listen_at_private_sockets_and_loopback(tmp_path: Path) -> None:
    """What vLLM opens beside its address is seen too."""
    words = ["generate", "nano", "--name", "two", "--set", "generate.target=60"]
    words += ["--set", "serve.data_parallel_size=2", "--set", "serve.kv_cache_gib=1"]
    program = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    with watched(program.pid, 0.25) as seen:
        said, _ = program.communicate(timeout=900)
    assert program.returncode == 0, said[-2000:]
    at = {one.where for one in seen if one.where.endswith("/vllm.sock")}
    assert len(at) == 2, said[-2000:]
    assert not {one for one in seen if not one.is_private}
