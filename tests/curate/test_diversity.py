"""DCScore against cases that can be computed by hand, and what must hold for any rows."""

import math

import numpy as np
import pytest

from localinstruct.curate.clusters import clusters
from localinstruct.curate.diversity import SAMPLE, dc_score, sample


def units(count: int, width: int = 16, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def at(cosine: float) -> np.ndarray:
    return np.array([[1, 0], [cosine, math.sqrt(1 - cosine**2)]], np.float32)


@pytest.mark.parametrize(
    ("vectors", "score"),
    [
        (np.eye(1, 4, dtype=np.float32), 1),
        (np.repeat(np.eye(1, 4, dtype=np.float32), 5, axis=0), 1 / 5),
        (np.eye(4, dtype=np.float32), 1 / (1 + 3 * math.exp(-20))),
        (at(0.9), 1 / (1 + math.exp(-0.1 / 0.05))),
        (at(0.6), 1 / (1 + math.exp(-0.4 / 0.05))),
        # two pairs of copies beside a lone row: (4 · 1/2 + 1) / 5
        (np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2]], 3 / 5),
        (np.zeros((0, 4), np.float32), 0),
        (np.array([[1, 0], [0, 0]], np.float32), 1),  # what the encoder cannot see is left out
    ],
)
def test_cases_by_hand(vectors: np.ndarray, score: float) -> None:
    assert dc_score(vectors) == pytest.approx(score, abs=1e-6)


def test_order_does_not_matter_copies_lower_it_and_new_rows_raise_it() -> None:
    for seed in range(5):
        rows = units(60, seed=seed)
        score = dc_score(rows)
        assert 0 < score <= 1
        mixed = np.random.default_rng(seed).permutation(len(rows))
        assert dc_score(rows[mixed]) == pytest.approx(score)
        assert dc_score(rows[np.r_[0:60, 0:20]]) < score  # copies beside the rows
        in_place = rows.copy()
        previous = score
        for count in (5, 10, 20):  # in their place: the set has its size
            in_place[-count:] = in_place[:count]
            assert dc_score(in_place) < previous
            previous = dc_score(in_place)
        near = rows + 0.2 * units(60, seed=seed + 100)
        near /= np.linalg.norm(near, axis=1, keepdims=True)
        assert dc_score(np.r_[rows[:30], near[:30]].astype(np.float32)) < score


def test_samples_are_the_same_every_time_and_whole_where_that_is_little() -> None:
    assert sample(7).tolist() == list(range(7))
    many = sample(10 * SAMPLE)
    assert (len(many), len(set(many.tolist()))) == (SAMPLE, SAMPLE)
    assert many.tolist() == sample(10 * SAMPLE).tolist() != sample(10 * SAMPLE, seed=1).tolist()


def test_clusters_are_named_by_their_own_words() -> None:
    rng = np.random.default_rng(1)
    subjects = ("rivers flow north", "bread needs yeast", "planets orbit suns")
    texts, vectors = [], []
    for place in range(150):
        subject = place % 3
        texts.append(f"Tell me how the {subjects[subject]} today")
        vectors.append(np.eye(8)[subject] + rng.normal(scale=0.05, size=8))
    rows = np.array(vectors, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    found, centres = clusters(rows, texts)
    assert sum(len(one.rows) for one in found) == 150
    assert len(found) == len(centres) == 6
    for one in found:
        subject = one.rows[0] % 3
        assert {row % 3 for row in one.rows} == {subject}
        assert set(one.words) <= set(subjects[subject].split())
    assert clusters(rows[:40], texts[:40])[0] == []
    assert clusters(rows, ["…"] * 150)[0][0].words == ()
