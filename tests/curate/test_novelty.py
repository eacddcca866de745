"""The gate: exactly what a plain greedy loop over cosines decides, with the nearest row named."""

from random import Random

import numpy as np
import pytest

from benchmarks.rouge import f_measure
from localinstruct.curate.index import Index, RougeIndex
from localinstruct.curate.novelty import Gate, Novelty, nearest
from localinstruct.curate.rouge import Alphabet, f_measures, words
from localinstruct.generation.stage import make_gate
from localinstruct.progress import Silent
from localinstruct.records import Instance, Kept, Reject
from tests.support.scripted import HashEncoder


def unit(rows: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, 6), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def rows(name: str, count: int) -> list[Instance]:
    return [Instance(instruction=f"{name} {number}", output="x") for number in range(count)]


def gate(novelty: Novelty, seeds: list[Instance], vectors: np.ndarray) -> Gate:
    index = Index(vectors.shape[1])
    index.add(vectors, [(seed.id, seed.instruction) for seed in seeds])
    return Gate(novelty, index, seeds)


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_the_gate_decides_as_a_greedy_loop_does(batch: int) -> None:
    """Whatever the candidates are grouped by: 40 in six dimensions, so that many are near each
    other."""
    seeds, known, candidates, vectors = rows("seed", 5), unit(5, 1), rows("row", 40), unit(40, 2)
    chosen = gate(Novelty(threshold=0.7, remember=3), seeds, known)
    verdicts = []
    for start in range(0, 40, batch):
        verdicts += chosen.admit(candidates[start : start + batch], vectors[start : start + batch])
    pool, texts, expected = list(known), [seed.instruction for seed in seeds], []
    for candidate, vector in zip(candidates, vectors, strict=True):
        scores = np.array([float(row @ vector) for row in pool])
        expected.append((texts[int(scores.argmax())], scores.max() <= 0.7))
        if scores.max() <= 0.7:
            pool.append(vector)
            texts.append(candidate.instruction)
    said = [
        (v.most_similar[0].text, True) if isinstance(v, Kept) else (v.detail, False)
        for v in verdicts
    ]
    assert said == expected
    assert 5 < sum(kept for _, kept in said) < 35
    assert all(
        0.7 < v.score <= 1 for v in verdicts if isinstance(v, Reject) and v.score is not None
    )
    assert all(len(v.most_similar) == 3 for v in verdicts if isinstance(v, Kept))


def test_two_of_a_kind_in_one_list_are_kept_once() -> None:
    twin = unit(1, 3)
    verdicts = gate(Novelty(), rows("seed", 1), unit(1, 4)).admit(
        rows("row", 2), np.concatenate([twin, twin])
    )
    assert isinstance(verdicts[0], Kept)
    assert isinstance(verdicts[1], Reject)
    assert (verdicts[1].reason, verdicts[1].detail) == ("too similar", "row 0")


@pytest.mark.parametrize(
    ("against", "like_seed", "like_kept"),
    [
        ("all", "too similar", "too similar"),
        ("seeds", "too similar", "kept"),
        ("kept", "kept", "too similar"),
    ],
)
def test_what_is_compared_with(against: str, like_seed: str, like_kept: str) -> None:
    """A candidate with a seed's vector, then one with a kept row's."""
    encoder, progress = HashEncoder(), Silent()
    seeds = [Instance(instruction="sort these nine words", output="x")]
    chosen = make_gate(Novelty.model_validate({"against": against}), seeds, encoder, progress)

    def ask(text: str) -> list[Kept | Reject]:
        return chosen.admit([Instance(instruction=text)], encoder.encode([text]))

    ask("name an old river")
    verdicts = ask("sort nine these words") + ask("name an river old")
    assert ["kept" if isinstance(v, Kept) else v.reason for v in verdicts] == [like_seed, like_kept]


def test_the_same_question_again_is_named_whatever_is_compared_with() -> None:
    chosen = gate(Novelty(against="seeds"), rows("seed", 1), unit(1, 5))
    first, again = chosen.admit(rows("row", 1), unit(1, 7)) + chosen.admit(
        rows("row", 1), unit(1, 8)
    )
    assert isinstance(first, Kept)
    assert isinstance(again, Reject)
    assert again.reason == "exact repetition"


def test_nearest_are_the_largest_in_order() -> None:
    values = np.array([0.1, 0.9, 0.5, 0.9, -0.3], dtype=np.float32)
    assert nearest(values, 3).tolist() == [1, 3, 2]
    assert nearest(values, 99).tolist() == [1, 3, 2, 0, 4]
    assert nearest(values[:0], 3).tolist() == []


def test_rouge_is_that_of_the_plain_definition() -> None:
    rng = Random(5)
    kinds = ["sort", "the", "list", "of", "words", "Zwölf", "a-b", "Über", "42", "…", "don't"]
    texts = [" ".join(rng.choices(kinds, k=rng.randint(0, 90))) for _ in range(60)]
    alphabet = Alphabet()
    spelt = [alphabet.spell(text) for text in texts]
    found = f_measures(spelt[:20], spelt)
    expected = [[f_measure(words(a), words(b)) for b in texts] for a in texts[:20]]
    assert np.abs(found - np.array(expected)).max() < 1e-12
    assert found[found > 0].min() < 0.2


def test_an_alphabet_has_room_for_every_word() -> None:
    alphabet = Alphabet()
    # past the surrogates
    spelt = alphabet.spell(" ".join(f"w{number}" for number in range(70_000)))
    assert len(set(spelt)) == 70_000
    assert f_measures([spelt], [spelt])[0, 0] == 1


def test_alpacas_own_measure_and_threshold() -> None:
    """Seven words in common of ten each are 0.7, which passes; eight do not. The vectors have no
    say."""
    seed = Instance("one two three four five six seven eight nine ten", output="x")
    candidates = [
        Instance(f"one two three four five six seven {rest}", output="x")
        for rest in ("a b c", "eight d e")
    ]
    novelty = Novelty(measure="rouge_l", threshold=0.7)
    index = RougeIndex(6)
    index.add(unit(1, 1), [(seed.id, seed.instruction)])
    kept, rejected = Gate(novelty, index, [seed]).admit(
        candidates, np.repeat(unit(1, 1), 2, axis=0)
    )
    assert isinstance(kept, Kept)
    assert kept.most_similar[0].score == 0.7
    assert isinstance(rejected, Reject)
    assert (rejected.reason, rejected.score) == ("too similar", 0.8)


def test_the_recipe_chooses_the_measure() -> None:
    gates = [
        make_gate(Novelty(measure=which), rows("s", 2), HashEncoder(), Silent())
        for which in ("cosine", "rouge_l")
    ]
    assert [type(gate._index) for gate in gates] == [Index, RougeIndex]


@pytest.mark.parametrize("count", [9_000, 50_001, 120_000])
@pytest.mark.parametrize("steps", [3, 50, 10**8])
def test_nearest_of_a_long_array_are_those_of_a_whole_sort(count: int, steps: int) -> None:
    values = (np.random.default_rng(count).integers(0, steps, count) / steps).astype(np.float32)
    expected = np.lexsort((np.arange(count), -values))[:10]
    assert nearest(values, 10).tolist() == expected.tolist()


@pytest.mark.parametrize("pieces", [(5000,), (1, 1023, 1, 3000, 975), (700,) * 7 + (100,)])
def test_an_index_of_many_blocks_is_one_matrix(pieces: tuple[int, ...]) -> None:
    vectors, index, done = unit(5000, 3), Index(6), 0
    for count in pieces:
        labels = [(str(number), f"text {number}") for number in range(done, done + count)]
        index.add(vectors[done : done + count], labels)
        done += count
    asked = unit(3, 4)
    for first in (0, 1023, 1024, 4999, 5000):
        found = index.similarities(asked, ["a", "b", "c"], first)
        assert found.shape == (3, 5000 - first)
        assert found == pytest.approx(asked @ vectors[first:].T, abs=1e-6)
    assert (len(index), index.label(1024)) == (5000, ("1024", "text 1024"))
