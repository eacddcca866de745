"""Rows that stay, written: lines of JSON as they were, changed ones in the file's own form.

From JSON Lines to JSON Lines a row that nothing changed is the same bytes, in the same order. A row
that was repaired keeps its keys where the new texts stand in the place of the old ones; else, and
in other formats, it is written as `formats.write` does it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from pathlib import Path

from localinstruct.cleaning.decisions import Decisions, Stored
from localinstruct.cleaning.steps import TO_STAY
from localinstruct.errors import DataError
from localinstruct.formats import Malformed, Reading, to_instances, write
from localinstruct.records import Instance
from localinstruct.store.durable import atomic_write

FIELDS = ("instruction", "input", "output", "system", "rejected", "thinking")


def write_kept(
    store: Decisions,
    path: Path,
    format: str,
    reading: Reading,
    require_same: Callable[[], None] = lambda: None,
) -> int:
    """Write the rows that stay, whole or not at all, and return how many.

    `require_same` raises where the files have changed; it is asked before the output is there.
    """
    if format != "jsonl":
        return write((one.row for one in store.rows(TO_STAY)), format, path)
    count = 0
    with atomic_write(path) as output:
        for line, rows in _lines(store, reading):
            output.write(line)
            count += rows
        require_same()
    return count


def _lines(store: Decisions, reading: Reading) -> Iterator[tuple[bytes, int]]:
    """(line, rows in it) of the output."""
    for file, group in groupby(store.rows("NOT is_reference"), lambda one: one.file):
        source = Path(file)
        is_lines = source.suffix.lower() in (".jsonl", ".ndjson") and not reading.encoding
        if is_lines:
            yield from _from_lines(source, group, reading)
        else:
            yield from ((_own(one.row), 1) for one in group if not one.reason)


def _from_lines(
    source: Path, rows: Iterator[Stored], reading: Reading
) -> Iterator[tuple[bytes, int]]:
    with source.open("rb") as file:
        lines = enumerate(file, 1)
        for number, group in groupby(rows, lambda one: one.line):
            together = list(group)
            raw = next((raw for at, raw in lines if at == number), None)
            if raw is None:
                raise DataError(
                    f"{source}: changed while it was read: line {number} is not there any more.",
                    "Start over with --fresh.",
                )
            staying = [one for one in together if not one.reason]
            if len(staying) == len(together) and not any(one.changes for one in together):
                yield raw.rstrip(b"\r\n") + b"\n", len(staying)
                continue
            for one in staying:
                line = _rewritten(raw, one, reading) if len(together) == 1 else None
                yield line or _own(one.row), 1


def _rewritten(raw: bytes, one: Stored, reading: Reading) -> bytes | None:
    """The line with new texts in the places of the old ones; None where that is not the row."""
    if one.before is None:
        return None
    texts = {
        getattr(one.before, name): getattr(one.row, name)
        for name in FIELDS
        if getattr(one.before, name) != getattr(one.row, name)
    }
    texts |= {
        old.content: new.content
        for old, new in zip(one.before.history, one.row.history, strict=True)
        if old != new
    }
    try:
        value = _replaced(json.loads(raw), texts)
        made = list(to_instances(value)) if isinstance(value, dict) else []
    except (ValueError, Malformed):
        return None
    same = len(made) == 1 and made[0].id == one.row.id and not reading.columns
    return f"{json.dumps(value, ensure_ascii=False)}\n".encode() if same else None


def _replaced(value: object, texts: Mapping[str, str]) -> object:
    if isinstance(value, str):
        return texts.get(value, value)
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    return value


def _own(row: Instance) -> bytes:
    """A row as a line of a form that every reader of ours, and most others, know."""
    if row.rejected or row.steps or row.tools or row.tool_calls:
        return f"{json.dumps(row.to_dict(), ensure_ascii=False)}\n".encode()
    if row.history:
        turns = [{"role": "system", "content": row.system}] if row.system else []
        turns += [{"role": turn.role, "content": turn.content} for turn in row.history]
        asked = f"{row.instruction}\n\n{row.input}" if row.input else row.instruction
        turns += [{"role": "user", "content": asked}]
        answer = {"role": "assistant", "content": row.output}
        if row.thinking:
            answer["reasoning_content"] = row.thinking
        return f"{json.dumps({'messages': [*turns, answer]}, ensure_ascii=False)}\n".encode()
    plain = {"instruction": row.instruction, "input": row.input, "output": row.output}
    for name in ("system", "thinking"):
        if getattr(row, name):
            plain[name] = getattr(row, name)
    return f"{json.dumps(plain, ensure_ascii=False)}\n".encode()
