"""Writers: every pair of formats both ways, the same bytes for the same rows, and files that appear
whole or not at all."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from localinstruct.errors import DataError, StoreError, UsageError
from localinstruct.formats import EXPORTS, read_instances, user_turn, write
from localinstruct.records import Instance, Lineage, Message
from localinstruct.store.durable import atomic_write, write_text

ADD = Instance("Add.", "2 3", "5")
LONG_CHAT = Instance(
    "Add 2 3",
    output="5",
    system="Be brief.",
    history=(Message("user", "Hi"), Message("assistant", "Hello")),
)
FULL = Instance(
    "Say \"hi\" in\nFrench, 'please' 😀",
    input="tab\there",
    output="Salut\u2028!\r\n</s>",
    name="greeting",
    is_classification=True,
    lineage=Lineage(
        "alpaca",
        3,
        ("a" * 16, "b" * 16),
        "c" * 64,
        {"novelty_max": 0.1 + 0.2, "novelty_mean": 1e-9},
    ),
)
PREFERENCE = replace(LONG_CHAT, rejected="6")


def _bare(row: Instance) -> Instance:
    """What Alpaca's three fields hold."""
    return Instance(row.instruction, row.input, row.output)


def _joined(row: Instance) -> Instance:
    """What a conversation holds."""
    return Instance(user_turn(row), output=row.output, system=row.system, history=row.history)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


HOLDS: dict[str, Callable[[Instance], Instance]] = {
    "alpaca": _bare,
    "jsonl": lambda row: row,
    "messages": _joined,
    "sharegpt": _joined,
    "parquet": lambda row: row,
}
"""What of a row is still there after one trip."""


SINGLES = [name for name in EXPORTS if name != "preference"]
"""Formats of rows with one answer; pairs are in test_preference.py."""


@pytest.mark.parametrize("second", SINGLES)
@pytest.mark.parametrize("first", SINGLES)
def test_every_pair_of_formats_there_and_back(first: str, second: str, tmp_path: Path) -> None:
    rows = [FULL, ADD] if "alpaca" in (first, second) else [FULL, ADD, LONG_CHAT]
    assert len(rows) == write(rows, first, tmp_path / "one")
    between = read_instances(tmp_path / "one")
    assert [HOLDS[first](row) for row in rows] == between
    write(between, second, tmp_path / "two")
    assert [HOLDS[second](row) for row in between] == read_instances(tmp_path / "two")


@pytest.mark.parametrize("format", ["jsonl", "parquet"])
def test_full_formats_hold_everything(format: str, tmp_path: Path) -> None:
    rows = [FULL, PREFERENCE, LONG_CHAT]
    write(rows, format, tmp_path / "x")
    assert rows == read_instances(tmp_path / "x")


@pytest.mark.parametrize("format", EXPORTS)
def test_same_rows_same_bytes_and_nothing_beside(format: str, tmp_path: Path) -> None:
    digests = set()
    rows = [PREFERENCE] if format == "preference" else [FULL, ADD]
    for name in ("a", "b"):
        write(iter(rows), format, tmp_path / name)
        digests.add(hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    assert len(digests) == 1
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("format", EXPORTS)
def test_no_rows_make_a_valid_file(format: str, tmp_path: Path) -> None:
    assert write([], format, tmp_path / "x") == 0
    with pytest.raises(DataError, match="expected at least one row"):
        read_instances(tmp_path / "x")


def test_alpaca_file_is_what_alpaca_reads(tmp_path: Path) -> None:
    write([FULL, ADD], "alpaca", tmp_path / "x.json")
    data = json.loads((tmp_path / "x.json").read_text())
    assert [
        {"instruction": r.instruction, "input": r.input, "output": r.output} for r in (FULL, ADD)
    ] == data


def test_parquet_opens_in_datasets(tmp_path: Path) -> None:
    write([FULL, PREFERENCE], "parquet", tmp_path / "x.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "x.parquet")
    assert [*FULL.to_dict(), "extras"] == table.column_names
    kinds = {str(field.type) for field in table.schema}
    assert {
        "string",
        "bool",
        "list<element: struct<role: string, content: string>>",
    } == kinds  # no maps: datasets lacks them


REFUSED: dict[str, tuple[Instance, str, str]] = {
    "history in alpaca": (replace(LONG_CHAT, system=""), "alpaca", "earlier turns"),
    "system in alpaca": (replace(ADD, system="Be brief."), "alpaca", "a system message"),
    "preference in alpaca": (replace(ADD, rejected="6"), "alpaca", "a rejected answer"),
    "preference in messages": (PREFERENCE, "messages", "a rejected answer"),
    "preference in sharegpt": (PREFERENCE, "sharegpt", "a rejected answer"),
    "surrogate in jsonl": (replace(ADD, output="\ud83d"), "jsonl", "a lone surrogate"),
    "nul in parquet": (replace(ADD, output="a\0"), "parquet", "a NUL character"),
    "nul in a turn": (
        replace(LONG_CHAT, history=(Message("user", "\0"),)),
        "jsonl",
        "a NUL character",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_rows_a_format_cannot_hold_are_refused_and_the_old_file_stays(
    kind: str, tmp_path: Path
) -> None:
    row, format, words = REFUSED[kind]
    (tmp_path / "x").write_text("old")
    with pytest.raises(DataError, match=words) as caught:
        write([ADD, row, ADD], format, tmp_path / "x")
    assert row.id in caught.value.message
    assert (tmp_path / "x").read_text() == "old"
    assert names(tmp_path) == ["x"]


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'alpaca'"):
        write([ADD], "alpacca", tmp_path / "x")


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="found a directory"):
        write([ADD], "jsonl", tmp_path)
    with pytest.raises(UsageError, match="does not exist") as caught:
        write([ADD], "jsonl", tmp_path / "no" / "x")
    assert "mkdir -p" in caught.value.hint
    with pytest.raises(UsageError, match="not a regular file"):
        write([ADD], "jsonl", Path(os.devnull))


def write_and_raise(path: Path, error: Exception) -> None:
    with atomic_write(path) as file:
        file.write(b"half")
        raise error


def test_atomic_write_keeps_the_old_file_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_and_raise(path, ZeroDivisionError())
    assert path.read_text() == "old"
    assert [path.name] == names(tmp_path)


def test_what_a_killed_writer_left_is_taken_over_under_the_same_mark(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    killed = subprocess.run(
        [
            sys.executable,
            "-c",
            f"""
import os
import subprocess
import sys
from pathlib import Path
from localinstruct.store.durable import atomic_write, write_text
with atomic_write(Path({str(path)!r}), "one") as file:
    os._exit(9)
""",
        ]
    )
    assert killed.returncode == 9
    assert names(tmp_path) == [".rows.one.part"]
    write_text(path, "whole", "one")
    assert names(tmp_path) == ["rows"]
    assert path.read_text() == "whole"


def test_atomic_write_says_why_it_failed_but_not_for_other_files(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written: No space left"):
        write_and_raise(tmp_path / "x", OSError(28, "No space left on device"))
    with pytest.raises(UsageError, match="cannot be written: Read-only file system"):
        write_and_raise(tmp_path / "x", OSError(30, "Read-only file system"))
    with pytest.raises(FileNotFoundError):
        write_and_raise(tmp_path / "x", FileNotFoundError(2, "No such file", "another file"))
    assert names(tmp_path) == []


def test_atomic_write_keeps_mode_and_follows_links(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("old")
    path.chmod(0o640)
    (tmp_path / "link").symlink_to(path.name)
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "link").is_symlink()
