"""The static encoder: weights from the rows, what it proposes, and its place in the cache."""

import sys
from pathlib import Path

import numpy as np
import pytest

from localinstruct.cleaning.settings import Clean
from localinstruct.curate import static
from localinstruct.curate.duplicates import duplicates_by_meaning
from localinstruct.curate.neighbours import kept_neighbours
from localinstruct.curate.novelty import Novelty
from localinstruct.curate.static import StaticEncoder, proposed, require_model2vec
from localinstruct.errors import UsageError
from localinstruct.models.catalog import checked, load_catalog
from localinstruct.progress import Silent
from localinstruct.records import Instance
from tests.curate.test_neighbours import one_by_one

WORDS = ("tell", "me", "about", "rivers", "music", "copper", "bread")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A static model of seven words, each with an axis of its own, in place of a distilled one."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(
        models.WordLevel({word: n for n, word in enumerate(("?", *WORDS))}, unk_token="?")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    monkeypatch.setattr(
        static, "_distilled", lambda *_: StaticModel(np.eye(8, dtype=np.float32), tokenizer)
    )


def test_words_that_every_row_has_weigh_little(tiny: None, tmp_path: Path) -> None:
    texts = [f"tell me about {word}" for word in ("rivers", "music", "copper")] * 400
    texts += ["tell me about bread"]
    encoder = StaticEncoder(tmp_path, texts, Silent())
    music, bread, again, nothing = encoder.encode(
        ["tell me about music", "tell me about bread", "bread", "!"]
    )
    assert music @ bread < 0.1 < 0.9 < bread @ again
    assert np.linalg.norm([music, bread, again], axis=1) == pytest.approx(1)
    assert not np.isnan(nothing).any()


def test_no_rows_and_one_row(tiny: None, tmp_path: Path) -> None:
    assert StaticEncoder(tmp_path, [], Silent()).encode(["bread"]).shape == (1, 8)
    for count in (0, 1):
        asked = proposed(np.eye(8, dtype=np.float32)[:count], 0.9, lambda a, b: np.zeros(len(a)))
        assert 0 < asked.possible <= 1


@pytest.mark.parametrize("count", [300, 5000])
@pytest.mark.parametrize("threshold", [0.7, 0.9])
def test_what_is_proposed_holds_nearly_all_and_the_encoder_decides(
    count: int, threshold: float
) -> None:
    rng = np.random.default_rng(2)
    better = rng.standard_normal((count, 64)).astype(np.float32)
    again = np.flatnonzero(rng.random(count) < 0.2)[1:]
    better[again] = (
        better[rng.integers(0, again)] + 0.7 * rng.random((len(again), 1)) * better[again]
    )
    better /= np.linalg.norm(better, axis=1, keepdims=True)
    rough = better + 0.05 * rng.standard_normal(better.shape).astype(np.float32)
    rough /= np.linalg.norm(rough, axis=1, keepdims=True)
    border = proposed(rough, threshold, lambda a, b: np.einsum("ij,ij->i", better[a], better[b]))
    right = np.array(one_by_one(better, threshold)[0]) >= 0
    found = kept_neighbours(rough, threshold, border)
    dropped = found.like >= 0
    assert (dropped & right).sum() >= 0.93 * right.sum()
    assert (dropped & right).sum() >= 0.98 * dropped.sum()
    rows = np.flatnonzero(dropped)
    exact = np.einsum("ij,ij->i", better[rows], better[found.like[rows]])
    assert (exact > threshold).all()


def test_few_near_duplicates_leave_the_nearest_quarter() -> None:
    vectors = np.random.default_rng(0).standard_normal((1000, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    border = proposed(vectors, 0.9, lambda a, b: np.zeros(len(a), np.float32))
    cosines = vectors @ vectors.T - 2 * np.eye(1000, dtype=np.float32)
    assert (cosines.max(axis=1) > border.possible).mean() == pytest.approx(0.25, abs=0.02)


def test_without_model2vec_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "model2vec", None)
    with pytest.raises(UsageError, match="model2vec") as error:
        require_model2vec()
    assert "localinstruct[static]" in str(error.value.hint)


def test_a_cleaning_without_it_is_the_one_it_was() -> None:
    assert "static" not in Clean().model_dump()
    assert Clean(static=True).model_dump()["static"] is True


@pytest.mark.slow
@pytest.mark.exhaustive
def test_distilled_once_and_most_of_the_encoders_near_duplicates_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from benchmarks import paraphrases

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoder = checked(load_catalog(Path()).get("all-minilm-l6-v2"))
    rows = [Instance(row.instruction) for _, row in paraphrases.rows(3000)]
    novelty, said = Novelty(threshold=0.9), list[str]()

    class Noting(Silent):
        def say(self, text: str) -> None:
            said.append(text)

    alone, _ = duplicates_by_meaning(rows, novelty, encoder, Noting())
    first, _ = duplicates_by_meaning(rows, novelty, encoder, Noting(), static=True)
    assert ["distilling" in line for line in said] == [True]
    second, _ = duplicates_by_meaning(rows, novelty, encoder, Noting(), static=True)
    assert (len(said), second) == (1, first)
    found, right = {one.row for one in first}, {one.row for one in alone}
    assert len(found & right) >= 0.93 * len(right)
    assert len(found & right) >= 0.98 * len(found)
