"""Replies of one turn of the loop go to the log in one transaction; none is used before."""

import asyncio
from pathlib import Path

import pytest

from localinstruct.errors import StoreError
from localinstruct.generation.log_writer import LogWriter
from localinstruct.records import Completion
from localinstruct.store.run import LogEntry, Run, open_run


def entry(number: int) -> LogEntry:
    return (number, 0, 0, {"text": f"prompt {number}"}, f"digest {number}", [Completion("a")])


def test_replies_of_one_turn_share_a_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, whole = list[int](), Run.record_all

    def counted(run: Run, entries: list[LogEntry]) -> None:
        sizes.append(len(entries))
        whole(run, entries)

    monkeypatch.setattr(Run, "record_all", counted)

    async def write(run: Run) -> None:
        log = LogWriter(run)

        async def one(number: int) -> None:
            await log.write(entry(number))
            assert run.recall(number, 0, 0, f"digest {number}") is not None

        await asyncio.gather(*(one(number) for number in range(5)))
        await one(5)

    with open_run(tmp_path) as run:
        asyncio.run(write(run))
        assert [place[0] for place in run.completion_log()] == list(range(6))
    assert sizes == [5, 1]


def test_a_disk_that_refuses_is_the_error_of_everybody_who_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(run: Run, entries: list[LogEntry]) -> None:
        raise StoreError("full", "")

    monkeypatch.setattr(Run, "record_all", refused)

    async def write(run: Run) -> list[BaseException | None]:
        log = LogWriter(run)
        writes = [asyncio.create_task(log.write(entry(number))) for number in range(3)]
        await asyncio.sleep(0)
        writes[1].cancel()
        return await asyncio.gather(*writes, return_exceptions=True)

    with open_run(tmp_path) as run:
        ends = asyncio.run(write(run))
        assert list(run.completion_log()) == []
    assert [type(end) for end in ends] == [StoreError, asyncio.CancelledError, StoreError]
