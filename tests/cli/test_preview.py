"""`preview`: the episodes of a short run, told whole; once with the real nano teacher."""

import json
import re
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.cli.preview import _cut, episodes_of
from localinstruct.store.run import open_run
from tests.generation.test_scheduler import play, recipe
from tests.support.nano_server import nano_workspace
from tests.support.openai_server import Reply, completion, serving_script
from tests.support.scripted import PLACES, THINGS, ScriptedTeacher, numbered_list


def test_every_committed_episode_is_told_whole(tmp_path: Path) -> None:
    with open_run(tmp_path) as run:
        play(run, recipe(target=30), ScriptedTeacher())
        episodes, counts = episodes_of(run), run.episodes()
    assert [one["episode"] for one in episodes] == [entry[0] for entry in counts]
    assert [(len(one["kept"]), len(one["rejects"])) for one in episodes] == [
        (e[1], e[2]) for e in counts
    ]
    assert all("1. Instruction:" in asked["prompt"] for one in episodes for asked in one["asked"])
    assert all(one["asked"][0]["replies"][0]["finish_reason"] == "stop" for one in episodes)


@pytest.mark.parametrize(
    ("kept", "rows", "shown", "gone"),
    [
        ([17], 5, [5], 12),
        ([3, 4], 5, [3, 2], 2),
        ([2, 3], 5, [2, 3], 0),
        ([0, 9, 9], 5, [0, 5, 0], 13),
    ],
)
def test_no_more_rows_are_shown_than_were_asked_for(
    kept: list[int], rows: int, shown: list[int], gone: int
) -> None:
    episodes = [{"kept": list(range(count))} for count in kept]
    assert _cut(episodes, rows) == gone
    assert [len(episode["kept"]) for episode in episodes] == shown


@pytest.mark.slow
def test_the_whole_command_on_a_scripted_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        number = request["prompt"].count("###")
        return 200, completion(numbered_list(Random(count), first=number))

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    monkeypatch.chdir(nano_workspace(tmp_path / "here", f"unix://{socket}"))
    with serving_script(socket, reply):
        told = CliRunner().invoke(
            app, ["preview", "recipes/coverage.yaml", "--set", "filters.set=none"]
        )
        silent = CliRunner().invoke(
            app, ["preview", "recipes/coverage.yaml", "--json", "--rows", "3"]
        )
    assert told.exit_code == 0, told.output
    assert "1. Instruction:" in told.output
    assert "reply (stop)" in told.output
    kept = [row for episode in json.loads(silent.stdout)["episodes"] for row in episode["kept"]]
    assert len(kept) == 3
    assert {row["lineage"]["topic"] for row in kept} <= {"arithmetic", "lists", "words"}
    assert not Path("runs").exists()


@pytest.mark.slow
def test_grounded_through_the_client_on_a_scripted_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(path: str, request: dict[str, Any], count: int) -> Reply:
        if "response_format" in request:
            [first] = re.findall(
                r"^\[1\] (.*)", str(request.get("prompt") or request), re.MULTILINE
            )
            return 200, completion(json.dumps({"sentences": [1], "answer": first}))
        return 200, completion(
            f" Which {THINGS[count % 10]} {PLACES[count % 8]} are {count} years old?"
        )

    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    monkeypatch.chdir(nano_workspace(tmp_path / "here", f"unix://{socket}"))
    kinds = "method.grounded.kinds=[fact,why,how]"
    with serving_script(socket, reply) as seen:
        told = CliRunner().invoke(
            app, ["preview", "recipes/grounded.yaml", "--json", "--set", kinds]
        )
    assert told.exit_code == 0, told.output
    kept = [row for episode in json.loads(told.stdout)["episodes"] for row in episode["kept"]]
    assert len(kept) >= 5
    assert all(quote in row["input"] for row in kept for quote in row["lineage"]["evidence"])
    assert all(
        row["lineage"]["evidence"]
        and (Path("seeds/documents") / row["lineage"]["source"]).is_file()
        for row in kept
    )
    assert any("response_format" in request for _, request in seen)


@pytest.mark.vllm
@pytest.mark.slow
def test_preview_of_topics_on_the_nano_teacher(
    tmp_path: Path, nano_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(nano_workspace(tmp_path / "here", nano_server))
    result = CliRunner().invoke(
        app, ["preview", "recipes/coverage.yaml", "--json"], catch_exceptions=False
    )
    told = json.loads(result.stdout)
    kept = [row for episode in told["episodes"] for row in episode["kept"]]
    assert len(kept) >= 5
    assert {row["lineage"]["topic"] for row in kept} <= {"arithmetic", "lists", "words"}
    assert not Path("runs").exists()
