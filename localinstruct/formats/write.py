"""Instances to a file, in the formats other tools read; equal rows give equal bytes.

Each format says what it can hold: a row it cannot hold is refused with the reason instead of losing
a part of it. `jsonl` and `parquet` hold everything; `alpaca` single turns; `messages` and
`sharegpt` join instruction and input, and so does `preference`, which holds pairs only.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from localinstruct.config import did_you_mean
from localinstruct.errors import DataError, UsageError
from localinstruct.formats.fields import unstorable
from localinstruct.formats.rows import user_turn
from localinstruct.records import Instance, Json, JsonObject, Message
from localinstruct.store.durable import atomic_write

Writer = Callable[[Iterable[Instance], BinaryIO], None]

SHOWN_REFUSALS = 5
PARQUET_GROUP_ROWS = 10_000
FOREIGN = (".parquet", ".arrow", ".csv", ".tsv", ".gz", ".zst", ".bz2", ".xz")
"""Endings by which readers tell what no writer of JSON here writes."""


def write(instances: Iterable[Instance], format: str, path: Path) -> int:
    """Write all rows as `format` (a key of EXPORTS) and return their number.

    The file appears whole or not at all. UsageError for an unknown format or an impossible place,
    DataError for rows the format cannot hold.
    """
    if format not in EXPORTS:
        raise UsageError(f"{format}: no such format; {did_you_mean(format, EXPORTS)}")
    screen = _Screen(instances, format)
    with atomic_write(path) as file:
        EXPORTS[format](screen.rows(), file)
        screen.raise_if_refused(path)
    return screen.count


def ending_of(format: str) -> str:
    """The usual ending of a file of this format: .json, .jsonl or .parquet."""
    return {"alpaca": ".json", "parquet": ".parquet"}.get(format, ".jsonl")


def require_place(path: Path, format: str, read: Iterable[Path] = ()) -> None:
    """UsageError for a file that these rows may not replace, or a name of another format.

    A file that is there is replaced only when it has the ending of the format, and never one of
    `read`, which the rows come from; an ending of FOREIGN tells readers of another format.
    """
    if path.is_file() and any(path.samefile(file) for file in read):
        raise UsageError(
            f"{path}: is a file that is read.", "Choose another one: rows are never lost."
        )
    ending = ending_of(format)
    if path.is_file() and path.suffix.lower() != ending:
        raise UsageError(
            f"{path}: is there already, and {format} replaces files that end in {ending} only.",
            f"Choose another --output, for example {path.stem}{ending}, or move the file away.",
        )
    found = path.suffix.lower()
    if found != ending and (found in FOREIGN or ending == ".parquet"):
        expected = f"a name that ends in {ending} for {format}"
        raise UsageError(
            f"{path}: expected {expected}, found {path.suffix or 'no ending'}.",
            f"For example: --output {path.stem}{ending}",
        )


class _Screen:
    """Lets through the rows a format can hold, and remembers the others."""

    def __init__(self, instances: Iterable[Instance], format: str) -> None:
        self.instances, self.format = instances, format
        self.count = 0
        self.refused: list[str] = []

    def rows(self) -> Iterator[Instance]:
        for instance in self.instances:
            reason = _unfit(instance, self.format)
            if reason:
                self.refused.append(f"{instance.id} ({instance.instruction[:40]!r}): {reason}")
                continue
            self.count += 1
            yield instance

    def raise_if_refused(self, path: Path) -> None:
        if not self.refused:
            return
        lines = [f"  row {line}" for line in self.refused[:SHOWN_REFUSALS]]
        if (rest := len(self.refused) - SHOWN_REFUSALS) > 0:
            lines.append(f"  … and {rest} more")
        problem = f"{len(self.refused)} rows cannot be written as {self.format}"
        raise DataError(
            "\n".join([f"{path}: {problem}, nothing was written", *lines]),
            "Use --format jsonl or parquet: they hold every field; preference holds pairs.",
        )


def _unfit(instance: Instance, format: str) -> str | None:
    """The reason why `format` cannot hold this row without loss, or None."""
    if format == "preference" and not instance.rejected:
        return "has no rejected answer, which every row of a preference file needs"
    for name in _CANNOT_HOLD.get(format, ()):
        if getattr(instance, name):
            return f"has {_FIELD_WORDS[name]}, for which {format} has no place"
    texts = [
        instance.instruction,
        instance.input,
        instance.output,
        instance.system,
        instance.rejected,
        instance.name,
    ]
    said = [*instance.history, *instance.steps]
    turns = [text for turn in said for text in (turn.content, turn.thinking, turn.tool_calls)]
    beside = [instance.thinking, instance.tool_calls, instance.tools]
    faults = filter(None, map(unstorable, [*texts, *beside, *turns]))
    return next((f"holds {fault}" for fault in faults), None)


_FIELD_WORDS = {
    "system": "a system message",
    "history": "earlier turns",
    "rejected": "a rejected answer",
    "thinking": "thoughts beside the answer",
    "tools": "tools",
    "tool_calls": "a call of a tool",
    "steps": "calls of tools",
}
_TOOLS = ("tools", "tool_calls", "steps")
_CANNOT_HOLD = {
    "alpaca": ("system", "history", "rejected", "thinking", *_TOOLS),
    "messages": ("rejected",),
    "sharegpt": ("rejected", "thinking", *_TOOLS),
    "preference": ("thinking", *_TOOLS),
}


def _alpaca(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write Alpaca's JSON list, one row per line so that differences can be read."""
    before = "[\n"
    for row in instances:
        plain = {"instruction": row.instruction, "input": row.input, "output": row.output}
        file.write(f"{before}{_json(plain)}".encode())
        before = ",\n"
    file.write(b"[]\n" if before == "[\n" else b"\n]\n")


def _jsonl(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write full rows: id, every field, lineage."""
    _write_lines((row.to_dict() for row in instances), file)


def _messages(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write chat messages, as TRL and the OpenAI protocol take them.

    Thinking goes into reasoning_content, as chat templates read it.
    """
    for row in instances:
        turns = [_protocol(turn) for turn in _conversation(row)]
        tools = {"tools": json.loads(row.tools)} if row.tools else {}
        _write_lines([{"messages": turns, **tools}], file)


def _protocol(turn: Message) -> JsonObject:
    """A turn as the OpenAI protocol has it, with the keys that training files add."""
    data = turn.to_dict()
    calls = json.loads(data.pop("tool_calls", "[]"))
    if calls:
        data["tool_calls"] = [{"type": "function", "function": call} for call in calls]
    if thinking := data.pop("thinking", ""):
        data["reasoning_content"] = thinking
    if not data.pop("learn", True):
        data["weight"] = 0
    return data


def _sharegpt(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write ShareGPT conversations."""
    names = {"system": "system", "user": "human", "assistant": "gpt", "tool": "tool"}
    for row in instances:
        turns = [{"from": names[turn.role], "value": turn.content} for turn in _conversation(row)]
        _write_lines([{"id": row.id, "conversations": turns}], file)


def _preference(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write prompt, chosen and rejected as messages, as TRL's DPOTrainer reads them."""
    for row in instances:
        *prompt, chosen = [turn.to_dict() for turn in _conversation(row)]
        other = {**chosen, "content": row.rejected}
        _write_lines([{"prompt": prompt, "chosen": [chosen], "rejected": [other]}], file)


def _parquet(instances: Iterable[Instance], file: BinaryIO) -> None:
    """Write full rows as columns; lineage as JSON text, since few readers know nested maps."""
    import pyarrow
    import pyarrow.parquet

    text = pyarrow.string()
    turns = pyarrow.list_(pyarrow.struct([("role", text), ("content", text)]))
    kinds = {"history": turns, "is_classification": pyarrow.bool_()}
    names = [*Instance("x").to_dict(), "extras"]
    schema = pyarrow.schema([(name, kinds.get(name, text)) for name in names])
    rows = (_flat(row) for row in instances)
    with pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        while group := list(islice(rows, PARQUET_GROUP_ROWS)):
            writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def _flat(row: Instance) -> JsonObject:
    """A row's columns; `extras` holds as JSON text what only rows of files have."""
    data = row.to_dict()
    data["lineage"] = _json(data["lineage"])
    beside: JsonObject = {
        name: data.pop(name) for name in ("steps", "tool_calls", "tools") if name in data
    }
    if any(len(turn) > 2 for turn in data["history"]):
        beside["history"] = data["history"]
        bare = [{key: turn[key] for key in ("role", "content")} for turn in data["history"]]
        data["history"] = bare
    return data | {"extras": _json(beside) if beside else None}


def _conversation(row: Instance) -> list[Message]:
    system = [Message("system", row.system)] if row.system else []
    return [
        *system,
        *row.history,
        Message("user", user_turn(row)),
        *row.steps,
        Message("assistant", row.output, row.thinking, row.tool_calls),
    ]


def _write_lines(rows: Iterable[Json], file: BinaryIO) -> None:
    for row in rows:
        file.write(f"{_json(row)}\n".encode())


def _json(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))


EXPORTS: dict[str, Writer] = {
    "alpaca": _alpaca,
    "jsonl": _jsonl,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "parquet": _parquet,
    "preference": _preference,
}
"""Format -> the function that writes it."""
