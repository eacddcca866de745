"""Decontamination: rows that also stand in the evaluation tasks leave the training data.

Match: instruction and input equal after Unicode compatibility folding, case folding and collapsing
white space. That is exact on purpose: a dropped row was surely seen, and the number means
something. Not covered: paraphrases of a task; they are what novelty's borderline listing is for.
"""

import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence

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


def unique(
    rows: Iterable[Instance], several: Collection[str] = ()
) -> tuple[list[Instance], list[Reject]]:
    """(first row of each question, rejects for the others).

    Of the rows whose ids are in `several` (those of files) every different answer is kept; a split
    keeps equal questions on one side.
    """
    first: dict[tuple[object, ...], Instance] = {}
    rejects: list[Reject] = []
    for row in rows:
        answer = answers(row) if row.id in several else ()
        kept = first.setdefault((*question(row), *answer), row)
        if kept is not row:
            rejects.append(Reject(STAGE, "duplicate", row.instruction, f"row {kept.id}"))
    return list(first.values()), rejects


def question(row: Instance) -> tuple[object, ...]:
    """What a row asks: equal for two rows whose answers answer the same."""
    return (row.system, row.history, *fingerprint(row))


def answers(row: Instance) -> tuple[object, ...]:
    """What a row answers, in all its parts."""
    return (row.output, row.rejected, row.thinking, row.tool_calls, row.steps)


def fingerprint(row: Instance) -> tuple[str, str]:
    """(instruction, input), folded: equal for two rows that ask the same."""
    return _folded(row.instruction), _folded(row.input)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
