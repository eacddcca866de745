"""Files are read as streams: what is in memory at once does not grow with the file."""

import csv
import gzip
import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from localinstruct.formats import Reader

ROWS = [
    {"instruction": f"Count the boats of harbour {n}.", "input": "", "output": f"{n} boats. " * 200}
    for n in range(3000)
]


def jsonl(path: Path, count: int) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS[:count]))
    return path


def one_list(path: Path, count: int) -> Path:
    path.write_text(json.dumps(ROWS[:count], indent=1))
    return path


def in_data(path: Path, count: int) -> Path:
    path.write_text(json.dumps({"data": ROWS[:count]}))
    return path


def table(path: Path, count: int) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS[:count])
    return path


def packed(path: Path, count: int) -> Path:
    path.write_bytes(gzip.compress(jsonl(path.with_name("plain"), count).read_bytes(), 1))
    return path


def zstandard(path: Path, count: int) -> Path:
    import pyarrow

    with pyarrow.CompressedOutputStream(str(path), "zstd") as file:
        file.write(jsonl(path.with_name("plain"), count).read_bytes())
    return path


def folder(path: Path, count: int) -> Path:
    path.mkdir()
    for start in range(0, count, 500):
        lines = [json.dumps(row) for row in ROWS[start : start + 500]]
        (path / f"{start}.jsonl").write_text("\n".join(lines))
    return path


KINDS: dict[str, Callable[[Path, int], Path]] = {
    "rows.jsonl": jsonl,
    "rows.json": one_list,
    "data.json": in_data,
    "rows.csv": table,
    "rows.jsonl.gz": packed,
    "rows.jsonl.zst": zstandard,
    "rows": folder,
}


def peak(path: Path) -> int:
    tracemalloc.start()
    count = sum(1 for _ in Reader(path))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count
    return found


@pytest.mark.parametrize("name", KINDS)
def test_memory_does_not_grow_with_the_file(name: str, tmp_path: Path) -> None:
    """Five times the rows: 5 MB more on the disk, and no more than a window in memory."""
    sizes: list[int] = []
    for count in (600, 600, 3000):  # the first of them loads what the format needs
        (tmp_path / f"{len(sizes)}").mkdir()
        sizes.append(peak(KINDS[name](tmp_path / f"{len(sizes)}" / name, count)))
    assert sizes[2] < sizes[1] + 900_000
