"""Millions of rows through the steps of `clean`: seconds, memory and disk, by number of rows.

    python -m benchmarks.many_rows [--parts keys,grams,likeness,whole] [--rows 200000,1000000]
                                   [--folder DIR] [--write]

keys      repeated questions and heads of questions, by DuckDB and by SQLite (`cleaning/repeated`)
grams     evaluation tasks in rows, by runs of words (`curate/contamination`)
likeness  kept neighbours, vectors given in a file, their copy in another (`curate/neighbours`)
whole     a file through `clean`, likeness by a static encoder and the encoder itself

Every part runs in a process of its own. Memory is what the processes have for themselves, without
pages of files, which the kernel takes back when it needs them; `gib_with_files` has those too.
Rows are drawn: those of keys and grams have no meaning. A part is added to what --write wrote
before. Not measured: more than one machine.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Event, Thread

import psutil

from benchmarks.near_duplicates import DIMENSIONS, THRESHOLD, drawn
from benchmarks.picture import figure
from benchmarks.results import load_average
from benchmarks.setting import note
from localinstruct.cleaning import repeated
from localinstruct.cleaning.decisions import Decisions, opened
from localinstruct.cleaning.settings import Clean
from localinstruct.curate.contamination import Tasks
from localinstruct.curate.neighbours import kept_neighbours
from localinstruct.records import Instance, JsonObject
from localinstruct.store.durable import write_text

RESULTS = Path(__file__).parent / "results" / "many_rows"
WRITTEN = 50_000
"""Rows that are drawn and written together."""
TEXT = '{"instruction":"Question %d, with words around it, to be as long as a row","output":"%s"}'
INSERT = "INSERT INTO rows VALUES (?,'rows',?,?,'','',?,?,?,0,NULL,NULL,NULL,NULL,NULL)"
ANSWER = "an answer of the usual length, " * 6
WORDS = 60
"""Words of a row in which tasks are looked for."""
TASKS = 1000
GIB = 2**30


class Memory:
    """Most memory that this process and its children have had, in GiB; sampled."""

    def __init__(self) -> None:
        self.own = self.with_files = 0.0
        self._ended = Event()
        self._thread = Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._ended.wait(0.1):
            here = psutil.Process()
            own = total = 0
            for one in [here, *here.children(recursive=True)]:
                try:
                    lines = Path(f"/proc/{one.pid}/status").read_text().splitlines()
                except OSError:
                    continue
                sizes = {line.split(":")[0]: line.split()[1] for line in lines if "Rss" in line}
                own += int(sizes.get("RssAnon", 0))
                total += sum(int(sizes.get(key, 0)) for key in ("RssAnon", "RssFile"))
            self.own = max(self.own, own / 2**20)
            self.with_files = max(self.with_files, total / 2**20)

    def facts(self) -> JsonObject:
        """The figures, once it is over."""
        self._ended.set()
        self._thread.join()
        return {"gib": round(self.own, 2), "gib_with_files": round(self.with_files, 2)}


def fill(store: Decisions, count: int) -> None:
    """Rows as `clean` stores them: every fifth asks again what another one asks."""
    draw = Random(1)
    for first in range(0, count, WRITTEN):
        last = min(first + WRITTEN, count)
        with store._writing():
            store._db.executemany(INSERT, (_row(seq, draw) for seq in range(first, last)))


def _row(seq: int, draw: Random) -> tuple[object, ...]:
    asked = draw.randrange(seq) if seq and draw.random() < 0.2 else seq
    question = Random(asked).randbytes(16)
    answer = Random(asked + draw.randrange(2)).randbytes(16)
    return seq, seq, TEXT % (asked, ANSWER), question, answer, draw.randrange(400)


def keys(count: int, folder: Path) -> JsonObject:
    """Seconds of both ways for the rows of one store; the decisions must be equal."""
    result: JsonObject = {}
    with opened(folder / "rows", {}) as store:
        began = time.monotonic()
        fill(store, count)
        result["fill_seconds"] = round(time.monotonic() - began, 1)
        began = time.monotonic()
        store.end_reading((), {})
        result["index_seconds"] = round(time.monotonic() - began, 1)
        result["store_gib"] = round(_size(folder) / GIB, 2)
        found = {}
        for way, many in (("duckdb", 0), ("sqlite", 10**12)):
            if way == "sqlite" and count > 2_000_000:
                continue
            repeated.MANY = many
            found[way] = (facts := _decide(store)).pop("decided")
            result[way] = facts
    assert len(set(found.values())) == 1, found
    return result


def _decide(store: Decisions) -> JsonObject:
    """Both questions of the keys; the store is as before at the end."""
    settings = Clean(answers_per_prompt=1)
    memory, began = Memory(), time.monotonic()
    repeated.find_repeated(store, settings)
    decided = time.monotonic() - began
    heads = repeated.heads(store, settings)
    seconds = time.monotonic() - began
    dropped = store.count("reason IS NOT NULL")
    with store._writing():
        store._db.execute("UPDATE rows SET step = NULL, reason = NULL, like = NULL")
        store._db.execute("DELETE FROM meta WHERE key = 'done repeated'")
    return {
        "seconds": round(seconds, 1),
        "repeated_seconds": round(decided, 1),
        "dropped": dropped,
        "heads": len(heads),
        "decided": (dropped, len(heads), int(heads[::97].sum())),
        **memory.facts(),
    }


def grams(count: int, _: Path) -> JsonObject:
    """Seconds for tasks in rows, streamed: one row in a thousand holds one."""
    draw = Random(2)
    words = [f"word{number}" for number in range(20_000)]
    asked = {
        f"task {number}": Instance(" ".join(draw.choices(words, k=20))) for number in range(TASKS)
    }
    tasks, texts = Tasks(asked), [one.instruction for one in asked.values()]
    memory, began, found = Memory(), time.monotonic(), 0
    for row in _texts(count, words, texts):
        found += (tasks.same(row) or tasks.within(row)) is not None
    seconds = time.monotonic() - began
    return {"seconds": round(seconds, 1), "found": found, "tasks": TASKS, **memory.facts()}


def _texts(count: int, words: list[str], tasks: list[str]) -> Iterator[Instance]:
    draw = Random(3)
    pieces = [" ".join(draw.choices(words, k=WORDS // 4)) for _ in range(5000)]
    for number in range(count):
        held = draw.choice(tasks) if number % 1000 == 0 else draw.choice(pieces)
        asked = f"{draw.choice(pieces)} {held}"
        yield Instance(asked, "", f"{draw.choice(pieces)} {draw.choice(pieces)}")


def likeness(count: int, folder: Path) -> JsonObject:
    """Seconds of the search by cells, vectors and their copy in files."""
    import numpy as np

    file = folder / "vectors"
    drawn(count).tofile(file)
    vectors = np.memmap(file, np.float32, "r", shape=(count, DIMENSIONS))
    memory, began, used = Memory(), time.monotonic(), time.process_time()
    found = kept_neighbours(vectors, THRESHOLD, exact_up_to=0, scratch=folder / "scratch")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "dropped": int((found.like >= 0).sum()),
        "disk_gib": round(_size(folder) / GIB, 2),
        **memory.facts(),
    }


def whole(count: int, folder: Path) -> JsonObject:
    """Seconds of `clean --static` on a messy file; goes on where an earlier call was ended.

    LOCALINSTRUCT_BENCH_SECONDS ends it after so many seconds.
    """
    rows, output = folder / "messy.jsonl", folder / "clean.jsonl"
    if not rows.exists():
        command = [sys.executable, "-m", "benchmarks.messy", str(count), str(rows)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    limit = float(os.environ.get("LOCALINSTRUCT_BENCH_SECONDS", "86400"))
    command = [sys.executable, "-m", "localinstruct", "clean", str(rows), "--static"]
    memory, began = Memory(), time.monotonic()
    process = subprocess.Popen(
        [*command, "--output", str(output)],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = process.communicate(timeout=limit)[1]
        ended = process.returncode == 0
    except subprocess.TimeoutExpired:
        process.terminate()
        said, ended = process.communicate()[1], False
    if not ended:
        note(said[-600:])
    return {
        "seconds": round(time.monotonic() - began, 1),
        "ended": ended,
        "kept": sum(1 for _ in output.open()) if ended else None,
        "disk_gib": round(_size(folder) / GIB, 2),
        "file_gib": round(rows.stat().st_size / GIB, 3),
        **memory.facts(),
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


PARTS: dict[str, Callable[[int, Path], JsonObject]] = {
    "keys": keys,
    "grams": grams,
    "likeness": likeness,
    "whole": whole,
}


def pictures(result: JsonObject) -> dict[str, str]:
    """Two drawings: seconds, and memory, of every part by number of rows."""
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {"seconds": {}, "gib": {}}
    for one in result["parts"]:
        ways = {"keys": ("duckdb", "sqlite")}.get(one["part"], ("",))
        for way in ways:
            facts = one.get(way) if way else one
            if facts and facts.get("ended", True):
                name = f"{one['part']} {way}".strip()
                for key, drawing in curves.items():
                    drawing.setdefault(name, []).append((one["rows"], max(facts[key], 0.01)))
    styles = ("ours", "ours dashed", "rouge", "rouge dashed", "ours")
    words = {"seconds": "seconds", "gib": "GiB of memory, without pages of files"}
    drawings = {}
    for key, drawing in curves.items():
        several = {name: sorted(points) for name, points in drawing.items()}
        marks = dict(zip(several, styles, strict=False))
        title = f"Many rows through the steps of `clean`: {words[key]}"
        drawings[key] = figure(several, marks, title, result["measured"], "rows")
    return drawings


def main() -> int:
    """Measure every part at every size, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--rows", default="200000,1000000")
    parser.add_argument("--folder", type=Path, help="where the rows lie meanwhile")
    parser.add_argument("--here", action="store_true", help="measure one part in this process")
    parser.add_argument("--write", action="store_true", help="benchmarks/results/many_rows/")
    options = parser.parse_args()
    if options.here:
        print(json.dumps(PARTS[options.parts](int(options.rows), options.folder)))
        return 0
    measured = []
    for part in options.parts.split(","):
        for rows in map(int, options.rows.split(",")):
            measured.append({"part": part, "rows": rows, **one(part, rows, options.folder)})
            note(f"{measured[-1]}")
    if options.write:
        write(measured)
    return 0


def one(part: str, rows: int, folder: Path | None) -> JsonObject:
    """One measurement; a given folder is kept for `whole`, which may go on in it."""
    with TemporaryDirectory(dir=folder) as place:
        where = folder / "whole" if folder and part == "whole" else Path(place)
        where.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "benchmarks.many_rows", "--here", "--parts", part]
        before = load_average()
        found = subprocess.run(
            [*command, "--rows", str(rows), "--folder", str(where)],
            check=True,
            stdout=subprocess.PIPE,
        )
        facts: JsonObject = json.loads(found.stdout.splitlines()[-1])
    if facts.get("ended") and where.name == "whole":
        shutil.rmtree(where)
    return {**facts, "load_before": before}


def write(measured: list[JsonObject]) -> None:
    """Put measurements beside earlier ones of other parts and sizes, and draw all."""
    file = RESULTS / "measured.json"
    before = json.loads(file.read_text())["parts"] if file.exists() else []
    named = {(one["part"], one["rows"]): one for one in [*before, *measured]}
    parts = [named[key] for key in sorted(named)]
    result: JsonObject = {"measured": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}
    result["parts"] = parts
    RESULTS.mkdir(exist_ok=True, parents=True)
    write_text(file, json.dumps(result, indent=1) + "\n")
    for key, drawing in pictures(result).items():
        write_text(RESULTS / f"{key}.svg", drawing)


if __name__ == "__main__":
    sys.exit(main())
