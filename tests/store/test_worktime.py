"""Time at work: pauses and what a kill lost do not count, other inputs begin anew."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from localinstruct.records import Completion
from localinstruct.store import worktime
from localinstruct.store.run import open_run
from localinstruct.store.worktime import at_work, since, worked
from tests.support.sample_run import START, ticking


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """One clock for the store and its times at work."""
    with ticking() as clock:
        monkeypatch.setattr(worktime, "time", SimpleNamespace(time=lambda: clock.now))
        yield clock


def test_sessions_add_up_and_pauses_do_not_count(tmp_path: Path, clock: SimpleNamespace) -> None:
    with open_run(tmp_path / "run") as run:
        assert worked(run, "train") is None
        for _ in range(3):
            with at_work(run, "train", "inputs"):
                clock.now += 10
                assert worked(run, "train") is not None
            clock.now += 3600
        assert (worked(run, "train"), since(run, "train")) == (30, START)
        with at_work(run, "train", "other inputs", began=clock.now - 2):
            clock.now += 5
        assert worked(run, "train") == 7


def test_a_failed_session_counts_until_it_failed(tmp_path: Path, clock: SimpleNamespace) -> None:
    with open_run(tmp_path / "run") as run:
        with suppress(KeyboardInterrupt), at_work(run, "train"):
            clock.now += 4
            raise KeyboardInterrupt
        clock.now += 100
        assert worked(run, "train") == 4


def test_a_killed_session_counts_up_to_its_last_completion(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    with open_run(tmp_path / "run") as run:
        for what in ("generate", "train"):  # as a kill leaves them
            worktime._store(run, what, "", [(clock.now, None)])
        clock.now += 20
        run.record(0, 0, 0, {}, "d", [Completion("x")])
        run.record(0, 1, 0, {}, "d", [Completion("x")])
        clock.now += 500
        for what, seconds in (("generate", 20), ("train", 20)):
            with at_work(run, what):
                clock.now += 3
            clock.now += 7
            assert worked(run, what) == seconds + 3
