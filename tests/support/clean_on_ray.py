"""A cleaning in a process of its own, alone or on Ray: `python -m tests.support.clean_on_ray JOB`.

JOB is a JSON object: `rows` (a file), `output`, `where` ("", "local", or "nodes": a cluster of two
nodes that is made here), `die_at` and `lose_at` (a label of the progress, and how many updates of
it): there this process dies, or the second node does. On stdout: a JSON object with `kept`, `said`,
and `listening`, what this process and its children listened at.
"""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ray_rows import two_nodes
from localinstruct.cleaning import steps, survey
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.work import Job, clean
from localinstruct.curate import neighbours
from localinstruct.errors import LocalInstructError
from localinstruct.progress import Silent
from tests.support.listening import listening
from tests.support.scripted import HashEncoder


class RoughEncoder(HashEncoder):
    """Hashed words; without `exact` moved a little, as bfloat16 does."""

    def __init__(self, directory: Path, exact: bool = False) -> None:
        self.is_exact = exact

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = super().encode(texts)
        if self.is_exact:
            return rows
        rough = np.round(rows, 2)
        return rough / np.maximum(np.linalg.norm(rough, axis=1, keepdims=True), 1e-12)


class Counting(Silent):
    """Does something at the n-th update of a label, and remembers what is said."""

    def __init__(self, hooks: dict[str, tuple[int, Callable[[], None]]]) -> None:
        self._hooks, self._seen = hooks, dict[str, int]()
        self.said = list[str]()

    def say(self, text: str) -> None:
        self.said.append(text)

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        self._seen[label] = self._seen.get(label, 0) + 1
        at, hook = self._hooks.get(label, (-1, lambda: None))
        if self._seen[label] == at:
            hook()


def small_cells() -> None:
    """Have few rows compared as many are: in cells, in several blocks."""
    steps.EXACT_UP_TO, steps.ENCODED = 0, 128  # type: ignore[misc]
    neighbours.PER_CELL, neighbours.LEAST_BLOCK = 40, 256
    neighbours.ASKED = 1
    for module in (steps, survey):
        module.LocalEncoder = RoughEncoder  # type: ignore[attr-defined, misc]


def main(given: dict[str, Any]) -> None:
    small_cells()
    cluster: Any = None
    if given["where"] == "nodes":
        cluster = two_nodes(Path(tempfile.mkdtemp(prefix="li-")))
    where = cluster.address if cluster else given["where"]
    rows, output = Path(given["rows"]), Path(given["output"])
    encoder = rows.with_name("encoder")
    encoder.mkdir(exist_ok=True)
    heard = list[dict[str, object]]()

    def look() -> None:
        heard.extend(asdict(one) for one in listening(os.getpid()))

    hooks: dict[str, tuple[int, Callable[[], None]]] = {"comparing": (2, look)}
    if given.get("die_at"):
        label, at = given["die_at"]
        hooks[label] = at, lambda: os.kill(os.getpid(), signal.SIGKILL)
    if given.get("lose_at"):
        label, at = given["lose_at"]

        def lose() -> None:
            cluster.remove_node(next(iter(cluster.worker_nodes)), False)
            time.sleep(10)  # its workers answer for some seconds more

        hooks[label] = at, lose
    progress = Counting(hooks)
    settings = Clean.model_validate({"similar": 0.8, "filters": {"set": "none"}})
    try:
        outcome = clean(Job([rows], output, "jsonl", settings, encoder, ray=where), progress)
    except LocalInstructError as error:
        print(json.dumps({"error": error.message, "hint": error.hint}))
        return
    finally:
        if cluster:
            cluster.shutdown()
    print(json.dumps({"kept": outcome.kept, "said": progress.said, "listening": heard}))


if __name__ == "__main__":
    from tests.support import clean_on_ray  # not __main__, so that workers can import the encoder

    clean_on_ray.main(json.loads(sys.argv[1]))
