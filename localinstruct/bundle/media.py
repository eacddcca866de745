"""How large a part may be: presets for media, and sizes as people type them."""

import re
from decimal import Decimal

from localinstruct.config import did_you_mean
from localinstruct.errors import BundleError

DEFAULT_PART_SIZE = 3_900_000_000
MEDIA = {"fat32": 2**32 - 1, "dvd": 4_300_000_000, "bd": 23_000_000_000}
"""Bytes per part. FAT32 holds no larger file; on discs, room is left for the manifest and what goes
with it."""
MIN_PART_SIZE = 4096

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}


def part_size(medium: str = "", size: str = "") -> int:
    """Bytes per part for `--medium` or `--part-size`; BundleError for both at once, or for neither
    known nor a size."""
    if medium and size:
        raise BundleError(
            "--medium and --part-size: expected one of them, found both.", "Leave one out."
        )
    if medium and medium not in MEDIA:
        raise BundleError(
            f"--medium {medium}: no such preset; {did_you_mean(medium, MEDIA)}",
            "Or use --part-size.",
        )
    if size:
        return _parse(size)
    return MEDIA[medium] if medium else DEFAULT_PART_SIZE


def _parse(size: str) -> int:
    match = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([a-z]{0,3})", size.strip().lower())
    if not match or match[2] not in _UNITS:
        raise BundleError(
            f"--part-size {size}: expected a size.", "For example: --part-size 3.9GB, or 700MiB"
        )
    found = int(Decimal(match[1]) * _UNITS[match[2]])
    if not MIN_PART_SIZE <= found <= 2**50:
        raise BundleError(
            f"--part-size {size}: expected at least {MIN_PART_SIZE} bytes and at most 2**50."
        )
    return found
