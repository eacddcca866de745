"""`seeds check`: repeated seeds and seeds that fail a filter are named by number; a clean file is
exit code 0."""

import json
from pathlib import Path

from typer.testing import CliRunner

from localinstruct.cli.app import app

ROOT = Path(__file__).parents[2]


def check(path: Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["seeds", "check", str(path)])
    return result.exit_code, result.output


def test_repeated_and_failing_seeds_are_named(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Name three things that float.", "input": "", "output": "Cork, ice, wood."},
        {"instruction": "Say why the sky is blue in one sentence.", "input": "", "output": ""},
        {"instruction": "name  three things that FLOAT.", "input": "", "output": "Oil."},
    ]
    path = tmp_path / "seeds.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    before = path.read_bytes()
    code, output = check(path)
    assert code == 2
    assert "the same as seed 1" in output
    assert "empty output" in output
    assert "3 seeds read, 2 with a problem" in output
    assert path.read_bytes() == before


def test_our_own_seeds_are_read_whole() -> None:
    code, output = check(ROOT / "seeds/seed_tasks.jsonl")
    assert code == 0
    assert "175 seeds read, 0 with a problem" in output
