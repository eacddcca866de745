"""Rows of tables: Parquet and Arrow by batches, text with commas, tabs or semicolons by lines."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from localinstruct.errors import DataError
from localinstruct.formats.fields import Malformed
from localinstruct.formats.names import ANSWERS, CONVERSATIONS, INPUTS, TASKS
from localinstruct.formats.strict_json import decode

_BOM = b"\xef\xbb\xbf"
Values = Iterator[tuple[int, object]]
"""(line from 1, row or a Malformed); for Parquet and Arrow the row number."""


def columnar(path: Path, file: BinaryIO, head: bytes) -> Values:
    """Every row of Parquet or Arrow with its number; damage is a problem where reading ended."""
    import pyarrow

    kind = "Parquet" if head.startswith(b"PAR1") else "Arrow"
    if not file.seekable() and head.startswith((b"PAR1", b"ARROW1")):
        raise DataError(f"{path}: {kind} inside a compressed file.", "Unpack it first.")
    number = 0
    try:
        for batch in _batches(file, head):
            batch.validate(full=True)  # damaged offsets would be followed out of the memory
            for start in range(0, batch.num_rows, 1_000):
                for row in batch.slice(start, 1_000).to_pylist():
                    number += 1
                    yield number, {key: _or_null(value) for key, value in row.items()}
    except (pyarrow.ArrowException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        text = f"expected a row of a readable {kind} file, found: {reason}"
        problem = Malformed(text, number + 1, "damaged")
        problem.final = True
        yield number + 1, problem


def _or_null(value: object) -> object:
    """A cell; not a number is what pandas writes for an empty one."""
    return None if isinstance(value, float) and value != value else value


def _batches(file: BinaryIO, head: bytes) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    if head.startswith(b"PAR1"):
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=1_000)
    elif head.startswith(b"ARROW1"):
        whole = pyarrow.ipc.open_file(file)
        yield from (whole.get_batch(number) for number in range(whole.num_record_batches))
    else:
        yield from pyarrow.ipc.open_stream(file)


def delimiter_of(path: Path, start: bytes) -> str:
    """What separates the columns of a table; "" where the text is no table."""
    names = [part.lower() for part in path.name.split(".")]
    header = start.partition(b"\n")[0].decode("utf-8", "replace").strip()
    counts = {mark: header.count(mark) for mark in ("\t", ",", ";", "|")}
    if "tsv" in names:
        return "\t"
    best = max(counts, key=lambda mark: counts[mark])
    known = {*TASKS, *INPUTS, *ANSWERS, *CONVERSATIONS, "text", "chosen", "rejected"}
    columns = [column.strip('" ').lower() for column in header.split(best)]
    if "csv" in names:
        return best if counts[best] else ","
    return best if counts[best] and any(column in known for column in columns) else ""


def table(file: BinaryIO, delimiter: str) -> Values:
    """Rows of a CSV or TSV file under the names of its first line; an empty cell is null."""
    csv.field_size_limit(max(csv.field_size_limit(), 2**26))
    lines = _Lines(file)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start, lines.problem = reader.line_num + 1, None
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            problem = Malformed(f"expected a row of the table, found: {error}", start, "not CSV")
            problem.final = lines.ended
            yield start, problem
            continue
        if lines.problem is not None:
            yield lines.problem.line, lines.problem
        elif header is None:
            header = [name.strip() for name in cells]
        elif any(cells):
            yield start, _cells(header, cells)


def _cells(header: list[str], cells: list[str]) -> object:
    if len(cells) != len(header):
        problem = f"expected {len(header)} columns, found {len(cells)}"
        return Malformed(problem, reason="other number of columns")
    return {name: cell or None for name, cell in zip(header, cells, strict=True) if name}


class _Lines:
    """Lines of a table as text; one that is no UTF-8 is remembered, and read as can be."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._number = file, 0
        self.problem: Malformed | None = None
        self.ended = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        self._number += 1
        if not line:
            self.ended = True
            raise StopIteration
        try:
            return decode(line) if self._number == 1 or not line.startswith(_BOM) else line.decode()
        except Malformed as error:
            self.problem = Malformed(str(error), self._number, error.reason)
            self.problem.sample = line[: 2**12]
            return line.decode("utf-8", "replace").replace("\0", "")
