"""What is known to be wrong is refused before anything starts, all of it at once; what is right is
not."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from localinstruct import readiness
from localinstruct.errors import (
    DataError,
    LocalInstructError,
    ModelError,
    RecipeError,
    TeacherError,
    UsageError,
)
from localinstruct.pipeline import NAMES
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, load_recipe
from tests.support.openai_server import serving_script

ROOT = Path(__file__).parents[1]
SHIPPED = sorted((ROOT / "recipes").glob("*.yaml"))
ENDPOINT = """
away: {endpoint: "http://127.0.0.1:9/v1", served_name: x, chat: true, context: 512, licence: MIT,
       roles: [teacher, student, encoder, judge]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace like ours, with models that are served by others: one is away, one is there."""
    folder = tmp_path_factory.mktemp("home")
    socket = Path(tempfile.mkdtemp(dir="/tmp"), "s")
    there = ENDPOINT.replace("away", "there").replace("http://127.0.0.1:9/v1", f"unix://{socket}")
    (folder / "models.yaml").write_text((ROOT / "models.yaml").read_text() + ENDPOINT + there)
    for name in ("recipes", "seeds"):
        (folder / name).symlink_to(ROOT / name)
    with serving_script(socket, lambda *_: (404, b"{}")):
        yield folder


def recipe(*overrides: str, name: str = "nano") -> Recipe:
    return load_recipe(ROOT / "recipes" / f"{name}.yaml", overrides)


def refused(
    home: Path, *overrides: str, stages: tuple[str, ...] = NAMES, name: str = "nano"
) -> LocalInstructError:
    with pytest.raises(LocalInstructError) as caught:
        readiness.require(recipe(*overrides, name=name), stages, home, Silent())
    return caught.value


WRONG: dict[str, tuple[str, type[LocalInstructError], tuple[str, ...]]] = {
    "seeds that are not there": (
        "seeds=nope.jsonl",
        DataError,
        ("seeds: ", "nope.jsonl: no such file"),
    ),
    "seeds that are a folder of other rows": (
        "seeds=seeds",
        DataError,
        ("seeds: ", "bad row"),
    ),
    "seeds that no path can name": (
        f"seeds={'x' * 300}",
        DataError,
        ("seeds: expected the path of", "too long"),
    ),
    "tasks with a NUL in their name": ('evaluate.tasks="a\\0b"', LocalInstructError, ("a\0b",)),
    "a student served by others": (
        "models.student=away",
        RecipeError,
        ("models.student: expected a directory", "http://127.0.0.1:9/v1"),
    ),
    "an encoder served by others": (
        "models.encoder=away",
        RecipeError,
        ("models.encoder: expected a directory",),
    ),
    "a teacher as encoder": (
        "models.encoder=nano-teacher",
        RecipeError,
        (
            "models.encoder: expected a model with the role encoder, found nano-teacher, whose "
            "roles are teacher",
        ),
    ),
    "an encoder as student": (
        "models.student=all-minilm-l6-v2",
        RecipeError,
        ("models.student: expected a model with the role student",),
    ),
    "an encoder as teacher": (
        "models.teacher=all-minilm-l6-v2",
        RecipeError,
        ("models.teacher: expected a model with the role teacher",),
    ),
    "a student as answerer": (
        "models.answerer=nano-student",
        RecipeError,
        ("models.answerer: ", "role teacher"),
    ),
    "a student as rival": (
        "models.rivals=[nano-chat, nano-student]",
        RecipeError,
        ("models.rivals.1: ", "role teacher"),
    ),
    "a student as judge": (
        "models.judge=nano-student",
        RecipeError,
        ("models.judge: ", "role judge"),
    ),
    "a chat template that is not there": (
        "train.template=chat",
        RecipeError,
        ("train.template: ", "nano-student has none"),
    ),
    "an answer as long as the context": (
        "sampling.max_tokens=1024",
        RecipeError,
        ("sampling.max_tokens: ", "serve.max_model_len, 1,024", "found 1,024"),
    ),
    "an answer of a task that is too long": (
        "evaluate.max_tokens=5000",
        RecipeError,
        ("evaluate.max_tokens: ",),
    ),
    "an answer longer than the entry's context": (
        "models.teacher=there",
        RecipeError,
        ("the context of there in models.yaml, 512", "found 900"),
    ),
    "a base model in chats": ("then.answer={}", RecipeError, ("then.answer asks nano-teacher",)),
    "a topic without seeds": (
        "coverage.topics=[{topic: t, seeds: [nothing_such]}]",
        RecipeError,
        ("coverage.topics: no seed task",),
    ),
    "a source that is not there": ("dataset.from=[nowhere]", DataError, ("dataset.from: nowhere",)),
    "a base model for magpie": (
        "method={magpie: {}}",
        RecipeError,
        ("method.magpie: needs an instruction-tuned teacher",),
    ),
    "an unknown model": (
        "models.teacher=nano-techer",
        ModelError,
        ("models.teacher: ", "did you mean 'nano-teacher'"),
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_is_refused_alone_and_with_the_next_thing_to_do(
    kind: str, home: Path
) -> None:
    override, error, words = WRONG[kind]
    found = refused(home, override)
    assert isinstance(found, error)
    assert found.exit_code == (3 if error is ModelError else 2)
    for word in words:
        assert word in found.message
    assert "problems" not in found.message
    assert found.hint


def test_a_student_as_teacher_wants_the_role_in_its_entry(home: Path) -> None:
    found = refused(home, "models.teacher=nano-student")
    assert f"add teacher to its `roles` in {home}/models.yaml" in found.hint
    assert "nano-teacher, nano-chat, away" in found.hint, "those that are here"
    text = (home / "models.yaml").read_text()
    (home / "models.yaml").write_text(
        text.replace(
            "  roles: [student]\n  chat: false", "  roles: [student, teacher]\n  chat: false"
        )
    )
    try:
        readiness.require(recipe("models.teacher=nano-student"), NAMES, home, Silent())
    finally:
        (home / "models.yaml").write_text(text)


def test_all_problems_come_in_one_error_seeds_first(home: Path) -> None:
    found = refused(
        home,
        "seeds=seeds/none.jsonl",
        "models.teacher=nano-techer",
        "models.student=qwen3-8b",
        "evaluate.tasks=no.jsonl",
        "models.encoder=away",
        "train.template=chat",
        "sampling.max_tokens=5000",
        "serve.max_model_len=1024",
    )
    assert found.exit_code == 2
    title, *lines = found.message.splitlines()
    assert title == "5 problems"
    keys = [line.split(": ")[0] for line in lines]
    assert keys == [
        "  - seeds",
        "  - evaluate.tasks",
        "  - models.teacher",
        "  - models.student",
        "  - models.encoder",
    ]
    assert "models.student: On a machine with network: hf download Qwen/Qwen3-8B" in found.hint


def test_bad_lines_of_the_seeds_are_named_before_models(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text(
        '{"instruction": "a", "output": "b"}\n{"instruction": 1}\nnot json\n'
    )
    found = refused(home, f"seeds={tmp_path}/bad.jsonl", "models.teacher=nano-techer")
    lines = found.message.splitlines()
    assert lines[1] == "  - seeds: 2 bad rows, nothing was loaded"
    assert "bad.jsonl:2:" in lines[2]
    assert "bad.jsonl:3:" in lines[3]
    assert lines[4].startswith("  - models.teacher: ")


def test_documents_are_a_folder(home: Path) -> None:
    found = refused(home, "seeds=seeds/nano_seed_tasks.jsonl", name="grounded")
    assert "seeds: " in found.message
    assert "expected a folder of documents, found a file" in found.message
    readiness.require(recipe(name="grounded"), NAMES, home, Silent())


def test_a_judge_s_answer_fits_its_context(home: Path) -> None:
    key = "then.judge.grading.max_tokens"
    found = refused(home, f"{key}=2000", name="judged")
    assert found.message.startswith(f"{key}: expected fewer tokens than serve.max_model_len, 1,024")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_of_the_shipped_recipes_nothing_is_wrong_but_absent_models(path: Path) -> None:
    said: list[str] = []
    try:
        readiness.require(load_recipe(path), NAMES, ROOT, Silent())
    except (ModelError, UsageError) as problem:
        said = [line for line in problem.message.splitlines() if not line.endswith("problems")]
    needs_seal = ("method.code: executes functions", "the seal: start with --sealed")
    expected = ("looked for a directory", *(needs_seal if path.stem == "code" else ()))
    assert [line for line in said if not any(words in line for words in expected)] == []


def test_only_what_a_stage_needs_is_looked_at(home: Path) -> None:
    bad_student = ("models.student=nobody", "train.template=chat", "evaluate.tasks=no.jsonl")
    readiness.require(recipe(*bad_student), ("generate",), home, Silent())
    bad_teacher = (
        "models.teacher=nobody",
        "models.encoder=nobody",
        "seeds=no.jsonl",
        "sampling.max_tokens=5000",
    )
    readiness.require(
        recipe(*bad_teacher), ("dataset", "train", "evaluate", "report"), home, Silent()
    )
    mixed = ("generate.target=0", "dataset.from=[seeds/seed_tasks.jsonl]", "dataset.similar=null")
    readiness.require(recipe(*bad_teacher, *mixed), NAMES, home, Silent())
    assert (
        "no.jsonl"
        in refused(home, *bad_teacher, "dataset.include_seeds=true", stages=("dataset",)).message
    )
    assert (
        "models.encoder: nobody"
        in refused(
            home,
            *bad_teacher,
            "generate.target=0",
            "dataset.from=[seeds/seed_tasks.jsonl]",
            stages=("dataset",),
        ).message
    )


@pytest.mark.parametrize("command", ["run", "generate", "preview"])
def test_commands_refuse_before_they_start_anything(command: str, tmp_path: Path) -> None:
    settings = ["seeds=nope.jsonl", "models.encoder=nano-teacher"]
    words = [command, "nano", *(word for one in settings for word in ("--set", one))]
    done = subprocess.run(
        [sys.executable, "-m", "localinstruct", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2, done.stderr
    assert "2 problems" in done.stderr
    assert "nope.jsonl: no such file" in " ".join(done.stderr.split())
    assert not list(tmp_path.glob("runs/*/logs"))


@pytest.mark.parametrize("key", ["models.teacher", "models.judge"])
def test_a_server_that_is_away_is_known_before_anything_starts(
    key: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localinstruct.teacher.endpoint.PATIENCE", 0.1)
    found = refused(home, f"{key}=away", "sampling.max_tokens=100")
    assert isinstance(found, TeacherError)
    assert found.message.startswith(f"{key}: away: http://127.0.0.1:9/v1 does not answer")
    assert "Start that server" in found.hint
