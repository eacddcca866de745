"""The run directory: one writer, durable completion log, readable while written, errors with a way
out."""

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from localinstruct.errors import RunConflict, RunInUse, StoreError, UsageError
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Kept, Neighbour, Prompt, Reject
from localinstruct.store.integrity import PROBE_BYTES, ask_disk, plain_words
from localinstruct.store.kept_rows import KeptRows
from localinstruct.store.lock import LOCK_FD
from localinstruct.store.run import open_run, read_run
from tests.support.tiny_student import recipe_data

HOLD = """
import sys
from pathlib import Path
from localinstruct.store.run import open_run
with open_run(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def kept(number: int) -> Kept:
    row = Instance(instruction=f"Do thing number {number}", output="done").with_scores(
        novelty_max=0.5
    )
    return Kept(row, (Neighbour("a", "other", 0.5),), np.full(4, number, dtype=np.float32))


def test_a_second_writer_is_told_the_owners_pid(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "held\n"
        with pytest.raises(RunInUse) as caught, open_run(tmp_path):
            pass
        assert f"process {owner.pid}" in caught.value.message
        assert caught.value.exit_code == 75
        with read_run(tmp_path) as run:  # looking is always possible
            assert run.count_kept() == 0
        owner.kill()
    with open_run(tmp_path):  # the kernel freed the dead owner's lock
        pass


def test_a_stage_takes_over_its_parents_lock(tmp_path: Path) -> None:
    child = HOLD.replace("sys.stdin.read()", "")
    with open_run(tmp_path):
        lock = int(os.environ[LOCK_FD])
        shown = subprocess.run(
            [sys.executable, "-c", child, str(tmp_path)],
            pass_fds=(lock,),
            capture_output=True,
            text=True,
        )
        assert shown.stdout == "held\n", shown.stderr
        strange = {k: v for k, v in os.environ.items() if k != LOCK_FD}  # but it is not everybody's
        shown = subprocess.run(
            [sys.executable, "-c", child, str(tmp_path)],
            env=strange,
            capture_output=True,
            text=True,
        )
        assert "RunInUse" in shown.stderr
    assert LOCK_FD not in os.environ


def test_looking_does_not_set_the_journal_mode(tmp_path: Path) -> None:
    """A reader that did so in the moment a run is made had its writer fail."""
    with open_run(tmp_path) as run:
        run.put("key", "value")
    store = tmp_path / "run.sqlite"
    with sqlite3.connect(store) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    database.close()
    with read_run(tmp_path) as run:
        assert run.get("key") == "value"
    assert store.read_bytes()[18:20] == b"\x01\x01"  # 2, 2 for a log
    with open_run(tmp_path):
        pass
    assert store.read_bytes()[18:20] == b"\x02\x02"


def test_kept_rows_in_the_store_are_the_list_that_they_were(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1), kept(2), kept(3)], [], tokens=40)
        rows, listed = KeptRows(run), list(run.kept())
        more = [kept(4), kept(5)]
        run.commit_episode(1, more, [], tokens=40)
        rows.extend([row.instance for row in more])
        listed += [row.instance for row in more]
        assert (list(rows), len(rows), rows[-1]) == (listed, 5, listed[-1])
        for part in (slice(1, 4), slice(None, None, -2), slice(9), slice(-2, None)):
            assert rows[part] == listed[part]
        assert [rows[place] for place in range(5)] == listed
        with pytest.raises(IndexError):
            rows[5]
        assert np.concatenate(list(run.vector_blocks(2))).tolist() == run.vectors().tolist()


def test_what_was_committed_is_read_back(tmp_path: Path) -> None:
    reject = Reject("novelty", "too similar", "text", "nearest", 0.93)
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1), kept(2)], [reject], tokens=40)
        run.commit_episode(1, [], [], tokens=0)
    with read_run(tmp_path) as run:
        assert [row.instruction for row in run.kept()] == ["Do thing number 1", "Do thing number 2"]
        assert run.vectors().tolist() == [[1] * 4, [2] * 4]
        assert list(run.rejects()) == [(0, reject)]
        assert run.reject_counts() == [("novelty", "too similar", 1)]
        assert [entry[:4] for entry in run.episodes()] == [(0, 2, 1, 40), (1, 0, 0, 0)]
        [(first, neighbours), _] = run.kept_with_neighbours()
        assert first.lineage.scores == {"novelty_max": 0.5}
        assert neighbours == [Neighbour("a", "other", 0.5)]


def test_an_episode_is_committed_whole_or_not_at_all(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        with pytest.raises(sqlite3.IntegrityError):
            run.commit_episode(0, [kept(1), kept(1)], [], tokens=1)
        assert run.count_kept() == 0
        assert run.episodes() == []


def test_the_completion_log_answers_only_the_same_prompt(tmp_path: Path) -> None:
    prompt = Prompt(text="Hi")
    answers = [Completion("there", "stop", 1), Completion("\u2028odd\x00", "length", 2)]
    with open_run(tmp_path) as run:
        assert run.recall(0, 0, 0, prompt.digest) is None
        run.record(0, 0, 0, {"text": "Hi"}, prompt.digest, answers)
        assert run.recall(0, 0, 0, prompt.digest) == answers
        with pytest.raises(RunConflict, match="episode 0, call 0, prompt 0"):
            run.recall(0, 0, 0, "another")
        assert run.completion_usage()[0] == 1


def test_a_foreign_or_future_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.sqlite").write_bytes(b"not a database at all, just text" * 40)
    with pytest.raises(StoreError, match="not a database"), read_run(tmp_path):
        pass
    (tmp_path / "run.sqlite").unlink()
    with open_run(tmp_path) as run:
        run._db.execute("PRAGMA user_version = 99")
    with pytest.raises(RunConflict, match="another version"), read_run(tmp_path):
        pass


def test_a_directory_that_is_no_run_lists_those_that_are(tmp_path: Path) -> None:
    with open_run(tmp_path / "mine"):
        pass
    with pytest.raises(UsageError) as caught, read_run(tmp_path / "nope"):
        pass
    assert "mine" in caught.value.hint


def test_the_directory_is_private(tmp_path: Path) -> None:
    with open_run(tmp_path / "run"):
        assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def spoil(path: Path, table: str, column: str, value: object) -> None:
    """Change a value behind the store's back, as a flipped bit would."""
    with sqlite3.connect(path / "run.sqlite") as database:
        database.execute(
            f"UPDATE {table} SET {column} = ? WHERE rowid = (SELECT min(rowid) FROM {table})",
            (value,),
        )
    database.close()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("kept", "instance", "{}"),
        ("kept", "vector", b"x" * 16),
        ("rejects", "score", 0.5),
        ("episodes", "kept", 3),
    ],
)
def test_an_altered_row_is_named_and_never_shown(
    tmp_path: Path, table: str, column: str, value: object
) -> None:
    reject = Reject("novelty", "too similar", "text", "nearest", 0.93)
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1), kept(2)], [reject], tokens=40)
    spoil(tmp_path, table, column, value)
    for opened in (read_run, open_run):
        with (
            pytest.raises(StoreError, match=f"damaged: 1 altered row.* in {table}") as caught,
            opened(tmp_path),
        ):
            pass
        assert "another --name" in caught.value.hint


def test_rows_that_are_gone_are_missed(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        for number in range(3):
            run.commit_episode(number, [kept(number)], [], tokens=1)
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("DELETE FROM kept WHERE seq = 2")
        database.execute("DELETE FROM episodes WHERE episode = 0")
    database.close()
    with (
        pytest.raises(StoreError, match=r"have not the rows in kept.*1 episode\(s\) are gone"),
        read_run(tmp_path),
    ):
        pass


def test_a_letter_flipped_in_the_schema_is_damage(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1)], [], tokens=1)
    with sqlite3.connect(tmp_path / "run.sqlite") as database:
        database.execute("ALTER TABLE kept RENAME COLUMN vector TO vectoz")
    database.close()
    with (
        pytest.raises(StoreError, match="its tables are not those that were made"),
        read_run(tmp_path),
    ):
        pass


def test_a_schema_that_is_no_text_any_more_is_damage(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1)], [], tokens=1)
    store = tmp_path / "run.sqlite"
    sound = store.read_bytes()
    assert b"autoindex_kept_1" in sound
    store.write_bytes(sound.replace(b"autoindex_kept_1", b"autoindex_kept_\xb1"))
    for opened in (read_run, open_run):
        with pytest.raises(StoreError, match="the store is damaged"), opened(tmp_path):
            pass


def test_a_full_disk_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        run.commit_episode(0, [kept(1)], [], tokens=1)
        pages = run._db.execute("PRAGMA page_count").fetchone()[0]
        run._db.execute(f"PRAGMA max_page_count = {pages}")
        rows = [kept(number) for number in range(2, 200)]
        with pytest.raises(
            StoreError, match=r"the disk is full\. What was counted as kept is kept"
        ):
            run.commit_episode(1, rows, [], tokens=1)
        committed = run.count_kept()
        run._db.execute("PRAGMA max_page_count = 1000000")
        run.commit_episode(committed, [kept(1000)], [], tokens=1)
    with read_run(tmp_path) as run:
        assert [row.instruction for row in run.kept()] == [
            "Do thing number 1",
            "Do thing number 1000",
        ]


def straced(path: Path, error: str) -> str:
    """What a writer of the store says when the disk answers `error` from its fortieth write on; the
    probe meets it too."""
    code = (
        "import sys; from pathlib import Path; from localinstruct.errors import StoreError\n"
        "from localinstruct.store.run import open_run\n"
        "try:\n"
        "    with open_run(Path(sys.argv[1])) as run:\n"
        "        for number in range(50): run.put(str(number), 'x')\n"
        "except StoreError as problem: print(problem.message)\n"
    )
    inject = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        f"inject=pwrite64:error={error}:when=40+",
    ]
    return subprocess.run(
        [*inject, sys.executable, "-c", code, str(path)], capture_output=True, text=True
    ).stdout


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        ("EDQUOT", "the disk quota is used up"),
        ("EROFS", "the disk is read-only"),
        ("EFBIG", "a file has reached"),
        ("EIO", "the disk failed to read or write"),
        ("ENOSPC", "the disk is full"),
    ],
)
def test_the_cause_that_sqlite_keeps_to_itself_is_named(
    tmp_path: Path, error: str, meaning: str
) -> None:
    assert f"run.sqlite: {meaning}" in straced(tmp_path, error)
    with open_run(tmp_path) as run:  # with the cause gone it goes on
        assert run.get("0") == "x"
    assert not (tmp_path / ".probe").exists()


def test_a_real_limit_on_the_size_of_files_is_named(tmp_path: Path) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, "
        f"-1)){HOLD.partition('with')[0]}"
        + (
            "with open_run(Path(sys.argv[1])) as run:\n    for number in range(200): "
            "run.put(str(number), 'x' * 5000)\n"
        )
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert "run.sqlite: a file has reached the largest size allowed" in ended.stderr


READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'


def on_read_only(runs: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    """`localinstruct WORDS` beside the folder `runs`, which is a read-only mount in a namespace."""
    if subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("no namespaces on this system")
    command = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        READ_ONLY,
        "sh",
        str(runs),
        sys.executable,
        "-m",
        "localinstruct",
        *words,
    ]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, cwd=runs.parent, env=environment, capture_output=True, text=True)


def recorded(path: Path) -> Path:
    """A run with a recipe and a row."""
    with open_run(path) as run:
        run.put(
            "recipe",
            Recipe.model_validate(recipe_data(models={"student": "nano-student"})).to_yaml(),
        )
        run.put("workspace", str(Path(__file__).parents[2] / "localinstruct"))
        run.commit_episode(0, [kept(1)], [], tokens=1)
    return path


def test_a_run_on_a_read_only_disk_is_shown_and_exported_elsewhere(tmp_path: Path) -> None:
    run = recorded(tmp_path / "runs" / "mine")
    before = sorted(run.iterdir())
    shown = on_read_only(tmp_path / "runs", "show", "mine")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Do thing number 1" in shown.stdout
    exported = on_read_only(tmp_path / "runs", "export", "mine", "--output", "rows.json")
    assert exported.returncode == 0, exported.stderr
    assert "Do thing number 1" in (tmp_path / "rows.json").read_text()
    nowhere = on_read_only(tmp_path / "runs", "export", "mine")
    assert (nowhere.returncode, "--output" in nowhere.stderr) == (2, True)
    writing = on_read_only(tmp_path / "runs", "report", "mine")
    assert (writing.returncode, "the disk is read-only" in " ".join(writing.stderr.split())) == (
        74,
        True,
    )
    assert sorted(run.iterdir()) == before


def test_a_killed_run_on_a_read_only_disk_is_read_with_its_log_or_not_at_all(
    tmp_path: Path,
) -> None:
    run, torn = recorded(tmp_path / "runs" / "mine"), tmp_path / "torn"
    with open_run(run) as writer:
        writer.commit_episode(1, [kept(2)], [], tokens=1)
        shutil.copytree(run, torn)  # as a kill would leave it
    shutil.copytree(torn, run, dirs_exist_ok=True)
    assert (run / "run.sqlite-wal").stat().st_size
    assert "Do thing number 2" in on_read_only(tmp_path / "runs", "show", "mine").stdout
    (run / "run.sqlite-shm").unlink()
    shown = on_read_only(tmp_path / "runs", "show", "mine")
    assert shown.returncode == 74
    assert "holds rows that are not in the store yet" in " ".join(shown.stderr.split())


FULL = OSError(errno.ENOSPC, "No space left on device")
SAFETENSORS = "Error while serializing: I/O error: No space left on device (os error 28)"
TORCH = "[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"


def refuse(path: Path, error: Exception) -> None:
    with plain_words(path):
        raise error


def test_a_library_that_raises_no_oserror_on_a_full_disk_is_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StoreError, match=r"the disk is full\. What was counted"):
        refuse(tmp_path, Exception(SAFETENSORS))
    # the disk takes a file: torch has another trouble
    with pytest.raises(RuntimeError, match="unexpected pos"):
        refuse(tmp_path, RuntimeError(TORCH))

    def full(*_: object) -> int:
        raise FULL

    monkeypatch.setattr("localinstruct.store.integrity.os.pwrite", full)
    for text in (TORCH, "basic_ios::clear: iostream error"):
        with pytest.raises(StoreError, match="the disk is full"):
            refuse(tmp_path, RuntimeError(text))
    for other in (
        RuntimeError("CUDA error"),
        Exception("No such file or directory (os error 2)"),
        ValueError("x"),
    ):
        with pytest.raises(type(other)) as caught:
            refuse(tmp_path, other)
        assert caught.value is other
    assert list(tmp_path.iterdir()) == []


def test_a_limit_on_the_size_of_files_is_found_though_a_small_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").write_bytes(bytes(4 * PROBE_BYTES))
    assert ask_disk(tmp_path) == 0
    monkeypatch.setattr(
        "localinstruct.store.integrity.resource.getrlimit", lambda _: (4 * PROBE_BYTES, -1)
    )
    assert ask_disk(tmp_path) == errno.EFBIG
