import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import DataError, RecipeError, TrainerError
from localinstruct.evaluation import forgetting, stage
from localinstruct.evaluation.answers import (
    SAVED,
    Contender,
    SavedAnswers,
    Which,
    ask_contenders,
    question,
    question_in,
    trained_contender,
)
from localinstruct.evaluation.scores import Row, choose, lost_answers, score
from localinstruct.formats import write
from localinstruct.formats.tasks import Task
from localinstruct.methods.constraint_kinds import KINDS
from localinstruct.models.catalog import ModelSpec
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Lineage, Message, Prompt, StageResult
from localinstruct.store.run import Run, open_run
from localinstruct.teacher import Serve
from localinstruct.templates import encode_all
from localinstruct.training import student
from tests.support.tiny_student import Recorded, byte_level, recipe_data, rows, save_student

Asked = dict[Which, list[Prompt]]
Given = dict[Which, list[Completion]]
CPU = student.Device("cpu", "float32", "test")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_student(tmp_path_factory.mktemp("models") / "tiny", byte_level())


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """An adapter that changes the base a little, at random."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    config = LoraConfig(
        r=4, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    folder = tmp_path_factory.mktemp("adapters") / "adapter"
    get_peft_model(student.load_base(base, CPU), config).save_pretrained(folder)
    return folder


@pytest.fixture
def run(tmp_path: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose dataset and train stages are done: 8 held-out rows, an adapter."""
    monkeypatch.setattr(student, "choose_device", lambda: CPU)
    with open_run(tmp_path / "runs" / "tiny") as run:
        (run.path / "dataset").mkdir()
        write(rows(8), "jsonl", run.path / "dataset" / "held_out.jsonl")
        (run.path / "adapter").symlink_to(adapter)
        yield run


@pytest.fixture
def tasks(tmp_path: Path) -> list[dict[str, str]]:
    """Ten tasks of two families, in the workspace's tasks.jsonl."""
    made = [
        {
            "id": f"t{n}",
            "family": "even" if n % 2 == 0 else "odd",
            "instruction": f"Say {n}.",
            "input": "",
            "output": f"n {n}",
        }
        for n in range(10)
    ]
    (tmp_path / "tasks.jsonl").write_text("\n".join(map(json.dumps, made)))
    return made


def answers(student_right: int, base_right: int = 0) -> Callable[[Asked], Given]:
    """The student is right on the first tasks, the base on the last; held-out rows get the word
    'none'."""

    right: dict[Which, range] = {
        "student": range(student_right),
        "base": range(10 - base_right, 10),
    }

    def answer(prompts: Asked) -> Given:
        given: Given = {}
        for who, asked in prompts.items():
            numbers = [
                next((n for n in range(10) if f"Say {n}." in prompt.text), None) for prompt in asked
            ]
            texts = [f" n  {n}\n" if n in right[who] else "none" for n in numbers]
            given[who] = list(map(Completion, texts))
        return given

    return answer


def compared(
    run: Run, base: Path, answer: Any, progress: Any = None, **sections: Any
) -> StageResult:
    recipe = Recipe.model_validate(recipe_data(**sections))
    workspace = run.path.parent.parent
    digests: dict[Which, str] = {"base": "b", "student": "s"}
    return stage.compare(recipe, run, progress or Recorded(), workspace, base, answer, digests)


def test_losses_are_those_of_base_and_adapter_over_the_trained_on_tokens(
    run: Run, base: Path, adapter: Path
) -> None:
    from peft import PeftModel

    result = compared(run, base, answers(0))["held_out"]
    examples = encode_all(rows(8), "alpaca", byte_level(), 128).examples
    model = student.load_base(base, CPU)
    expected, tokens = student.mean_loss(model, examples, 0, 2)
    adapted, _ = student.mean_loss(PeftModel.from_pretrained(model, str(adapter)), examples, 0, 1)
    assert result["base"]["loss"] == pytest.approx(expected, abs=1e-5)
    assert result["student"]["loss"] == pytest.approx(adapted, abs=1e-5)
    assert abs(expected - adapted) > 1e-3
    assert result["base"]["perplexity"] == pytest.approx(math.exp(expected), rel=1e-5)
    assert (result["rows"], result["tokens"]) == (len(examples), tokens)


def test_the_mean_loss_weighs_tokens_whatever_the_batches(base: Path) -> None:
    import torch

    examples = encode_all(rows(8), "alpaca", byte_level(), 500).examples
    model = student.load_base(base, CPU).train()
    total, count = 0.0, 0
    for example in examples:
        logits = (
            model(input_ids=torch.tensor([example.input_ids])).logits[0].log_softmax(-1).detach()
        )
        for place, label in enumerate(example.labels[1:]):
            if label != -100:
                total, count = total - float(logits[place, label]), count + 1
    for batch in (1, 3, 8):
        loss, tokens = student.mean_loss(model, examples, byte_level().eos_token_id, batch)
        assert (loss, tokens) == (pytest.approx(total / count, abs=1e-4), count)
    assert model.training
    assert math.isnan(student.mean_loss(model, [], 0, 1)[0])


def test_tasks_are_scored_with_gain_interval_and_families(
    run: Run, base: Path, tasks: list[dict[str, str]]
) -> None:
    result = compared(run, base, answers(6, 1), evaluate={"tasks": "tasks.jsonl"})["tasks"]
    assert (result["file"], result["count"], result["base"], result["student"]) == (
        "tasks.jsonl",
        10,
        0.1,
        0.6,
    )
    assert result["gain"] == pytest.approx(0.5)
    assert result["by_family"] == {
        "even": {"count": 5, "base": 0.0, "student": 0.6},
        "odd": {"count": 5, "base": 0.2, "student": 0.6},
    }
    low, high = result["interval"]
    assert -1 <= low < 0.5 < high <= 1


def scored(won: int, lost: int, both: int, neither: int) -> list[Row]:
    kinds = (
        [("x", "no")] * won + [("no", "x")] * lost + [("x", "x")] * both + [("no", "no")] * neither
    )
    return [
        Row(
            Instance("Say x.", "", "x"),
            Task(str(n), "f", Instance("Say x.", "", "x")),
            base,
            answer,
        )
        for n, (answer, base) in enumerate(kinds)
    ]


def test_the_interval_is_wide_where_nothing_is_decided() -> None:
    low, high = score(scored(0, 0, 5, 5))["interval"]
    assert low == pytest.approx(-high)  # zero gain, but not with certainty
    assert 0.1 < high < 0.3
    assert score(scored(300, 0, 0, 0))["interval"][1] <= 1.0


def test_constraints_are_asked_of_both_on_held_out_requests(run: Run, base: Path) -> None:
    seeds = [Instance(f"Describe thing {n}.", output="So.") for n in range(40)]
    write(seeds, "jsonl", run.path.parent.parent / "seeds.jsonl")

    def answer(prompts: Asked) -> Given:
        said = {"base": "A comma, here", "student": "no comma here"}
        return {who: [Completion(said[who])] * len(own) for who, own in prompts.items()}

    sections: dict[str, Any] = {
        "seeds": "seeds.jsonl",
        "method": {
            "alpaca": None,
            "constraints": {"kinds": dict.fromkeys(KINDS, 0) | {"no_commas": 1}},
        },
        "novelty": {"against": "kept"},
        "evaluate": {"constraints": 8, "side_by_side": 4},
    }
    said = Recorded()
    result = compared(run, base, answer, said, **sections)
    seen = result["form"]["groups"]["seen kinds"]
    assert (seen["count"], seen["strict"]["base"], seen["strict"]["student"]) == (8, 0, 1)
    assert set(result["form"]["groups"]) == {"all", "seen kinds", "held-out kinds"}
    assert (result["tasks"]["count"], result["tasks"]["file"]) == (16, "seeds.jsonl")
    assert "seen kinds: base 0% → student 100% of 8 right" in "".join(said.said)


def test_an_answer_that_goes_on_is_wrong_but_begins_right() -> None:
    row = Instance("List.", "", "1. a\n2. b")
    result = score([Row(row, Task("t", "f", row), "1. a\n2. b\nand so on", "1. a\n2. b")])
    assert (result["base"], result["student"]) == (0.0, 1.0)
    assert result["begins_right"] == {"base": 1.0, "student": 1.0}


def test_every_answer_is_kept(run: Run, base: Path, tasks: list[dict[str, str]]) -> None:
    compared(run, base, answers(2), evaluate={"tasks": "tasks.jsonl", "side_by_side": 3})
    lines = [
        json.loads(line)
        for line in (run.path / "evaluation/answers.jsonl").read_text().splitlines()
    ]
    assert [line["id"] for line in lines] == [f"task {n}" for n in range(1, 11)] + [
        row.id for row in rows(8)[:3]
    ]
    assert [line["student_right"] for line in lines[:10]] == [True, True] + [False] * 8
    assert not any("student_right" in line for line in lines[10:])  # open answers have no mark
    assert (lines[0]["student"], lines[0]["base"], lines[0]["expected"]) == (
        " n  0\n",
        "none",
        "n 0",
    )
    assert {line["from"] for line in lines[10:]} == {"held-out rows"}


def test_side_by_side_shows_won_lost_and_tied_tasks_and_held_out_rows(
    run: Run, base: Path, tasks: list[dict[str, str]]
) -> None:
    shown = compared(run, base, answers(4, 3), evaluate={"tasks": "tasks.jsonl"})["side_by_side"]
    assert len(shown) == 12
    marks = {(row["student_right"], row["base_right"]) for row in shown if row["from"] == "tasks"}
    assert marks == {(True, False), (False, True), (False, False)}
    assert sum(row["from"] == "held-out rows" for row in shown) == 6


@pytest.mark.parametrize(
    ("count", "others", "wanted"), [(20, 0, 12), (0, 20, 12), (20, 3, 12), (2, 20, 12), (3, 3, 12)]
)
def test_side_by_side_fills_up_from_what_there_is(count: int, others: int, wanted: int) -> None:
    held_out = [Row(row, None, "a", "b") for row in rows(others)]
    chosen = choose(scored(count, 0, 0, 0) + held_out, wanted)
    assert len(chosen) == min(wanted, count + others)
    assert len({id(row) for row in chosen}) == len(chosen)


def test_both_are_asked_greedily_with_the_training_template(run: Run, base: Path) -> None:
    asked: list[Prompt] = []

    def answer(prompts: Asked) -> Given:
        assert prompts["base"] == prompts["student"]
        asked.extend(prompts["base"])
        return {who: [Completion("")] * len(prompts[who]) for who in prompts}

    compared(run, base, answer, evaluate={"side_by_side": 5, "max_tokens": 7})
    assert len(asked) == 5
    assert all(prompt.text.endswith("### Response:") for prompt in asked)
    assert {(prompt.temperature, prompt.max_tokens, prompt.stop) for prompt in asked} == {
        (0.0, 7, ("\n\n### Instruction:",))
    }


def test_a_chat_student_is_asked_in_turns() -> None:
    recipe = Recipe.model_validate(recipe_data(train={"template": "chat"}))
    prompt = question(Instance("Add.", "2, 3", "5", system="Be brief."), recipe)
    assert prompt.messages == (Message("system", "Be brief."), Message("user", "Add.\n\n2, 3"))
    assert (prompt.text, prompt.stop) == ("", ())


def test_without_tasks_or_held_out_rows_there_is_nothing_to_ask(run: Run, base: Path) -> None:
    (run.path / "dataset" / "held_out.jsonl").write_text("")
    result = compared(run, base, answers(0))
    assert (result["held_out"], result["tasks"], result["side_by_side"]) == (None, None, [])


def test_held_out_rows_that_do_not_fit_are_said(run: Run, base: Path) -> None:
    progress = Recorded()
    assert compared(run, base, answers(0), progress, train={"max_length": 16})["held_out"] is None
    assert any("every held-out prompt alone fills the 16 tokens" in text for text in progress.said)


def test_the_summary_gives_the_numbers(run: Run, base: Path, tasks: list[dict[str, str]]) -> None:
    progress = Recorded()
    result = compared(run, base, answers(6, 1), progress, evaluate={"tasks": "tasks.jsonl"})
    assert json.loads(json.dumps(result)) == result
    assert (
        "base 10.0% → student 60.0% of 10 right, +50.0 points (95 % interval" in progress.said[-1]
    )


def test_missing_stages_files_and_answers_are_named(run: Run, base: Path) -> None:
    with pytest.raises(RecipeError, match=r"evaluate.tasks: .*nowhere.jsonl: no such file"):
        compared(run, base, answers(0), evaluate={"tasks": "nowhere.jsonl"})
    with pytest.raises(TrainerError, match="Expected 8 answers of the base, got 1"):
        compared(run, base, lambda prompts: {"base": ["one"], "student": ["one"]})
    (run.path / "adapter").unlink()
    with pytest.raises(DataError, match="no trained student in it yet") as caught:
        compared(run, base, answers(0))
    assert caught.value.hint == "First: localinstruct train tiny"
    (run.path / "dataset" / "held_out.jsonl").unlink()
    with pytest.raises(DataError, match=r"held_out.jsonl: not there yet"):
        compared(run, base, answers(0))


def test_forgetting_is_measured_on_our_text_and_by_lost_answers(
    run: Run, base: Path, tasks: list[dict[str, str]], tmp_path: Path
) -> None:
    result = compared(run, base, answers(6, 5), evaluate={"tasks": "tasks.jsonl"})["forgetting"]
    assert (result["text"], result["lost"]) == ("seeds/general_text.txt", 4)
    assert [row["instruction"] for row in result["lost_answers"]] == [
        f"Say {n}." for n in range(6, 10)
    ]
    (tmp_path / "own.txt").write_text("red green blue house river " * 40)
    own = compared(run, base, answers(6, 5), evaluate={"text": "own.txt"})["forgetting"]
    ids = byte_level()("red green blue house river " * 40)["input_ids"]
    assert (own["text"], own["lost"]) == ("own.txt", None)  # nothing was asked that could be lost
    assert own["rows"] == -(-len(ids) // 128)
    assert own["tokens"] == len(ids) - own["rows"]
    model = student.load_base(base, CPU)
    expected, _ = student.mean_loss(
        model, forgetting.windows("red green blue house river " * 40, byte_level(), 128), 0, 1
    )
    assert own["base"]["loss"] == pytest.approx(expected, abs=1e-5)
    assert own["student"]["loss"] != pytest.approx(expected, abs=1e-4)


def test_a_text_that_cannot_be_read_is_named(run: Run, base: Path, tmp_path: Path) -> None:
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "empty.txt").write_text(" \n")
    for name, words in (
        ("none.txt", "No such file"),
        ("bytes.txt", "other bytes"),
        ("empty.txt", "found none"),
    ):
        with pytest.raises(DataError, match=rf"evaluate.text: .*{name}: .*{words}"):
            compared(run, base, answers(0), evaluate={"text": name})


def test_an_answer_is_never_asked_for_twice(
    run: Run, base: Path, tasks: list[dict[str, str]]
) -> None:
    first = compared(run, base, answers(6, 1), evaluate={"tasks": "tasks.jsonl"})

    def nobody(prompts: Asked) -> Given:
        raise AssertionError(f"asked again: {prompts}")

    again = compared(run, base, nobody, evaluate={"tasks": "tasks.jsonl"})
    assert {**again, "seconds": 0} == {**first, "seconds": 0}
    with (run.path / "evaluation" / SAVED).open("a") as file:
        file.write('{"key": "torn')
    asked: list[Asked] = []

    def answer(prompts: Asked) -> Given:
        asked.append(prompts)
        return answers(6, 1)(prompts)

    # another sampling, other answers
    compared(run, base, answer, evaluate={"tasks": "tasks.jsonl", "max_tokens": 9})
    assert [len(prompts["base"]) for prompts in asked] == [18]
    compared(run, base, nobody, evaluate={"tasks": "tasks.jsonl", "max_tokens": 9})


def test_losses_by_topic_add_up_to_the_whole_and_name_the_weakest(run: Run, base: Path) -> None:
    plain = compared(run, base, answers(0))["held_out"]
    assert "by_topic" not in plain
    topics = ["sums"] * 5 + ["lists"] * 2 + [""]
    steered = [
        replace(row, lineage=Lineage(topic=topic))
        for row, topic in zip(rows(8), topics, strict=True)
    ]
    more = [replace(row, lineage=Lineage(topic="lists")) for row in rows(6, seed=3)]
    write(steered, "jsonl", run.path / "dataset" / "held_out.jsonl")
    result = compared(run, base, answers(0))
    for who in ("base", "student"):
        assert result["held_out"][who]["loss"] == pytest.approx(plain[who]["loss"], abs=1e-5)
    assert (result["held_out"]["rows"], result["held_out"]["tokens"]) == (
        plain["rows"],
        plain["tokens"],
    )
    by_topic = result["held_out"]["by_topic"]
    assert {name: part["rows"] for name, part in by_topic.items()} == {"sums": 5, "lists": 2}
    assert result["weakest_topics"] == []  # one topic alone has enough rows
    write(steered + more, "jsonl", run.path / "dataset" / "held_out.jsonl")
    result = compared(run, base, answers(0))
    losses = {
        name: part["student"]["loss"] for name, part in result["held_out"]["by_topic"].items()
    }
    [weak] = result["weakest_topics"]
    assert (weak["topic"], weak["student"]) == (
        max(losses, key=lambda name: losses[name]),
        max(losses.values()),
    )


def test_a_whole_student_is_measured_and_asked_as_a_model_of_its_own(run: Run, base: Path) -> None:
    import torch

    (run.path / "adapter").unlink()
    torch.manual_seed(5)
    whole = save_student(run.path / "student", byte_level())
    assert whole.is_dir()
    result = compared(run, base, answers(0))["held_out"]
    examples = encode_all(rows(8), "alpaca", byte_level(), 128).examples
    expected, _ = student.mean_loss(student.load_base(run.path / "student", CPU), examples, 0, 1)
    assert result["student"]["loss"] == pytest.approx(expected, abs=1e-5)
    spec = ModelSpec(name="tiny", path=str(base), roles=["student"], context=128, licence="none")
    trained = trained_contender("the student", spec, Recipe.model_validate(recipe_data()), run.path)
    assert trained.adapter is None
    assert trained.spec.directory == (run.path / "student").resolve()
    assert trained.spec.name != spec.name
    # vLLM would round its float32 weights by itself
    assert trained.served_by(Serve()).dtype == "float32"
    assert trained.served_by(Serve(dtype="bfloat16")).dtype == "bfloat16"
    assert Contender("tiny", spec, "alpaca").served_by(Serve()).dtype == "auto"


def test_a_question_tells_the_rows_marks_from_the_templates(tmp_path: Path) -> None:
    row = Instance("Close <b> with </b> or </s>?", "[x]")
    prompt = question_in(row, "alpaca", 9)
    assert [prompt.text[at] for at in prompt.plain] == ["<", "<", "<", "["]
    own = question_in(row, "<|user|>{instruction}</s>", 9)
    assert own.text == f"<|user|>{row.instruction}</s>"
    assert own.text[own.plain[-1] :].startswith("</s>?</s>")  # the template's own is not among them
    saved = SavedAnswers(tmp_path / "saved.jsonl")
    saved.add("m", [replace(prompt, plain=())], [Completion("as it was asked before")])
    assert saved.get("m", prompt) is None
    assert prompt.digest == replace(prompt, plain=()).digest  # logs of earlier releases go on


def test_base_and_adapter_share_one_server(
    monkeypatch: pytest.MonkeyPatch, adapter: Path, base: Path
) -> None:
    spec = ModelSpec(name="tiny", path=str(base), roles=["student"], context=128, licence="none")
    served: list[tuple[str, list[str]]] = []

    @contextmanager
    def serving(
        spec: ModelSpec, serve: object, home: Path, progress: object, adapters: dict[str, Path]
    ) -> Iterator[str]:
        served.append((spec.name, sorted(adapters)))
        yield spec.name

    def answer_all(connect: str, name: str, prompts: list[Prompt], *_: object) -> list[Completion]:
        return [Completion(f"{connect}/{name}")] * len(prompts)

    monkeypatch.setattr("localinstruct.evaluation.answers.serving", serving)
    monkeypatch.setattr("localinstruct.evaluation.answers.answer_all", answer_all)
    sides: dict[Which, Contender] = {
        "base": Contender("tiny", spec, "alpaca"),
        "student": Contender("s", spec, "alpaca", adapter),
    }
    asked: Asked = {"base": [Prompt(text="a")], "student": [Prompt(text="b")] * 2}
    given = ask_contenders(sides, Serve(), base, asked, Recorded())
    assert served == [("tiny", ["student"])]
    texts = {who: [answer.text for answer in own] for who, own in given.items()}
    assert texts == {"base": ["tiny/tiny"], "student": ["tiny/student"] * 2}
    assert sides["base"].digest != sides["student"].digest
    served.clear()
    ask_contenders(sides, Serve(), base, {"base": [Prompt(text="a")]}, Recorded())
    assert served == [("tiny", [])]


def test_lost_answers_are_those_the_base_had(tasks: list[dict[str, str]]) -> None:
    assert len(lost_answers(scored(2, 3, 1, 1))) == 3
