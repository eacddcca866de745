"""Evaluation tasks found in rows, however they are dressed; and rows that only resemble them."""

import pytest

from localinstruct.curate.contamination import Tasks, decontaminate
from localinstruct.records import Instance, Message

TASK = Instance("Find the sum of the two numbers.", "14 and 27", "41")
LONG = Instance(
    "A farmer has 15 cows and buys 4 more every week for three weeks. How many cows are there now?"
)


@pytest.mark.parametrize(
    "row",
    [
        Instance("FIND THE SUM OF THE TWO NUMBERS", "14 AND 27"),
        Instance("Please find the sum of the two numbers.", "14 and 27."),
        Instance("Could you please find the sum of the two numbers?", "14 and 27"),
        Instance("I want you to find the sum of the two numbers: 14 and 27"),
        Instance("Find the sum of the two numbers.\n\n14 and 27", ""),
        Instance("find  the\tsum of the two numbers", "“14” and “27”"),
        Instance("Find the sum of the two numbers\uff0e", "\uff11\uff14 and 27"),
        Instance("Hi, can you find the sum of the two numbers.", "14 and 27"),
    ],
)
def test_a_task_is_known_in_other_clothes(row: Instance) -> None:
    assert Tasks({"t": TASK}).same(row) == "t"
    assert decontaminate([row], {"t": TASK})[1][0].detail == "t"


@pytest.mark.parametrize(
    "row",
    [
        Instance("Find the sum of the two numbers.", "14 and 72"),
        Instance("Find the sum of the two numbers.", "1 and 427"),
        Instance("Find the sum of the two numbers.", "1.4 and 27"),
        Instance("Find the sum of two numbers.", "14 and 27"),
        Instance("Find the sum of the two numbers.", "14 and 27", system="Answer in French."),
        Instance(
            "Find the sum of the two numbers.",
            "14 and 27",
            history=(Message("user", "Hi."), Message("assistant", "Hello.")),
        ),
    ],
)
def test_another_task_is_another_task(row: Instance) -> None:
    assert Tasks({"t": TASK}).same(row) is None


def test_a_task_inside_a_row_is_found_with_its_share() -> None:
    tasks = Tasks({"sum": TASK, "cows": LONG})
    inside = Instance(f"Solve this riddle for my class. {LONG.instruction} Show each step.")
    assert tasks.within(inside) == ("cows", 1.0)
    in_answer = Instance("Make up a riddle about a farm.", "", f"Riddle: {LONG.instruction}")
    assert tasks.within(in_answer) == ("cows", 1.0)
    half = Instance(" ".join(LONG.instruction.split()[:15]) + " Tell me who milks them.")
    name, share = tasks.within(half) or ("", 0.0)
    assert name == "cows"
    assert 0.5 <= share < 1
    assert tasks.within(Instance("A farmer has 15 cows. What do they eat in the winter?")) is None


def test_short_tasks_count_as_a_whole_only() -> None:
    tasks = Tasks({"t": Instance("Name a colour.")})
    assert tasks.within(Instance("Name a colour. Then name a bird that has it.")) is None
    assert tasks.same(Instance("name a colour!")) == "t"


def test_no_tasks_find_nothing() -> None:
    assert Tasks({}).same(TASK) is None
    assert Tasks({}).within(TASK) is None
