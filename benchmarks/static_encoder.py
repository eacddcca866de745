"""`clean` with a static encoder that proposes, beside the encoder alone, and beside SemHash.

    python -m benchmarks.static_encoder [--rows 1000000] [--compared 100000] [--only …] [--write]

Rows of `paraphrases.py`. *quality*: rows that the encoder alone drops as similar, and how many of
them `static` drops too, on the shorter list. *peer*: the static encoder alone, text to kept rows,
ours and SemHash 0.5's with the same encoder, in turns (PYTHONPATH names it). *whole*: seconds of
`localinstruct clean --static` from file to file on the longer list, and the share that the encoder
reads. Every part runs in a process of its own. Not measured: GPUs, rows in which most are alike.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks import paraphrases
from benchmarks.near_duplicates import in_turns
from benchmarks.results import load_average
from benchmarks.setting import load, note
from localinstruct.cleaning.decisions import opened
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.work import Job, clean, shape_of
from localinstruct.curate.embeddings import encode_in_blocks
from localinstruct.curate.neighbours import kept_neighbours
from localinstruct.curate.static import StaticEncoder
from localinstruct.progress import Silent
from localinstruct.records import JsonObject
from localinstruct.store.durable import write_text

PARTS = ("peer", "quality", "whole")
THRESHOLD = 0.9


def peer(count: int) -> JsonObject:
    """Seconds from texts to kept rows with the static encoder alone: ours, and SemHash's."""
    texts = list(dict.fromkeys(row.instruction for _, row in paraphrases.rows(count)))
    encoder = StaticEncoder(_encoder(), texts, Silent())

    def ours() -> int:
        vectors = encode_in_blocks(encoder, texts, lambda done: None, 2048)
        return int((kept_neighbours(vectors, THRESHOLD).like < 0).sum())

    ways: dict[str, Callable[[], int]] = {"ours": ours}
    try:
        from semhash import SemHash
    except ImportError:
        note("SemHash cannot be imported: ours is measured alone")
    else:

        def theirs() -> int:
            made = SemHash.from_records(texts, model=encoder._model)
            return len(made.self_deduplicate(threshold=THRESHOLD).selected)

        ways["semhash"] = theirs
    return {"rows": len(texts), **in_turns(ways)}


def quality(count: int) -> JsonObject:
    """Recall and precision of the rows that are dropped as similar, against the encoder alone."""
    with TemporaryDirectory() as place:
        rows = Path(place, "rows.jsonl")
        paraphrases.write(count, rows)
        plain, static = _cleaned(rows, False), _cleaned(rows, True)
    both = len(plain.dropped & static.dropped)
    return {
        "rows": count,
        "dropped": {"encoder": len(plain.dropped), "static": len(static.dropped)},
        "recall": round(both / len(plain.dropped), 4),
        "precision": round(both / len(static.dropped), 4),
        "encoded": static.encoded,
        "seconds": {"encoder": plain.seconds, "static": static.seconds},
        "cpu_seconds": {"encoder": plain.cpu_seconds, "static": static.cpu_seconds},
    }


def whole(count: int) -> JsonObject:
    """Seconds from a file of rows to a file of clean ones."""
    with TemporaryDirectory() as place:
        rows = Path(place, "rows.jsonl")
        planted = paraphrases.write(count, rows)
        cleaned = _cleaned(rows, True)
    lines = Path("/proc/self/status").read_text().splitlines()
    most = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return {
        "rows": count,
        "planted": planted,
        "dropped": len(cleaned.dropped),
        "minutes": round(cleaned.seconds / 60, 1),
        "cpu_minutes": round(cleaned.cpu_seconds / 60, 1),
        "encoded": cleaned.encoded,
        "gib": round(most / 2**20, 2),
    }


class Cleaned(NamedTuple):
    """Outcome of one cleaning; the CPU seconds are those of all its processes."""

    dropped: set[int]
    """Rows dropped as similar."""
    seconds: float
    cpu_seconds: float
    encoded: float
    """Share of the rows that the encoder has read."""


def _cleaned(rows: Path, static: bool) -> Cleaned:
    settings = Clean(similar=THRESHOLD, static=static)
    job = Job([rows], rows.with_name(f"{static}.jsonl"), "jsonl", settings, _encoder())
    began, used = time.monotonic(), sum(os.times()[:4])
    outcome = clean(job, Silent())
    seconds, used = time.monotonic() - began, sum(os.times()[:4]) - used
    with opened(job.folder, shape_of(job)) as store:
        found = store.select("SELECT seq FROM rows WHERE step = 'alike'")
        dropped = {int(str(seq)) for (seq,) in found}
    facts = outcome.facts["alike"]
    encoded = (facts["encoded_twice"] if static else facts["compared"]) / outcome.read
    return Cleaned(dropped, round(seconds, 1), round(used, 1), round(encoded, 3))


def _encoder() -> Path:
    return load("nano", [], Path(), quick=True).encoder


def main() -> int:
    """Run the parts, each in a process of its own, and print what they measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--compared", type=int, default=100_000)
    parser.add_argument("--part", choices=PARTS, help="measure this one here")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", action="store_true", help="benchmarks/results/static_encoder/")
    options = parser.parse_args()
    if options.part:
        count = options.rows if options.part == "whole" else options.compared
        print(json.dumps(globals()[options.part](count)))
        return 0
    file = Path(__file__).parent / "results" / "static_encoder" / "measured.json"
    result: JsonObject = json.loads(file.read_text()) if file.exists() else {}
    for part in options.only.split(","):
        before = load_average()
        command = [sys.executable, "-m", "benchmarks.static_encoder", "--part", part]
        command += ["--rows", str(options.rows), "--compared", str(options.compared)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        measured = {"measured": time.strftime("%Y-%m-%d"), "load_before": before}
        result[part] = {**json.loads(done.stdout.splitlines()[-1]), **measured}
        note(f"{part}: {result[part]}")
    if options.write:
        file.parent.mkdir(exist_ok=True)
        write_text(file, json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
