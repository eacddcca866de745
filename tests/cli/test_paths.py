"""Names and paths on the command line that would cost somebody a file: refused with a sentence, and
nothing is touched."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from localinstruct import pipeline, readiness, workspace
from localinstruct.cli import display
from localinstruct.cli.app import app
from localinstruct.errors import (
    LocalInstructError,
    ModelError,
    RecipeError,
    RunConflict,
    RunInUse,
    UsageError,
)
from localinstruct.recipe import Recipe, find_recipe, load_recipe
from localinstruct.records import Instance, Kept
from localinstruct.store.run import open_run
from tests.support.reviewed import make_run


def asked(*words: str) -> BaseException | None:
    """What the command ended with."""
    return CliRunner().invoke(app, list(words)).exception


def refusal(*words: str) -> LocalInstructError:
    problem = asked(*words)
    assert isinstance(problem, LocalInstructError), repr(problem)
    assert problem.message
    assert problem.hint
    return problem


def tree(folder: Path) -> dict[str, bytes]:
    """Everything below a folder, but for SQLite's shared memory, which readers write too."""
    return {
        str(p): p.read_bytes()
        for p in folder.rglob("*")
        if p.is_file() and not p.name.endswith("-shm")
    }


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory inside another one, where `../` is still ours; and nothing is served or trained
    when a refusal is missing."""
    home = tmp_path / "lab"
    home.mkdir()
    monkeypatch.chdir(home)
    for name in ("run_all", "run_stage"):
        monkeypatch.setattr(pipeline, name, lambda *_: pytest.fail("a stage was begun"))
    return home


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the runs whose stages were begun; none is really run."""
    names: list[str] = []

    def nothing(stage: object, recipe: Recipe, run: object, *_: object) -> dict[str, object]:
        names.append(recipe.name)
        return {}

    monkeypatch.setattr(pipeline, "run_stage", nothing)
    monkeypatch.setattr(readiness, "checked", lambda spec: Path())
    monkeypatch.setattr(display, "stage_done", lambda *_: None)
    return names


def made(name: str) -> Path:
    """A run of nano with a row in its completion log and a file beside its store."""
    path = Path("runs", name)
    with open_run(path) as run:
        pipeline.settle_recipe(run, load_recipe(find_recipe("nano")), Path())
        run.record(0, 0, 0, {}, "digest", [])
    (path / "dataset").mkdir()
    (path / "dataset" / "train.jsonl").write_text("rows")
    return path


@pytest.mark.parametrize("fresh", [["--fresh"], []])
@pytest.mark.parametrize("command", ["run", "generate"])
def test_a_folder_that_is_no_run_is_left_alone(command: str, fresh: list[str], here: Path) -> None:
    mine = here / "runs" / "mine"
    mine.mkdir(parents=True)
    (mine / "x.txt").write_text("precious")
    problem = refusal(command, "nano", "--name", "mine", *fresh)
    assert isinstance(problem, RunConflict)
    assert (
        "runs/mine: expected a run, or nothing of this name; found a folder without run.sqlite"
        in problem.message
    )
    assert tree(here) == {str(mine / "x.txt"): b"precious"}


def test_a_file_or_a_dead_link_in_the_place_of_a_run(here: Path) -> None:
    (here / "runs").mkdir()
    (here / "runs" / "a").write_text("precious")
    (here / "runs" / "b").symlink_to("nowhere")
    for name in "ab":
        assert (
            "something that is no folder"
            in refusal("run", "nano", "--name", name, "--fresh").message
        )
    assert tree(here) == {str(here / "runs" / "a"): b"precious"}


def test_a_file_in_the_place_of_all_runs(here: Path) -> None:
    (here / "runs").write_text("precious")
    assert "found a file there or above it" in refusal("generate", "nano").message
    assert (here / "runs").read_text() == "precious"


@pytest.mark.parametrize(
    ("command", "override", "kind"),
    [
        ("run", "models.teacher=qwen3-8b", ModelError),
        ("generate", "models.teacher=qwen3-8b", ModelError),
        ("run", "models.student=nobody", ModelError),
        ("generate", "generate.targt=5", RecipeError),
        ("run", "seeds=nope.jsonl", UsageError),
        ("run", "evaluate.tasks=nope.jsonl", RecipeError),
    ],
)
def test_fresh_deletes_nothing_when_the_new_run_could_not_begin(
    command: str, override: str, kind: type[LocalInstructError], here: Path
) -> None:
    made("nano")
    before = tree(here)
    assert isinstance(refusal(command, "nano", "--fresh", "--set", override), kind)
    assert tree(here) == before


def test_fresh_leaves_a_run_in_use_and_names_its_owner(here: Path) -> None:
    path = made("nano")
    code = f"""
import sys
from pathlib import Path
from localinstruct.store.run import open_run
from localinstruct import readiness
with open_run(Path({str(path.resolve())!r})):
    print("open", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout
        assert owner.stdin
        owner.stdout.readline()
        problem = refusal("generate", "nano", "--fresh")
        owner.stdin.close()
    assert isinstance(problem, RunInUse)
    assert f"in use by process {owner.pid}" in problem.message
    assert (path / "dataset" / "train.jsonl").exists()


@pytest.mark.parametrize("linked", [False, True])
def test_fresh_empties_a_run(began: list[str], linked: bool, here: Path) -> None:
    path = made("nano")
    if linked:
        path.rename(here / "elsewhere")
        path.symlink_to(here / "elsewhere")
    assert asked("generate", "nano", "--fresh", "--set", "novelty.threshold=0.5") is None
    assert began == ["nano"]
    assert not (path / "dataset").exists()
    assert "threshold: 0.5" in (path / "recipe.yaml").read_text()


def test_fresh_goes_on_where_a_kill_left_half_of_a_run_and_mends_a_damaged_one(
    began: list[str],
) -> None:
    path = made("nano")
    (path / "run.sqlite").unlink()
    (path / "dataset").rename(path / "adapter")
    assert asked("generate", "nano", "--fresh") is None
    assert not (path / "adapter").exists()
    (path / "run.sqlite").write_bytes(b"not a store at all")
    assert asked("generate", "nano", "--fresh") is None
    assert began == ["nano"] * 2


NAMED = (
    "demo",
    "run nano",
    "generate nano",
    "dataset nano",
    "train nano",
    "evaluate nano",
    "evaluate nano --against base",
    "report nano",
)


@pytest.mark.parametrize(
    "name", ["../evil", "", "a/b", ".hidden", "-x", "a b", "a\n", "x" * 65, "ä"]
)
@pytest.mark.parametrize("command", NAMED)
def test_a_name_that_is_no_name_is_refused(command: str, name: str, tmp_path: Path) -> None:
    problem = refusal(*command.split(), f"--name={name}")
    assert isinstance(problem, UsageError)
    assert f"found {name!r}" in problem.message
    assert tree(tmp_path) == {}


@pytest.fixture
def rows() -> Path:
    """A run with one kept row."""
    path = made("nano")
    with open_run(path) as run:
        run.commit_episode(
            0, [Kept(Instance("Say a.", output="a"), (), np.ones(2, np.float32))], [], 1
        )
    return path


@pytest.mark.parametrize(
    ("format", "output", "said"),
    [
        ("jsonl", "runs/nano/run.sqlite", "inside the run"),
        ("jsonl", "runs/nano/new.jsonl", "inside the run"),
        ("jsonl", "link/run.jsonl", "inside the run"),
        ("merged", "runs/nano/new", "inside the run"),
        ("alpaca", "models.yaml", "replaces files that end in .json only"),
        ("jsonl", "rows.json", "replaces files that end in .jsonl only"),
        ("parquet", "rows.json", "replaces files that end in .parquet only"),
        ("parquet", "new.json", "expected a name that ends in .parquet for parquet, found .json"),
        ("parquet", "new", "found no ending"),
        ("sharegpt", "new.parquet", "expected a name that ends in .jsonl"),
        ("jsonl", "runs", "expected a file name, found a directory"),
        ("jsonl", "models.yaml/x.jsonl", "models.yaml, found a file"),
    ],
)
def test_an_export_replaces_no_other_file(
    format: str, output: str, said: str, rows: Path, here: Path
) -> None:
    for name in ("models.yaml", "rows.json"):
        (here / name).write_text("precious")
    (here / "link").symlink_to(rows)
    before = tree(here)
    assert said in refusal("export", "nano", "--format", format, "--output", output).message
    assert tree(here) == before


@pytest.mark.usefixtures("rows")
@pytest.mark.parametrize(
    ("format", "name"),
    [("alpaca", "rows.json"), ("jsonl", "rows.JSONL"), ("parquet", "rows.parquet")],
)
def test_an_export_replaces_a_file_of_its_format(format: str, name: str, here: Path) -> None:
    (here / name).write_text("of yesterday")
    assert asked("export", "nano", "--format", format, "--output", name) is None
    assert b"Say a." in (here / name).read_bytes()


def test_an_export_of_no_rows_writes_nothing(here: Path) -> None:
    made("nano")
    before = tree(here)
    problem = refusal("export", "nano", "--output", "rows.json")
    assert problem.exit_code == 2
    assert "nothing to export" in problem.message
    assert tree(here) == before


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            "init file/new",
            "expected a new or empty directory, and it cannot be made: Not a directory",
        ),
        ("init /proc/new", "cannot be made: No such file or directory"),
        ("init file", "cannot be made: File exists"),
        ("models build nano --output file", "cannot be made: File exists"),
        ("models build nano --output file/new", "cannot be made: Not a directory"),
        (
            "models build nano --output .",
            "expected a new or empty directory, found something in it",
        ),
        ("topics grow file/new --about tea --teacher nobody", "expected a folder at"),
        ("topics grow nowhere/new --about tea --teacher nobody", "does not exist"),
        ("seeds improve seeds.jsonl --teacher nobody --output file/new", "expected a folder at"),
        ("seeds improve seeds.jsonl --teacher nobody --output nowhere/new", "does not exist"),
        ("seeds improve seeds.jsonl --teacher nobody --output file", "is there already"),
        ("bundle keygen file", "a key is never replaced"),
        (
            "fit nano --set train.template=bytes.txt",
            "train.template: bytes.txt: expected a readable UTF-8 text",
        ),
        (
            "fit nano --set coverage.personas=bytes.txt",
            "coverage.personas: bytes.txt: expected a readable UTF-8 text",
        ),
    ],
)
def test_a_place_that_cannot_be_had_is_named_before_any_work(
    command: str, said: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        workspace, "build_nano", lambda *_, **__: pytest.fail("a training was begun")
    )
    (here / "file").write_text("precious")
    (here / "bytes.txt").write_bytes(b"\xff\xfe\0")
    (here / "seeds.jsonl").write_text('{"instruction": "Say a.", "output": "a"}\n')
    before = tree(here)
    problem = refusal(*command.split())
    assert problem.exit_code == 2
    assert said in problem.message.replace(f"{here}/", "")
    assert tree(here) == before


ROW = '{"instruction": "Name a river in Peru.", "output": "Amazon."}\n'
READ = ["clean", "fold", "--similar", "0", "--output"]


@pytest.mark.parametrize(
    "words",
    [
        [*READ, "fold/rows.jsonl"],
        [*READ, "link.jsonl"],
        [*READ, "other.jsonl", "--against", "other.jsonl"],
        [*READ, "other.jsonl", "--tasks", "other.jsonl"],
        ["review", "other.jsonl", "--rows", "other.jsonl"],
        ["review", "other.jsonl", "--export", "other.jsonl"],
    ],
)
def test_rows_never_replace_a_file_that_they_come_from(words: list[str], here: Path) -> None:
    (here / "fold").mkdir()
    for name in ("fold/rows.jsonl", "other.jsonl"):
        (here / name).write_text(ROW)
    (here / "link.jsonl").symlink_to(here / "fold/rows.jsonl")
    assert "is a file that is read" in refusal(*words).message
    for name in ("fold/rows.jsonl", "other.jsonl"):
        assert (here / name).read_text() == ROW


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rows.jsonl", "--tasks", "no.jsonl"], "no.jsonl: no such file"),
        (["rows.jsonl", "--against", "no.jsonl"], "no.jsonl: no such file"),
        (["rows.jsonl", "rows.jsonl"], "given twice"),
        (["rows.jsonl", "rows.*"], "given twice"),
        (["rows.jsonl", "--columns", "instruction"], "expected NAME=COLUMN, found 'instruction'"),
        (["rows.jsonl", "--columns", "output="], "expected NAME=COLUMN, found 'output='"),
        (["rows.jsonl", "--rules", "nowhere"], "--rules: 'nowhere' is not one of"),
        (["rows.jsonl", "--secrets", "hide"], "--secrets: 'hide' is not one of"),
        (["rows.jsonl", "--static"], "--static: proposes rows that are alike"),
        (["empty.jsonl"], "expected"),
        (["odd.jsonl"], "expected"),
        (["half.jsonl", "--on-bad-row", "stop"], "half.jsonl"),
        (["rows.jsonl", "--tasks", "odd.jsonl"], "odd.jsonl"),
    ],
)
def test_what_clean_cannot_do_is_said_and_leaves_nothing(
    words: list[str], said: str, here: Path
) -> None:
    (here / "rows.jsonl").write_text(ROW)
    (here / "empty.jsonl").write_text("")
    (here / "odd.jsonl").write_text('{"a": 1, "b": 2}\n')
    (here / "half.jsonl").write_text(f"{ROW}{{broken\n")
    before = tree(here)
    caught = refusal("clean", *words, "--similar", "0", "--output", "out.jsonl")
    assert said in caught.message
    assert caught.hint
    assert tree(here) == before


def test_a_refused_clean_leaves_what_an_earlier_one_decided(here: Path) -> None:
    (here / "rows.jsonl").write_text(ROW)
    words = ["clean", "rows.jsonl", "--similar", "0", "--output", "out.jsonl"]
    assert CliRunner().invoke(app, words).exit_code == 0
    before = tree(here)
    (here / "rows.jsonl").write_text("")
    assert "begun with other files" in refusal(*words).message
    (here / "rows.jsonl").write_text(ROW)
    assert tree(here) == before


@pytest.mark.parametrize(
    "words",
    [
        ["clean", "runs/one", "--output", "runs/one/rows.jsonl"],
        ["clean", "one", "--output", "runs/one/dataset/train.jsonl"],
        ["clean", "rows.jsonl", "--output", "linked/rows.jsonl"],
        ["review", "rows.jsonl", "--rows", "runs/one/dataset/train.jsonl"],
        ["review", "rows.jsonl", "--export", "runs/one/decisions.jsonl"],
    ],
)
def test_rows_are_not_written_into_a_run(words: list[str], here: Path) -> None:
    make_run(here / "runs" / "one")
    (here / "runs" / "one" / "dataset").mkdir()
    (here / "linked").symlink_to("runs/one")
    (here / "rows.jsonl").write_text(ROW)
    before = tree(here)
    caught = refusal(*words)
    assert "where only the run itself writes" in caught.message
    assert caught.hint
    assert tree(here) == before


@pytest.mark.parametrize("text", ["", "\n\n", "[]"])
def test_a_review_of_a_file_without_rows_leaves_nothing(text: str, here: Path) -> None:
    (here / "rows.jsonl").write_text(text)
    before = tree(here)
    assert "rows.jsonl" in refusal("review", "rows.jsonl").message
    assert tree(here) == before


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl.gz", "out.tsv", "out.arrow"])
def test_no_jsonl_under_the_ending_of_another_format(name: str, here: Path) -> None:
    (here / "rows.jsonl").write_text(ROW)
    said = refusal("clean", "rows.jsonl", "--similar", "0", "--output", name).message
    assert "expected a name that ends in .jsonl for jsonl" in said
