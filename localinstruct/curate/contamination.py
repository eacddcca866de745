"""Decontamination: rows that also stand in the evaluation tasks leave the training data.

Match: instruction and input equal after Unicode compatibility folding, case folding and collapsing
white space. That is exact on purpose: a dropped row was surely seen, and the number means
something. Not covered: paraphrases of a task; they are what novelty's borderline listing is for.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from localinstruct.records import Instance, Reject

STAGE, REASON = "decontaminate", "in the evaluation tasks"


def decontaminate(
    rows: Sequence[Instance], tasks: Mapping[str, Instance]
) -> tuple[list[Instance], list[Reject]]:
    """(rows left, in order; rejects whose detail names the task).

    `tasks` maps a task's id to its content; of equal tasks the first is named.
    """
    known = {fingerprint(task): name for name, task in reversed(list(tasks.items()))}
    left = [row for row in rows if fingerprint(row) not in known]
    rejects = [
        Reject(STAGE, REASON, row.instruction, known[fingerprint(row)])
        for row in rows
        if fingerprint(row) in known
    ]
    return left, rejects


def unique(rows: Iterable[Instance]) -> tuple[list[Instance], list[Reject]]:
    """(first row of each instruction and input after equal earlier turns, rejects for the others).

    A repeated question could stand on both sides of a split.
    """
    first: dict[tuple[object, ...], Instance] = {}
    rejects: list[Reject] = []
    for row in rows:
        kept = first.setdefault((row.history, *fingerprint(row)), row)
        if kept is not row:
            rejects.append(Reject(STAGE, "duplicate", row.instruction, f"row {kept.id}"))
    return list(first.values()), rejects


def fingerprint(row: Instance) -> tuple[str, str]:
    """(instruction, input), folded: equal for two rows that ask the same."""
    return _folded(row.instruction), _folded(row.input)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
