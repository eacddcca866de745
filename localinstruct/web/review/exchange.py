"""Decisions as JSON Lines, to and from other machines, and reviewed rows of a file as a file.

A line is one decision: who, when, on which row, what was there before and after, and the row as
the teacher wrote it. Decisions that are here already are passed over, so a file may be read twice.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from localinstruct.dataset.review_gate import ReviewGate
from localinstruct.dataset.reviewed import apply, taken_back
from localinstruct.errors import DataError
from localinstruct.formats import write
from localinstruct.records import Instance, JsonObject
from localinstruct.store.durable import write_text
from localinstruct.store.reviews import Decision, Kind, Review
from localinstruct.web.review.desk import Desk
from localinstruct.web.review.index import Found, instance_of
from localinstruct.web.review.query import Query

KEYS = {"row", "action", "before", "after", "who", "at", "kind", "original"}


def export_decisions(desk: Desk, output: Path) -> int:
    """Write every decision as a line; how many."""
    lines = list[str]()
    for one in desk.reviews.log():
        facts = asdict(one)
        kind, original = desk.reviews.original(one.row)
        lines.append(json.dumps({**facts, "kind": kind, "original": original}, ensure_ascii=False))
    write_text(output, "".join(f"{line}\n" for line in lines))
    return len(lines)


def import_decisions(desk: Desk, path: Path) -> tuple[int, int]:
    """(decisions that are new here, decisions on rows that are not here and were left out).

    DataError that names every line which is no decision; then nothing is taken.
    """
    lines = list(_read(path))
    here = [one for one in lines if desk.index.by_key(one[0].row) is not None]
    return desk.reviews.add(iter(here)), len(lines) - len(here)


def _read(path: Path) -> Iterator[tuple[Decision, Kind, JsonObject]]:
    problems = list[str]()
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _decision(json.loads(line))
        except (ValueError, TypeError, KeyError, RecursionError):
            problems.append(f"{path}:{number}: expected a decision, found {line[:60]!r}")
    if problems:
        raise DataError("\n".join(problems[:20]), "Such a file is written by review --export.")


def _decision(data: JsonObject) -> tuple[Decision, Kind, JsonObject]:
    if not set(data) >= KEYS or data["kind"] not in ("row", "reject"):
        raise ValueError
    before, after = (Review.from_dict(dict(data[name])) for name in ("before", "after"))
    row, action, who = (str(data[name]) for name in ("row", "action", "who"))
    decision = Decision(0, row, action, before, after, who, float(data["at"]))
    return decision, data["kind"], dict(data["original"])


def export_rows(desk: Desk, output: Path, format: str) -> int:
    """Write the rows as people left them, taken-back rejects last; how many.

    What people wrote of a run's rows passes the run's rules; a file has none.
    """
    decided = {one.key: one for one in desk.reviews.since(0) if one.review.decided}
    gate = ReviewGate(desk.rules) if desk.rules else None

    def rows() -> Iterator[Instance]:
        here: Found | None = None
        while (here := desk.index.step(Query(), here)) is not None:
            yield from apply([instance_of(here)], decided, gate).rows
        yield from taken_back(decided.values(), gate).rows

    return write(rows(), format, output)
