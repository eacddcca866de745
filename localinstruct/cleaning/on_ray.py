"""Encoding and cells of a cleaning on a Ray cluster; `ray_cluster.py` connects to it.

Texts are encoded in pieces of TOGETHER, as one process does, each piece by one task on one CPU;
cells are held in ranges, one range by an actor for each CPU. Results come in the order in which
they were asked for, and this process writes them and decides, so that the kept rows do not depend
on who did what, where the machines calculate alike. A task whose node dies is done again by Ray;
an actor that dies is made again here and given its kept rows anew.

Not covered: machines of different kinds. In bfloat16 they round differently, so that a neighbour
may be found on one and not on the other; every pair that is found is still decided in float32.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct import __version__
from localinstruct.cleaning.blocks import Blocks
from localinstruct.cleaning.decisions import Decisions
from localinstruct.cleaning.workers import NEAR
from localinstruct.curate.cells import COLUMNS, PROBES, Found, Held, Work, nearest_cells
from localinstruct.curate.embeddings import TOGETHER, Encoder
from localinstruct.errors import LocalInstructError, UsageError
from localinstruct.offline.switches import enforce
from localinstruct.progress import Progress
from localinstruct.records import digest
from localinstruct.store.durable import sha256

if TYPE_CHECKING:
    import numpy as np

AHEAD = 2
"""Tasks for each CPU that are under way, or wait for one that was asked for before."""
REPLACED = 20
"""Actors that may die in a row before we give up."""
Make = Callable[..., Encoder]


class OnRay:
    """Workers of a Ray cluster that this process is connected to."""

    def __init__(self, progress: Progress) -> None:
        import ray

        resources = ray.cluster_resources()
        self.cpus, self._gpus = max(1, int(resources.get("CPU", 1))), resources.get("GPU", 0)
        self._progress = progress

    def encoder(self, make: Make, directory: Path, exact: bool = False) -> "RayEncoder":
        """The encoder, made in every worker that encodes."""
        options = {"num_gpus": 1} if self._gpus else {"num_cpus": 1}
        return RayEncoder(make, directory, exact, self.cpus * AHEAD, options)

    def cells(self, store: Decisions) -> Work:
        """The cells, a range of them for each CPU."""
        return RayCells(store, self.cpus, self._progress)


class RayEncoder:
    """An encoder whose pieces are encoded by tasks, each with files of the same content as here.

    UsageError where a worker has other files, or another version of this program.
    """

    def __init__(
        self, make: Make, directory: Path, exact: bool, ahead: int, options: dict[str, int]
    ) -> None:
        self._given = make, directory.resolve(), content_of(directory), exact, __version__
        self._ahead, self._options = ahead, options
        self.is_exact = True
        """False once a worker has encoded in bfloat16."""

    def encode(self, texts: Iterable[str]) -> "np.ndarray":
        """(n, d) float32, rows of unit length, in the order of the texts."""
        import numpy as np

        texts = list(texts)
        starts = range(0, max(1, len(texts)), TOGETHER)
        return np.concatenate(list(self.stream(texts[n : n + TOGETHER] for n in starts)))

    def stream(self, pieces: Iterable[list[str]]) -> "Iterator[np.ndarray]":
        """(k, d) float32 of each piece, in order."""
        import ray

        task = ray.remote(_encode).options(**self._options)
        asked = (task.remote(*self._given, piece) for piece in pieces)
        for rows, is_exact in in_order(asked, self._ahead):
            self.is_exact &= is_exact
            yield rows


def in_order(asked: Iterator[Any], ahead: int) -> Iterator[Any]:
    """Results of tasks, which start as they are taken from `asked`, `ahead` of them at once."""
    waiting = deque[Any]()
    for one in asked:
        waiting.append(one)
        if len(waiting) >= ahead:
            yield result(waiting.popleft())
    while waiting:
        yield result(waiting.popleft())


def result(reference: Any) -> Any:
    """The result of a task; an error of ours as it was raised there, another as UsageError."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, LocalInstructError):
            raise error.cause from None
        raise UsageError(
            f"a task on the Ray cluster failed: {error.cause or error}",
            "Mend that machine and give the same command again; what was done is kept.",
        ) from None
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
        raise UsageError(
            f"a worker of the Ray cluster died again and again: {error}",
            "Give it more memory, or leave --ray out; what was done is kept.",
        ) from None


def content_of(directory: Path) -> str:
    """Digest of an encoder's files."""
    files = sorted(path for path in directory.rglob("*.*") if path.is_file())
    return digest([[str(path.relative_to(directory)), sha256(path)] for path in files])


def _encode(
    make: Make, directory: Path, content: str, exact: bool, version: str, texts: list[str]
) -> tuple["np.ndarray", bool]:
    """Encode a piece in a worker: (k, d) float32, and whether in float32."""
    if version != __version__:
        raise UsageError(
            f"a worker of the Ray cluster has localinstruct {__version__}, this process {version}.",
            "Install the same version on every machine of the cluster.",
        )
    encoder = _encoder(make, directory, content, exact)
    return encoder.encode(texts), bool(getattr(encoder, "is_exact", True))


@lru_cache(2)
def _encoder(make: Make, directory: Path, content: str, exact: bool) -> Encoder:
    import torch

    enforce()
    if content_of(directory) != content:
        raise UsageError(
            f"{directory}: expected the encoder's files on every machine of the Ray cluster, found "
            "others or none on one of them.",
            "Copy them there, to the same place.",
        )
    encoder = make(directory, exact=exact)
    torch.set_num_threads(1)  # a task has one CPU
    return encoder


class RayCells:
    """Cells in ranges, each held by an actor; the kept rows of each range are remembered here."""

    def __init__(self, store: Decisions, count: int, progress: Progress) -> None:
        self._store, self._count, self._progress = store, count, progress

    def nearest(self, vectors: "np.ndarray", centres: "np.ndarray", bf16: bool) -> "np.ndarray":
        """(n, PROBES) int32 cells of each row, on the disk, where a kill leaves what was found."""
        import numpy as np
        import ray

        shape = len(vectors), min(PROBES, len(centres))
        blocks = Blocks(self._store, NEAR, shape, np.int32, COLUMNS)
        missing, there = blocks.missing(), ray.put(centres)
        task = ray.remote(_nearest).options(num_cpus=1)
        asked = (task.remote(np.array(vectors[part]), there, bf16) for part in missing)
        for part, near in zip(missing, in_order(asked, AHEAD * self._count), strict=True):
            blocks.put(part, near)
            self._progress.update("finding cells", part.stop, len(vectors))
        return blocks.array

    def begin(self, vectors: "np.ndarray", near: "np.ndarray", cells: int, bf16: bool) -> None:
        """Start the actors."""
        import numpy as np

        self._vectors, self._near, self._bf16 = vectors, near, bf16
        self._sizes = np.bincount(near[:, 0], minlength=cells)
        bounds = np.linspace(0, cells, min(self._count, cells) + 1).astype(int)
        self._ranges = [(int(a), int(b)) for a, b in pairwise(bounds)]
        self._kept: list[list[np.ndarray]] = [[] for _ in self._ranges]
        self._actors = [self._made(number) for number in range(len(self._ranges))]

    def add(self, rows: "np.ndarray") -> None:
        """Keep these rows; each goes to the actor that holds its nearest cell."""
        home = self._near[rows, 0]
        for number, (first, end) in enumerate(self._ranges):
            own = rows[(home >= first) & (home < end)]
            if len(own):
                self._kept[number].append(own)
                self._send(number, self._actors[number], own)

    def search(self, block: slice, floor: float) -> Found:
        """Pairs of the rows of a block, range after range."""
        import numpy as np

        asked = [self._asked(number, block, floor) for number in range(len(self._ranges))]
        found = [self._found(number, one, block, floor) for number, one in enumerate(asked)]
        return Found(*(np.concatenate(side, axis=1) for side in zip(*found, strict=True)))

    def _asked(self, number: int, block: slice, floor: float) -> Any:
        """Start the search in one range."""
        import numpy as np

        first, end = self._ranges[number]
        near = np.asarray(self._near[block])
        own = (near >= first) & (near < end)
        places = np.flatnonzero(own.any(axis=1))
        cells = np.where(own, near - first, -1)[places]
        rows = block.start + places
        return self._actors[number].search.remote(rows, self._vectors[rows], cells, floor)

    def _found(self, number: int, asked: Any, block: slice, floor: float) -> Found:
        """The result of a search; where its actor has died, of a new one in its place."""
        import ray

        gone = ray.exceptions.RayActorError, ray.exceptions.ObjectLostError
        for _ in range(REPLACED):
            try:
                found: Found = result(asked)
                return found
            except gone:
                self._progress.say("a worker of the Ray cluster has died: another takes its cells")
                try:
                    self._actors[number] = self._made(number)
                    asked = self._asked(number, block, floor)
                except gone:
                    continue
        raise UsageError(
            f"{REPLACED} workers of the Ray cluster died in a row.",
            "Look at that machine's memory, or leave --ray out; what was done is kept.",
        )

    def _made(self, number: int) -> Any:
        """An actor for a range, with the rows that were kept in it so far."""
        import numpy as np
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        first, end = self._ranges[number]
        places = _places()
        where = NodeAffinitySchedulingStrategy(places[number % len(places)], soft=True)
        made = ray.remote(Held).options(num_cpus=0, scheduling_strategy=where)
        actor = made.remote(self._sizes[first:end], self._vectors.shape[1], self._bf16)
        if self._kept[number]:
            self._send(number, actor, np.concatenate(self._kept[number]))
        return actor

    def _send(self, number: int, actor: Any, rows: "np.ndarray") -> None:
        """Have an actor keep rows, those of one cell in the order in which they were kept."""
        import numpy as np

        rows = rows[np.argsort(self._near[rows, 0], kind="stable")]
        for start in range(0, len(rows), COLUMNS):
            part = rows[start : start + COLUMNS]
            cells = self._near[part, 0] - self._ranges[number][0]
            actor.add.remote(part, self._vectors[part], cells)


def _places() -> list[str]:
    """Nodes that are alive, each as often as it has CPUs."""
    import ray

    nodes = [node for node in ray.nodes() if node["Alive"]]
    return [node["NodeID"] for node in nodes for _ in range(int(node["Resources"].get("CPU", 0)))]


def _nearest(vectors: "np.ndarray", centres: "np.ndarray", bf16: bool) -> "np.ndarray":
    import numpy as np
    import torch

    torch.set_num_threads(1)
    return nearest_cells(vectors, centres, bf16).astype(np.int32)
