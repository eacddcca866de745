"""Compressed files as streams, with a limit on what they may become."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from localinstruct.errors import DataError

MOST_EXPANSION = 500
"""Bytes that a byte of a compressed file may become, beyond the first 256 MiB."""
_FREE_EXPANSION = 2**28
_PIECE = 2**18
_COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
}
"""First bytes -> how a file is compressed."""


def unpacked(path: Path, raw: BinaryIO) -> BinaryIO:
    """The file, decompressed where its first bytes say that it is compressed."""
    head = raw.read(512)
    raw.seek(0)
    kind = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
    if kind is None:
        return raw
    makers: dict[str, Callable[[BinaryIO], Any]] = {
        "gzip": lambda file: gzip.GzipFile(fileobj=file),
        "bz2": bz2.BZ2File,
        "xz": lzma.LZMAFile,
        "zstd": _zstd,
    }
    limited = _Expanding(makers[kind](raw), path, kind, path.stat().st_size)
    return io.BufferedReader(limited, _PIECE)


def _zstd(file: BinaryIO) -> Any:
    import pyarrow

    return pyarrow.CompressedInputStream(file, "zstd")


class _Expanding(io.RawIOBase):
    """A decompressed file that may not become much larger than it is on the disk."""

    def __init__(self, file: Any, path: Path, kind: str, packed: int) -> None:
        self._file, self._path, self._kind = file, path, kind
        self._most, self._read = max(_FREE_EXPANSION, packed * MOST_EXPANSION), 0

    def readable(self) -> bool:
        """True: it is for reading."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill the buffer; DataError for a damaged file, and for one that grows without end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        try:
            part = self._file.read(len(view))
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
            reason = " ".join(str(error).split())[:120]
            raise DataError(
                f"{self._path}: {self._kind} data that cannot be unpacked after "
                f"{self._read:,} bytes: {reason}.",
                "The file is cut off or damaged: fetch it again.",
            ) from None
        self._read += len(part)
        if self._read > self._most:
            raise DataError(
                f"{self._path}: expected at most {MOST_EXPANSION} times its size when unpacked, "
                "found more.",
                "Unpack it yourself, if you trust it.",
            )
        view[: len(part)] = part
        return len(part)
