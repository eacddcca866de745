"""From a file's bytes to instances, row by row with line numbers.

The kind of a file is seen from its first bytes. JSONL and Parquet are streamed; a JSON list is read
whole (at most 1 GiB). Every problem of the file is collected, the first 20 are shown with their
count, and nothing is returned unless all rows are good.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeVar

from localinstruct.config import nearby
from localinstruct.errors import DataError
from localinstruct.formats.rows import Malformed, to_instances
from localinstruct.formats.strict_json import decode, elements, parse
from localinstruct.records import Instance

SHOWN_PROBLEMS = 20
MAX_LINE_BYTES = 16 * 2**20
MAX_LIST_BYTES = 2**30
_HEAD_BYTES = 64 * 2**10

_FOREIGN = {
    b"\x1f\x8b": "gzip-compressed data",
    b"PK\x03\x04": "a zip archive",
    b"\x28\xb5\x2f\xfd": "zstd-compressed data",
    b"SQLite format 3": "an SQLite database",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}
"""First bytes of files people try -> kind of such a file."""

T = TypeVar("T")
Numbered = Iterator[tuple[int, object]]
"""(line number from 1, JSON value); for Parquet the row number."""


def read_instances(path: Path, first_instance_only: bool = False) -> list[Instance]:
    """All instances of a file in file order.

    DataError names every bad line, or the reason why the file cannot be read. A Self-Instruct task
    with several instances becomes as many rows, or one with `first_instance_only` (as in Alpaca).
    """
    return read_rows(path, lambda value: to_instances(value, first_instance_only))


def read_rows(path: Path, convert: Callable[[object], list[T]]) -> list[T]:
    """All rows of a file as `convert` makes them, for kinds of row with keys of their own.

    `convert` raises Malformed for a bad row; DataError names every one of these.
    """
    if path.exists() and not path.is_file():
        kind = "a directory" if path.is_dir() else "a pipe or device"
        raise DataError(f"{path}: expected a file, found {kind}.", nearby(path / "any.jsonl"))
    problems = _Problems(path)
    rows: list[T] = []
    try:
        with path.open("rb") as file:
            for line, value in _values(path, file, problems):
                rows += _converted(line, value, convert, problems)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.", nearby(path)) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None
    problems.raise_if_any()
    if not rows:
        raise DataError(f"{path}: expected at least one row, found none.")
    return rows


@dataclass
class _Problems:
    """Problems of a file so far, and the ids it has used with their lines."""

    path: Path
    shown: list[str] = field(default_factory=list)
    count: int = 0
    id_lines: dict[str | int, int] = field(default_factory=dict)

    def add(self, line: int, text: str) -> None:
        self.count += 1
        if self.count <= SHOWN_PROBLEMS:
            self.shown.append(f"{self.path}:{line}: {text}")

    def raise_if_any(self) -> None:
        if not self.count:
            return
        lines = "\n".join(f"  {line}" for line in self.shown)
        more = self.count - len(self.shown)
        rest = f"\n  … and {more} more" if more else ""
        title = "1 bad row" if self.count == 1 else f"{self.count} bad rows"
        raise DataError(
            f"{title}, nothing was loaded\n{lines}{rest}",
            "Correct or remove these lines; docs: seeds/README.md.",
        )


def _converted(
    line: int, value: object, convert: Callable[[object], list[T]], problems: _Problems
) -> list[T]:
    try:
        rows = convert(value)
    except Malformed as error:
        problems.add(line, str(error))
        return []
    name = value.get("id") if isinstance(value, dict) else None
    if name is not None and not isinstance(name, str | int):
        problems.add(line, "expected id to be text or a whole number, found another type")
    elif name is not None and (first := problems.id_lines.setdefault(name, line)) != line:
        again = f"found {str(name)[:60]!r} again (first on line {first})"
        problems.add(line, f"expected every id once, {again}")
    return rows


def _values(path: Path, file: BinaryIO, problems: _Problems) -> Numbered:
    """Choose the reader by the first bytes."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    for magic, name in _FOREIGN.items():
        if head.startswith(magic):
            raise DataError(
                f"{path}: expected JSON, JSONL or Parquet, found {name}.",
                "Unpack or convert it first.",
            )
    if head.startswith(b"PAR1"):
        return _parquet(path, file, problems)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        return _json_list(path, file, problems)
    whole = _one_object(head) if len(head) < _HEAD_BYTES else None
    return iter([whole]) if whole else _json_lines(file, problems)


def _one_object(data: bytes) -> tuple[int, object] | None:
    """(line, value) when a small file is one object written over several lines.

    None when it is JSONL or broken.
    """
    if data.strip().count(b"\n") == 0:
        return None
    try:
        return data[: data.find(b"{") + 1].count(b"\n") + 1, parse(decode(data))
    except Malformed:
        return None


def _json_lines(file: BinaryIO, problems: _Problems) -> Numbered:
    """One value per line; blank lines are skipped, lines that are no JSON become problems."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            most = MAX_LINE_BYTES // 2**20
            problems.add(number, f"expected at most {most} MiB in a line, found more")
            _skip_line(file, line)
        elif line.strip(b" \t\r\n\xef\xbb\xbf" if number == 1 else None):
            try:
                yield number, parse(decode(line))
            except Malformed as error:
                problems.add(number, str(error))


def _skip_line(file: BinaryIO, line: bytes) -> None:
    while line and not line.endswith(b"\n"):
        line = file.readline(MAX_LINE_BYTES)


def _json_list(path: Path, file: BinaryIO, problems: _Problems) -> Numbered:
    """Every element of a JSON list with the line it starts on; a syntax error ends the reading."""
    if path.stat().st_size > MAX_LIST_BYTES:
        raise DataError(
            f"{path}: a JSON list over 1 GiB.",
            f"Make it JSONL: jq -c '.[]' {path} > {path.stem}.jsonl",
        )
    try:
        yield from elements(decode(file.read()))
    except Malformed as error:
        problems.add(error.line, str(error))


def _parquet(path: Path, file: BinaryIO, problems: _Problems) -> Numbered:
    """Every row with its number; a damaged file is one problem at the row where reading ended."""
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1_000):
            for row in batch.to_pylist():
                number += 1
                yield number, row
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        problems.add(number + 1, f"expected a row of a readable Parquet file, found: {reason}")
