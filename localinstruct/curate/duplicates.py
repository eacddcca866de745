"""Near-duplicates of a list of rows, with the row that each resembles.

The novelty gate's decision (`novelty.py`), greedy and in order, over the whole list at once: a row
is compared with all rows kept before it, by `neighbours.py` where cosines decide, by the gate
itself where words do.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.curate.embeddings import (
    BF16_MOVES,
    ExactCosines,
    LocalEncoder,
    SettledCosines,
    encode_in_blocks,
)
from localinstruct.curate.neighbours import Borderline, kept_neighbours
from localinstruct.curate.novelty import Gate, Novelty, index_for, text_of
from localinstruct.curate.static import StaticEncoder, proposed
from localinstruct.progress import Progress
from localinstruct.records import Instance, Kept

if TYPE_CHECKING:
    import numpy as np

BLOCK = 256
"""Rows whose words are compared at once with those kept before them."""
ENCODED = 2048
"""Texts that are sorted by length together before they are encoded."""
REPEATED, SIMILAR = "exact repetition", "too similar"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Row number `row` of a list, dropped because it is like row number `like`, which was kept."""

    row: int
    like: int
    reason: str
    score: float


def duplicates(
    rows: Sequence[Instance],
    vectors: "np.ndarray",
    novelty: Novelty,
    borderline: Borderline | None = None,
    on_block: Callable[[int], None] = lambda done: None,
) -> list[Duplicate]:
    """The rows to drop, in order, for n rows with (n, d) unit vectors; the others are kept.

    Rows are compared once for each question (earlier turns, instruction, input); `borderline`
    speaks of the numbers of the rows. `on_block(rows so far)`.
    """
    import numpy as np

    first = dict[object, int]()
    firsts = [first.setdefault(_question(row), n) for n, row in enumerate(rows)]
    own = np.array([n for n, head in enumerate(firsts) if n == head], np.int64)
    if borderline is not None:
        asked = borderline.cosines
        borderline = Borderline(
            borderline.possible,
            borderline.certain,
            lambda some, others: asked(own[some], own[others]),
            borderline.most,
        )
    compared = vectors if len(own) == len(rows) else vectors[own]
    found = kept_neighbours(compared, novelty.threshold, borderline, on_block)
    like = {int(own[n]): (int(own[found.like[n]]), n) for n in np.flatnonzero(found.like >= 0)}
    dropped = []
    for number, head in enumerate(firsts):
        if head in like:
            other, place = like[head]
            score = round(float(found.score[place]), 4)
            dropped.append(Duplicate(number, other, SIMILAR, score))
        elif head != number:
            dropped.append(Duplicate(number, head, REPEATED, 1.0))
    return dropped


def duplicates_by_meaning(
    rows: Sequence[Instance],
    novelty: Novelty,
    encoder: Path,
    progress: Progress,
    static: bool = False,
) -> tuple[list[Duplicate], int]:
    """(near-duplicates by the cosines of the encoder in a directory, rows that it cannot see).

    As float32 has them: where it runs in bf16, pairs on the border of the threshold are encoded
    again. With `static`, of the pairs that its static form proposes.
    """
    texts, at = [text_of(row, novelty) for row in rows], novelty.threshold
    fast = StaticEncoder(encoder, texts, progress) if static else LocalEncoder(encoder)
    vectors = encode_in_blocks(
        fast, texts, lambda done: progress.update("embedding", done, len(texts)), ENCODED
    )
    borderline = None
    if isinstance(fast, StaticEncoder):
        borderline = proposed(
            vectors, at, SettledCosines(partial(LocalEncoder, encoder), texts, at)
        )
    elif not fast.is_exact:
        exact = ExactCosines(lambda: LocalEncoder(encoder, exact=True), texts)
        borderline = Borderline(at - BF16_MOVES, at + BF16_MOVES, exact)
    found = duplicates(
        rows,
        vectors,
        novelty,
        borderline,
        lambda done: progress.update("comparing", done, len(texts)),
    )
    return found, fast.unseen


def duplicates_by_words(rows: Sequence[Instance], novelty: Novelty) -> list[Duplicate]:
    """Near-duplicates by ROUGE-L, as the gate decides them."""
    import numpy as np

    vectors = np.zeros((len(rows), 1), dtype=np.float32)  # the index keeps them, and asks none
    gate = Gate(novelty, index_for(novelty, 1), ())
    by_text, by_question = dict[str, int](), dict[object, int]()  # of kept rows, the first of each
    dropped = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        verdicts = gate.admit(block, vectors[start : start + BLOCK])
        for number, (row, verdict) in enumerate(zip(block, verdicts, strict=True), start):
            question = _question(row)
            if isinstance(verdict, Kept):
                by_text.setdefault(text_of(row, novelty), number)
                by_question.setdefault(question, number)
            else:
                like = by_question[question] if question in by_question else by_text[verdict.detail]
                score = 1.0 if verdict.score is None else verdict.score
                dropped.append(Duplicate(number, like, verdict.reason, score))
    return dropped


def _question(row: Instance) -> object:
    """Earlier turns, instruction and input: equal for two rows that ask the same."""
    return (row.history, row.instruction, row.input)
