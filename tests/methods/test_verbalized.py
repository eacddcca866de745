"""Verbalized sampling: tasks with their probabilities, the tails kept, and what is not in form.
Run: pytest tests/methods/test_verbalized.py"""

import json
from random import Random
from typing import Any

import pytest

from localinstruct.methods.alpaca import AlpacaOptions, alpaca
from localinstruct.records import Completion, Instance, PoolView, Reject
from tests.methods.test_alpaca import SEEDS, golden
from tests.support.episodes import Reply, play, reasons_of, rows_of, told

OPTIONS = AlpacaOptions(verbalized=3)


def task(name: str, probability: Any, **more: Any) -> dict[str, Any]:
    given = {"instruction": f"Name a {name}.", "input": "", "output": f"A {name}."}
    return {**given, "probability": probability, **more}


REPLY = json.dumps({"tasks": [task("fern", 0.04), task("dog", 0.6), task("glacier", 0.1)]})


def played(reply: Reply, options: AlpacaOptions = OPTIONS) -> list[Instance | Reject]:
    return play(alpaca(PoolView(SEEDS), options, Random(1)), lambda prompt: reply)[1]


def test_episode_golden() -> None:
    calls, found = play(alpaca(PoolView(SEEDS), OPTIONS, Random(1)), lambda prompt: REPLY)
    ids = {seed.id: seed.instruction for seed in SEEDS}
    golden("verbalized_episode.json", json.dumps(told(calls, found, ids), indent=1) + "\n")
    assert calls[0][0].schema is not None
    assert "the probability of each is below 0.1" in calls[0][0].text


def test_the_tail_is_kept_and_its_probability_is_a_score() -> None:
    found = played(f"Here it is: {REPLY}")
    assert [row.lineage.scores for row in rows_of(found)] == [
        {"probability": 0.04},
        {"probability": 0.1},
    ]
    assert reasons_of(found) == ["not from the tail"]
    everything = OPTIONS.model_copy(update={"tail": 1.0})
    assert len(rows_of(played(REPLY, everything))) == 3


@pytest.mark.parametrize(
    ("reply", "reasons"),
    [
        ("I would rather not.", ["not in form"]),
        (Completion('{"tasks": [{"instr', "length"), ["truncated"]),
        ('{"tasks": []}', ["not in form"]),
        ('{"tasks": 7}', ["not in form"]),
        ("[1]", ["not in form"]),
        ('{"tasks": [7, {"instruction": "x"}]}', ["missing output"] * 2),
        (json.dumps({"tasks": [task("a", "high"), task("b", 10**400)]}), ["no probability"] * 2),
        (json.dumps({"tasks": [task("a", True), task("b", None)]}), ["no probability"] * 2),
    ],
)
def test_what_is_not_in_form_says_why(reply: Reply, reasons: list[str]) -> None:
    assert reasons_of(played(reply)) == reasons


def test_a_topic_can_be_said_and_the_rest_of_the_options_is_as_it_was() -> None:
    pool = PoolView(SEEDS, topic="tea")
    calls, _ = play(alpaca(pool, OPTIONS, Random(1)), lambda prompt: REPLY)
    assert "Every task must belong to this domain: tea." in calls[0][0].text
    assert OPTIONS.says_topic
    assert "verbalized" not in AlpacaOptions().model_dump(mode="json")
