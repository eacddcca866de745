"""Kept rows of one process and of a Ray of two nodes, one of which is lost: they must be equal.

    python -m benchmarks.ray_rows [--rows 200000]

Vectors are drawn, as in `benchmarks.near_duplicates`, and lie in a file; all rows are searched by
cells. Three ways: this process alone; two nodes of one CPU each (`ray.cluster_utils.Cluster`); and
two nodes of which the second is killed after the second block. Not measured: the encoder, speed on
several machines (both nodes are on this one), GPUs.
"""

import argparse
import atexit
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.near_duplicates import DIMENSIONS, THRESHOLD, drawn
from benchmarks.results import load_average
from benchmarks.setting import note
from localinstruct.cleaning.decisions import opened
from localinstruct.cleaning.ray_cluster import OWN
from localinstruct.curate.neighbours import Neighbours, kept_neighbours
from localinstruct.progress import Silent
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    import numpy as np

PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port")


def two_nodes(folder: Path) -> Any:
    """A cluster of two nodes at loopback, with a token, in a folder with a short name."""
    (folder / "ray").mkdir()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:  # Ray reads it once in a process, when imported
        token = folder / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
    os.environ.update(OWN | {"RAY_TMPDIR": str(folder)})
    from ray.cluster_utils import Cluster

    cluster: Any = Cluster(shutdown_at_exit=True)
    for _ in range(2):
        _add_node(cluster, folder)
    return cluster


def _add_node(cluster: Any, folder: Path) -> None:
    for again in reversed(range(3)):
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        try:
            cluster.add_node(
                num_cpus=1,
                temp_dir=str(folder),
                include_dashboard=False,
                no_monitor=True,
                include_log_monitor=False,
                node_ip_address="127.0.0.1",
                **ports,
            )
            return
        except Exception as error:  # of no class of its own, after 15 seconds on a busy machine
            if not again or "timed out during startup" not in str(error):
                raise


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def on_ray(vectors: "np.ndarray", folder: Path, *, lose: bool) -> Neighbours:
    """Kept neighbours by two nodes, the second of which is lost after two blocks with `lose`."""
    cluster, blocks = two_nodes(Path(tempfile.mkdtemp(prefix="li-"))), 0

    import ray

    from localinstruct.cleaning.on_ray import OnRay

    def counted(_: int) -> None:
        nonlocal blocks
        blocks += 1
        if lose and blocks == 2:
            cluster.remove_node(next(iter(cluster.worker_nodes)), False)

    try:
        ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
        with opened(folder, {}) as store:
            work = OnRay(Silent()).cells(store)
            return kept_neighbours(vectors, THRESHOLD, None, counted, 0, work=work)
    finally:
        ray.shutdown()
        cluster.shutdown()


def main() -> int:
    """Compare the three ways."""
    import numpy as np

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    count = parser.parse_args().rows
    result: JsonObject = {"rows": count, "load": load_average()}
    found: list[Neighbours] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        drawn(count).tofile(folder / "vectors")
        vectors = np.memmap(folder / "vectors", np.float32, "r", shape=(count, DIMENSIONS))
        ways: dict[str, Callable[[], Neighbours]] = {
            "alone": lambda: kept_neighbours(
                vectors, THRESHOLD, exact_up_to=0, scratch=folder / "scratch"
            ),
            "two nodes": lambda: on_ray(vectors, folder / "two", lose=False),
            "one lost": lambda: on_ray(vectors, folder / "one", lose=True),
        }
        for name, way in ways.items():
            began = time.monotonic()
            found.append(way())
            kept = int((found[-1].like < 0).sum())
            result[name] = {"kept": kept, "seconds": round(time.monotonic() - began, 1)}
            note(f"{name}: {result[name]}")
            same = all(
                np.array_equal(getattr(found[0], side), getattr(found[-1], side))
                for side in ("like", "score")
            )
            result[name]["equal"] = same
    print(json.dumps(result))
    return 0 if all(result[name]["equal"] for name in ways) else 1


if __name__ == "__main__":
    sys.exit(main())
