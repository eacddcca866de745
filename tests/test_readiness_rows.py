"""Rows, templates and numbers that a run will meet are looked at before its teacher starts."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from localinstruct import readiness
from localinstruct.errors import DataError, LocalInstructError, RecipeError
from localinstruct.pipeline import NAMES
from localinstruct.recipe import Recipe, load_recipe
from tests.support.case_models import STUDENT
from tests.support.tiny_student import Recorded

ROOT = Path(__file__).parents[1]
TRL = {
    name: f"{name}.jinja" for name in ("gemma", "smolvlm", "deepseek_r1_distill", "nemotron_3_nano")
}
LOOP = "{% for m in messages %}"
OWN = {
    "swallows": LOOP + "<{{ m.role }}>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}",
    "one_turn": "{% if messages | length > 2 %}{{ raise_exception('one question') }}{% endif %}"
    "{{ messages[0].content }}={{ messages[1].content if messages | length > 1 }}",
    "shouts": LOOP + "{{ m.content | upper }}\n{% endfor %}",
    "turns_back": "{% if add_generation_prompt %}q: {% else %}a: {% endif %}"
    + LOOP
    + "{{ m.content }}{% endfor %}",
}
TURN = {"role": "user", "content": "What is one plus one?"}
ANSWER = {"role": "assistant", "content": "Two."}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a student for each template, of which only the tokenizer's files differ."""
    from importlib.util import find_spec

    folder = tmp_path_factory.mktemp("home")
    spec = find_spec("trl")
    assert spec
    shelf = Path(str(spec.origin)).parent / "chat_templates"
    texts = OWN | {name: (shelf / file).read_text() for name, file in TRL.items()}
    entries = []
    for name, text in texts.items():
        student = shutil.copytree(STUDENT, folder / name)
        (student / "chat_template.jinja").write_text(text)
        entries.append(
            f"{name}: {{path: {name}, roles: [student], chat: true, context: 512, licence: x}}"
        )
    models = (ROOT / "models.yaml").read_text() + "\n" + "\n".join(entries) + "\n"
    (folder / "models.yaml").write_text(models)
    for name in ("recipes", "seeds"):
        (folder / name).symlink_to(ROOT / name)
    write(folder / "systems.jsonl", [{"messages": [SYSTEM, TURN, ANSWER]}] * 12)
    write(folder / "talks.jsonl", [{"messages": [TURN, ANSWER, TURN, ANSWER]}] * 12)
    both = [{"messages": [TURN, ANSWER]}] * 12 + [{"messages": [TURN, ANSWER, TURN, ANSWER]}] * 3
    write(folder / "mixed.jsonl", both)
    (folder / "broken.jsonl").write_text('{"messages": [}\n')
    write(folder / "tasks.jsonl", [{"messages": [TURN, ANSWER, TURN, ANSWER]}])
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def recipe(home: Path, *overrides: str) -> Recipe:
    return load_recipe(ROOT / "recipes" / "nano.yaml", overrides)


def chat(student: str, file: str = "") -> list[str]:
    mixed = ["generate.target=0", f"dataset.from=[{file}]", "dataset.similar=null"] if file else []
    return [f"models.student={student}", "train.template=chat", "evaluate.max_tokens=48", *mixed]


def said(home: Path, *overrides: str, stages: tuple[str, ...] = NAMES) -> str:
    progress = Recorded()
    readiness.require(recipe(home, *overrides), stages, home, progress)
    return "\n".join(progress.said)


def refused(home: Path, *overrides: str) -> LocalInstructError:
    with pytest.raises(LocalInstructError) as caught:
        said(home, *overrides)
    return caught.value


@pytest.mark.parametrize("student", [*TRL, "shouts", "one_turn"])
def test_each_change_of_a_template_is_said_once_or_it_is_refused(student: str, home: Path) -> None:
    if student == "shouts":
        error = refused(home, *chat(student, "systems.jsonl"))
        assert "shouts leaves the question out" in error.message
        return
    words = said(home, *chat(student, "systems.jsonl"))
    expected = {
        "gemma": "has no place for a system prompt",
        "one_turn": "has no place for a system prompt",
        "smolvlm": "reads a turn's words as a list of parts",
        "deepseek_r1_distill": "opens a thought before every answer",
        "nemotron_3_nano": "opens a thought before every answer",
    }
    assert words.count(expected[student]) == 1


def test_nothing_is_said_of_a_system_prompt_where_no_row_has_one(home: Path) -> None:
    assert "system prompt" not in said(home, *chat("gemma", "talks.jsonl"))
    assert "alpaca has no place for a system prompt" in said(
        home, *chat("nano-student", "systems.jsonl"), "train.template=alpaca"
    )


@pytest.mark.parametrize(
    ("student", "words"),
    [
        ("swallows", "leaves the question out"),
        ("shouts", "leaves the question out"),
        ("turns_back", "writes the prompt differently once it is answered"),
    ],
)
def test_a_template_that_loses_words_is_refused_and_the_advice_leads_out(
    student: str, words: str, home: Path
) -> None:
    error = refused(home, *chat(student))
    assert words in error.message
    assert "--set train.template=alpaca" in error.hint
    said(home, *chat(student), "train.template=alpaca")


def test_rows_that_a_template_cannot_hold_are_counted_before(home: Path) -> None:
    words = said(home, *chat("one_turn", "mixed.jsonl"))
    assert "will be left out: 3 rows of mixed.jsonl: the template refuses the row" in words
    words = said(home, *chat("nano-student", "mixed.jsonl"), "train.template=alpaca")
    assert "3 rows of mixed.jsonl: the template has no place for earlier turns" in words


def test_where_no_row_is_left_it_is_refused_and_the_advice_leads_out(home: Path) -> None:
    error = refused(home, *chat("nano-student", "talks.jsonl"), "train.template=alpaca")
    assert "12 rows of talks.jsonl: the template has no place for earlier turns" in error.message
    assert "--set train.template=FILE" in error.hint
    page = (ROOT / "docs" / "templates.md").read_text()
    lines = page[page.index("    {% if system %}") :].split("\n\nWhere a template")[0].splitlines()
    (home / "talk.jinja").write_text("\n".join(line.removeprefix("    ") for line in lines))
    assert "left out" not in said(
        home, *chat("nano-student", "talks.jsonl"), f"train.template={home / 'talk.jinja'}"
    )
    error = refused(home, *chat("one_turn", "talks.jsonl"))
    assert "refuses the row" in error.message
    assert "train.template=chat" not in error.hint


def test_tasks_that_cannot_be_asked_are_found_before(home: Path) -> None:
    error = refused(home, f"evaluate.tasks={home / 'tasks.jsonl'}")
    assert isinstance(error, DataError)
    assert "1 of 1 tasks cannot be asked: the template has no place for earlier" in error.message


def test_files_to_be_mixed_are_read_before(home: Path) -> None:
    error = refused(home, f"dataset.from=[{home / 'broken.jsonl'}]")
    assert "broken.jsonl" in error.message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["generate.target=3"], "found 3 rows with the target"),
        (["generate.target=3", "dataset.from=[few.jsonl]", "dataset.similar=null"], "found 5 rows"),
        (["train.objective=dpo"], "dpo learns from rows with a rejected answer"),
    ],
)
def test_too_few_rows_and_pairs_that_nothing_makes(
    settings: list[str], words: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(home / "few.jsonl", [{"messages": [TURN, ANSWER]}] * 2)
    monkeypatch.chdir(home)
    error = refused(home, *settings)
    assert isinstance(error, RecipeError)
    assert words in error.message
    said(home, *settings, stages=("generate",))  # the rows alone can be made


def test_a_batch_larger_than_the_rows_is_said(home: Path) -> None:
    words = said(home, "generate.target=40", "train.batch_size=128", "train.epochs=2")
    assert "128 rows make a step, and there will be about 36 to train on: 2 steps" in words
    assert "make a step" not in said(home, "generate.target=400", "train.batch_size=128")
