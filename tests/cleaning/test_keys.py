"""Keys of many rows: DuckDB decides as SQLite does, sees one folder, and leaves nothing behind."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from localinstruct.cleaning import keys, repeated
from localinstruct.cleaning.decisions import Decisions, Drop, Entry, Graded, opened
from localinstruct.cleaning.settings import Clean
from localinstruct.records import Instance, Reject

duckdb = pytest.importorskip("duckdb")


@contextmanager
def stored(folder: Path, count: int, seed: int = 0) -> Iterator[Decisions]:
    """Rows of which most ask what another one asks, a third of those with its answer too."""
    draw = Random(seed)
    with opened(folder, {"seed": seed}) as store:
        entries = []
        for number in range(count):
            question, answer = draw.randrange(count // 3), draw.randrange(4)
            row = Instance(f"Question {question}?", "", "so " * (answer + 1) + f"{answer}.")
            reject = Reject("rules", "echo", "") if draw.random() < 0.1 else None
            entries.append(
                Entry("rows.jsonl", number, row, reject=reject, is_reference=number < 50)
            )
        store.add(0, entries)
        store.end_reading((), {})
        graded = draw.sample(range(count), count // 2)
        store.add_grades(Graded(seq, draw.randrange(1, 6), {}) for seq in graded)
        yield store


def decided(store: Decisions, settings: Clean) -> tuple[list[tuple[object, ...]], list[int]]:
    """Drops of both steps, and the heads after them."""
    repeated.find_repeated(store, settings)
    repeated.find_worse_answers(store, settings)
    query = "SELECT seq, step, reason, like FROM rows WHERE step = 'repeated' ORDER BY seq"
    return list(store.select(query)), [int(seq) for seq in repeated.heads(store, settings)]


@pytest.mark.parametrize("most", [None, 1, 2])
@pytest.mark.parametrize("keep", ["first", "longest", "best"])
def test_both_ways_decide_alike(
    keep: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = {"judge": "some"} if keep == "best" else {}
    settings = Clean.model_validate({"keep": keep, "answers_per_prompt": most, **judge})
    with stored(tmp_path / "few", 5000) as store:
        plain = decided(store, settings)
    monkeypatch.setattr(repeated, "MANY", 1000)
    used = list[Drop]()
    real = keys.Keys.repeated

    def seen(self: keys.Keys, *given: object) -> Iterator[Drop]:
        for drop in real(self, *given):  # type: ignore[arg-type]
            used.append(drop)
            yield drop

    monkeypatch.setattr(keys.Keys, "repeated", seen)
    with stored(tmp_path / "many", 5000) as store:
        assert decided(store, settings) == plain
        assert not (store.folder / keys.FOLDER).exists()
    assert used, "DuckDB has decided"
    reasons = {row[2] for row in plain[0]}
    assert reasons == {keys.THERE, keys.AGAIN} | ({keys.MORE} if most else set())
    assert 1000 < len(plain[1]) < 1700


def test_duckdb_sees_one_folder_and_fetches_nothing(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with stored(tmp_path / "it's", 300) as store, keys.Keys(store, "NULL") as some:
        assert len(some.heads("head")) > 50
        for query in (
            f"SELECT * FROM read_csv('{tmp_path}/other.csv')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            "INSTALL sqlite",
            "LOAD sqlite",
            "SET enable_external_access = true",
            "SET autoinstall_known_extensions = true",
        ):
            with pytest.raises(duckdb.Error):
                some._db.execute(query)
        found = some._db.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name LIKE 'auto%extensions'"
        ).fetchall()
        assert dict(found) == {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["it's", "other.csv"]


def test_what_a_killed_process_left_is_no_obstacle(tmp_path: Path) -> None:
    with stored(tmp_path / "rows", 300) as store:
        (store.folder / keys.FOLDER).mkdir()
        (store.folder / keys.FOLDER / keys.FILE).write_bytes(b"half of it")
        with keys.Keys(store, "NULL") as some:
            assert len(some.heads("head")) > 50
