"""Vectors that a report keeps: the next one loads no encoder and has the same figures."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from localinstruct.models.catalog import load_catalog
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, packaged_workspace
from localinstruct.report import stage
from localinstruct.report.vectors import FILE, NoEncoder, RememberedEncoder
from localinstruct.store.run import open_run
from tests.support import gated_run
from tests.support.scripted import HashEncoder

TEXTS = ["one", "two", "three", "two"]


class Counted(HashEncoder):
    """An encoder that counts its texts."""

    def __init__(self) -> None:
        self.texts = list[str]()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return super().encode(texts)


@pytest.fixture
def encoder() -> Counted:
    return Counted()


def refused() -> Counted:
    raise AssertionError("the encoder was loaded")


def filled(path: Path, encoder: Counted, digest: str = "d") -> RememberedEncoder:
    made = RememberedEncoder(path, digest, lambda: encoder)
    made.encode(TEXTS)
    made.keep()
    return made


def test_the_second_time_nothing_is_loaded_and_the_vectors_are_equal(
    tmp_path: Path, encoder: Counted
) -> None:
    filled(tmp_path / FILE, encoder)
    assert encoder.texts == ["one", "two", "three"]
    again = RememberedEncoder(tmp_path / FILE, "d", refused)
    assert np.array_equal(again.encode(TEXTS), HashEncoder().encode(TEXTS))
    assert again.encode([]).shape == (0, 0)
    before = (tmp_path / FILE).stat()
    again.keep()
    assert (tmp_path / FILE).stat().st_mtime_ns == before.st_mtime_ns
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]


def test_a_changed_text_is_encoded_again_and_the_old_one_goes(
    tmp_path: Path, encoder: Counted
) -> None:
    filled(tmp_path / FILE, encoder)
    size = (tmp_path / FILE).stat().st_size
    again = RememberedEncoder(tmp_path / FILE, "d", lambda: encoder)
    encoder.texts.clear()
    again.encode(["one", "two", "3"])
    again.keep()
    assert encoder.texts == ["3"]
    assert (tmp_path / FILE).stat().st_size == size
    last = RememberedEncoder(tmp_path / FILE, "d", lambda: encoder)
    last.encode(TEXTS)
    assert encoder.texts == ["3", "three"]


def torn(raw: bytes) -> bytes:
    return raw[:-5]


def altered(raw: bytes) -> bytes:
    return raw[:-5] + b"?" + raw[-4:]


def without_head(raw: bytes) -> bytes:
    return raw.partition(b"\n")[2]


@pytest.mark.parametrize("harm", [torn, altered, without_head, lambda _: b"", lambda _: b"[]\n"])
def test_a_file_that_is_not_as_it_was_written_is_removed(
    tmp_path: Path, encoder: Counted, harm: Callable[[bytes], bytes]
) -> None:
    filled(tmp_path / FILE, encoder)
    raw = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(harm(raw))
    again = RememberedEncoder(tmp_path / FILE, "d", lambda: encoder)
    assert not (tmp_path / FILE).exists()
    again.encode(TEXTS)
    again.keep()
    assert (tmp_path / FILE).read_bytes() == raw


def test_a_file_of_another_encoder_is_removed(tmp_path: Path, encoder: Counted) -> None:
    filled(tmp_path / FILE, encoder)
    RememberedEncoder(tmp_path / FILE, "e", refused)
    assert not (tmp_path / FILE).exists()


def test_what_cannot_be_loaded_is_tried_once_and_what_cannot_be_written_is_left(
    tmp_path: Path, encoder: Counted
) -> None:
    tries = list[int]()

    def load() -> Counted:
        tries.append(1)
        raise RuntimeError("no memory")

    broken = RememberedEncoder(tmp_path / FILE, "d", load)
    for _ in range(2):
        with pytest.raises(NoEncoder, match="cannot be loaded here: no memory"):
            broken.encode(TEXTS)
    assert len(tries) == 1
    broken.keep()
    filled(tmp_path / "missing" / FILE, encoder)
    assert list(tmp_path.iterdir()) == []


def known(made: Recipe, path: Path) -> None:
    """Say in the run that the encoder of the catalog embedded its rows."""
    spec = load_catalog(packaged_workspace()).get(made.models.encoder)
    with open_run(path) as run:
        entry = run.stage("generate")
        assert entry
        known = {"models": {"encoder": {"digest": spec.digest}}}
        run.finish_stage("generate", entry.result | known)


def reported(made: Recipe, path: Path) -> bytes:
    with open_run(path) as run:
        stage.run(made, run, Silent(), workspace=packaged_workspace())
    return (path / "report.html").read_bytes()


def test_a_second_report_loads_no_encoder_and_is_equal(
    tmp_path: Path, encoder: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = list[int]()

    def load(*_: object, **__: object) -> Counted:
        loaded.append(1)
        return encoder

    monkeypatch.setattr("localinstruct.curate.embeddings.LocalEncoder", load)
    made = gated_run.make(tmp_path / "r")
    known(made, tmp_path / "r")
    first = reported(made, tmp_path / "r")
    assert loaded == [1]
    assert b"What another threshold would have kept" in first
    assert encoder.texts
    encoder.texts.clear()
    assert reported(made, tmp_path / "r") == first
    assert loaded == [1]
    (tmp_path / "r" / FILE).unlink()
    assert reported(made, tmp_path / "r") == first
    assert loaded == [1, 1]


def test_a_reject_that_came_since_is_the_only_text_encoded(
    tmp_path: Path, encoder: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localinstruct.curate.embeddings.LocalEncoder", lambda *_, **__: encoder)
    made = gated_run.make(tmp_path / "r")
    known(made, tmp_path / "r")
    reported(made, tmp_path / "r")
    encoder.texts.clear()
    with open_run(tmp_path / "r") as run:
        _, near = next(iter(run.rejects("too similar")))
        late = type(near)(near.stage, near.reason, "A text of its own", near.detail, near.score)
        run.commit_episode(gated_run.EPISODES, [], [late], 1)
    reported(made, tmp_path / "r")
    assert encoder.texts == ["A text of its own"]
