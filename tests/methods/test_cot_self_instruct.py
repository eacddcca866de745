"""CoT-Self-Instruct: a new task is kept when most fresh answers and the written one agree; what
is dropped says why. Run: pytest tests/methods/test_cot_self_instruct.py"""

import json
from collections.abc import Sequence
from random import Random

import pytest

from localinstruct.config import parse
from localinstruct.errors import RecipeError
from localinstruct.methods.cot_self_instruct import (
    CotSelfInstructOptions,
    cot_self_instruct,
    has_short_answer,
)
from localinstruct.records import Completion, Instance, PoolView, Prompt, Reject
from tests.methods.test_alpaca import golden
from tests.support.episodes import Reply, play, reasons_of, rows_of, told

SEEDS = (
    Instance("A basket holds 2 leeks and gets 5 more. How many are there?", output="7"),
    Instance("Pick the greatest number.", input="4, 10, 6", output="Answer: 10"),
    Instance("Describe a garden.", output="It is quiet there. " * 9),
)
GOOD = "Reasoning: Both ask for one number.\nTask: Ann has 3 pens and buys 4. How many?\nAnswer: 7"
OPTIONS = CotSelfInstructOptions(tasks_per_episode=1, answers=4)


def played(
    task: Reply, answers: Sequence[Reply], options: CotSelfInstructOptions = OPTIONS
) -> tuple[list[list[Prompt]], list[Instance | Reject]]:
    """One reply to the first prompt, these to the second."""

    def reply(prompt: Prompt) -> Reply | list[Reply]:
        return [*answers] if prompt.role == "answerer" else task

    return play(cot_self_instruct(PoolView(SEEDS), options, Random(1)), reply)


def test_episode_golden() -> None:
    ids = {seed.id: seed.instruction for seed in SEEDS}
    answers = ["3 + 4 = 7\nAnswer: 7", "Answer: 8", "7 pens", "It is seven.\nAnswer: seven"]
    calls, found = played(GOOD, answers)
    golden(
        "cot_self_instruct_episode.json",
        json.dumps(told(calls, found, ids), indent=1, ensure_ascii=False) + "\n",
    )


def test_the_first_answer_that_agrees_is_the_output_and_one_that_differs_the_rejected() -> None:
    replies: list[Reply] = ["Answer: 8", Completion("It is 7.\nAnswer: 7", thinking="Hm."), "7"]
    _, found = played(GOOD, [*replies, "7 pens"])
    [row] = rows_of(found)
    assert row.instruction == "Ann has 3 pens and buys 4. How many?"
    assert (row.output, row.thinking, row.rejected) == ("It is 7.\nAnswer: 7", "Hm.", "Answer: 8")
    assert row.lineage.scores == {"agreement": 0.75}
    assert row.lineage.rejected_by == row.lineage.answered_by == "answerer"
    assert set(row.lineage.parents) == {seed.id for seed in SEEDS[:2]}
    without = OPTIONS.model_copy(update={"pairs": False})
    _, found = played(GOOD, [*replies, "7 pens"], without)
    assert [row.rejected for row in rows_of(found)] == [""]


@pytest.mark.parametrize(
    ("task", "answers", "reason"),
    [
        (" \n", [], "empty completion"),
        (Completion(GOOD, "length"), [], "truncated"),
        ("I would rather not.", [], "no task"),
        ("Reasoning: x\nTask:\nAnswer: 4", [], "no task"),
        ("Task: How many?\n", [], "no answer written"),
        ("Task: How many?\nAnswer: " + "word " * 20, [], "answer cannot be compared"),
        (GOOD, ["7", "7", "8", "9"], "no majority"),
        (GOOD, ["8", "8", "8", "7"], "majority differs from the written answer"),
        (GOOD, ["7", "7", "A thought.\nAnother.", ""], "answers unreadable"),
        (GOOD, [Completion("Answer: 7", "length")] * 4, "answers unreadable"),
    ],
)
def test_what_is_not_kept_says_why(task: Reply, answers: list[Reply], reason: str) -> None:
    _, found = played(task, answers)
    assert reasons_of(found) == [reason]
    assert not rows_of(found)


def test_a_reject_says_how_the_answers_differ() -> None:
    _, [reject] = played(GOOD, ["Answer: 8", "8", "8", "7"])
    assert isinstance(reject, Reject)
    assert reject.detail == "3 of 4 answers say '8'; written: '7'"
    assert reject.score == 0.75


def test_of_several_tasks_the_last_with_an_answer_counts() -> None:
    text = "Task 1: How many?\nAnswer: 3\n**New task:** Name the day.\n**Answer:** Monday\nTask: ?"
    _, found = played(text, ["Monday"] * 4)
    assert [row.instruction for row in rows_of(found)] == ["Name the day."]


def test_only_seeds_with_a_short_answer_are_shown() -> None:
    assert [has_short_answer(seed) for seed in SEEDS] == [True, True, False]
    calls, _ = played(GOOD, ["7"] * 4, OPTIONS.model_copy(update={"seeds_per_task": 3}))
    [[prompt], [answer]] = calls
    assert "Describe" not in prompt.text
    assert "Answer 2: " in prompt.text
    assert "Answer 3: " not in prompt.text
    assert (answer.n, answer.role) == (4, "answerer")
    assert "written" not in answer.text
    assert answer.text.startswith("Ann has 3 pens")


def test_a_topic_reaches_the_teacher() -> None:
    def reply(prompt: Prompt) -> str:
        return GOOD

    pool = PoolView(SEEDS, topic="tea")
    calls, _ = play(cot_self_instruct(pool, OPTIONS, Random(1)), reply)
    assert "\n- Every task must belong to this domain: tea.\n" in calls[0][0].text


def test_the_nano_form_has_an_input() -> None:
    nano = OPTIONS.model_copy(update={"prompts": "cot_self_instruct_nano"})
    text = "Pick the smallest number.\n3. Input:\n4, 2, 9\n3. Output:\n2\n"
    calls, found = played(text, ["2", "2", "4", "2"], nano)
    [row] = rows_of(found)
    assert (row.instruction, row.input, row.output) == ("Pick the smallest number.", "4, 2, 9", "2")
    [[prompt], [answer]] = calls
    assert prompt.text.endswith("###\n3. Instruction:")
    assert answer.text.endswith("1. Input:\n4, 2, 9\n1. Output:\n")
    assert not nano.says_topic


def test_an_agreement_below_one_half_is_no_majority() -> None:
    with pytest.raises(RecipeError, match="agreement"):
        parse(CotSelfInstructOptions, {"agreement": 0.4}, "x")
