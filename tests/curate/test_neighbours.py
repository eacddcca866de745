"""Greedy neighbours: one row at a time, floods of copies, cells, and pairs on the border."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from localinstruct.curate.cells import Found, Held, Here
from localinstruct.curate.neighbours import Borderline, kept_neighbours


def clustered(count: int, seed: int = 1, dimensions: int = 32) -> np.ndarray:
    """Unit rows around count // 20 centres: many pairs on both sides of every threshold."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(1, count // 20), dimensions))
    rows = centres[rng.integers(0, len(centres), count)]
    rows = rows + 0.6 * rng.random((count, 1)) * rng.standard_normal((count, dimensions))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def one_by_one(vectors: np.ndarray, threshold: float) -> tuple[list[int], list[float]]:
    """The rule as it is said: each row against the rows kept before it."""
    kept, like, score = list[int](), list[int](), list[float]()
    for number, vector in enumerate(vectors):
        cosines = vectors[kept] @ vector if kept else np.zeros(1)
        top = int(cosines.argmax())
        if kept and cosines[top] > threshold:
            like.append(kept[top])
            score.append(float(cosines[top]))
        else:
            kept.append(number)
            like.append(-1)
            score.append(0.0)
    return like, score


@pytest.mark.parametrize("threshold", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("count", [1, 2, 300, 2500])
def test_each_row_is_decided_as_if_it_came_alone(count: int, threshold: float) -> None:
    vectors = clustered(count)
    found = kept_neighbours(vectors, threshold)
    like, score = one_by_one(vectors, threshold)
    assert found.like.tolist() == like
    assert found.score == pytest.approx(score, abs=1e-5)


def test_no_rows_and_a_flood_of_one() -> None:
    assert len(kept_neighbours(np.zeros((0, 8), np.float32), 0.9).like) == 0
    flood = np.tile(clustered(1), (4500, 1))
    for exact_up_to in (10_000, 0):
        found = kept_neighbours(flood, 0.9, exact_up_to=exact_up_to)
        assert found.like.tolist() == [-1] + [0] * 4499


def test_cells_find_what_all_pairs_find() -> None:
    vectors = clustered(9000, dimensions=64)
    exact, cells = kept_neighbours(vectors, 0.8), kept_neighbours(vectors, 0.8, exact_up_to=0)
    dropped = exact.like >= 0
    assert 2000 < dropped.sum() < 8500
    assert (dropped & (cells.like >= 0)).sum() >= 0.995 * dropped.sum()
    named = np.flatnonzero(cells.like >= 0)
    cosines = np.einsum("ij,ij->i", vectors[named], vectors[cells.like[named]])
    assert (cosines > 0.8).all()  # every pair is decided by its exact cosine
    assert (cells.like[cells.like[named]] == -1).all()  # and names a row that was kept


@pytest.mark.parametrize(("exact_up_to", "wrong"), [(100_000, 0), (0, 20)])
def test_pairs_on_the_border_are_decided_by_the_better_cosine(exact_up_to: int, wrong: int) -> None:
    better = clustered(3000)
    noise = np.random.default_rng(2).standard_normal(better.shape) * 0.012
    rough = better + noise.astype(np.float32)
    rough /= np.linalg.norm(rough, axis=1, keepdims=True)
    asked = list[int]()

    def cosines(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return np.einsum("ij,ij->i", better[rows], better[others])

    plain = kept_neighbours(rough, 0.8, exact_up_to=exact_up_to)
    decided = kept_neighbours(rough, 0.8, Borderline(0.7, 0.9, cosines), exact_up_to=exact_up_to)
    right = np.array(one_by_one(better, 0.8)[0]) >= 0
    assert ((plain.like >= 0) != right).sum() > 30  # the rough vectors alone get some wrong
    assert ((decided.like >= 0) != right).sum() <= wrong
    assert sum(asked) > 0


def test_progress_counts_rows() -> None:
    counts = list[int]()
    kept_neighbours(clustered(2500), 0.9, on_block=counts.append)
    assert counts == [1024, 2048, 2500]


def test_vectors_in_a_file_are_compared_as_those_in_memory(tmp_path: Path) -> None:
    vectors = clustered(6000)
    vectors.tofile(tmp_path / "vectors")
    file = np.memmap(tmp_path / "vectors", np.float32, "r", shape=vectors.shape)
    for exact_up_to in (10_000, 0):
        here = kept_neighbours(vectors, 0.9, exact_up_to=exact_up_to)
        there = kept_neighbours(file, 0.9, exact_up_to=exact_up_to)
        assert np.array_equal(here.like, there.like)
        assert np.array_equal(file, vectors)


def test_a_copy_in_a_file_decides_the_same(tmp_path: Path) -> None:
    vectors, scratch = clustered(6000, dimensions=64), tmp_path / "scratch"
    plain = kept_neighbours(vectors, 0.8, exact_up_to=0)
    found = kept_neighbours(vectors, 0.8, exact_up_to=0, scratch=scratch)
    assert found.like.tolist() == plain.like.tolist()
    assert scratch.stat().st_size >= 6000 * 64 * 2


class Divided(Here):
    """Cells in three ranges, as machines hold them."""

    def begin(self, vectors: np.ndarray, near: np.ndarray, cells: int, bf16: bool) -> None:
        sizes = np.bincount(near[:, 0], minlength=cells)
        bounds = np.linspace(0, cells, 4).astype(int)
        self.ranges = list(pairwise(bounds))
        self.parts = [Held(sizes[a:b], vectors.shape[1], bf16) for a, b in self.ranges]
        self.vectors, self.near = vectors, near

    def add(self, rows: np.ndarray) -> None:
        home = self.near[rows, 0]
        for part, (first, end) in zip(self.parts, self.ranges, strict=True):
            own = rows[(home >= first) & (home < end)]
            part.add(own, self.vectors[own], self.near[own, 0] - first)

    def search(self, block: slice, floor: float) -> Found:
        found, near = [], self.near[block]
        for part, (first, end) in zip(self.parts, self.ranges, strict=True):
            own = (near >= first) & (near < end)
            places = np.flatnonzero(own.any(axis=1))
            cells, rows = np.where(own, near - first, -1)[places], block.start + places
            found.append(part.search(rows, self.vectors[rows], cells, floor))
        return Found(*(np.concatenate(side, axis=1) for side in zip(*found, strict=True)))


def test_cells_in_ranges_decide_as_all_in_one_place() -> None:
    vectors = clustered(9000, dimensions=64)
    one = kept_neighbours(vectors, 0.8, exact_up_to=0)
    several = kept_neighbours(vectors, 0.8, exact_up_to=0, work=Divided())
    assert (one.like >= 0).sum() > 1000
    assert np.array_equal(one.like, several.like)
    assert np.array_equal(one.score, several.score)
