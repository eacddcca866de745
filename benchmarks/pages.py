"""Pages over many rows: `python -m benchmarks.pages [--rows 200000]`.

Writes a file of made-up rows, has `review` serve it, and asks for pages as a browser does, each a
few times: the list, a search, filters, a row. What counts is the ratio to an empty answer of the
same server in the same minute, as cores are shared. Not covered: how long a browser draws.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from localinstruct.store.durable import write_text

TIMES = 7
WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("lan", "ret", "mo", "sik")]
ASKED = {
    "nothing (404)": "/static/none",
    "first page": "/rows",
    "page in the middle": "/rows?page={middle}",
    "one row": "/row/{half}",
    "search, a frequent word": "/rows?q=ballan",
    "search, two words": "/rows?q=ballan+terret",
    "search, a beginning": "/rows?q=bal",
    "undecided": "/rows?state=undecided",
    "by length": "/rows?order=length",
    "words from 20 to 30": "/rows?words_from=20&words_to=30",
    "next of a search": "/next?q=ballan&after={half}",
}


def rows(count: int) -> list[str]:
    """Lines of a file: instructions of 8 to 24 words, answers of 5 to 60."""
    rng = Random(7)
    lines = []
    for number in range(count):
        asked = " ".join(rng.choices(WORDS, k=rng.randint(8, 24)))
        answer = " ".join(rng.choices(WORDS, k=rng.randint(5, 60)))
        lines.append(json.dumps({"instruction": f"{number}: {asked}", "output": answer}))
    return lines


def memory(pid: int, name: str) -> int:
    """MiB of a process: VmHWM (the most) or VmRSS (now)."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{name}:\s+(\d+)", status)
    return int(found[1]) // 1024 if found else 0


def measured(count: int, folder: Path) -> dict[str, object]:
    """Median milliseconds of each page, seconds of indexing, MiB of the process."""
    path = folder / "rows.jsonl"
    write_text(path, "".join(f"{line}\n" for line in rows(count)))
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", "review", str(path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        address = process.stdout.readline().strip()
        indexed = time.monotonic() - began
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        opener.open(address).close()
        base = address.partition("/?")[0]
        places = {"half": count // 2, "middle": count // 100}
        pages = {name: _median(opener, base + ask.format(**places)) for name, ask in ASKED.items()}
        most, now = (memory(process.pid, name) for name in ("VmHWM", "VmRSS"))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate()
    return {
        "rows": count,
        "indexing_seconds": round(indexed, 1),
        "index_mib": (folder / "rows.jsonl.review.index.sqlite").stat().st_size // 2**20,
        "memory_most_mib": most,
        "memory_mib": now,
        "milliseconds": pages,
    }


def _median(opener: urllib.request.OpenerDirector, address: str) -> float:
    spent = []
    for _ in range(TIMES):
        began = time.perf_counter()
        try:
            opener.open(address).read()
        except urllib.error.HTTPError as answer:
            answer.read()
        spent.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(spent), 1)


def main() -> None:
    """Measure and print; `--output` keeps the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        result = measured(given.rows, Path(folder))
    pages = result["milliseconds"]
    assert isinstance(pages, dict)
    nothing = pages["nothing (404)"]
    for name, spent in pages.items():
        print(f"{name:26} {spent:8.1f} ms {spent / nothing:8.1f} times nothing")
    print(json.dumps({name: value for name, value in result.items() if name != "milliseconds"}))
    if given.output:
        write_text(given.output, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
