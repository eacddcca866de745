"""`review` and `open` as processes: in the seal, killed, and read by `judge check`."""

import json
import os
import signal
import stat
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.cli.judge import _labels
from localinstruct.errors import DataError, UsageError
from localinstruct.judge.rubric import packaged
from localinstruct.offline import egress_report, sessions
from localinstruct.store.reviews import Reviews, place
from localinstruct.store.run import read_run
from localinstruct.web import doors, forward
from tests.support.reviewed import Window, desk, make_run
from tests.support.sealing import needs_namespaces


@contextmanager
def command(*words: str, where: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A command in a process, and the first line that it says."""
    process = subprocess.Popen(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=where,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    try:
        yield process.stdout.readline().strip(), process
    finally:
        process.kill()
        process.communicate()


def opened(address: str) -> urllib.request.OpenerDirector:
    """A browser's cookies after the printed address."""
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(address, timeout=120).close()
    return opener


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make_run(tmp_path / "runs" / "small")


def test_a_decision_survives_a_kill(folder: Path, tmp_path: Path) -> None:
    with command("review", "small", "--as", "ada", where=tmp_path) as (address, process):
        opener, base = opened(address), address.partition("/?")[0]
        form = urllib.parse.urlencode({"action": "drop", "seen": "0"}).encode()
        asked = urllib.request.Request(f"{base}/row/3/decide", form, {"Origin": base})
        with opener.open(asked, timeout=120) as page:
            assert b"What is 4 plus 4?" in page.read()
        process.kill()
    [one] = Reviews(place(folder)).log()
    assert (one.action, one.who) == ("drop", "ada")
    [page] = sessions.pages(folder)
    assert (page["page"], page["sealed"], page["ended"]) == ("review", False, None)


@needs_namespaces
def test_in_the_seal_it_stands_on_a_socket_and_open_forwards_to_it(
    folder: Path, tmp_path: Path
) -> None:
    with command("review", "small", "--sealed", where=tmp_path) as (said, page):
        assert said.startswith("localinstruct open ")
        assert stat.S_IMODE((folder / "review.sock").stat().st_mode) == 0o600
        with command("open", "small", where=tmp_path) as (address, forwarder):
            opener, base = opened(address), address.partition("/?")[0]
            assert b"23 rows" in opener.open(f"{base}/rows", timeout=120).read()
            if os.getuid() == 0:
                steps = (
                    "import encodings.idna, os, urllib.request as r; os.setuid(65534); r.urlopen"
                )
                script = f"{steps}({address!r}, timeout=120)"
                other = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True)
                assert other.returncode != 0
                assert b"200" not in other.stdout
            forwarder.send_signal(signal.SIGINT)
            assert "the port is closed" in forwarder.communicate(timeout=120)[1]
        page.send_signal(signal.SIGINT)
        assert "nothing was decided" in page.communicate(timeout=120)[1]
    assert not (folder / "review.sock").exists()
    assert not (folder / "review.token").exists()
    shown = sessions.pages(folder)
    assert [(one["page"], one["sealed"]) for one in shown] == [("review", True), ("open", False)]
    lines = egress_report.write(folder, {})
    assert egress_report.verify(folder / "egress.json") == []
    told = "\n".join(lines)
    assert "open at a port of 127.0.0.1, forwarded to review.sock, NOT sealed" in told
    assert "review at the unix socket review.sock, sealed" in told


def test_open_takes_the_folder_of_a_file(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"instruction": "Say a.", "output": "a"}\n')
    with (
        command("review", "rows.jsonl", "--socket", where=tmp_path) as (said, _),
        command(*said.split()[1:], where=tmp_path) as (address, _),
    ):
        assert b"1 row" in opened(address).open(address, timeout=120).read()
    assert not (tmp_path / "egress").exists()


def test_open_without_a_page_says_how_to_begin_one(folder: Path) -> None:
    refused = CliRunner().invoke(app, ["open", "small"])
    assert "no page waits" in str(refused.exception)
    assert "--sealed" in refused.exception.hint  # type: ignore[union-attr]


def test_open_asks_which_page_where_several_wait(folder: Path, tmp_path: Path) -> None:
    with doors.open_door(folder, "watch", use_socket=True) as watch:
        (folder / "old.sock").touch()  # left by what was killed
        assert forward.socket_in(folder) == watch.path
        with doors.open_door(folder, "review", use_socket=True) as review:
            refused = CliRunner().invoke(app, ["open", "small"])
            assert "found 2: review and watch" in str(refused.exception)
            hint = refused.exception.hint  # type: ignore[union-attr]
            assert hint.endswith("localinstruct open runs/small --page review")
            for door in (watch, review):
                assert door.path
                assert forward.socket_in(folder, door.path.stem) == door.path
            with pytest.raises(UsageError, match="no page nothing waits"):
                forward.socket_in(folder, "nothing")
            with command("open", "small", "--page", "watch", where=tmp_path) as (address, process):
                assert address.startswith("http://127.0.0.1:")
                process.send_signal(signal.SIGINT)
                assert "opens the page watch" in process.communicate(timeout=30)[1]


def test_labels_are_read_by_judge_check(folder: Path) -> None:
    rubric = packaged("helpful-correct")
    with pytest.raises(DataError, match="nobody has given grades"):
        _labels(Path("small"), rubric)
    with read_run(folder) as run:
        window = Window(desk(run))
        window.decide(1, "grade", grade="4")
        window.decide(22, "better", better="a")
    assert len(_labels(Path("small"), rubric)) == 2
    file = folder.parent / "labels.jsonl"
    file.write_text(json.dumps({"instruction": "Name a tree.", "output": "Oak.", "label": 5}))
    assert len(_labels(file, rubric)) == 1


@pytest.mark.parametrize("words", [("nothing",), ("rows.jsonl",), ("nothing/here",)])
def test_what_is_not_there_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(app, ["review", *words])
    assert refused.exit_code != 0
    assert words[0] in str(refused.exception)
    assert list(tmp_path.iterdir()) == []
