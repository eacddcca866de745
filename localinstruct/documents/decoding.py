"""Bytes of a document as text: by its mark, as UTF-8, as it declares itself, or as it was named.

An encoding is never guessed and then used: what is not told is a problem that names the likely
one. Every decoding is strict, so that a wrong one shows.
"""

import codecs
import re

from localinstruct.formats.encodings import likely_encoding

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
"""Byte order marks, longer ones first."""
_HEAD = 2**14
"""Bytes in which a declaration is looked for."""
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)", re.DOTALL)
_DECLARED = re.compile(
    rb"""<\?xml\b[^>]*?\bencoding\s*=\s*["']?([-\w.:]+)"""
    rb"""|<meta\b[^>]*?\bcharset\s*=\s*["']?\s*([-\w.:]+)""",
    re.IGNORECASE,
)
_WIDER = {
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
}
"""Encoding -> the wider one that browsers read under its name (WHATWG Encoding Standard)."""
_NAMES = {"x-sjis": "cp932", "windows-31j": "cp932", "windows-874": "cp874", "x-gbk": "gb18030"}
_OF_NAMES = ("idna", "punycode", "unicode-escape", "raw-unicode-escape", "utf-7", "undefined")
"""Encodings of Python that are not of texts on a disk."""


class Unreadable(Exception):
    """A file that has no text for us; the message says why in a few words."""


def decoded(data: bytes, named: str | None = None, *, marked_up: bool = False) -> str:
    """The text of `data`.

    `named` is the encoding of documents that are not UTF-8 and declare no other; a declaration in
    `<meta>` or `<?xml` counts where the file is `marked_up`. Unreadable names the likely encoding
    where none of these can be.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _strictly(data, encoding, f"not {encoding.upper()}, whose mark it bears")
    declared = _declared(data) if marked_up else None
    choices = [name for name in ("utf-8", declared, named) if name]
    if b"\x1b" in data:  # ISO-2022 is ASCII to the eye of UTF-8
        choices = [name for name in (declared, named, "utf-8") if name]
    for encoding in choices:
        text = _attempt(data, encoding)
        if text is not None and "\0" not in text:
            return text
    raise Unreadable(_problem(data, declared, named))


def _problem(data: bytes, declared: str | None, named: str | None) -> str:
    guess = likely_encoding(data[: 2**18])
    if b"\0" in data and not guess.startswith("utf-16"):
        return "not text (it has zero bytes)"
    expected = "not UTF-8"
    expected += f", nor {declared} as it declares" if declared else ""
    expected += f", nor {named} as documents.encoding says" if named else ""
    if not guess or codec_of(guess) in (codec_of(declared or ""), codec_of(named or "")):
        return expected + " (damaged?)"
    return f"{expected}; looks like {guess} (set documents.encoding)"


def _declared(data: bytes) -> str | None:
    """The encoding that a page names at its beginning, as browsers take it; None for none."""
    found = _DECLARED.search(_COMMENT.sub(b"", data[:_HEAD]))
    if found is None:
        return None
    name = (found[1] or found[2]).decode("ascii").lower()
    return None if name.startswith(("utf-16", "utf-32")) else name  # it could not be read then


def codec_of(name: str) -> str | None:
    """Python's name for an encoding of texts, the wider one that browsers take; None for none."""
    name = _NAMES.get(name.lower(), name)
    try:
        "".encode(name)
        python = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return None if python in _OF_NAMES else _WIDER.get(python, python)


def _attempt(data: bytes, name: str) -> str | None:
    codec = codec_of(name)
    if codec is None:
        return None
    try:
        return data.decode(codec)
    except (UnicodeError, ValueError):
        return None


def _strictly(data: bytes, encoding: str, problem: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise Unreadable(problem) from None
    if "\0" in text:
        raise Unreadable("not text (it has zero bytes)")
    return text
