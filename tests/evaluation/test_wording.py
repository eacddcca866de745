"""Numbers in words, and which answers can be told to be right or wrong."""

import json
from pathlib import Path

import pytest

from localinstruct.evaluation import wording
from localinstruct.evaluation.answers import (
    CUT,
    SavedAnswers,
    Which,
    answers_of_sides,
)
from localinstruct.evaluation.scores import answer_record, cut_answers, paired_rows
from localinstruct.formats.tasks import Task, checks_of_row, checks_of_task, read_tasks
from localinstruct.nano.grammar import check
from localinstruct.records import Completion, Instance, Prompt

LONG = "A letter is best begun with the reason for it, then what you ask for, then thanks."


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        ("42", "It is 42.", "It is 24."),
        ("-1,250.5.", "so -1250.5", "1250.5"),
        ("Yes.", "Yes, it does.", "No."),
        ("false", "False", "true"),
    ],
)
def test_a_held_out_number_or_choice_is_checked(expected: str, right: str, wrong: str) -> None:
    row = Instance("Say.", "", expected)
    for answer, mark in ((right, True), (wrong, False)):
        [asked] = paired_rows([(row, None)], sides(answer, wrong))
        assert asked.mark("base") is mark
        assert not asked.checkable  # nobody wrote it as a test: it is in no score
        assert answer_record(asked)["base_right"] is mark


@pytest.mark.parametrize(
    "expected",
    [LONG, "Paris", "1, 2, 3", "yes and no", "Yes, it is.", "12 apples", "a\nb", "", "Perhaps"],
)
def test_every_other_held_out_answer_is_open(expected: str) -> None:
    assert checks_of_row(expected) == {}
    [row] = paired_rows([(Instance("Say.", "", expected), None)], sides("x", expected))
    assert (row.mark("base"), row.mark("student")) == (None, None)
    assert not {"base_right", "student_right"} & set(answer_record(row))


def test_a_question_with_a_computed_answer_is_held_against_that() -> None:
    """The teacher of the nano models errs; its row is then not what is right."""
    row = Instance("What is the opposite of hot?", "", "warm")
    [asked] = paired_rows([(row, None)], sides("cold", "warm"), check)
    assert (asked.mark("base"), asked.mark("student")) == (True, False)
    [other] = paired_rows([(Instance("Write a letter.", "", LONG), None)], sides("x", "y"), check)
    assert other.mark("base") is None


def test_a_task_with_a_long_answer_and_no_check_is_open(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Name it.", "output": "one two three four five six seven eight nine ten"},
        {"instruction": "Write it.", "output": LONG},
        {"instruction": "Two lines.", "output": "a\nb"},
        {"instruction": "Write it well.", "output": LONG, "check": "exact"},
    ]
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert [bool(task.check) for task in read_tasks(path)] == [True, False, False, True]
    assert checks_of_task("short") == {"exact": None}


def sides(base: str, student: str, *cut: Which) -> dict[Which, list[Completion]]:
    texts: dict[Which, str] = {"base": base, "student": student}
    return {
        which: [Completion(text, CUT if which in cut else "stop")] for which, text in texts.items()
    }


def test_cut_answers_are_marked_counted_saved_and_said(tmp_path: Path) -> None:
    row, task = Instance("Say.", "", "x"), Task("t", "", Instance("Say.", "", "x"))
    rows = paired_rows([(row, task)], sides("xx", "x", "base"))
    record = answer_record(rows[0])
    assert (record["base_cut"], record["student_cut"]) == (True, False)
    counts = cut_answers(rows, 48)
    assert counts == {"base": 1, "student": 0, "of": 1, "max_tokens": 48}
    said = wording.cut({"cut": counts})
    assert said == "1 of the base’s 1 answers were cut at 48 tokens: --set evaluate.max_tokens=96"
    assert wording.cut({}) == wording.cut({"cut": {**counts, "base": 0}}) == ""
    prompts: dict[Which, list[Prompt]] = {"base": [Prompt("a")], "student": [Prompt("a")]}
    digests: dict[Which, str] = {"base": "b", "student": "s"}
    for _ in range(2):  # asked for, then read back from the file
        saved = SavedAnswers(tmp_path / "e" / "saved.jsonl")
        given = answers_of_sides(saved, digests, prompts, lambda due: sides("xx", "x", "base"))
        reasons = [answers[0].finish_reason for answers in given.values()]
        assert reasons == [CUT, "stop"]


def test_what_an_older_version_saved_is_read(tmp_path: Path) -> None:
    path = tmp_path / "saved.jsonl"
    saved = SavedAnswers(path)
    saved.add("m", [Prompt("a")], [Completion("text")])
    assert set(json.loads(path.read_text())) == {"key", "text"}  # as older versions wrote it
    assert SavedAnswers(path).get("m", Prompt("a")) == Completion("text")


def test_nothing_is_said_of_right_answers_lost_where_none_could_be() -> None:
    tasks = {"base": 0.1, "student": 0.5, "count": 20, "gain": 0.4, "interval": [0.1, 0.6]}
    assert wording.lost({"tasks": tasks, "forgetting": {"lost": 1}}) == (1, 2)
    assert wording.lost({"tasks": tasks, "lost": 0}) == (0, 2)  # a comparison has it at its top
    assert wording.lost({"tasks": None, "forgetting": {"lost": 0}}) is None
    assert wording.lost({"tasks": {**tasks, "base": 0.0}, "forgetting": {"lost": 0}}) is None
    assert wording.lost({}) is None


def test_one_rounding_each() -> None:
    tasks = {"base": 0.0726, "student": 0.6667, "count": 2340, "gain": -0.02, "interval": [-0.1, 0]}
    assert wording.right(tasks) == "base 7.3% → student 66.7% of 2,340 right"
    assert wording.gain(tasks) == "−2.0 points (95 % interval −10.0 to +0.0)"
    assert wording.gain({"gain": 0.5, "interval": None}) == "+50.0 points"
    losses = {"base": {"loss": 12.7714, "perplexity": 9e8}, "student": {"loss": 1, "perplexity": 2}}
    assert wording.losses(losses) == "base 12.771 → student 1.000"
    assert wording.perplexities(losses) == "9.0e+08 → 2.0"
    assert wording.checked({"right": 0, "wrong": 0}) == ""
    assert wording.wins({"rate": None, "interval": [0, 1]}) == "the judge cannot tell them apart"
