"""Altered rows are found by one process and by two, and what novelty compares is what was kept."""

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from localinstruct.records import Completion, Instance, Kept, Message, Reject
from localinstruct.store import checksums
from localinstruct.store.checksums import altered
from localinstruct.store.run import open_run
from tests.store.test_run import kept

ROWS = 12


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of twelve episodes, a row, a reject and a completion in each."""
    with open_run(tmp_path) as run:
        for number in range(ROWS):
            prompt = {"n": number}
            run.record(number, 0, 0, prompt, f"digest {number}", [Completion("text", "stop", 3)])
            reject = Reject("filter", "refusal", f"text {number}")
            run.commit_episode(number, [kept(number)], [reject], tokens=3)
    return tmp_path / "run.sqlite"


def alter(store: Path, table: str, column: str, places: tuple[int, ...]) -> None:
    with closing(sqlite3.connect(store)) as database, database:
        for place in places:
            number = checksums.NUMBERED[table]
            first = 0 if number == "episode" else 1
            database.execute(
                f"UPDATE {table} SET {column} = 'other' WHERE {number} = ?", (place + first,)
            )


def found(store: Path) -> dict[str, list[checksums.Value]]:
    with closing(sqlite3.connect(store)) as database:
        return altered(database)


@pytest.mark.parametrize("places", [(), (0,), (5, 6), (11,), (0, 4, 7, 11)])
@pytest.mark.parametrize(
    ("table", "column"), [("tape", "prompt"), ("kept", "instance"), ("rejects", "text")]
)
def test_two_processes_find_what_one_finds(
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
    table: str,
    column: str,
    places: tuple[int, ...],
) -> None:
    alter(store, table, column, places)
    alone = found(store)
    assert [len(keys) for keys in alone.values()] == ([len(places)] if places else [])
    monkeypatch.setattr(checksums, "MANY", 10)
    monkeypatch.setattr(checksums.os, "sched_getaffinity", lambda pid: {0, 1})
    assert found(store) == alone


@pytest.mark.parametrize("program", ["raise SystemExit(3)", "print('{}')"])
def test_a_second_process_that_fails_leaves_no_row_unread(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    alter(store, "kept", "instance", (1, 10))
    alone = found(store)
    other = tmp_path / "python"
    other.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{program}"\n')
    other.chmod(0o755)
    monkeypatch.setattr(checksums, "MANY", 10)
    monkeypatch.setattr(checksums.os, "sched_getaffinity", lambda pid: {0, 1})
    monkeypatch.setattr(checksums.sys, "executable", str(other))
    assert found(store) == alone == {"kept": [2, 11]}


def test_what_novelty_compares_is_what_was_kept(tmp_path: Path) -> None:
    rows = [
        Instance("Plain.", output="done"),
        Instance('Zwei Zeilen\nund ein "Wort"', "mit\tTab", "ja"),
        Instance("A bell \x07 rings, \x00 and a \\ stays.", "\x1f", "yes"),
        Instance("世界 𝄞 ü", output="ok"),
        Instance("Now you.", history=(Message("user", 'First "turn"'), Message("assistant", "ü"))),
    ]
    with open_run(tmp_path) as run:
        taken = [Kept(row, (), kept(number).vector) for number, row in enumerate(rows)]
        run.commit_episode(0, taken, [], tokens=1)
        blocks = list(run.compared_blocks(2))
        assert [len(ids) for ids, _, _ in blocks] == [2, 2, 1]
        compared = [row for _, block, _ in blocks for row in block]
        for one, other in zip(compared, rows, strict=True):
            assert (one.history, one.instruction, one.input) == (
                other.history,
                other.instruction,
                other.input,
            )
        assert [id for ids, _, _ in blocks for id in ids] == run.kept_ids()
        assert [list(v) for _, _, block in blocks for v in block] == run.vectors().tolist()
        stored = run._db.execute("SELECT instance FROM kept").fetchall()
        assert sum(r"\u" in text for (text,) in stored) == 1, "the escaped row is one of them"
        assert json.loads(stored[0][0])["instruction"] == "Plain."
