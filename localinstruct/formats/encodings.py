"""Bytes of a file as UTF-8: other encodings are read where they are named, else guessed."""

import codecs
import io
from typing import BinaryIO

from localinstruct.errors import DataError

CANDIDATES = (
    "cp1252",
    "cp1251",
    "gb18030",
    "shift_jis",
    "euc_jp",
    "euc_kr",
    "big5",
    "cp1250",
    "cp1253",
    "cp1255",
    "cp1256",
    "koi8_r",
)
"""Encodings of text on the web that is not UTF-8, the most frequent first."""
_NAMES = {"gb18030": "gbk", "cp949": "euc_kr", "latin_1": "cp1252", "iso8859_1": "cp1252"}
_LETTERS = {
    "cp1252": "àâäáãåæçèéêëìíîïñòóôöõøœùúûüßÿ¿¡«»’‘“”–—…€°",
    "cp1250": "ąćęłńóśźżčďěňřšťůžáéíýúőűăâîşţöüäß„”–’…",
}
"""Encoding -> letters that its texts are likely to have, to tell the two apart."""
_PIECE = 2**18
UTF16 = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def likely_encoding(sample: bytes) -> str:
    """The name of the encoding that bytes which are no UTF-8 look like; "" without a guess."""
    if sample[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff"):
        return "utf-32"
    if sample[:2] in UTF16:
        return "utf-16"
    zeros = [sample[start : 2**12 : 2].count(0) for start in (0, 1)]
    if max(zeros) > len(sample[: 2**12]) // 4:
        return "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    from charset_normalizer import from_bytes

    lines = [line for line in sample.splitlines() if not line.isascii()]
    text = b"\n".join(lines)[: 2**16] or sample
    found = from_bytes(text, cp_isolation=list(CANDIDATES)).best()
    texts = {name: read for name in CANDIDATES if (read := _decoded(text, name)) is not None}
    names = [found.encoding] if found else []
    names += texts
    name = names[0] if names else ""
    if name in _LETTERS:  # one byte a letter, many letters in common
        latin = [name for name in _LETTERS if name in texts]
        name = max(latin, key=lambda one: sum(map(texts[one].count, _LETTERS[one])))
    return _NAMES.get(name, name)


def _decoded(text: bytes, name: str) -> str | None:
    try:
        return text.decode(name)
    except UnicodeDecodeError:
        return None


class Transcoded(io.RawIOBase):
    """A file in a named encoding, read as UTF-8."""

    def __init__(self, file: BinaryIO, encoding: str, name: str) -> None:
        self._file, self._encoding, self._name = file, encoding, name
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._waiting, self._read, self._ended = b"", 0, False

    def readable(self) -> bool:
        """True: it is for reading."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill the buffer; DataError where the text is not of this encoding."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        while not self._waiting and not self._ended:
            piece = self._file.read(_PIECE)
            self._ended = not piece
            self._waiting = self._decoded(piece).encode("utf-8", "surrogatepass")
            self._read += len(piece)
        part, self._waiting = self._waiting[: len(view)], self._waiting[len(view) :]
        view[: len(part)] = part
        return len(part)

    def _decoded(self, piece: bytes) -> str:
        try:
            return self._decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            place = self._read + error.start
            guess = likely_encoding(error.object) if isinstance(error.object, bytes) else ""
            other = f" It looks like {guess}." if guess and guess != self._encoding else ""
            raise DataError(
                f"{self._name}: expected text in {self._encoding}, found another byte near "
                f"byte {place:,}.{other}",
                "Correct encoding, or leave it out for UTF-8.",
            ) from None
