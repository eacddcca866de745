"""Near-duplicates of lists of rows: time beside SemHash, recall of the search by cells, encoding.

    python -m benchmarks.near_duplicates [--rows 1000000] [--write]

The rows of the comparison are those of the file that LOCALINSTRUCT_BENCH_DATA names, else tasks of
the nano grammar; SemHash 0.5 takes part where it can be imported (PYTHONPATH). The long list is
drawn: rows around centres, themselves in 200 topics, a tenth of them planted near another. Every
part runs in a process of its own. Not measured: GPUs.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from typing import TYPE_CHECKING

from benchmarks.novelty import texts
from benchmarks.results import load_average
from benchmarks.setting import load, note
from localinstruct.curate.embeddings import LocalEncoder, encode_in_blocks
from localinstruct.curate.neighbours import kept_neighbours
from localinstruct.records import JsonObject
from localinstruct.store.durable import write_text

if TYPE_CHECKING:
    import numpy as np

PARTS = ("peer", "encoding", "recall", "long", "tenth")
REPETITIONS = 3
TEXTS = 3000
"""Texts that are encoded for the comparison of encodings."""
DIMENSIONS = 384
THRESHOLD = 0.9


def drawn(count: int, seed: int = 1) -> "np.ndarray":
    """(count, 384) float32 unit rows in topics and groups, a tenth of them near another row."""
    import numpy as np

    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    groups = max(10, count // 50)
    centres = 0.8 * normal(groups, DIMENSIONS)
    centres += normal(200, DIMENSIONS)[rng.integers(0, 200, groups)]
    rows = np.empty((count, DIMENSIONS), np.float32)
    for start in range(0, count, 50_000):
        part = rows[start : start + 50_000]
        part[:] = centres[rng.integers(0, groups, len(part))] + 0.75 * normal(*part.shape)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        near = np.flatnonzero(rng.random(len(part)) < 0.1)
        spread = 0.6 * rng.random((len(near), 1), dtype=np.float32) / DIMENSIONS**0.5
        like = rng.integers(0, start + len(part), len(near))
        part[near] = rows[like] + spread * normal(len(near), DIMENSIONS)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def peer(_: int) -> JsonObject:
    """Seconds for the rows of the data file, vectors given: ours, and SemHash's in turns."""
    rows, source = texts(15_146)
    rows = list(dict.fromkeys(rows))  # SemHash drops equal texts before it compares
    vectors = _encoder().encode(rows)
    ways: dict[str, Callable[[], int]] = {
        "ours": lambda: int((kept_neighbours(vectors, THRESHOLD).like < 0).sum())
    }
    try:
        from semhash import SemHash
    except ImportError:
        note("SemHash cannot be imported: ours is measured alone")
    else:

        class Given:
            """Encoder whose vectors are there already."""

            def encode(self, inputs: Sequence[str], **_: object) -> "np.ndarray":
                return vectors[: len(inputs)]

        def theirs() -> int:
            made = SemHash.from_embeddings(vectors, rows, model=Given())
            return len(made.self_deduplicate(threshold=THRESHOLD).selected)

        ways["semhash"] = theirs
    return {"texts": source, "rows": len(rows), **in_turns(ways)}


def in_turns(ways: Mapping[str, Callable[[], int]]) -> dict[str, object]:
    """Median seconds and count of each way, REPETITIONS times in turns; ours over SemHash's."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    kept = {}
    for _ in range(REPETITIONS):
        for name, way in ways.items():
            began = time.monotonic()
            kept[name] = way()
            seconds[name].append(time.monotonic() - began)
    medians = {name: round(statistics.median(each), 2) for name, each in seconds.items()}
    ratio = round(medians["ours"] / medians["semhash"], 2) if "semhash" in medians else None
    return {"seconds": medians, "kept": kept, "ratio": ratio}


def encoding(_: int) -> JsonObject:
    """Texts a second: batches of 16 on all cores but one, as before, and batches by tokens."""
    import torch

    rows, source = texts(TEXTS)
    encoder = _encoder()
    cores = torch.get_num_threads()
    length = sum(len(row.split()) for row in rows) / len(rows)
    pace: dict[str, list[float]] = {"before": [], "now": []}
    for _ in range(REPETITIONS):
        torch.set_num_threads(max(1, cores - 1))
        began = time.monotonic()
        for start in range(0, len(rows), 256):
            encoder._vectors(rows[start : start + 256], 16)
        pace["before"].append(len(rows) / (time.monotonic() - began))
        torch.set_num_threads(cores)
        began = time.monotonic()
        encode_in_blocks(encoder, rows, lambda count: None, 2048)
        pace["now"].append(len(rows) / (time.monotonic() - began))
    medians = {name: round(statistics.median(each)) for name, each in pace.items()}
    ratio = round(medians["now"] / medians["before"], 2)
    return {"texts": source, "words": round(length, 1), "a_second": medians, "ratio": ratio}


def recall(count: int) -> JsonObject:
    """Share of the rows that all pairs drop which the search by cells drops too."""
    vectors = drawn(min(count, 100_000))
    exact = kept_neighbours(vectors, THRESHOLD).like >= 0
    cells = kept_neighbours(vectors, THRESHOLD, exact_up_to=0).like >= 0
    both = int((exact & cells).sum())
    return {
        "rows": len(vectors),
        "dropped": int(exact.sum()),
        "recall": round(both / int(exact.sum()), 5),
        "precision": round(both / max(1, int(cells.sum())), 5),
    }


def long(count: int) -> JsonObject:
    """Seconds and memory of the whole list, vectors given in a file, as `clean` has them."""
    import numpy as np

    with TemporaryDirectory() as place:
        file = Path(place, "vectors")
        drawn(count).tofile(file)
        peak = _OwnMemory()
        vectors = np.memmap(file, np.float32, "r", shape=(count, DIMENSIONS))
        began, used = time.monotonic(), time.process_time()
        found = kept_neighbours(vectors, THRESHOLD)
        seconds, used = time.monotonic() - began, time.process_time() - used
    return {
        "rows": count,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
        "gib": round(peak.stop() / 2**20, 2),
        "dropped": int((found.like >= 0).sum()),
    }


class _OwnMemory:
    """Most memory of its own that this process has from now on, without pages of files, in KiB.

    Pages of the vectors' file are the kernel's to take back.
    """

    def __init__(self) -> None:
        self._most, self._ended = 0, Event()
        self._thread = Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            lines = Path("/proc/self/status").read_text().splitlines()
            now = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
            self._most = max(self._most, now)

    def stop(self) -> int:
        """The most."""
        self._ended.set()
        self._thread.join()
        return self._most


def tenth(count: int) -> JsonObject:
    """The same for a tenth of the rows, by cells too: how the cost of a row grows."""
    vectors = drawn(count // 10)
    began, used = time.monotonic(), time.process_time()
    kept_neighbours(vectors, THRESHOLD, exact_up_to=0)
    seconds, used = time.monotonic() - began, time.process_time() - used
    return {
        "rows": count // 10,
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used, 1),
    }


def _encoder() -> LocalEncoder:
    return LocalEncoder(load("nano", [], Path(), quick=True).encoder)


def main() -> int:
    """Run the parts, each in a process of its own, and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--part", choices=PARTS, help="measure this one here")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", action="store_true", help="benchmarks/results/near_duplicates/")
    options = parser.parse_args()
    if options.part:
        print(json.dumps(globals()[options.part](options.rows)))
        return 0
    result: JsonObject = {"measured": time.strftime("%Y-%m-%d"), "load_before": load_average()}
    result["cores"] = os.cpu_count()
    for part in options.only.split(","):
        command = [sys.executable, "-m", "benchmarks.near_duplicates", "--part", part]
        done = subprocess.run(
            [*command, "--rows", str(options.rows)], check=True, stdout=subprocess.PIPE, text=True
        )
        result[part] = json.loads(done.stdout.splitlines()[-1])
        note(f"{part}: {result[part]}")
    if options.write:
        file = Path(__file__).parent / "results" / "near_duplicates" / "measured.json"
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
