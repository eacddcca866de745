"""`seeds improve` and `seeds apply`: wordings a person reviews before they enter the seed file, and
what refuses to apply."""

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import DataError, UsageError
from localinstruct.formats import review
from localinstruct.formats.review import Change
from tests.support.nano_server import nano_workspace
from tests.support.openai_server import Reply, chat, serving_script

SEEDS: list[dict[str, Any]] = [
    {
        "id": "a",
        "instruction": "Explain human's behavior.",
        "instances": [{"input": "", "output": "People act."}],
    },
    {
        "id": "b",
        "instruction": "Sort it",
        "instances": [{"input": "3, 1", "output": "1, 3"}],
        "is_classification": False,
    },
    {
        "id": "c",
        "instruction": "Name a colour,\nany colour.",
        "instances": [{"input": "", "output": "Blue – é"}],
    },
]
FULL = "Explain three things that shape how people behave,\n\nwith one example of each."


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    path = tmp_path / "my.jsonl"
    path.write_text(
        "".join(json.dumps(seed, ensure_ascii=False) + "\n" for seed in SEEDS), encoding="utf-8"
    )
    return path


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["seeds", *arguments], catch_exceptions=True)
    if isinstance(result.exception, UsageError):
        return result.exception.exit_code, result.exception.message
    return result.exit_code, result.output


@pytest.mark.slow
def test_improved_reviewed_applied(
    seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        text = request["messages"][-1]["content"]
        asked.append(text)
        if "human's" in text:
            return 200, chat(f"New wording: {FULL}")
        return 200, chat("sort IT." if "Sort it" in text else "Name one colour of the rainbow.")

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    monkeypatch.chdir(nano_workspace(tmp_path / "here", f"unix://{socket}"))
    before, paper = seeds.read_text(), seeds.with_name("my.jsonl.review.txt")
    with serving_script(socket, reply):
        code, told = run("improve", str(seeds), "--teacher", "nano-chat")
        again = run("improve", str(seeds), "--teacher", "nano-chat")
    assert code == 0, told
    assert "2 new wordings for 3 seeds" in told
    assert "1 unchanged" in told
    assert any("Input: 3, 1" in text for text in asked)
    assert again[0] == 2
    assert "half reviewed" in again[1]
    assert seeds.read_text() == before

    text = paper.read_text()
    assert "@@ line 1\n- Explain human's behavior.\n+ Explain three things" in text
    paper.write_text(text[: text.index("@@ line 3")].replace("three things", "four things"))
    code, told = run("apply", str(seeds), str(paper))
    assert (code, "1 seeds of" in told) == (0, True), told
    rows = [json.loads(line) for line in seeds.read_text(encoding="utf-8").splitlines()]
    assert rows[0] == SEEDS[0] | {"instruction": FULL.replace("three", "four")}
    assert rows[1:] == SEEDS[1:]
    assert run("apply", str(seeds), str(paper))[0] == 2  # it no longer says what was reviewed


def test_every_line_that_cannot_be_applied_is_named_and_nothing_is_written(
    seeds: Path, tmp_path: Path
) -> None:
    paper, before = tmp_path / "review", seeds.read_bytes()
    for text, named in (
        (
            "@@ line 2\n- Sort it out\n+ Sort the numbers.\n\n@@ line 9\n- x\n+ y\n",
            ("line 2 no longer", "line 9 no longer"),
        ),
        (
            "@@ line 2\n- Sort it\n+\n\nwhat\n",
            ("@@ line 2: expected", "review:5: expected @@ line N"),
        ),
        ("@@ line two\n- Sort it\n", ("review:1: expected", "review:2: expected")),
    ):
        paper.write_text(text)
        code, told = run("apply", str(seeds), str(paper))
        assert code == 2
        assert all(part in told for part in named), told
        assert seeds.read_bytes() == before


def test_only_json_lines_are_reviewed(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.json"
    path.write_text('[\n {"instruction": "a"},\n {"instruction": "b"}\n]')
    assert run("apply", str(path), str(path))[0] == 2
    with pytest.raises(DataError, match=r"alpaca\.json:1: expected one JSON object"):
        review.lines_of(path.read_text(), "alpaca.json")


def test_a_review_is_read_as_it_was_written() -> None:
    changes = [Change(3, "a\n\n- b", "c\n+ d\n\ne"), Change(12, "x", "y")]
    assert review.read(review.to_text(changes, "f", "somebody"), "f") == changes


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_other_lines_keep_their_bytes(ending: str) -> None:
    lines = [
        '{"instruction": "one",  "n": 1.0}',
        '{"instruction": "two", "input": "\u2028"}',
        "",
        '{"n":2, "instruction": "three"}',
    ]
    text = ending.join(lines) + ending
    changed = review.apply(text, [Change(2, "two", "zwei")], "f").split("\n")
    assert changed[1] == '{"instruction": "zwei", "input": "\u2028"}' + ending[:-1]
    assert [*changed[:1], *changed[2:]] == [*text.split("\n")[:1], *text.split("\n")[2:]]
