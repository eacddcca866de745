"""A cleaning on Ray keeps the rows that one process keeps: with a node lost, or killed itself."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from localinstruct.cleaning import ray_cluster
from localinstruct.cleaning.blocks import Blocks
from localinstruct.cleaning.decisions import opened
from localinstruct.cleaning.ray_cluster import require_ray
from localinstruct.cleaning.settings import Clean
from localinstruct.cli.app import app
from localinstruct.errors import UsageError

ROOT = Path(__file__).parents[2]
ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (extra ray)")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """2,400 rows, a third of them like another one."""
    draw, texts = Random(3), list[list[str]]()
    words = [f"word{number}" for number in range(400)]
    for _ in range(2400):
        text = draw.choices(words, k=draw.randrange(8, 24))
        if texts and draw.random() < 0.35:
            text = list(draw.choice(texts))
            for _ in range(draw.randrange(1, 4)):
                text[draw.randrange(len(text))] = draw.choice(words)
        texts.append(text)
    made = [{"instruction": " ".join(text), "output": f"row {n}"} for n, text in enumerate(texts)]
    file = tmp_path_factory.mktemp("ray") / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in made))
    return file


def cleaned(rows: Path, output: Path, where: str, **job: object) -> dict[str, Any] | None:
    """Outcome of a cleaning in a process of its own; None where that was killed."""
    given = json.dumps({"rows": str(rows), "output": str(output), "where": where, **job})
    command = [sys.executable, "-m", "tests.support.clean_on_ray", given]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=600)
    if done.returncode == -9:
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert "error" not in found, found
    return found


@pytest.fixture(scope="module")
def alone(rows: Path) -> Path:
    output = rows.with_name("alone.jsonl")
    assert cleaned(rows, output, "")
    assert 1000 < output.read_text().count("\n") < 2000
    return output


@ray
@pytest.mark.slow
@pytest.mark.exhaustive
def test_our_own_ray_keeps_the_same_rows_at_loopback_and_leaves_nothing(
    rows: Path, alone: Path, tmp_path: Path
) -> None:
    output = tmp_path / ("a-long-name-" * 8) / "clean.jsonl"  # too long for a unix socket below it
    output.parent.mkdir()
    found = cleaned(rows, output, "local")
    assert found
    assert output.read_bytes() == alone.read_bytes()
    heard = found["listening"]
    assert {one["kind"] for one in heard} >= {"tcp", "unix"}
    assert [one for one in heard if one["port"] and not ip_address(one["where"]).is_loopback] == []
    decisions = output.with_name("clean.jsonl.decisions")
    left = {path.name for path in decisions.iterdir()}
    assert left.isdisjoint({"ray", "cells.i32", "like.i64", "score.f32"})


@ray
@pytest.mark.slow
@pytest.mark.exhaustive
def test_two_nodes_keep_the_same_rows(rows: Path, alone: Path, tmp_path: Path) -> None:
    output = tmp_path / "clean.jsonl"
    assert cleaned(rows, output, "nodes")
    assert output.read_bytes() == alone.read_bytes()


@ray
@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("at", [("embedding", 5), ("comparing", 2)], ids=["encoding", "comparing"])
def test_a_node_that_is_lost_changes_no_row(
    rows: Path, alone: Path, tmp_path: Path, at: tuple[str, int]
) -> None:
    output = tmp_path / "clean.jsonl"
    found = cleaned(rows, output, "nodes", lose_at=at)
    assert found
    assert output.read_bytes() == alone.read_bytes()
    if at[0] == "comparing":
        assert "has died" in " ".join(found["said"])


@ray
@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_killed_driver_goes_on_with_or_without_ray(
    rows: Path, alone: Path, tmp_path: Path
) -> None:
    output = tmp_path / "clean.jsonl"
    assert cleaned(rows, output, "local", die_at=("embedding", 6)) is None
    assert cleaned(rows, output, "", die_at=("embedding", 4)) is None
    assert cleaned(rows, output, "local", die_at=("comparing", 3)) is None
    assert cleaned(rows, output, "local")
    assert output.read_bytes() == alone.read_bytes()


def test_what_ray_needs_is_known_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match="not installed") as refused:
        require_ray("local", Clean())
    assert "localinstruct[ray]" in refused.value.hint
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: True)
    for wrong in ("somewhere", "host:", ":6379", "host:port"):
        with pytest.raises(UsageError, match="expected local, or HOST:PORT"):
            require_ray(wrong, Clean())
    require_ray("127.0.0.1:6379", Clean())
    with pytest.raises(UsageError, match="head-node is not allowed"):
        require_ray("head-node:6379", Clean())
    monkeypatch.setattr(ray_cluster.tempfile, "gettempdir", lambda: f"/tmp/{'x' * 60}")
    with pytest.raises(UsageError, match="longer than 107 bytes"):
        require_ray("local", Clean())


def test_a_block_that_is_torn_is_made_again(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    with opened(tmp_path / "d", {}) as store:
        blocks = Blocks(store, "some", values.shape, np.float32, 4)
        assert blocks.missing() == [slice(0, 4), slice(4, 8), slice(8, 10)]
        for part in (slice(0, 4), slice(8, 10)):
            blocks.put(part, values[part])
        again = Blocks(store, "some", values.shape, np.float32, 4)
        assert again.missing() == [slice(4, 8)]
        assert np.array_equal(again.array[8:], values[8:])
        with (store.folder / "some").open("r+b") as file:
            file.seek(8)
            file.write(os.urandom(4))
        assert Blocks(store, "some", values.shape, np.float32, 4).missing()[0] == slice(0, 4)
        other = Blocks(store, "some", (12, 2), np.float32, 4)
        assert len(other.missing()) == 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ray", "local", "--similar", "0", "--output", "c.jsonl"], "--similar 0 asks for none"),
        (["--ray", "local", "--sample", "5"], "by this process alone"),
        (["--ray", "gpu-1:6379", "--output", "c.jsonl"], "gpu-1 is not allowed"),
    ],
)
@ray
def test_the_command_refuses_what_does_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.jsonl").write_text('{"instruction": "Name a sea.", "output": "The Baltic."}\n')
    done = CliRunner().invoke(app, ["clean", "rows.jsonl", *options])
    assert isinstance(done.exception, UsageError)
    assert said in str(done.exception)
    assert not Path("c.jsonl.decisions").exists()
