"""From a file's bytes to JSON values with their lines, streamed.

The kind of a file is seen from its first bytes: JSON Lines, a JSON list, an object around a list,
Parquet, Arrow, a table of commas, tabs or semicolons; gzip, zstd, bzip2 and xz are unpacked on the
way. Files of other kinds are refused with one line that says how to make them readable.
"""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from localinstruct.errors import DataError
from localinstruct.formats.compressed import unpacked
from localinstruct.formats.encodings import UTF16, Transcoded, likely_encoding
from localinstruct.formats.fields import Malformed, Reading
from localinstruct.formats.names import ANSWERS, CONVERSATIONS, INPUTS, TASKS
from localinstruct.formats.strict_json import Elements, decode, parse
from localinstruct.formats.tables import columnar, delimiter_of, table
from localinstruct.formats.turns import is_conversation

HEAD_BYTES = 64 * 2**10
_PIECE = 2**18
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {
    b"PK\x03\x04": ("a zip archive (or an Excel file)", "Unpack it, or save the table as CSV."),
    b"SQLite format 3": ("an SQLite database", "Export the table as CSV."),
    b"version https://git-lfs": ("a pointer of Git LFS", "Fetch the file itself: git lfs pull"),
    b"<!DOCTYPE": ("a web page", "Download the file itself, not the page about it."),
    b"<!doctype": ("a web page", "Download the file itself, not the page about it."),
    b"<html": ("a web page", "Download the file itself, not the page about it."),
    b"\x80\x04\x95": ("a Python pickle", "It is code: have it written as JSONL where it was made."),
    b"FEA1": ("Feather of version 1", "Write it as Parquet."),
    b"\x89HDF": ("an HDF5 file", "Write the table as Parquet or CSV."),
    b"ORC": ("an ORC file", "Write the table as Parquet."),
    b"%PDF": ("a PDF document", "Documents are for method.grounded."),
}
"""First bytes of files people try -> (kind of such a file, what to do)."""

Value = tuple[int, object]
"""(line from 1, JSON value or a Malformed); for Parquet and Arrow the row number."""
Values = Iterator[Value]
COLUMNAR = (b"PAR1", b"ARROW1", b"\xff\xff\xff\xff")
"""First bytes of Parquet, Arrow files and Arrow streams."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a line, or an element of a list, may be."""

    line_bytes: int


@contextmanager
def opened(path: Path, reading: Reading, limits: Limits) -> Iterator[Values]:
    """The values of a file; DataError where it is of a kind that is not read."""
    with path.open("rb") as raw:
        file = unpacked(path, raw)
        if reading.encoding and reading.encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
            file = io.BufferedReader(Transcoded(file, reading.encoding, str(path)), _PIECE)
        yield _values(path, file, reading, limits)


def _values(path: Path, file: BinaryIO, reading: Reading, limits: Limits) -> Values:
    """Choose the reader by the first bytes."""
    head = _head(file)
    _refuse_foreign(path, head, reading)
    if head.startswith(COLUMNAR):
        return columnar(path, file, head)
    start = head.removeprefix(_BOM).lstrip()
    pieces = partial(_pieces, file)
    if start.startswith(b"[") and not _lists_on_lines(start):
        return _list(pieces(), limits)
    if start.startswith(b"["):
        return _json_lines(file, limits)
    if not start.startswith(b"{"):
        mark = delimiter_of(path, start)
        return table(file, mark) if mark else _json_lines(file, limits)
    _refuse_other_json(path, start)
    key = _list_key(path, head, reading)
    if key is not None:
        return _list(pieces(), limits, key)
    whole = _one_object(head) if len(head) < HEAD_BYTES else None
    return iter([whole]) if whole else _json_lines(file, limits)


def _head(file: BinaryIO) -> bytes:
    """The first bytes of a file, which stay to be read."""
    if isinstance(file, io.BufferedReader) and not file.seekable():
        return file.peek(HEAD_BYTES)[:HEAD_BYTES]
    head = file.read(HEAD_BYTES)
    file.seek(0)
    return head


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE):
        yield piece


def _refuse_foreign(path: Path, head: bytes, reading: Reading) -> None:
    for magic, (name, hint) in _FOREIGN.items():
        if head.removeprefix(_BOM).startswith(magic):
            line = ":1" if magic.isascii() else ""
            expected = "expected rows (JSON, JSONL, CSV, Parquet)"
            raise DataError(f"{path}{line}: {expected}, found {name}.", hint)
    if head[257:262] == b"ustar":
        raise DataError(f"{path}: expected rows, found a tar archive.", "Unpack it first: tar -xf")
    guess = likely_encoding(head) if head[:2] in UTF16 or b"\0" in head[: 2**10] else ""
    if guess.startswith("utf-") and not head.startswith(COLUMNAR):
        raise DataError(
            f"{path}: expected UTF-8, found what looks like {guess[:6].upper()} text.", say(guess)
        )


def say(encoding: str) -> str:
    """Advice for a file in this encoding."""
    return f"Name it: encoding: {encoding} beside the path in the recipe, or --encoding {encoding}"


def _refuse_other_json(path: Path, start: bytes) -> None:
    """Refuse objects of columns (pandas), Python's literals, and commas after lines."""
    line, _, rest = start.partition(b"\n")
    columns = re.match(rb'\{\s*"[^"]{1,100}"\s*:\s*\{\s*"0"\s*:', start)
    if columns or re.match(rb'\{\s*"(columns|index)"\s*:\s*\[', start):
        raise DataError(
            f"{path}: expected rows, found columns as pandas writes them.",
            'Write it as rows: df.to_json("rows.jsonl", orient="records", lines=True)',
        )
    if re.match(rb"\{\s*'", start):
        raise DataError(
            f"{path}:1: expected JSON, found Python's own literals (single quotes).",
            "Write each row with json.dumps(row) where it was made, or: python -c 'import ast, "
            "json, sys; [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]' "
            f"< {path} > {path.stem}.fixed.jsonl",
        )
    if line.strip() == b"{" and len(re.findall(rb"^\{", start, re.MULTILINE)) > 1:
        raise DataError(
            f"{path}:1: expected a row on each line, found objects over several lines.",
            f"Put each on one line: jq -c . {path} > {path.stem}.fixed.jsonl",
        )
    if line.rstrip().endswith(b"},") and rest.lstrip().startswith(b"{") and _is_row(line):
        raise DataError(
            f"{path}:1: expected a row on each line, found a comma after it.",
            f"Take the commas away: sed 's/,[[:space:]]*$//' {path} > {path.stem}.fixed.jsonl",
        )


def _lists_on_lines(start: bytes) -> bool:
    """Tell JSON Lines in which each row is a list of turns."""
    first, _, rest = start.partition(b"\n")
    if not rest.lstrip().startswith(b"["):
        return False
    try:
        return is_conversation(parse(decode(first.strip())))
    except Malformed:
        return False


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(parse(decode(line.strip().removesuffix(b","))), dict)
    except Malformed:
        return False


def _list_key(path: Path, head: bytes, reading: Reading) -> str | None:
    """The key of the list of rows, where the file is one object around it."""
    text = head.removeprefix(_BOM).decode("utf-8", "replace")
    first, _, rest = text.partition("\n")
    if rest.strip() and _is_row(first.encode()):
        return None  # JSON Lines
    keys = dict.fromkeys(re.findall(r'"((?:[^"\\]|\\.)*)"\s*:\s*\[\s*\{', text))
    if reading.key is not None:
        return reading.key
    outer = _outer_keys(text)
    lists = [key for key in keys if key in outer]
    rows = set(CONVERSATIONS) - {"data", "items"} | {"instances", "chosen", "rejected", "tools"}
    rows |= {*TASKS, *INPUTS, *ANSWERS, "prompt", "completions", "functions", "history"}
    if any(key in rows for key in outer) or not lists:
        _refuse_columns(path, text, outer)
        return None
    if len(lists) > 1:
        raise DataError(
            f"{path}: one object with several lists: {', '.join(lists)}.",
            f"Choose the one with the rows: key: {lists[0]} beside the path in the recipe.",
        )
    return lists[0]


def _refuse_columns(path: Path, text: str, outer: list[str]) -> None:
    """Refuse an object of columns as lists, as datasets' to_dict gives it, and one of rows."""
    inside = re.match(
        r'\s*\{\s*"([^"]+)"\s*:\s*\{\s*"(instruction|prompt|question|messages)"', text
    )
    if inside and inside[1] not in {*TASKS, *INPUTS, *ANSWERS}:
        raise DataError(
            f"{path}: expected rows, found an object whose values are the rows.",
            f"Make them lines: jq -c '.[]' {path} > {path.stem}.jsonl",
        )
    first = re.match(r'\s*\{\s*"(instruction|prompt|question|output|response)"\s*:\s*\[\s*"', text)
    columns = {*TASKS, *INPUTS, *ANSWERS, "system"}
    if first and len(outer) > 1 and columns.issuperset(outer):
        raise DataError(
            f"{path}: expected rows, found an object of columns.",
            "Write a row for each: pandas.read_json(path).to_json(out, orient='records', "
            "lines=True)",
        )


def _outer_keys(text: str) -> list[str]:
    """Keys of the outermost object, as far as this beginning of it shows."""
    keys, depth = list[str](), 0
    for match in re.finditer(r'"((?:[^"\\]|\\.)*)"(\s*:)?|[{}\[\]]', text):
        if match[0] in "{[":
            depth += 1
        elif match[0] in "}]":
            depth -= 1
        elif depth == 1 and match[2]:
            keys.append(match[1])
    return keys


def _one_object(data: bytes) -> Value | None:
    """(line, value) when a small file is one object written over several lines.

    None when it is JSONL or broken.
    """
    if data.strip().count(b"\n") == 0:
        return None
    try:
        return data[: data.find(b"{") + 1].count(b"\n") + 1, parse(decode(data))
    except Malformed:
        return None


def _json_lines(file: BinaryIO, limits: Limits) -> Values:
    """One value per line; blank lines are skipped."""
    number, most = 0, limits.line_bytes
    while line := file.readline(most + 1):
        number += 1
        if len(line) > most:
            problem = f"expected at most {most // 2**20} MiB in a line, found more"
            yield number, Malformed(problem, number, "line too long")
            while line and not line.endswith(b"\n"):
                line = file.readline(most)
        elif line.strip(b" \t\r\n\xef\xbb\xbf" if number == 1 else None):
            yield number, _parsed(line)


def _parsed(line: bytes) -> object:
    try:
        return parse(decode(line))
    except Malformed as error:
        if error.reason == "not UTF-8":
            error.sample = line[: 2**12]
        return error


def _list(pieces: Iterator[bytes], limits: Limits, key: str | None = None) -> Values:
    """Every element of a JSON list, or of the list under `key`, with the line it starts on."""
    skipped = 1
    if key is not None:
        pieces, skipped = _from_key(pieces, key)
    elements = Elements(pieces, limits.line_bytes, skipped)
    try:
        yield from elements
        if key is None:
            elements.rest()
    except Malformed as error:
        error.final = True
        yield error.line, error


def _from_key(pieces: Iterator[bytes], key: str) -> tuple[Iterator[bytes], int]:
    """(the pieces from the list under `key` on, the line it starts on)."""
    wanted = re.compile(re.escape(json.dumps(key, ensure_ascii=False)).encode() + rb"\s*:\s*\[")
    before = b""
    for piece in pieces:
        before += piece
        if match := wanted.search(before):
            rest, line = before[match.end() - 1 :], before.count(b"\n", 0, match.end()) + 1
            return _chained(rest, pieces), line
        if len(before) > 2**24:
            break
    raise DataError(f"expected a list under the key {key!r}, found none at the file's beginning.")


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest
