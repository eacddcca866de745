"""Review of a seed file: a teacher's new wordings, for a person to mend and apply.

    @@ line 12
    - Explain human's behavior.
    + Explain three things that shape how people behave towards strangers, each with an example.

A text file, so that any editor does: delete the blocks you do not want, change the lines with a
plus. Only JSON Lines is reviewed, as its lines can be named; every other key and every other line
of the seed file stays as it is.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from localinstruct.config import listing
from localinstruct.errors import DataError
from localinstruct.records import JsonObject

_HEAD = re.compile(r"@@ line (\d+)\s*")


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the seed file (from 1), its instruction, and the new one."""

    line: int
    before: str
    after: str


def lines_of(text: str, name: str) -> dict[int, JsonObject]:
    """Line (from 1) -> its JSON object with an instruction.

    DataError where the file is not JSON Lines of those.
    """
    rows, problems = dict[int, JsonObject](), list[str]()
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        row = _object(line)
        if row is not None:
            rows[number] = row
        elif line.strip():
            start = line.strip()[:40]
            problem = f"expected one JSON object with an instruction, found {start!r}"
            problems.append(f"{name}:{number}: {problem}")
    if problems or not rows:
        raise DataError(
            f"{name}: not JSON Lines of seeds.{_listed(problems)}",
            "A review works on .jsonl seed files.",
        )
    return rows


def _object(line: str) -> JsonObject | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("instruction"), str) else None


def to_text(changes: Sequence[Change], name: str, author: str) -> str:
    """The review as a text file."""
    head = (
        f"# {len(changes)} new wordings for {name}, by {author}. Delete the blocks you do not "
        "want, mend the lines that begin with +, then:\n"
        f"# localinstruct seeds apply {name} THIS_FILE\n"
    )
    blocks = [
        f"\n@@ line {change.line}\n{_mark('-', change.before)}\n{_mark('+', change.after)}\n"
        for change in changes
    ]
    return head + "".join(blocks)


def _mark(mark: str, text: str) -> str:
    return "\n".join(f"{mark} {line}".rstrip() for line in text.split("\n"))


def read(text: str, name: str) -> list[Change]:
    """The blocks that a person left; DataError that names every line of another kind."""
    changes: list[Change] = []
    problems: list[str] = []
    block: tuple[int, list[str], list[str]] | None = None

    def close() -> None:
        if block is None:
            return
        line, before, after = block
        if not before or not "".join(after).strip():
            problems.append(f"{name}: @@ line {line}: expected lines with - and lines with +")
        changes.append(Change(line, "\n".join(before), "\n".join(after).strip()))

    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if head := _HEAD.fullmatch(line):
            close()
            block = (int(head[1]), [], [])
        elif block and line[:1] in ("-", "+"):
            (block[1] if line[0] == "-" else block[2]).append(line[1:].removeprefix(" "))
        elif line.strip() and not line.startswith("#"):
            problem = f"expected @@ line N, or a line with - or +, found {line[:40]!r}"
            problems.append(f"{name}:{number}: {problem}")
    close()
    if problems:
        raise DataError(
            f"{name}: not a review; nothing was changed.{_listed(problems)}",
            "Mend these lines, or delete the block.",
        )
    return changes


def apply(text: str, changes: Sequence[Change], name: str) -> str:
    """The seed file with the new wordings.

    DataError that names every line whose instruction is no longer the one that was reviewed.
    """
    rows, lines = lines_of(text, name), text.split("\n")
    problems = [
        f"line {change.line} no longer says {change.before[:60]!r}"
        for change in changes
        if change.line not in rows
        or _flat(rows[change.line]["instruction"]) != _flat(change.before)
    ]
    if problems:
        raise DataError(
            f"{name}: changed since the review; nothing was written.{_listed(problems)}",
            "Delete these blocks from the review, or have the file reviewed again.",
        )
    for change in changes:
        ending = "\r" if lines[change.line - 1].endswith("\r") else ""
        row = rows[change.line] | {"instruction": change.after}
        lines[change.line - 1] = json.dumps(row, ensure_ascii=False) + ending
    return "\n".join(lines)


def _listed(problems: list[str]) -> str:
    more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
    return " " + listing(problems[:20] + more)


def _flat(text: str) -> str:
    """A text as it stands in a review, where blanks at the end of a line are not seen."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
