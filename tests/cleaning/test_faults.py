"""Disks that refuse and files that change during a cleaning: said, and nothing is lost."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from localinstruct.cleaning import steps, survey
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.work import Job, clean
from localinstruct.errors import DataError, StoreError
from localinstruct.progress import Silent
from tests.cleaning.test_cleaning import Encoder, rows, written
from tests.torture.cleaning import CHANGES

SAID = "the disk is full|No space left on device"
pytestmark = pytest.mark.usefixtures("_words")


@pytest.fixture
def _words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LocalEncoder", Encoder)
    monkeypatch.setattr(survey, "LocalEncoder", Encoder)


def job_of(folder: Path) -> Job:
    file = written(folder / "rows.jsonl", [*rows(60), *rows(20)])
    return Job([file], folder / "clean.jsonl", "jsonl", Clean(), folder)


def refusing(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["posix_fallocate", "replace"])
def test_a_full_disk_is_said_and_the_same_cleaning_goes_on(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without room for the vectors nothing may be mapped: that would end the process, unheard."""
    (tmp_path / "whole").mkdir()
    whole = job_of(tmp_path / "whole")
    expected = clean(whole, Silent()).dropped
    job = job_of(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(os, call, refusing)
        full.setattr(Path, call, refusing, raising=False)
        with pytest.raises(StoreError, match=SAID) as problem:
            clean(job, Silent())
    assert problem.value.hint
    assert not job.output.exists()
    assert clean(job, Silent()).dropped == expected
    assert job.output.read_bytes() == whole.output.read_bytes()


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("label", ["reading and examining", "embedding"])
def test_every_change_of_the_file_is_noticed_whenever_it_comes(
    change: Callable[[Path], None], label: str, tmp_path: Path
) -> None:
    """Also after the reading: the lines that are kept are copied from the file at the end."""
    job, changed = job_of(tmp_path), list[str]()

    class Meddling(Silent):
        def update(self, said: str, done: float, total: float, note: str = "") -> None:
            if said == label and not changed:
                changed.append(said)
                change(job.files[0])

    with pytest.raises(DataError, match="chang"):
        clean(job, Meddling())
    assert not job.output.exists()
