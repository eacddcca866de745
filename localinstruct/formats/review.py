"""The review of a seed file: new wordings that a teacher offers, for a person to cut, mend and then
apply.

    @@ line 12
    - Explain human's behavior.
    + Explain three things that shape how people behave towards strangers, with one everyday example of each.

A text file, so that any editor does: delete the blocks you do not want, change the lines with a
plus. Only JSON Lines is reviewed, as its lines can be named; every other key and every other line
of the seed file stays as it is.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from localinstruct.config import listing
from localinstruct.errors import DataError

_HEAD = re.compile(r"@@ line (\d+)\s*")


@dataclass(frozen=True, slots=True)
class Change:
    """Line of the seed file (from 1), its instruction, and the new one."""

    line: int
    before: str
    after: str


def lines_of(text: str, name: str) -> dict[int, dict[str, Any]]:
    """Line (from 1) -> its JSON object with an instruction; DataError where the file is not JSON
    Lines of those."""
    found, bad = {}, []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        if line.strip():
            row = _object(line)
            if row is None:
                bad.append(
                    f"{name}:{number}: expected one JSON object with an instruction, found "
                    f"{line.strip()[:40]!r}"
                )
            else:
                found[number] = row
    if bad or not found:
        raise DataError(
            f"{name}: not JSON Lines of seeds.{_told(bad)}", "A review works on .jsonl seed files."
        )
    return found


def _object(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) and isinstance(row.get("instruction"), str) else None


def written(changes: Sequence[Change], name: str, author: str) -> str:
    """The review as a text file."""
    head = (
        f"# {len(changes)} new wordings for {name}, by {author}. Delete the blocks you do not "
        "want, mend the lines that "
        f"begin with +, then:\n# localinstruct seeds apply {name} THIS_FILE\n"
    )
    return head + "".join(
        f"\n@@ line {one.line}\n{_marked('-', one.before)}\n{_marked('+', one.after)}\n"
        for one in changes
    )


def _marked(mark: str, text: str) -> str:
    return "\n".join(f"{mark} {line}".rstrip() for line in text.split("\n"))


def read(text: str, name: str) -> list[Change]:
    """The blocks that a person left; DataError that names every line which is none."""
    changes: list[Change] = []
    bad: list[str] = []
    block: tuple[int, list[str], list[str]] | None = None

    def close() -> None:
        if block is None:
            return
        line, before, after = block
        if not before or not "".join(after).strip():
            bad.append(f"{name}: @@ line {line}: expected lines with - and lines with +")
        changes.append(Change(line, "\n".join(before), "\n".join(after).strip()))

    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if head := _HEAD.fullmatch(line):
            close()
            block = (int(head[1]), [], [])
        elif block and line[:1] in ("-", "+"):
            (block[1] if line[0] == "-" else block[2]).append(line[1:].removeprefix(" "))
        elif line.strip() and not line.startswith("#"):
            bad.append(
                f"{name}:{number}: expected @@ line N, or a line with - or +, found {line[:40]!r}"
            )
    close()
    if bad:
        raise DataError(
            f"{name}: not a review; nothing was changed.{_told(bad)}",
            "Mend these lines, or delete the block.",
        )
    return changes


def applied(text: str, changes: Sequence[Change], name: str) -> str:
    """The seed file with the new wordings; DataError that names every line which no longer says
    what was reviewed."""
    rows, lines = lines_of(text, name), text.split("\n")
    told = [
        one
        for one in changes
        if one.line not in rows or _flat(rows[one.line]["instruction"]) != _flat(one.before)
    ]
    if told:
        raise DataError(
            f"{name}: changed since the review; nothing was written."
            + _told([f"line {one.line} no longer says {one.before[:60]!r}" for one in told]),
            "Delete these blocks from the review, or have the file reviewed again.",
        )
    for one in changes:
        ending = "\r" if lines[one.line - 1].endswith("\r") else ""
        lines[one.line - 1] = (
            json.dumps(rows[one.line] | {"instruction": one.after}, ensure_ascii=False) + ending
        )
    return "\n".join(lines)


def _told(problems: list[str]) -> str:
    more = [f"and {len(problems) - 20} more"] if len(problems) > 20 else []
    return " " + listing(problems[:20] + more)


def _flat(text: str) -> str:
    """As it stands in a review, where blanks at the end of a line are not seen."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip()
