"""ROUGE-L as Alpaca asks it: F-measure of the longest common subsequence of words.

Words are those of `localinstruct.curate.rouge`, as in the rouge_score package without stemming (Lin
2004). Two ways to the same number: `lcs_table` fills the whole table cell by cell, which is what
Alpaca's dependency does in Python, and `lcs_bits` holds a row of it in one integer (Hyyro 2004),
which is the fastest plain Python that we know. localinstruct's own (`novelty.measure: rouge_l`)
asks rapidfuzz.
"""

import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial

Words = list[str]
Lcs = Callable[[Words, Words], int]


def lcs_table(first: Words, second: Words) -> int:
    """Length of the longest common subsequence, len(first) · len(second) steps."""
    rows, columns = len(first), len(second)
    table = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(1, rows + 1):
        for j in range(1, columns + 1):
            if first[i - 1] == second[j - 1]:
                table[i][j] = table[i - 1][j - 1] + 1
            else:
                table[i][j] = max(table[i - 1][j], table[i][j - 1])
    return table[rows][columns]


def lcs_bits(first: Words, second: Words) -> int:
    """Length of the longest common subsequence, len(first) + len(second) steps.

    Bit i of `row` is 0 where the common subsequence grows at word i.
    """
    places: dict[str, int] = {}
    for i, word in enumerate(first):
        places[word] = places.get(word, 0) | (1 << i)
    full = (1 << len(first)) - 1
    row = full
    for word in second:
        hits = row & places.get(word, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(first) - row.bit_count()


def f_measure(first: Words, second: Words, lcs: Lcs = lcs_table) -> float:
    """ROUGE-L F of two texts, 0 to 1; 0 where one has no words."""
    common = lcs(first, second) if first and second else 0
    return 2 * common / (len(first) + len(second)) if common else 0.0


def scores(candidate: Words, pool: Sequence[Words], lcs: Lcs = lcs_table) -> list[float]:
    """ROUGE-L F of one candidate with every text of the pool, in this process."""
    return [f_measure(candidate, other, lcs) for other in pool]


def scores_in_pool(candidate: Words, pool: Sequence[Words], processes: int) -> list[float]:
    """ROUGE-L F of one candidate with every text of the pool, in new processes.

    As in Alpaca they are started for this one candidate, and every text is sent to them.
    """
    with multiprocessing.get_context("fork").Pool(processes) as workers:
        return workers.map(partial(f_measure, candidate), pool)
