"""`--json`: one JSON value on stdout, the same exit codes, and no command of use without it."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from docs.generate import COMMANDS
from localinstruct import pipeline
from localinstruct.bundle import guard
from localinstruct.cli.app import app
from localinstruct.errors import RecipeError, UsageError
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.store.run import Run, open_run
from tests.support import sample_run
from tests.support.nano_server import ROOT
from tests.support.own_methods import own_workspace
from tests.support.sound_model import dump

WITHOUT = {"serve", "review", "open"}
"""Commands that run until they are stopped, and so have no result."""
SEEDS = "seeds/nano_seed_tasks.jsonl"


def shown(*words: str, code: int = 0) -> Any:
    """What a command writes to stdout, which must be one JSON value."""
    result = CliRunner().invoke(app, [*words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_every_command_with_a_result_has_it() -> None:
    root = get_command(app)
    lacking = set()
    for name in COMMANDS:
        command: Any = root
        for word in name.split():
            command = command.commands[word]
        if not any("--json" in option.opts for option in command.params):
            lacking.add(name)
    assert lacking == WITHOUT
    assert len(COMMANDS) > 30


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of one recipe, which mixes a file and asks no teacher."""
    path = own_workspace(tmp_path)
    recipe = yaml.safe_load(path.read_text("utf-8"))
    recipe["generate"] = {"target": 0}
    recipe["dataset"] = {"from": [SEEDS], "similar": None}
    path.write_text(yaml.safe_dump(recipe), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_stages_give_their_result_and_the_run(workspace: Path) -> None:
    generated = shown("generate", "mine")
    assert (generated["run"], generated["stage"]) == ("runs/mine", "generate")
    assert generated["result"]["kept"] == 0
    dataset = shown("dataset", "runs/mine")
    assert dataset["stage"] == "dataset"
    assert dataset["result"]["train"] > 10
    assert shown("show", "mine")["stages"]["dataset"]["result"] == dataset["result"]


def test_a_whole_run_gives_every_result(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_all(recipe: Recipe, run: Run, progress: Progress, on_result: Any) -> None:
        shown("generate", str(run.path))
        progress.say("a line for a person")
        for number, stage in enumerate(pipeline.STAGES[:2]):
            result = sample_run.RESULTS["generate"] | {"kept": 3, "candidates": 4}
            counts = {"train": 5, "held_out": 1, "dropped": {}}
            on_result(stage, result if number == 0 else counts, number == 0)

    monkeypatch.setattr(pipeline, "run_all", run_all)
    monkeypatch.setattr(pipeline, "require_ready", lambda *_: None)
    told = shown("run", "mine")
    assert told["run"] == "runs/mine"
    assert told["stages"]["generate"]["skipped"] is True
    assert told["stages"]["dataset"] == {
        "skipped": False,
        "result": {"train": 5, "held_out": 1, "dropped": {}},
    }


def test_an_error_leaves_stdout_empty(workspace: Path) -> None:
    result = CliRunner().invoke(app, ["run", "nowhere", "--json"])
    assert isinstance(result.exception, RecipeError)
    assert result.stdout == ""


def test_workspaces_recipes_and_seeds(workspace: Path) -> None:
    made = shown("init", "new")
    assert made["directory"] == "new"
    assert "new/models.yaml" in made["made"]
    [recipe] = shown("recipes", "list")
    assert (recipe["name"], recipe["method"], recipe["then"]) == ("mine", "echo", [])
    assert recipe["missing"] == []
    assert "judge" in next(r for r in _recipes_of("new") if r["name"] == "judged")["then"]
    good = shown("seeds", "check", "seeds/seed_tasks.jsonl")
    assert good["problems"] == []
    Path("twice.jsonl").write_text('{"instruction": "Name three rivers.", "output": "Nile"}\n' * 2)
    [problem] = shown("seeds", "check", "twice.jsonl", code=2)["problems"]
    assert (problem["seed"], problem["problem"]) == (2, "the same as seed 1")
    Path("review.txt").write_text(
        "@@ line 1\n- Name three rivers.\n+ Name three long rivers of Asia.\n"
    )
    assert shown("seeds", "apply", "twice.jsonl", "review.txt") == {
        "file": "twice.jsonl",
        "reworded": 1,
    }


def _recipes_of(folder: str) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return shown("recipes", "list")


def test_models_and_topics(workspace: Path) -> None:
    model = Path("tiny")
    shutil.copytree(ROOT / "localinstruct" / "nano" / "weights" / "student", model)
    added = shown("models", "add", "tiny", str(model))
    assert added["name"] == "tiny"
    assert len(added["digest"]) == 64
    assert "tiny" in {one["name"] for one in shown("models", "list")}
    Path("topics.yaml").write_text("topics:\n- rivers:\n  - Nile\n")
    words = ("topics", "grow", "topics.yaml", "--teacher", "nano-chat", "--branching", "1")
    assert shown(*words, "--depth", "1") == {"file": "topics.yaml", "added": 0, "not_used": {}}


def test_exports_and_reports(workspace: Path) -> None:
    recipe = sample_run.make(Path("runs/sample"))
    with open_run(Path("runs/sample")) as run:
        run.put("recipe", recipe.to_yaml())
        run.put("workspace", str(workspace))
    told = shown("export", "sample", "--format", "jsonl")
    assert told["rows"] == len(Path(told["path"]).read_text("utf-8").splitlines())
    assert Path(told["card"]).is_file()
    dump(Path("egress.json"), {})
    report = shown("verify-report", "egress.json", code=1)
    assert report["problems"]
    result = CliRunner().invoke(app, ["verify-report", "--json"])
    assert isinstance(result.exception, UsageError)


def test_bundles(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace / "cache"))
    pytest.importorskip("cryptography")
    key = shown("bundle", "keygen", "desk.key")
    programs = shown("bundle", "programs", "desk")
    assert set(programs["sha256"]) == {"VERIFY.py", "SIGNATURE.py", "UNPACK.py"}
    assert (Path("desk") / "VERIFY.py").read_bytes() == Path(str(guard.__file__)).read_bytes()
    packed = shown("bundle", "pack", "out", "--recipe", "mine", "--sign", "desk.key")
    assert packed["folder"] == "out"
    assert packed["signed_by"] == key["fingerprint"]
    checked = shown("bundle", "verify", "out", "--key", "desk.key.pub")
    assert (checked["problems"], checked["missing"]) == ([], [])
    placed = shown("bundle", "import", "out", "there", "--allow-code")
    assert "methods/echo.py" in placed["placed"]
    part = next(Path("out").glob("part*.bin"))
    part.write_bytes(b"x" + part.read_bytes()[1:])
    assert shown("bundle", "verify", "out", code=1)["problems"]
