"""Near-duplicates of a list of rows: the novelty gate's own decision, with the row it resembles.

Greedy and in order, as while generating: a row is compared exactly with all rows kept before it.
Cost: n·d multiplications a row, as for the gate (`novelty.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localinstruct.curate.novelty import Gate, Novelty, index_for, text_of
from localinstruct.records import Instance, Kept

if TYPE_CHECKING:
    import numpy as np

BLOCK = 256
"""Rows that are compared in one matrix product with those kept before them."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Row number `row` of a list, dropped because it is like row number `like`, which was kept."""

    row: int
    like: int
    reason: str
    score: float


def duplicates(
    rows: Sequence[Instance], vectors: "np.ndarray", novelty: Novelty
) -> list[Duplicate]:
    """The rows to drop, in order, for n rows with (n, d) unit vectors; the others are kept."""
    gate = Gate(novelty, index_for(novelty, vectors.shape[1]), ())
    by_text, by_question = dict[str, int](), dict[object, int]()  # of kept rows, the first of each
    dropped = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        verdicts = gate.admit(block, vectors[start : start + BLOCK])
        for number, (row, verdict) in enumerate(zip(block, verdicts, strict=True), start):
            question = (row.history, row.instruction, row.input)
            if isinstance(verdict, Kept):
                by_text.setdefault(text_of(row, novelty), number)
                by_question.setdefault(question, number)
            else:
                like = by_question[question] if question in by_question else by_text[verdict.detail]
                score = 1.0 if verdict.score is None else verdict.score
                dropped.append(Duplicate(number, like, verdict.reason, score))
    return dropped
