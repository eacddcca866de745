"""The terminal: one write a frame, a moving line that is always there, words kept whole."""

import io
import os
import re
import sys
import time
from pathlib import Path

import pytest

from localinstruct import console, lines
from localinstruct.lines import CLEAR, LiveProgress, gauge, moving, sparkline, wrap
from tests.support.terminal import Screen, record


class Written(io.StringIO):
    """A terminal's file that remembers every write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)

    def isatty(self) -> bool:
        return True


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Written:
    file = Written()
    monkeypatch.setattr(console.err, "_file", file)
    monkeypatch.setattr(console.err, "_width", 80)
    return file


def test_every_frame_is_one_write_that_leaves_the_line_there(written: Written) -> None:
    live, screen = LiveProgress(console.err, "generate"), Screen()
    for done in range(1, 6):
        live.update("kept rows", done, 5, "61% of 300 candidates new · 1,200 tokens/s")
        live.say(f"a lasting line {done}")
    time.sleep(0.5)  # frames of its own
    live.end(erase=False)
    assert len(written.writes) > 10
    for write in written.writes:
        screen.feed(write)
        assert write.startswith("\r")
        assert "rows" in screen.lines[-1] or "generate" in screen.lines[-1]
    assert [line for line in screen.lines if "lasting" in line] == [
        f"  a lasting line {n}" for n in range(1, 6)
    ]


def test_a_step_that_says_nothing_is_seen_to_wait(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "QUIET", 0.1)
    live = LiveProgress(console.err, "waiting for the first answers")
    live.update("kept rows", 3, 9, "12 in flight")
    time.sleep(0.6)
    live.end(erase=True)
    screen = Screen()
    screen.feed("".join(written.writes[:-1]))
    assert "nothing new for" in screen.lines[-1]
    screen.feed(written.writes[-1])
    assert screen.lines == [""]


def test_no_frame_comes_between_lines_of_a_result(
    written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: 'report 5 srows  402 of 459 …', a frame between the heading and the last lines."""
    monkeypatch.setattr(lines, "FRAME_SECONDS", 0.001)
    monkeypatch.setattr(console.out, "_file", written)
    slow = written.write

    def write(text: str) -> int:
        time.sleep(0.005)
        return slow(text)

    monkeypatch.setattr(written, "write", write)
    with console.progress("report") as progress:
        progress.update("report", 0, 0)
        time.sleep(0.4)
        for _ in range(20):
            console.heading("runs/demo: done")
            console.pairs([("rows", "402"), ("next", "localinstruct show")])
    screen = Screen()
    screen.feed("".join(written.writes))
    assert any("report" in text for text in written.writes)
    plain = [line for line in screen.lines if line]
    assert {re.sub(r" +", " ", line) for line in plain} == {
        "runs/demo: done",
        "rows 402",
        "next localinstruct show",
    }


ASKING = """
import re
import time
from localinstruct import console
with console.progress("importing") as progress:
    progress.update("importing", 1, 2)
    time.sleep(0.5)
    console.note("It brings code.")
    answer = console.ask("Import it?")
    console.note(f"answered {answer}")
"""


def test_a_question_stands_alone_while_somebody_thinks() -> None:
    seen = record([sys.executable, "-c", ASKING], cwd=Path(__file__).parents[1], typed=b"yes\n")
    assert seen.code == 0
    assert any(screen[-1] == "Import it? " for screen in seen.screens)
    asked = next(n for n, screen in enumerate(seen.screens) if "Import it? " in screen)
    until = next(n for n, screen in enumerate(seen.screens) if "answered yes" in screen)
    assert not any("importing" in screen[-1] for screen in seen.screens[asked : until - 1])


PARENT = """
import subprocess, sys, time
from localinstruct import console, lines
with console.progress("getting ready") as progress:
    for number in (1, 2):
        progress.say(f"[{number}/2] a stage of this run that has a long line to say about itself")
        with console.lent("generate"):
            subprocess.run([sys.executable, "-c", sys.argv[1]], env={**__import__("os").environ,
                "LOCALINSTRUCT_STAGE": "1"}, check=True)
        console.note(f"+ stage {number}: done")
console.line("the end")
"""
CHILD = """
import re
import time
from localinstruct import console, lines
with console.progress("generate") as progress:
    time.sleep(0.6)
    progress.say("teacher: somebody")
    for done in range(4):
        progress.update("kept rows", done, 4, "61.0% of 300 candidates new, 12 wait")
        time.sleep(0.3)
"""


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_line_is_there_at_each_look_while_parent_and_child_take_turns(columns: int) -> None:
    root = Path(__file__).parents[1]
    seen = record([sys.executable, "-c", PARENT, CHILD], columns, cwd=root)
    assert seen.code == 0
    rows = seen.last_rows
    begin = next(n for n, row in enumerate(rows) if row)
    end = next(n for n, screen in enumerate(seen.screens) if "+ stage 2: done" in screen)
    assert [row for row in rows[begin:end] if not row.strip()] == []
    assert max(len(line) for screen in seen.screens for line in screen) <= columns
    last = [line.rstrip() for line in seen.screens[-1]]
    assert last[-2:] == ["the end", ""]
    assert last.count("  teacher: somebody") == 2
    words = " ".join(last).split()
    assert words.count("itself") == 2  # no word is cut at the edge
    assert not any(CLEAR in line or "rows" in line for line in last)


def test_words_are_kept_whole_and_commands_in_one_piece() -> None:
    command = "localinstruct evaluate /a/long/path/to/runs/demo --against base --judge big"
    text = f"Held-out loss is stale: train.epochs was 3.0, is 1.0. Renew it: {command}"
    for width in (30, 40, 80, 120, 200):
        cut = wrap(text, width, "    ", "  ")
        assert " ".join(line.strip() for line in cut) == text
        assert any(command in line for line in cut)
        assert all(len(line) <= width or command in line for line in cut)
    pasted = "cd /somewhere/else && localinstruct run recipes/nano.yaml --name other"
    assert pasted in wrap(f"Nothing was changed there. Begin it: {pasted} (again)", 40)
    assert wrap("two\nlines", 80) == ["two", "lines"]
    assert wrap(text, 10) == [text]
    assert wrap("", 80) == [""]


def test_what_does_not_fit_a_moving_line_is_left_out_whole() -> None:
    notes = ["3 to 6 min left", "61.0% of 300 candidates new", "1,200 tokens/s"]
    for width in (20, 40, 60, 80, 120):
        head, rest = moving("kept rows", 0.5, "150/300", notes, 3, width)
        assert len(head + rest) < width
        assert all(part in notes for part in rest.strip().split(" · ") if part)
    assert moving("kept rows", 0.5, "150/300", notes, 3, 120)[1].count("·") == 2


def test_bars_and_sparklines() -> None:
    assert gauge(0.5, 10) == "━━━━━╌╌╌╌╌"
    assert (gauge(-1, 4), gauge(2, 4)) == ("╌╌╌╌", "━━━━")
    assert sparkline([0, 1, 2, 4], 3) == "▃▅█"
    assert sparkline([], 5) == ""
    assert sparkline([0, 0], 5) == "▁▁"


def test_without_a_terminal_lines_are_plain(tmp_path: Path) -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", PARENT, CHILD],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], env={**os.environ},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not re.search("[\x1b\r]", done.stderr + done.stdout)
    assert done.stderr.count("a stage of this run that has a long line to say about itself") == 2


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        "show nothing-here",
        "clean rows.jsonl --similar 0 --output out.jsonl",
        "clean nowhere.jsonl --similar 0 --output out.jsonl",
    ],
)
def test_a_command_shows_at_once_that_it_is_at_work_and_leaves_no_trace_of_that(
    words: str, columns: int, tmp_path: Path
) -> None:
    rows = '{"instruction": "Name a river in Peru.", "output": "The Amazon."}\n'
    (tmp_path / "rows.jsonl").write_text(rows)
    command = [sys.executable, "-m", "localinstruct", *words.split()]
    seen = record(command, columns, cwd=tmp_path)
    first = next(screen[-1] for screen in seen.screens if screen[-1])
    assert "getting ready" in first  # before anything else is said
    assert not any("getting ready" in line for line in seen.screens[-1])
    assert max(map(len, seen.screens[-1])) <= columns
    assert any(line.strip() for line in seen.screens[-1])


def test_what_a_command_is_at_is_not_in_a_log(
    written: Written, capfd: pytest.CaptureFixture[str]
) -> None:
    console.begin("loading")
    assert written.writes == [f"\r⠋ loading{CLEAR}"]
    console.settle()
    console.settle()
    assert written.writes[1:] == [f"\r{CLEAR}"]
    written.isatty = lambda: False  # type: ignore[method-assign]
    console.begin("loading")
    assert len(written.writes) == 2
