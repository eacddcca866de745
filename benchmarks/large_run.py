"""A run of many kept rows: novelty of a candidate, memory, and resuming it.

    python -m benchmarks.large_run [--rows 1000000] [--folder FOLDER] [--write]

A store is made as a run leaves it (short rows, vectors of `near_duplicates.drawn`, episodes of 16
rows); then, in a process of its own, it is opened, checked and taken up as
`generate` does, and the gate is asked about lists of 16 candidates. Teacher and encoder take no
part.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.near_duplicates import drawn
from benchmarks.picture import figure
from benchmarks.results import load_average
from benchmarks.setting import note
from localinstruct.curate.index import Index
from localinstruct.curate.novelty import Gate, Novelty
from localinstruct.records import Instance, JsonObject, Kept, Lineage, digest
from localinstruct.store.durable import write_text
from localinstruct.store.kept_rows import KeptRows
from localinstruct.store.run import _json, open_run

if TYPE_CHECKING:
    import numpy as np

LIST = 16
"""Candidates that the gate is asked about together, and rows of an episode."""
LISTS = 12
WORDS = "Explain to a person of {} years what {} is good for."
WRITTEN = 16_000
"""Rows that are written in one transaction."""
SIZES = (10_000, 100_000, 1_000_000)
STRANGER = 99
"""Seed of the candidates' vectors, near no kept row."""


def make(folder: Path, count: int) -> None:
    """Write the store of a run with so many kept rows, in the form that `commit_episode` gives."""
    vectors, teacher = drawn(count), digest("teacher")
    ids = [digest(number)[:16] for number in range(64)]
    scores = {"novelty_max": 0.5, "novelty_mean": 0.1}
    lineage = Lineage("alpaca", 0, tuple(ids[:3]), teacher, scores)
    plain = Instance("", lineage=lineage).to_dict()
    near = _json([{"id": one, "text": WORDS.format(7, 77), "score": 0.5} for one in ids[:10]])
    with open_run(folder) as run:
        run._db.execute("PRAGMA synchronous = OFF")  # nobody's rows
        for first in range(0, count, WRITTEN):
            last = min(first + WRITTEN, count)
            with run._transaction():
                for number in range(first, last):
                    row = plain | {"id": f"{number:016x}"}
                    row["instruction"] = WORDS.format(number % 97, number)
                    row["output"] = f"Answer {number} has some words. " * 6
                    texts = (_json(row), near, vectors[number].tobytes())
                    run._insert("kept", number + 1, row["id"], number // LIST, *texts)
                for episode in range(first // LIST, -(-last // LIST)):
                    run._insert("episodes", episode, min(LIST, count - episode * LIST), 0, 9, 1.7e9)


def resume(folder: Path) -> JsonObject:
    """Seconds to open, check and take up the run, GiB of the process, ms of a candidate."""
    import numpy as np

    base = _gib("VmRSS")
    began, used = time.monotonic(), time.process_time()
    with open_run(folder) as run:
        opened = time.monotonic()
        gate, done = Gate(Novelty(), Index(384), ()), len(KeptRows(run))
        for ids, rows, vectors in run.compared_blocks():
            gate.remember(rows, vectors, ids)
        ready, used = time.monotonic(), time.process_time() - used
        costs, burnt = [], []
        for one in range(LISTS):
            asked = _strangers(one)
            named = [Instance(f"candidate {one} {n}") for n in range(LIST)]
            start, spent = time.monotonic(), time.process_time()
            verdicts = gate.admit(named, asked)
            costs.append((time.monotonic() - start) * 1000 / LIST)
            burnt.append((time.process_time() - spent) * 1000 / LIST)
            assert all(isinstance(verdict, Kept) for verdict in verdicts)
    most, held = _gib("VmHWM"), np.float32().nbytes * 384 * done / 2**30
    return {
        "rows": done,
        "check_seconds": round(opened - began, 1),
        "take_up_seconds": round(ready - opened, 1),
        "resume_cpu_seconds": round(used, 1),
        "milliseconds": round(statistics.median(costs), 2),
        "cpu_milliseconds": round(statistics.median(burnt), 2),
        "gib": round(most, 2),
        "gib_of_vectors": round(held, 2),
        "gib_beside_them": round(most - held, 2),
        "gib_of_libraries": round(base, 2),
    }


def _strangers(seed: int) -> "np.ndarray":
    """(16, 384) float32 unit rows, unlike all others."""
    import numpy as np

    rows = np.random.default_rng(STRANGER + seed).standard_normal((LIST, 384), dtype=np.float32)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _gib(key: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 2**20 for line in lines if line.startswith(f"{key}:"))


def growth(result: JsonObject) -> str:
    """Picture of what a row costs as rows become more, near-duplicates beside it where measured."""
    sizes = result["sizes"]
    curves = {
        "novelty of one candidate": [(one["rows"], one["cpu_milliseconds"]) for one in sizes],
        "resuming, 1,000 rows": [
            (one["rows"], 1e6 * one["resume_cpu_seconds"] / one["rows"]) for one in sizes
        ],
    }
    styles = dict(zip(curves, ("ours", "rouge"), strict=True))
    file = Path(__file__).parent / "results" / "near_duplicates" / "amd-epyc-2-cores.json"
    found = json.loads(file.read_text())
    if "cpu_seconds" in found["long"]:
        parts = (found["tenth"], found["long"])
        name = "near-duplicates, 1,000 rows"
        curves[name] = [(one["rows"], 1e6 * one["cpu_seconds"] / one["rows"]) for one in parts]
        styles[name] = "rouge dashed"
    return figure(
        curves, styles, "Many rows: milliseconds of CPU, of all cores", result["measured"], "rows"
    )


def main() -> int:
    """Measure every size up to `--rows`, each in processes of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=SIZES[-1])
    parser.add_argument("--part", choices=("make", "resume"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help="benchmarks/results/large_run/")
    options = parser.parse_args()
    if options.part == "make":
        make(options.folder, options.rows)
        return 0
    if options.part == "resume":
        print(json.dumps(resume(options.folder)))
        return 0
    result: JsonObject = {"measured": time.strftime("%Y-%m-%d"), "load_before": load_average()}
    result["sizes"] = []
    for size in [size for size in SIZES if size <= options.rows]:
        with TemporaryDirectory(dir=options.folder) as place:
            command = [sys.executable, "-m", "benchmarks.large_run", "--rows", str(size)]
            command += ["--folder", f"{place}/run", "--part"]
            subprocess.run([*command, "make"], check=True)
            found = subprocess.run([*command, "resume"], check=True, stdout=subprocess.PIPE)
            result["sizes"].append(json.loads(found.stdout))
            note(f"{size:,} rows: {result['sizes'][-1]}")
    if options.write:
        file = Path(__file__).parent / "results" / "large_run" / "measured.json"
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps(result, indent=1) + "\n")
        write_text(file.with_suffix(".svg"), growth(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
