"""The header of a safetensors file, read without the weights and without trusting it.

Layout: 8 bytes little-endian length n, n bytes of JSON {tensor: {dtype, shape, data_offsets}}, then
the data. A loader maps the file by these numbers, so each is checked: inside the file, without
overlap or gap, as long as the shape says.
"""

import json
import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeGuard

MAX_HEADER_BYTES = 100 * 10**6
SHOWN_TENSORS = 3

DTYPE_BITS = {
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "U16": 16,
    "I16": 16,
    "U32": 32,
    "I32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "C64": 64,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "F4": 4,
}
"""Every element type of the format -> its size in bits."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a file holds: names and number of values, and everything that is wrong with the
    header."""

    tensors: frozenset[str] = frozenset()
    parameters: int = 0
    problems: tuple[str, ...] = ()


def read_header(path: Path) -> Header:
    """Read and check one file; the problems do not name it. OSError when it cannot be read at
    all."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8:
            return Header(
                problems=(f"expected a safetensors header, found a file of {size} bytes",)
            )
        if length > MAX_HEADER_BYTES:
            return Header(
                problems=(
                    f"expected a header of at most {MAX_HEADER_BYTES:,} bytes, found {length:,}",
                )
            )
        if 8 + length > size:
            return Header(
                problems=(
                    f"expected a header of {length:,} bytes, found a file of {size:,}: cut off",
                )
            )
        raw = file.read(length)
    entries = _parse(raw)
    return (
        Header(problems=(entries,))
        if isinstance(entries, str)
        else _check(entries, size - 8 - length)
    )


def _parse(raw: bytes) -> dict[str, Any] | str:
    """Return the header as an object, or what is wrong with it."""
    try:
        pairs = json.loads(
            raw, object_pairs_hook=tuple
        )  # objects as tuples, so that a name used twice is seen
    except (ValueError, RecursionError):
        return "expected a header in JSON, found other bytes"
    if not raw.startswith(b"{") or not isinstance(pairs, tuple):
        return "expected a header that is a JSON object"
    entries = {name: dict(value) if isinstance(value, tuple) else value for name, value in pairs}
    entries.pop("__metadata__", None)
    if len(entries) + sum(name == "__metadata__" for name, _ in pairs) != len(pairs):
        return "expected every tensor once, found a name twice"
    return entries or "expected at least one tensor, found none"


def _check(entries: dict[str, Any], data_bytes: int) -> Header:
    """Check every entry by itself, then that together they tile the data."""
    problems: list[str] = []
    spans: list[tuple[int, int, str]] = []
    parameters = 0
    for name, entry in entries.items():
        fault = _entry_fault(entry)
        if fault:
            problems.append(f"tensor {name[:60]!r}: {fault}")
            continue
        spans.append((*entry["data_offsets"], name))
        parameters += math.prod(entry["shape"])
    if not problems:
        problems = _tiling_faults(sorted(spans), data_bytes)
    if len(problems) > SHOWN_TENSORS:
        problems[SHOWN_TENSORS:] = [f"and {len(problems) - SHOWN_TENSORS} more such tensors"]
    return Header(frozenset(entries), parameters, tuple(problems))


def _entry_fault(entry: Any) -> str | None:
    if not isinstance(entry, dict):
        return "expected an object"
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        return f"unknown dtype {dtype!r}"
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        return "expected shape and two data_offsets as lists of whole numbers"
    start, end = offsets
    bits = math.prod(shape) * DTYPE_BITS[dtype]
    if start > end or (end - start) * 8 != bits:
        return f"data_offsets hold {end - start} bytes, shape and dtype need {bits / 8:g}"
    return None


def _are_counts(values: Any) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _tiling_faults(spans: list[tuple[int, int, str]], data_bytes: int) -> list[str]:
    """Spans sorted by start must begin at 0, follow each other without gap or overlap, and end with
    the file."""
    edges = [(0, 0, "the start"), *spans]
    faults = [
        f"tensor {name[:60]!r}: starts {'inside' if start < end else 'not right after'} "
        f"{before[:60]!r}, byte {start}"
        for (_, end, before), (start, _, name) in pairwise(edges)
        if start != end
    ]
    last = max(end for _, end, _ in edges)
    if last > data_bytes:
        faults.append(
            f"tensors reach to byte {last:,}, the file holds {data_bytes:,}: cut off or a false "
            "header"
        )
    elif last < data_bytes:
        faults.append(f"{data_bytes - last:,} bytes after the last tensor")
    return faults
