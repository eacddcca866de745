"""Media: how large a part may be, and a disk that is full or fails, in words."""

import contextlib
import errno
import re
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from localinstruct.config import did_you_mean
from localinstruct.errors import BundleError

DEFAULT_PART_SIZE = 3_900_000_000
MEDIA = {"fat32": 2**32 - 1, "dvd": 4_300_000_000, "bd": 23_000_000_000}
"""Bytes per part. FAT32 holds no larger file; on discs, room is left for the files beside."""
MIN_PART_SIZE = 4096

MARGIN = 16 * 2**20
"""Bytes kept free beside what is written."""

_PREFIXES = ("k", "m", "g", "t")
_UNITS = {"": 1, "b": 1}
_UNITS |= {f"{prefix}b": 1000**power for power, prefix in enumerate(_PREFIXES, 1)}
_UNITS |= {f"{prefix}ib": 1024**power for power, prefix in enumerate(_PREFIXES[:3], 1)}


def part_size(medium: str = "", size: str = "") -> int:
    """Bytes per part for `--medium` or `--part-size`.

    BundleError for both at once, an unknown medium, or a text that is no size.
    """
    if medium and size:
        problem = "--medium and --part-size: expected one of them, found both."
        raise BundleError(problem, "Leave one out.")
    if medium and medium not in MEDIA:
        problem = f"--medium {medium}: no such preset; {did_you_mean(medium, MEDIA)}"
        raise BundleError(problem, "Or use --part-size.")
    if size:
        return _parse(size)
    return MEDIA[medium] if medium else DEFAULT_PART_SIZE


@contextlib.contextmanager
def disk_errors(folder: Path, hint: str) -> Iterator[None]:
    """Raise BundleError for an OSError in the block: a full or failing disk, in words."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = "no space left" if full else error.strerror or error
        raise BundleError(f"{error.filename or folder}: {problem}.", hint) from None


def require_space(folder: Path, needed: int) -> None:
    """BundleError where a folder's disk has no room for `needed` bytes."""
    needed, free = needed + MARGIN, shutil.disk_usage(folder).free
    if free < needed:
        problem = f"{folder}: {needed:,} bytes are needed there, {free:,} are free."
        raise BundleError(problem, "Make room, or name a folder on another disk.")


def _parse(size: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]{0,3})", size.strip().lower())
    if not match or match[2] not in _UNITS:
        problem = f"--part-size {size}: expected a size."
        raise BundleError(problem, "For example: --part-size 3.9GB, or 700MiB")
    count = int(Decimal(match[1]) * _UNITS[match[2]])
    if not MIN_PART_SIZE <= count <= 2**50:
        limits = f"at least {MIN_PART_SIZE} bytes and at most 2**50"
        raise BundleError(f"--part-size {size}: expected {limits}.")
    return count
