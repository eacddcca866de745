"""Strict JSON from files: UTF-8, no NaN, no key twice, no bottomless nesting.

Every refusal is Malformed, with its line.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import NoReturn

from localinstruct.formats.fields import Malformed
from localinstruct.records import JsonObject

_PIECE = 2**18
"""Bytes of a list that are read at once, at least."""
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
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
        raise Malformed(f"expected UTF-8, found {byte}", line, "not UTF-8") from None
    if "\0" in text:
        line = _line(text, text.index("\0"))
        raise Malformed("expected text, found a NUL byte", line, "not UTF-8")
    return text


def parse(text: str) -> object:
    """One JSON value that fills `text`."""
    value, end = _scan(text, _skip(text, 0), 1)
    if _skip(text, end) < len(text):
        problem = f"expected the line to end after column {end}, found more text"
        raise Malformed(problem, reason="not JSON")
    return value


class Elements:
    """The elements of a JSON list that is read in pieces: at most one element is in memory.

    Iterating gives (line, value), with a Malformed in the place of a value that is no strict JSON
    though its end is known. Malformed is raised where the syntax of the list ends.
    """

    def __init__(self, pieces: Iterator[bytes], most: int, line: int = 1) -> None:
        self._pieces, self._most = pieces, most
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._text, self._at, self._line, self._counted = "", 0, line, 0
        self._ended = False

    def __iter__(self) -> Iterator[tuple[int, object]]:
        """The elements of the list that begins at the next [."""
        self._next_mark("[")
        more = self._peek() != "]"
        while more:
            line = self._line_here()
            value = self._element(line)
            yield (value.line if isinstance(value, Malformed) else line), value
            mark = self._peek()
            if mark not in (",", "]") or not mark:
                instead = repr(mark) if mark else "the end of the file"
                problem = f"expected , or ] after a row, found {instead}"
                raise Malformed(problem, self._line_here(), "broken list")
            more = mark == ","
            if more:
                self._at += 1
                if self._peek() == "]":
                    problem = "expected JSON after the comma, found ] (a comma too many)"
                    raise Malformed(problem, self._line_here(), "broken list")
        self._at += 1

    def rest(self) -> None:
        """Malformed when anything but blanks follows."""
        if self._peek():
            problem = "expected nothing after the closing ], found more text"
            raise Malformed(problem, self._line_here(), "broken list")

    def _next_mark(self, mark: str) -> None:
        while (place := self._text.find(mark, self._at)) < 0 and self._more():
            pass
        self._at = place + 1

    def _peek(self) -> str:
        """The next character that is no blank, "" at the end of the file."""
        while True:
            self._at = _skip(self._text, self._at)
            if self._at < len(self._text) or not self._more():
                return self._text[self._at : self._at + 1]

    def _line_here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line

    def _more(self) -> bool:
        """Read on: as much again as is waiting, so that a long element is not tried too often."""
        if self._ended:
            return False
        self._line_here()
        self._text, self._at, self._counted = self._text[self._at :], 0, 0
        wanted, parts = max(_PIECE, len(self._text)), [self._text]
        while wanted > 0 and not self._ended:
            piece = next(self._pieces, b"")
            self._ended = not piece
            parts.append(self._decoder.decode(piece, final=not piece))
            wanted -= len(piece)
        self._text = "".join(parts)
        return True

    def _element(self, line: int) -> object:
        """The next value, or what is wrong with it where the list can be read on after it."""
        end: int | None
        problem: Malformed | None
        while True:
            try:
                value, end = _scan(self._text, self._at, line)
                problem = None
            except Malformed as error:
                value = None
                end, problem = self._after_bad(error)
            cut = (end is None and not _is_final(problem)) or end == len(self._text)
            if not cut or len(self._text) - self._at > self._most or not self._more():
                break
        if end is None:
            raise problem or Malformed("expected JSON, found the end of the file", line)
        raw = self._text[self._at : end]
        self._at = end
        return problem or _fault(raw, line) or value

    def _after_bad(self, error: Malformed) -> tuple[int | None, Malformed]:
        """(end of a value that a lenient reader can read, what is wrong with it)."""
        try:
            return _LENIENT.raw_decode(self._text, self._at)[1], error
        except (ValueError, RecursionError):
            if error.reason == "not JSON":
                before = self._text.count("\n", 0, self._at)
                error.line = self._line_here() + error.line - 1 - before
            return None, error


def _is_final(problem: Malformed | None) -> bool:
    return problem is not None and problem.reason == "nested too deep"


def _fault(raw: str, line: int) -> Malformed | None:
    """The byte of an element's text that is no UTF-8, or the NUL in it."""
    if raw.isascii() and "\0" not in raw:
        return None
    if match := _ESCAPED_BYTE.search(raw):
        line += raw.count("\n", 0, match.start())
        byte = ord(match[0]) - 0xDC00
        return Malformed(f"expected UTF-8, found byte 0x{byte:02x}", line, "not UTF-8")
    if "\0" in raw:
        return Malformed("expected text, found a NUL byte", line, "not UTF-8")
    return None


def _scan(text: str, position: int, line: int) -> tuple[object, int]:
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        problem = f"expected JSON, found at column {error.colno}: {error.msg.lower()}"
        raise Malformed(problem, error.lineno, "not JSON") from None
    except RecursionError:
        problem = "expected at most some hundred levels of nesting, found more"
        raise Malformed(problem, line, "nested too deep") from None
    except Malformed as error:  # from the hooks below
        raise Malformed(str(error), line, error.reason) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise Malformed(f"expected JSON, found {error}", line, "number too long") from None


def _once(pairs: list[tuple[str, object]]) -> JsonObject:
    """Make an object whose keys are all different."""
    row = dict(pairs)
    if len(row) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        problem = f"expected every key once, found {twice[:40]!r} twice"
        raise Malformed(problem, reason="a key twice")
    return row


def _no_constant(name: str) -> NoReturn:
    raise Malformed(f"expected a JSON value, found {name}", reason="not a number")


def _skip(text: str, position: int) -> int:
    match = _BLANK.match(text, position)
    return match.end() if match else position


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


_LENIENT = json.JSONDecoder()
_DECODER = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_no_constant)
