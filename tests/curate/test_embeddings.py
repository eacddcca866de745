"""Batches by tokens, and cosines by a second encoder that reads each text once."""

from collections.abc import Sequence

import numpy as np

from localinstruct.curate.embeddings import ExactCosines, batches
from tests.support.scripted import HashEncoder


def test_batches_hold_every_text_once_and_no_more_than_their_tokens() -> None:
    lengths = [5, 300, 7, 7, 0, 2000, 12, 300, 5]
    parts = batches(lengths, 600)
    assert sorted(number for part in parts for number in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(lengths[n] for n in part) <= 600
    assert parts[-1] == [5]  # longer than a batch: alone
    assert batches([], 600) == []


def test_exact_cosines_encode_each_text_once() -> None:
    read = list[str]()

    class Noting(HashEncoder):
        def encode(self, texts: Sequence[str]) -> np.ndarray:
            read.extend(texts)
            return super().encode(texts)

    texts = [f"text number {number} about {number % 3}" for number in range(9)]
    exact = ExactCosines(Noting, texts)
    assert len(exact(np.array([], int), np.array([], int))) == 0
    first = exact(np.array([3, 4]), np.array([1, 1]))
    again = exact(np.array([4, 8]), np.array([3, 1]))
    vectors = HashEncoder().encode(texts)
    assert np.allclose(
        [*first, *again],
        [vectors[a] @ vectors[b] for a, b in ((3, 1), (4, 1), (4, 3), (8, 1))],
        atol=1e-6,
    )
    assert sorted(read) == sorted(texts[n] for n in (1, 3, 4, 8))
    assert exact.encoded == 4
