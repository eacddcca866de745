"""Strict JSON from files: UTF-8, no NaN, no key twice, no bottomless nesting.

Every refusal is Malformed, with its line.
"""

import json
import re
from collections.abc import Iterator
from typing import NoReturn

from localinstruct.formats.rows import Malformed
from localinstruct.records import JsonObject

_BLANK = re.compile(r"[ \t\r\n]*")


def decode(data: bytes) -> str:
    """Decode UTF-8, without a byte order mark.

    Malformed with the line of the first bad byte or NUL.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        column = error.start - data.rfind(b"\n", 0, error.start)
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{data[error.start]:02x} at column {column}"
        raise Malformed(f"expected UTF-8, found {byte}", line) from None
    if "\0" in text:
        raise Malformed("expected text, found a NUL byte", _line(text, text.index("\0")))
    return text


def parse(text: str) -> object:
    """One JSON value that fills `text`."""
    value, end = _scan(text, _skip(text, 0), 1)
    if _skip(text, end) < len(text):
        raise Malformed(f"expected the line to end after column {end}, found more text")
    return value


def elements(text: str) -> Iterator[tuple[int, object]]:
    """(line, value) for every element of the JSON list that `text` is.

    Malformed where its syntax ends.
    """
    position, line, counted = _skip(text, text.index("[") + 1), 1, 0
    more = text[position : position + 1] != "]"
    while more:
        line, counted = line + text.count("\n", counted, position), position
        value, end = _scan(text, position, line)
        yield line, value
        position = _skip(text, end)
        mark = text[position : position + 1]
        if mark not in (",", "]") or not mark:
            instead = repr(mark) if mark else "the end of the file"
            raise Malformed(f"expected , or ] after a row, found {instead}", _line(text, position))
        more = mark == ","
        position = _skip(text, position + 1) if more else position
    after = _skip(text, position + 1)
    if after < len(text):
        raise Malformed("expected nothing after the closing ], found more text", _line(text, after))


def _scan(text: str, position: int, line: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        problem = f"expected JSON, found at column {error.colno}: {error.msg.lower()}"
        raise Malformed(problem, error.lineno) from None
    except RecursionError:
        problem = "expected at most some hundred levels of nesting, found more"
        raise Malformed(problem, line) from None
    except Malformed as error:  # from the hooks below
        raise Malformed(str(error), line) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise Malformed(f"expected JSON, found {error}", line) from None


def _once(pairs: list[tuple[str, object]]) -> JsonObject:
    """Make an object whose keys are all different."""
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Malformed(f"expected every key once, found {twice[:40]!r} twice")
    return row


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"expected a JSON value, found {name}")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
