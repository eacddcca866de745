"""Comparisons with a scripted judge and scripted answers: counted in both orders, stored by name,
nothing asked twice."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import UsageError
from localinstruct.evaluation.answers import Contender, SavedAnswers, Which
from localinstruct.evaluation.comparison import (
    Comparison,
    ask_judge,
    compare_answers,
    require_chat_model,
)
from localinstruct.evaluation.judged import judge_rows, outcome
from localinstruct.evaluation.scores import Row
from localinstruct.formats import write
from localinstruct.judge.pairwise import FORM, comparison, read_verdict
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Prompt
from localinstruct.store.run import Run, open_run
from localinstruct.teacher import Serve
from tests.support.nano_server import nano_workspace
from tests.support.tiny_student import Recorded, recipe_data, rows


def test_the_judge_sees_task_and_both_answers_and_a_form() -> None:
    prompt = comparison(Instance("Add {them}.", "2, 3"), " five ", "six {}")
    [turn] = prompt.messages
    assert "Add {them}.\n\n2, 3" in turn.content
    assert turn.content.index("Answer of A:\nfive\n") < turn.content.index("Answer of B:\nsix {}\n")
    assert '{"better": "tie"}' in turn.content
    assert (prompt.role, prompt.schema, prompt.temperature) == ("judge", FORM, 0.0)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "A",
        '{"better": "C"}',
        '{"better": ["A"]}',
        '{"better": "A", "why": "x"}',
        "[1]",
        '{"better": "A"',
        "I prefer A",
        '"A"',
        "null",
        "[" * 3_000,
    ],
)
def test_what_is_not_in_form_is_no_verdict(reply: str) -> None:
    assert read_verdict(reply) is None


def test_verdicts_in_form_are_read() -> None:
    assert [read_verdict(f' {{"better": "{which}"}}\n') for which in ("A", "B", "tie")] == [
        "A",
        "B",
        "tie",
    ]


def test_two_verdicts_make_one_outcome() -> None:
    assert [outcome("A", "B"), outcome("B", "A"), outcome("A", "A"), outcome("B", "B")] == [
        "student",
        "base",
        "first_seat",
        "second_seat",
    ]
    assert [outcome("tie", "B"), outcome("A", "tie"), outcome(None, "B"), outcome("A", None)] == [
        "tied",
        "tied",
        "unreadable",
        "unreadable",
    ]


def seats(prompt: Prompt) -> tuple[str, str]:
    text = prompt.messages[0].content
    return text.split("Answer of A:\n")[1].split("\n")[0], text.split("Answer of B:\n")[1].split(
        "\n"
    )[0]


def longer(prompts: list[Prompt]) -> list[str]:
    """A judge who prefers the longer answer, takes seat A when both are as long, and cannot read
    'odd'."""
    verdicts = []
    for prompt in prompts:
        first, second = seats(prompt)
        verdict = "B" if len(second) > len(first) else "A"
        verdicts.append("no idea" if "odd" in (first, second) else json.dumps({"better": verdict}))
    return verdicts


def test_all_that_the_judge_did_is_counted(tmp_path: Path) -> None:
    pairs = (
        [("b", "student")] * 9
        + [("longest", "s")] * 3
        + [("x", "y")] * 4
        + [("same", " same ")] * 2
        + [("odd", "s")]
    )
    judged = judge_rows(
        [
            Row(Instance(f"Say {n}."), None, base, student)
            for n, (base, student) in enumerate(pairs)
        ],
        "j",
        "digest",
        SavedAnswers(tmp_path / "saved.jsonl"),
        longer,
    )
    assert judged["tally"] == {"student": 9, "base": 3, "same_seat": 4, "tied": 2}
    assert (judged["pairs"], judged["identical"], judged["left_out"]) == (18, 2, 1)
    assert (judged["verdicts"], judged["unreadable"]) == (34, 2)
    assert judged["position_bias"] == pytest.approx(4 / 16)
    assert judged["interval"][0] < judged["rate"] < judged["interval"][1]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run with 6 held-out rows and an adapter that nobody loads."""
    with open_run(tmp_path / "runs" / "tiny") as run:
        (run.path / "dataset").mkdir()
        write(rows(6), "jsonl", run.path / "dataset" / "held_out.jsonl")
        (run.path / "adapter").mkdir()
        (run.path / "adapter" / "adapter_config.json").write_text("{}")
        (run.path / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        yield run


def spec(name: str, chat: bool = True) -> ModelSpec:
    endpoint = "http://127.0.0.1:9/v1"
    return ModelSpec(
        name=name,
        endpoint=endpoint,
        served_name=name,
        roles=["judge"],
        chat=chat,
        context=99,
        licence="x",
    )


def sides(run: Run) -> dict[Which, Contender]:
    return {
        "base": Contender("other", spec("other"), "chat"),
        "student": Contender("the student", spec("tiny"), "alpaca", run.path / "adapter"),
    }


def says(prompts: dict[Which, list[Prompt]]) -> dict[Which, list[Completion]]:
    return {
        which: [Completion(f"{which} says so")] * len(asked) for which, asked in prompts.items()
    }


def nobody(*_: object) -> list[str]:
    raise AssertionError("asked again")


def nobody_answers(*_: object) -> dict[Which, list[Completion]]:
    raise AssertionError("generated again")


RECIPE = Recipe.model_validate(recipe_data())


def test_another_judge_costs_no_generation_and_the_same_judge_nothing(
    run: Run, tmp_path: Path
) -> None:
    one, two = (Comparison("other", judge=spec(name)) for name in ("first", "second"))
    made = compare_answers(RECIPE, run, tmp_path, one, sides(run), says, longer)
    again = compare_answers(RECIPE, run, tmp_path, one, sides(run), nobody_answers, nobody)
    assert {**again, "seconds": 0} == {**made, "seconds": 0}
    asked: list[int] = []
    compare_answers(
        RECIPE,
        run,
        tmp_path,
        two,
        sides(run),
        nobody_answers,
        lambda p: asked.append(len(p)) or longer(p),
    )
    assert asked == [12]
    (run.path / "adapter" / "adapter_model.safetensors").write_bytes(b"other weights")
    with pytest.raises(AssertionError, match="generated again"):
        compare_answers(RECIPE, run, tmp_path, one, sides(run), nobody_answers, nobody)


def test_comparisons_have_names_and_do_not_touch_each_other(run: Run, tmp_path: Path) -> None:
    tasks = tmp_path / "rules.jsonl"
    tasks.write_text(
        '{"instruction": "Say it.", "check": {"contains": "student"}}\n'
        '{"instruction": "Judge it.", "output": "x", "generator": "g"}\n'
    )
    (run.path / "evaluation").mkdir()
    (run.path / "evaluation" / "answers.jsonl").write_text("the stage's own")
    plain = compare_answers(RECIPE, run, tmp_path, Comparison("runs/other"), sides(run), says, None)
    ruled = compare_answers(
        RECIPE, run, tmp_path, Comparison("base", (tasks,), spec("j")), sides(run), says, longer
    )
    assert (plain["name"], plain["tasks"], plain["pairwise"], plain["questions"]) == (
        "runs-other",
        None,
        None,
        6,
    )
    assert ruled["name"] == "base-by-j-on-rules"
    assert (ruled["tasks"]["count"], ruled["tasks"]["student"], ruled["tasks"]["base"]) == (
        1,
        1.0,
        0.0,
    )
    assert ruled["pairwise"]["tally"]["student"] == 2
    folder = run.path / "evaluation" / "comparisons"
    assert sorted(path.name for path in folder.iterdir()) == [
        "base-by-j-on-rules.json",
        "base-by-j-on-rules.jsonl",
        "runs-other.json",
        "runs-other.jsonl",
    ]
    assert (run.path / "evaluation" / "answers.jsonl").read_text() == "the stage's own"
    lines = [
        json.loads(line) for line in (folder / "base-by-j-on-rules.jsonl").read_text().splitlines()
    ]
    assert [("student_right" in line) for line in lines] == [True, False]


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_judge_answers_in_form(nano_server: str, tmp_path: Path) -> None:
    judge = load_catalog(nano_workspace(tmp_path / "workspace", nano_server)).get("nano-chat")
    made = [Row(Instance("Name the opposite of hot."), None, f"hot {n}", "cold") for n in range(8)]
    ask = partial(ask_judge, require_chat_model(judge), Serve(), tmp_path, Recorded())
    found = judge_rows(made, judge.name, judge.digest, SavedAnswers(tmp_path / "saved.jsonl"), ask)
    assert (found["verdicts"], found["unreadable"], found["pairs"]) == (16, 0, 8)
    assert sum(found["tally"].values()) == 8
    assert (
        judge_rows(made, judge.name, judge.digest, SavedAnswers(tmp_path / "saved.jsonl"), nobody)
        == found
    )


def test_a_base_model_is_no_judge() -> None:
    with pytest.raises(UsageError, match="--judge plain: expected a chat model"):
        require_chat_model(spec("plain", chat=False))


def test_wrong_names_are_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = CliRunner().invoke(app, ["evaluate", "nowhere", "--judge", "nano-chat"])
    assert isinstance(failed.exception, UsageError)
    assert "nowhere: no run of this name" in failed.exception.message
