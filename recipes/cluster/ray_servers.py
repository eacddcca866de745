"""Start one vLLM for each GPU of a Ray cluster, for `endpoints:` in models.yaml (docs/cluster.md).

    ray start --head --node-ip-address 10.0.0.7 …          # on the first node; see docs/cluster.md
    python recipes/cluster/ray_servers.py --model /models/Qwen3-8B --name qwen3-8b --servers 4

Runs on a node of the cluster until Ctrl-C; then the servers end too. Each server is the child of an
actor that has `--gpus` GPUs for itself. One that ends is started again, somewhere in the cluster,
after 1, 2, 4 … 30 seconds. The lines "endpoint: …" on stdout go into models.yaml.

By default a server listens at a unix socket of its node, which only you can open; from another
machine it is reached by `ssh -N -L /tmp/a.sock:SOCKET NODE`. With `--bind` it listens at its node's
address, where whoever reaches the port can use it: only in a closed network.

Plain actors, not Ray Serve: Serve would bring a proxy and two dozen packages, and what chooses the
server is localinstruct's client. Ray's own switches must stand before this starts, on every node:
RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=token.
"""

import argparse
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import ray

STARTER = (
    "import os, sys; from localinstruct.supervisor import die_with_parent; die_with_parent(); "
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)
"""Becomes the server, and ends with its actor."""
SERVER = ["-m", "vllm.entrypoints.openai.api_server"]
PLAIN = ["--load-format", "safetensors", "--generation-config", "vllm", "--disable-fastapi-docs"]


class Server:
    """An actor with one vLLM."""

    def __init__(self, options: argparse.Namespace, number: int) -> None:
        from localinstruct.offline.switches import child_environment

        os.umask(0o077)
        place, self._at = _place(options, number)
        named = ["--model", options.model, "--served-model-name", options.name]
        command = [*SERVER, *named, *place, *PLAIN, *options.vllm]
        self._child = subprocess.Popen(
            [sys.executable, "-c", STARTER, *command], env=child_environment()
        )

    def endpoint(self) -> str:
        """Where it listens, and on which node."""
        return f"{self._at} on {socket.gethostname()}"

    def ended(self) -> int:
        """Wait until the server ends: its exit status."""
        return self._child.wait()


def _place(options: argparse.Namespace, number: int) -> tuple[list[str], str]:
    """Options of vLLM for where it listens, and the endpoint for models.yaml."""
    if options.bind:
        address = ray.util.get_node_ip_address()
        with socket.socket() as free:
            free.bind((address, 0))
            port = free.getsockname()[1]
        return ["--host", address, "--port", str(port)], f"http://{address}:{port}/v1"
    folder = Path(options.sockets).expanduser()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{options.name}-{number}.sock"
    path.unlink(missing_ok=True)
    return ["--uds", str(path)], f"unix://{path}"


def keep_running(options: argparse.Namespace) -> None:
    """Start the servers, and one again whenever it ends."""
    made = ray.remote(Server).options(num_gpus=options.gpus, num_cpus=options.cpus)
    failures = [0] * options.servers
    running = dict[Any, tuple[int, Any, float]]()

    def start(number: int) -> None:
        actor = made.remote(options, number)
        print(f"endpoint: {ray.get(actor.endpoint.remote())}", flush=True)
        running[actor.ended.remote()] = number, actor, time.monotonic()

    for number in range(options.servers):
        start(number)
    while True:
        for over in ray.wait(list(running))[0]:
            number, actor, began = running.pop(over)
            ray.kill(actor)
            failures[number] = 0 if time.monotonic() - began > 300 else failures[number] + 1
            seconds = min(30, 2 ** max(0, failures[number] - 1))
            print(f"server {number} has ended; again in {seconds} s", file=sys.stderr, flush=True)
            time.sleep(seconds)
            start(number)


def main() -> None:
    """Read the options, connect to the cluster of this node, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="directory, the same on every node")
    parser.add_argument("--name", required=True, help="served_name in models.yaml")
    parser.add_argument("--servers", type=int, default=1)
    parser.add_argument("--gpus", type=float, default=1, help="GPUs of each server")
    parser.add_argument("--cpus", type=float, default=1, help="CPUs of each server")
    parser.add_argument("--address", default="auto", help="HOST:PORT of the cluster")
    parser.add_argument("--sockets", default="~/.localinstruct/sockets", help="folder of sockets")
    parser.add_argument("--bind", action="store_true", help="listen at the node's address instead")
    options, options.vllm = parser.parse_known_args()
    ray.init(address=options.address, log_to_driver=False, logging_level=logging.ERROR)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray would end this process at once
    try:
        keep_running(options)
    except KeyboardInterrupt:
        print("the servers end", file=sys.stderr)


if __name__ == "__main__":
    main()
