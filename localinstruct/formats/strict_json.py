"""JSON as we accept it from files: UTF-8, no NaN, no key twice, no bottomless nesting; every
refusal with its line."""

import json
import re
from collections.abc import Iterator
from typing import Any

from localinstruct.formats.rows import Malformed

_BLANK = re.compile(r"[ \t\r\n]*")


def decode(data: bytes) -> str:
    """Decode UTF-8, without a byte order mark; Malformed with the line of the first bad byte or
    NUL."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        column = error.start - data.rfind(b"\n", 0, error.start)
        found = f"byte 0x{data[error.start]:02x} at column {column}"
        raise Malformed(
            f"expected UTF-8, found {found}", data.count(b"\n", 0, error.start) + 1
        ) from None
    if "\0" in text:
        raise Malformed(
            "expected text, found a NUL byte", text.count("\n", 0, text.index("\0")) + 1
        )
    return text


def parse(text: str) -> Any:
    """One JSON value that fills `text`."""
    value, end = _scan(text, _skip(text, 0), 1)
    if _skip(text, end) < len(text):
        raise Malformed(f"expected the line to end after column {end}, found more text")
    return value


def elements(text: str) -> Iterator[tuple[int, Any]]:
    """(line, value) for every element of the JSON list that `text` is; Malformed where its syntax
    ends."""
    position, line, counted = _skip(text, text.index("[") + 1), 1, 0
    more = text[position : position + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, position), position
        value, end = _scan(text, position, line)
        yield line, value
        position = _skip(text, end)
        mark = text[position : position + 1]
        if mark not in (",", "]") or not mark:
            found = repr(mark) if mark else "the end of the file"
            raise Malformed(f"expected , or ] after a row, found {found}", _line(text, position))
        more = mark == ","
        position = _skip(text, position + 1) if more else position
    after = _skip(text, position + 1)
    if after < len(text):
        raise Malformed("expected nothing after the closing ], found more text", _line(text, after))


def _scan(text: str, position: int, line: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise Malformed(
            f"expected JSON, found at column {error.colno}: {error.msg.lower()}", error.lineno
        ) from None
    except RecursionError:
        raise Malformed(
            "expected at most some hundred levels of nesting, found more", line
        ) from None
    except (
        ValueError
    ) as error:  # from the hooks below, or a number of more digits than Python reads
        raise Malformed(
            str(error) if isinstance(error, Malformed) else f"expected JSON, found {error}", line
        ) from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose keys are all different."""
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Malformed(f"expected every key once, found {twice[:40]!r} twice")
    return row


def _no_constant(name: str) -> Any:
    raise Malformed(f"expected a JSON value, found {name}")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
