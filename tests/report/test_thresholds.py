"""Thresholds of a report: what it says of each is what the gate itself decides there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from localinstruct.curate.novelty import Novelty
from localinstruct.models.catalog import load_catalog
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, packaged_workspace
from localinstruct.records import Kept, Reject
from localinstruct.report import candidates as gathered
from localinstruct.report import stage
from localinstruct.report.candidates import Candidates, read_candidates, sampled
from localinstruct.report.thresholds import COUNT, Rerun, rerun, thresholds
from localinstruct.store.run import open_run, read_run
from tests.support import gated_run
from tests.support.scripted import HashEncoder

COMPARED: dict[str, dict[str, object]] = {
    "all": {"threshold": 0.8437},
    "seeds": {"threshold": 0.5937, "against": "seeds"},
    "kept": {"threshold": 0.7037, "against": "kept"},
    "words": {"threshold": 0.7, "measure": "rouge_l"},
    "examples apart": {"threshold": 0.7937, "examples_apart": True},
    "nearly everything": {"threshold": 0.9837},
}


def looked_at(path: Path, made: Recipe, named: bool = False) -> tuple[Candidates, Rerun]:
    again = gated_run.again(made)
    with read_run(path) as run:
        seeds = None if named else again.seeds
        found = read_candidates(run, again.encoder, made.novelty, seeds, Silent())
    run_again = rerun(found, made.novelty, Silent())
    assert run_again
    return found, run_again


def kept_at(novelty: Novelty, found: Candidates) -> set[str]:
    """Texts that the gate keeps of these candidates in this order."""
    rows = {one.instruction: one for rows in gated_run.offered() for one in rows}
    episodes = sorted({row.episode for row in found.rows})
    order = [[rows[row.text] for row in found.rows if row.episode == n] for n in episodes]
    verdicts = [one for part in gated_run.decided(novelty, order) for one in part]
    return {one.instance.instruction for one in verdicts if isinstance(one, Kept)}


@pytest.mark.parametrize("changes", COMPARED.values(), ids=COMPARED)
def test_twenty_reruns_decide_as_the_gate_does(tmp_path: Path, changes: dict[str, object]) -> None:
    made = gated_run.make(tmp_path / "r", novelty=changes)
    found, again = looked_at(tmp_path / "r", made)
    assert len(again.outcomes) == COUNT
    counts = set[int]()
    for outcome in again.outcomes:
        novelty = made.novelty.model_copy(update={"threshold": outcome.threshold})
        assert outcome.kept == len(kept_at(novelty, found)), outcome.threshold
        for pair in outcome.edge:
            assert (pair.score > outcome.threshold) != pair.kept
        counts.add(outcome.kept)
    assert len(counts) > 3


@pytest.mark.parametrize("changes", COMPARED.values(), ids=COMPARED)
def test_at_its_own_threshold_a_rerun_is_the_run(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    made = gated_run.make(tmp_path / "r", novelty=changes)
    for named in (False, True):
        found, again = looked_at(tmp_path / "r", made, named)
        with read_run(tmp_path / "r") as run:
            kept, rejects = run.count_kept(), len(list(run.rejects("too similar")))
        [own] = [outcome for outcome in again.outcomes if outcome.is_own]
        assert (own.threshold, own.kept, own.more) == (made.novelty.threshold, kept, 0)
        assert again.count == again.total == again.alike == kept + rejects > 100
        assert found.problem == ""
        nearest = max(pair.score for pair in own.edge if pair.kept)
        with read_run(tmp_path / "r") as run:
            assert nearest == pytest.approx(
                max(row.lineage.scores["novelty_max"] for row in run.kept()), abs=1e-6
            )


@pytest.mark.parametrize("own", [0.01, 0.1, 0.5, 0.7, 0.85, 0.9, 0.99, 1.0])
def test_twenty_thresholds_rise_around_the_own_one(own: float) -> None:
    levels = thresholds(own)
    assert len(levels) == COUNT == len(set(levels))
    assert levels == sorted(levels)
    assert own in levels
    assert 0 < levels[0] < levels[-1] <= 1


def test_of_many_candidates_the_first_are_compared_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = gated_run.make(tmp_path / "r", novelty={"threshold": 0.7037})
    whole, _ = looked_at(tmp_path / "r", made)
    monkeypatch.setattr(gathered, "FIRST", 100)
    found, again = looked_at(tmp_path / "r", made)
    assert list(found.rows) == list(whole.rows[:100])
    assert (again.count, again.total) == (100, len(whole.rows))
    assert again.alike == 100
    monkeypatch.setattr(gathered, "EMBEDDED", len(gated_run.SEEDS) + 4)
    found, again = looked_at(tmp_path / "r", made)
    assert sum(not row.kept for row in found.rows) == 4
    assert again.alike == again.count == len(found.rows) < 100


class Turned(HashEncoder):
    """Another encoder: its numbers stand in another order."""

    def encode(self, texts: "list[str]") -> np.ndarray:  # type: ignore[override]
        return super().encode(texts)[:, ::-1]


class Narrow(HashEncoder):
    """An encoder of fewer dimensions."""

    def encode(self, texts: "list[str]") -> np.ndarray:  # type: ignore[override]
        return super().encode(texts)[:, :16]


@pytest.mark.parametrize("encoder", [Turned(), Narrow(), "There is no encoder."])
def test_without_the_encoder_of_the_run_nothing_is_guessed(
    tmp_path: Path, encoder: HashEncoder | str
) -> None:
    made = gated_run.make(tmp_path / "r", novelty={"threshold": 0.7037})
    with read_run(tmp_path / "r") as run:
        found = read_candidates(run, encoder, made.novelty, [], Silent())
        kept = run.count_kept()
        rows, vectors = sampled(run, encoder, made.novelty, range(found.total), Silent())
    assert rerun(found, made.novelty, Silent()) is None
    assert found.problem == (encoder if isinstance(encoder, str) else found.problem) != ""
    assert len(rows) == len(vectors) == kept  # those in the store can be had
    assert all(row.kept for row in rows)


def test_a_sample_has_each_row_with_its_own_vector(tmp_path: Path) -> None:
    made = gated_run.make(tmp_path / "r", novelty={"threshold": 0.7037})
    whole, _ = looked_at(tmp_path / "r", made)
    places = range(0, whole.total, 7)
    with read_run(tmp_path / "r") as run:
        rows, vectors = sampled(run, HashEncoder(), made.novelty, places, Silent())
    assert rows == [whole.rows[place] for place in places]
    assert np.allclose(vectors, [whole.vectors[place] for place in places])
    assert {row.kept for row in rows} == {True, False}


def test_order_is_by_episode_and_kept_rows_come_first_in_one(tmp_path: Path) -> None:
    made = gated_run.make(tmp_path / "r", novelty={"threshold": 0.7037})
    found, _ = looked_at(tmp_path / "r", made)
    order = [(row.episode, not row.kept) for row in found.rows]
    assert order == sorted(order)
    offered = [row for rows in gated_run.offered() for row in rows]
    verdicts = [
        one for part in gated_run.decided(made.novelty, gated_run.offered()) for one in part
    ]
    repeated = sum(isinstance(v, Reject) and v.reason == "exact repetition" for v in verdicts)
    assert len(found.rows) == len(offered) - repeated
    assert replace(found.rows[0], output="").episode == 0


def test_an_encoder_is_loaded_only_where_it_is_the_one_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("localinstruct.curate.embeddings.LocalEncoder", load)
    made = gated_run.make(tmp_path / "r")
    spec = load_catalog(packaged_workspace()).get(made.models.encoder)
    with open_run(tmp_path / "empty") as run:
        assert stage.again(made, run, packaged_workspace(), Silent()).encoder == ""
    with open_run(tmp_path / "r") as run:
        for workspace, words in ((tmp_path, "is not there"), (packaged_workspace(), "not the one")):
            assert words in str(stage.again(made, run, workspace, Silent()).encoder)
        entry = run.stage("generate")
        assert entry
        known = {"models": {"encoder": {"digest": spec.digest}}}
        run.finish_stage("generate", entry.result | known)
        compared = stage.again(made, run, packaged_workspace(), Silent())
        page = stage.render(made, run, "r", compared)
    assert "What another threshold would have kept cannot be said" in page
    assert "cannot be loaded here: no memory" in page
    assert "Nearest to the threshold" in page
