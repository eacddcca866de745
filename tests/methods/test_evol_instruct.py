"""Evol-Instruct: generations, the four rules that eliminate, and lineage from child to parent."""

import json
from random import Random

import pytest

from localinstruct.methods.evol_instruct import (
    OPERATIONS,
    EvolInstructOptions,
    broken_rule,
    evol_instruct,
    whole,
    without_heading,
)
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.records import Completion, PoolView
from tests.methods.test_alpaca import SEEDS, golden
from tests.support.episodes import play, reasons_of, rows_of, scripted, told

SCRIPT: list[list[Completion | str]] = [
    [" New task: Name three things that float on salt water, and say why.\n"],
    ["Ice, oil and wood: less dense.", " No"],
    ["Name three things that float."],
    ["Cork.", "Yes"],
    [Completion("Name three thin", "length")],
    ["Name three ships that sank, with years."],
    ["Titanic (1912), Vasa (1628), Wasa (1956).", "no"],
]


def test_episode_golden() -> None:
    ids = {seed.id: seed.name or seed.instruction for seed in SEEDS}
    calls, found = play(
        evol_instruct(PoolView(SEEDS), EvolInstructOptions(), Random(5)), scripted(*SCRIPT)
    )
    golden(
        "evol_instruct_episode.json",
        json.dumps(told(calls, found, ids), indent=1, ensure_ascii=False) + "\n",
    )


def test_what_failed_evolves_again_from_the_same_parent() -> None:
    calls, found = play(
        evol_instruct(PoolView(SEEDS), EvolInstructOptions(), Random(5)), scripted(*SCRIPT)
    )
    first, last = rows_of(found)
    assert reasons_of(found) == ["no information gain", "truncated"]
    assert first.lineage.parents[0] in {seed.id for seed in SEEDS}
    assert last.lineage.parents == (first.id,)
    assert first.instruction == "Name three things that float on salt water, and say why."
    evolving = [call for call in calls if len(call) == 1]
    assert [first.instruction in call[0].text for call in evolving] == [False, True, True, True]


@pytest.mark.parametrize(
    ("task", "answer", "verdict", "reason"),
    [
        ("Sort the list by size.", Completion("1, 2"), "No", None),
        ("Sort the list by size.", Completion("1, 2"), "Yes.", "no information gain"),
        ("Sort the list by size.", Completion("1, 2"), "Hm", "gain unclear"),
        ("Sort the list by size.", Completion("I am sorry, I cannot."), "No", "hard to answer"),
        ("Sort the list by size.", Completion("sorry " + "word " * 80), "No", None),
        ("Sort the list by size.", Completion("It is the ... of!"), "No", "answer without content"),
        ("Sort the list by size.", Completion(""), "No", "answer without content"),
        ("Sort the list by size.", Completion("", "refused: x"), "No", "no answer"),
        ("Sort the list by size.", Completion("1, 2", "length"), "No", "answer truncated"),
        ("Make the given prompt harder.", Completion("1, 2"), "No", "copies the prompt"),
    ],
)
def test_four_rules_eliminate(
    task: str, answer: Completion, verdict: str, reason: str | None
) -> None:
    assert broken_rule(task, answer, Completion(verdict)) == reason


def test_every_operation_is_drawn_and_shows_the_whole_task() -> None:
    drawn = set()
    for seed in range(60):
        [prompt] = next(evol_instruct(PoolView(SEEDS), EvolInstructOptions(), Random(seed)))
        drawn |= {
            name
            for name in OPERATIONS
            if prompt.text.startswith(prompt_file("evol_instruct", name).split("{")[0])
        }
        assert any(whole(task) in prompt.text for task in SEEDS)
    assert drawn == set(OPERATIONS)
    assert len({prompt_file("evol_instruct", name) for name in OPERATIONS}) == 6
    same = [
        next(evol_instruct(PoolView(SEEDS), EvolInstructOptions(), Random(9))) for _ in range(2)
    ]
    assert same[0] == same[1]


@pytest.mark.parametrize(
    ("written", "task"),
    [
        ("Task: Sort the list.", "Sort the list."),
        ("**New Task:** Sort the list.", "Sort the list."),
        ("# Rewritten prompt\n: Sort.", "Sort."),
        ("Here is the new task: Sort.", "Sort."),
        ("Instruction: Sort.", "Sort."),
        ("`print(1)` is a task: explain it.", "`print(1)` is a task: explain it."),
        ("Sort it. New task: none.", "Sort it. New task: none."),
    ],
)
def test_a_heading_before_a_task_is_taken_off(written: str, task: str) -> None:
    assert without_heading(written) == task


@pytest.mark.parametrize(
    ("task", "copied"),
    [
        ("Explain how a manager divides a given task among five people.", False),
        ("Describe the steps that a created task passes in a to-do app.", False),
        ("#Given Prompt#: Sort the list.", True),
        ("Rewritten task: sort the list.", True),
        ("Turn the given prompt into the rewritten prompt.", True),
        ("Sort it. Keep any table, code or data it contains, and do not answer.", True),
    ],
)
def test_a_phrase_alone_is_no_copy_of_the_prompt(task: str, copied: bool) -> None:
    wording = prompt_file("evol_instruct", "constraints")
    answer = Completion("Sorted: apples, pears and plums, in this order.")
    reason = broken_rule(task, answer, Completion("No"), wording)
    assert reason == ("copies the prompt" if copied else None)
    assert broken_rule("Explain a given task.", answer, Completion("No")) == "copies the prompt"
