"""The header of a safetensors file, read without the weights and without trusting it.

Layout: 8 bytes little-endian length n, n bytes of JSON {tensor: {dtype, shape, data_offsets}}, then
the data. A loader maps the file by these numbers, so each is checked: inside the file, without
overlap or gap, as long as the shape says.
"""

import json
import math
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeGuard

from localinstruct.records import JsonObject

MAX_HEADER_BYTES = 100 * 10**6
SHOWN_TENSORS = 3

_EMBEDDING = re.compile(
    r"(?:^|\.)(?:embed_tokens|wte|word_embeddings|embed_in|tok_embeddings)\.weight\Z"
)

DTYPES_BY_BITS = {
    4: "F4",
    6: "F6_E2M3 F6_E3M2",
    8: "BOOL U8 I8 F8_E4M3 F8_E5M2 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ",
    16: "U16 I16 F16 BF16",
    32: "U32 I32 F32",
    64: "U64 I64 F64 C64",
}
DTYPE_BITS = {name: bits for bits, names in DTYPES_BY_BITS.items() for name in names.split()}
"""Every element type of the format -> its size in bits."""


@dataclass(frozen=True, slots=True)
class Header:
    """Names of the tensors, number of their values, and the problems of the header."""

    tensors: frozenset[str] = frozenset()
    parameters: int = 0
    problems: tuple[str, ...] = ()
    embedding_rows: int = 0
    """Rows of the embedding of the tokens; 0 where it is not in this file."""
    dtypes: frozenset[str] = frozenset()
    """Types of the tensors with two dimensions or more, such as BF16."""


def read_header(path: Path) -> Header:
    """Read and check one file; the problems do not name it.

    OSError when it cannot be read at all.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if problem := _length_problem(length, size):
            return Header(problems=(problem,))
        raw = file.read(length)
    entries = _parse(raw)
    if isinstance(entries, str):
        return Header(problems=(entries,))
    return _check(entries, size - 8 - length)


def _length_problem(length: int, size: int) -> str:
    """The problem of a header of `length` bytes in a file of `size` bytes, or ""."""
    if size < 8:
        return f"expected a safetensors header, found a file of {size} bytes"
    if length > MAX_HEADER_BYTES:
        return f"expected a header of at most {MAX_HEADER_BYTES:,} bytes, found {length:,}"
    if 8 + length > size:
        return f"expected a header of {length:,} bytes, found a file of {size:,}: cut off"
    return ""


def _parse(raw: bytes) -> JsonObject | str:
    """The header as an object, or its problem as a string."""
    try:  # objects as tuples of pairs, so that a name used twice is seen
        pairs = json.loads(raw, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        return "expected a header in JSON, found other bytes"
    if not raw.startswith(b"{") or not isinstance(pairs, tuple):
        return "expected a header that is a JSON object"
    entries = {name: dict(value) if isinstance(value, tuple) else value for name, value in pairs}
    entries.pop("__metadata__", None)
    if len(entries) + sum(name == "__metadata__" for name, _ in pairs) != len(pairs):
        return "expected every tensor once, found a name twice"
    return entries or "expected at least one tensor, found none"


def _check(entries: JsonObject, data_bytes: int) -> Header:
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
    embeddings = [entry["shape"][0] for name, entry in entries.items() if _embeds(name, entry)]
    rows = min(embeddings, default=0) if not problems else 0
    sound = [entry for entry in entries.values() if not problems and len(entry["shape"]) > 1]
    dtypes = frozenset(entry["dtype"] for entry in sound)
    return Header(frozenset(entries), parameters, tuple(problems), rows, dtypes)


def _embeds(name: str, entry: object) -> bool:
    """Tell whether a tensor is the embedding of the tokens, in full precision or packed by rows."""
    shape = entry.get("shape") if isinstance(entry, dict) else None
    return bool(_EMBEDDING.search(name)) and isinstance(shape, list) and len(shape) == 2


def _entry_fault(entry: object) -> str | None:
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


def _are_counts(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(
        type(value) is int and 0 <= value < 2**63 for value in values
    )


def _tiling_faults(spans: list[tuple[int, int, str]], data_bytes: int) -> list[str]:
    """Faults of spans, sorted by start, that do not tile the data.

    They must begin at 0, follow each other without gap or overlap, and end with the file.
    """
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
