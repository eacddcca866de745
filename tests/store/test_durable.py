"""Files on the disk before they count: appended, read after a kill, made, locked, digested."""

import hashlib
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from localinstruct.records import Instance, Message, canonical_json, digest
from localinstruct.store.durable import append_lines, create_file, lock, read_json_lines


def test_a_torn_line_is_left_out_and_ended_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    append_lines(path, ['{"n": 1}', '{"n": 2}'])
    with path.open("ab") as file:  # a kill in the middle of a letter
        file.write('{"n": 3, "text": "Größe'.encode()[:-2])
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]
    append_lines(path, ['{"n": 4}'])
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}, {"n": 4}]
    assert path.read_bytes().endswith(b'\n{"n": 4}\n')


def test_a_whole_last_line_counts_without_its_end(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text('{"n": 1}\n[1, 2]\n\n{"n": 2}')
    assert read_json_lines(path) == [{"n": 1}, {"n": 2}]
    append_lines(path, ['{"n": 3}'])
    assert [line["n"] for line in read_json_lines(path)] == [1, 2, 3]
    assert read_json_lines(tmp_path / "none") == []


def test_only_a_line_feed_ends_a_line(tmp_path: Path) -> None:
    text = "one\u2028two\x85three\x0cfour \ud800"
    append_lines(tmp_path / "lines", [f'{{"text": "{text}"}}'.replace("\x0c", "\\f")])
    assert read_json_lines(tmp_path / "lines") == [{"text": text}]


def test_lines_are_synced_before_they_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda number: sizes.append(os.fstat(number).st_size))
    append_lines(tmp_path / "lines", ["12345"])
    append_lines(tmp_path / "lines", ["12345"])
    assert sizes == [6, 12]


def test_a_new_file_has_its_mode_at_once_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "key"
    create_file(path, b"secret", 0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_file(path, b"another", 0o600)
    assert path.read_bytes() == b"secret"


HOLD = """
import os, sys
from localinstruct.store.durable import lock
print(lock(os.open(sys.argv[1], os.O_RDONLY)), flush=True)
sys.stdin.read()
"""


def test_a_lock_is_free_when_its_holder_is_killed(tmp_path: Path) -> None:
    mine = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert not lock(mine)
        holder.kill()
        assert lock(mine, wait=True)
    os.close(mine)


VALUE = {
    "b": [1, 2.5, True, None],
    "a": "Größe … \u2028 \ud800 😀",
    "ä": {"z": 1e-7, "y": -0.0},
}


def test_digests_are_those_of_the_last_release() -> None:
    """Ids of rows, the completion log and signatures stand on them: these values never change."""
    assert digest(VALUE) == "e38ea07606843b1d57873f91db345bcbf768ef91c7e6e28678c4429f56698c2e"
    strict = hashlib.sha256(canonical_json(VALUE, strict=True)).hexdigest()
    assert strict == "994f0cee167f7cd3c544909eea405732ee73d005e8a1e22b00e6f8908164a551"
    assert Instance("Größe …", history=(Message("user", "x"),)).id == "260108a583b3a4b7"
    assert digest([float("nan")]) == hashlib.sha256(b"[NaN]").hexdigest()
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json([float("nan")], strict=True)
