"""Thoughts and marked turns on their way into a training."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from localinstruct.recipe.train import Train
from localinstruct.records import Message
from localinstruct.templates import IGNORED
from localinstruct.training.prepare import _encode
from tests.support.tiny_student import ROLE_TEMPLATE, Recorded, byte_level, rows

ROWS = [replace(row, thinking=f"Thought {n}.") for n, row in enumerate(rows(4))]


@pytest.mark.parametrize("thinking", ["drop", "learn"])
def test_thoughts_are_learnt_where_the_recipe_asks(thinking: Literal["drop", "learn"]) -> None:
    told, tokenizer = Recorded(), byte_level()
    encoded = _encode(Train(thinking=thinking), ROWS, tokenizer, 500, told)
    texts = [learnt(example, tokenizer) for example in encoded.examples]
    asked = thinking == "learn"
    assert all(("<think>\nThought" in text) is asked for text in texts)
    assert all(row.output in text for row, text in zip(ROWS, texts, strict=True))
    words = "which are learnt." if asked else "which are not learnt (train.thinking: learn)."
    assert told.said == [f"4 of 4 rows have thoughts, {words}"]


def test_marked_turns_are_said_where_earlier_turns_are_learnt() -> None:
    told, tokenizer = Recorded(), byte_level()
    tokenizer.chat_template = ROLE_TEMPLATE
    history = (Message("user", "One?"), Message("assistant", "Wrong.", learn=False))
    talk = replace(ROWS[0], thinking="", history=history)
    section = Train(template="chat", loss_on="all")
    [example] = _encode(section, [talk], tokenizer, 500, told).examples
    assert "Wrong" not in learnt(example, tokenizer)
    assert told.said == ["Earlier answers that are not learnt, as their rows say: 1."]


def learnt(example: Any, tokenizer: Any) -> str:
    pairs = zip(example.input_ids, example.labels, strict=True)
    return str(tokenizer.decode([token for token, label in pairs if label != IGNORED]))
