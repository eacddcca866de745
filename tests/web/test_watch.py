"""The page of `watch`: numbers of the terminal view, one look a second at most, text as text."""

import html
import json
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from localinstruct import console
from localinstruct.cli.watch import view, watched
from localinstruct.records import Instance, Kept
from localinstruct.report import live, live_words
from localinstruct.report.live import Watch
from localinstruct.store.run import open_run, read_run
from localinstruct.web.guard import HEADERS, Access, Guard
from localinstruct.web.watch import Shown, routes
from tests.report.test_live import ROOT, at_work, until
from tests.support import sample_run
from tests.support.terminal import record
from tests.support.watched import generate

ACCESS = Access()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of which every part has something to show: rows, rejects, topics, losses."""
    path = tmp_path / "runs" / "seen"
    sample_run.make(path)
    with open_run(path) as run:
        topics = {"topics": ["rivers", {"topic": "bread", "quota": 40}]}
        chosen = {**sample_run.recipe().model_dump(mode="json"), "coverage": topics}
        run.put("recipe", type(sample_run.recipe()).model_validate(chosen).to_yaml())
    return path


def client(shown: Shown) -> TestClient:
    app = Guard(Starlette(routes=routes(shown)), ACCESS)
    one = TestClient(app, base_url="http://127.0.0.1:8000", client=("127.0.0.1", 0))
    assert one.get(f"/?token={ACCESS.token}").status_code == 200
    return one


def words_of(page: str) -> str:
    """The page's text without markup, its blanks as one."""
    return " ".join(html.unescape(re.sub("<[^>]*>", " ", page)).split())


def drawn(facts: live.WatchFacts, width: int) -> str:
    with console.out.capture() as captured:
        console.out.print(view(facts, width), width=width)
    return " ".join(captured.get().split())


def test_page_and_terminal_show_equal_numbers(folder: Path) -> None:
    shown = Shown(folder)
    page, facts = words_of(client(shown).get("/").text), shown.facts()
    terminal = drawn(facts, 120)
    pairs = live_words.pace(facts)
    assert {name for name, _ in pairs} >= {"rows kept", "share new", "loss", "held-out loss"}
    for name, value in pairs:
        assert f"{name} {value}" in page
        assert f"{name} {value}" in terminal
    for cells in (*live_words.rejects(facts), *live_words.topics(facts)):
        assert " ".join(cells) in page
        assert " ".join(cells) in terminal
    for row in facts.rows:
        assert " ".join(row.instruction.split()) in page
    for words in (live_words.headline(facts), live_words.next_step(facts)):
        assert words in page
        assert words in terminal
    with read_run(folder) as run:
        assert f"rows kept {run.count_kept():,} of 450" in page


def test_the_store_is_read_once_a_second_however_many_ask(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []
    look = Watch.look
    monkeypatch.setattr(Watch, "look", lambda self: (looks.append(1), look(self))[1])
    monkeypatch.setattr("localinstruct.web.watch.EVERY", 60.0)
    one, other = client(Shown(folder)), client(shown := Shown(folder))
    before = len(looks)
    for _ in range(5):
        assert one.get("/now").status_code == other.get("/now").status_code == 200
    assert len(looks) == before
    seen = re.findall(r"seen=(\w+)", one.get("/now").text)[0]
    assert one.get(f"/now?seen={seen}").status_code == 204
    assert shown.facts().generation.kept > 0


def test_rows_are_shown_as_text_and_a_run_that_is_gone_is_said(tmp_path: Path) -> None:
    path, nasty = tmp_path / "run", "<script>alert(1)</script><img src=x>\x1b[2J\u202e {{ 7*7 }}"
    with open_run(path) as run:
        generate(run, 20)
        row = Instance(nasty, nasty, nasty)
        episode = run.episodes()[-1][0] + 1
        run.commit_episode(episode, [Kept(row, (), run.vectors()[0])], [], 5)
    one = client(Shown(path))
    answer = one.get("/")
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "<script>alert" not in answer.text
    assert "<img" not in answer.text
    assert "\x1b" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text
    assert "{{ 7*7 }}" in answer.text
    assert not re.search(r"<(?:script|style)>|\son\w+=|style=", answer.text)
    for file in path.glob("run.sqlite*"):
        file.unlink()
    assert "not a run" in words_of(client(Shown(path)).get("/").text)


def test_every_width_has_whole_lines(folder: Path) -> None:
    facts = Watch(folder).look()
    for width in (60, 80, 120):
        with console.out.capture() as captured:
            console.out.print(view(facts, width), width=width, soft_wrap=False)
        lines = captured.get().split("\n")
        assert max(map(len, lines)) <= width
        assert len(lines) < 40


@pytest.mark.exhaustive
def test_the_terminal_view_draws_each_frame_with_one_write_over_the_last(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with at_work(path, 100_000):
        until(Watch(path), 10)
        command = [sys.executable, "-m", "localinstruct", "watch", str(path), "--terminal"]
        seen = record(command, 80, seconds=8, cwd=ROOT)
    frames = [text for _, text in seen.pieces if text.startswith("\x1b[H")]
    assert len(frames) > 2
    first = next(n for n, (_, text) in enumerate(seen.pieces) if text.startswith("\x1b[H"))
    before = [line for screen in seen.screens[:first] for line in screen if line.strip()]
    assert not any("rows kept" in line for line in before)  # "getting ready", however long
    for screen in seen.screens[first:-1]:
        assert any("rows kept" in line for line in screen)
    assert not any("\x1b[2J" in text for text in frames)


@pytest.mark.exhaustive
def test_watch_ends_with_the_run_and_streams_json(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with at_work(path, 100_000) as child:
        until(Watch(path), 10)
        command = [sys.executable, "-m", "localinstruct", "watch", str(path), "--json"]
        with subprocess.Popen(
            [*command, "--until-end"], cwd=ROOT, stdout=subprocess.PIPE, text=True
        ) as watcher:
            assert watcher.stdout is not None
            assert json.loads(watcher.stdout.readline())["state"] == "running"
            child.kill()
            child.wait()
            lines = [json.loads(line) for line in watcher.stdout]
            assert watcher.wait(60) == 0
    assert lines[-1]["state"] == "dead"
    assert lines[-1]["generation"]["kept"] >= 10


@pytest.mark.exhaustive
def test_the_page_that_a_run_brings_along_ends_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run"
    monkeypatch.chdir(ROOT)
    with open_run(path) as run, watched(path, wanted=True) as page:
        address = capsys.readouterr().err.strip().removeprefix("watch it: ")
        generate(run, 20)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert "generate" in opener.open(address, timeout=120).read().decode()
    assert page is not None
    assert page.wait(60) == 0
