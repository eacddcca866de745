"""Thoughts, turns not to be learnt, calls of tools: held against a template's own text."""

import json
from dataclasses import replace
from typing import Any

import pytest

from localinstruct.errors import ModelError
from localinstruct.formats import to_instances
from localinstruct.records import Instance, Message
from localinstruct.templates import IGNORED, encode, render
from localinstruct.templates.beside import has_tools, with_thoughts
from tests.support.tiny_student import ROLE_TEMPLATE, byte_level

THINKER = """\
{%- if tools %}tools:{% for tool in tools %} {{ tool | tojson }}{% endfor %}<|end|>{% endif %}
{%- for message in messages %}
{%- if message.role == 'assistant' %}
{%- set content = message.content or '' %}{% set thought = message.reasoning_content or '' %}
{%- if '</think>' in content %}
{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}
{%- endif %}
{{- '<|assistant|>' }}
{%- if thought and loop.last %}{{ '<think>\\n' + thought + '\\n</think>\\n\\n' }}{% endif %}
{{- content }}
{%- for call in message.tool_calls %}{{ '<call>' + call.function | tojson + '</call>' }}{% endfor %}
{{- '<|end|>' }}
{%- else %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"""
"""A template in the manner of Qwen 3: it takes thoughts apart and writes those of a last turn."""
THOUGHT = Instance("What is 3 + 4?", output="7.", thinking="Three, then\nfour more.")
CALL = {"name": "look", "arguments": {"at": "sky"}}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {}}}


@pytest.fixture
def tokenizer() -> Any:
    made = byte_level()
    made.chat_template = THINKER
    return made


def learnt(row: Instance, tokenizer: Any, **options: Any) -> str:
    example = encode(row, "chat", tokenizer, 900, **options)
    assert example is not None
    pairs = zip(example.input_ids, example.labels, strict=True)
    return str(tokenizer.decode([token for token, label in pairs if label != IGNORED]))


def test_learnt_thoughts_are_what_the_template_writes_itself(tokenizer: Any) -> None:
    [row] = with_thoughts([THOUGHT], "learn")
    prompt, rest = render(row, "chat", tokenizer)
    turns = [
        {"role": "user", "content": THOUGHT.instruction},
        {"role": "assistant", "content": THOUGHT.output, "reasoning_content": THOUGHT.thinking},
    ]
    assert f"{prompt}{rest}<|end|>" == tokenizer.apply_chat_template(turns, tokenize=False)
    assert learnt(row, tokenizer) == "<think>\nThree, then\nfour more.\n</think>\n\n7.<|end|>"


def test_thoughts_are_left_out_unless_they_are_asked_for(tokenizer: Any) -> None:
    assert with_thoughts([THOUGHT], "drop") == [THOUGHT]
    assert learnt(THOUGHT, tokenizer) == "7.<|end|>"
    [row] = with_thoughts([THOUGHT], "learn")
    assert render(row, "alpaca")[1] == "<think>\nThree, then\nfour more.\n</think>\n\n7."
    assert with_thoughts([replace(THOUGHT, thinking="")], "learn")[0].output == "7."


def test_turns_that_are_marked_are_not_learnt(tokenizer: Any) -> None:
    tokenizer.chat_template = ROLE_TEMPLATE
    turns = [
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Wrong.", "weight": 0},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": "Right.", "weight": 1},
        {"role": "user", "content": "Three?"},
        {"role": "assistant", "content": "Three."},
    ]
    [row] = to_instances({"messages": turns})
    end = tokenizer.eos_token
    assert learnt(row, tokenizer, loss_on="all") == f"Right.{end}Three.{end}"
    assert learnt(row, tokenizer, loss_on="last") == f"Three.{end}"
    assert learnt(row, tokenizer, loss_on="row") == f"Right.{end}Three.{end}"


def test_a_whole_row_is_learnt_where_that_is_asked_for(tokenizer: Any) -> None:
    said = (Message("user", "One?"), Message("assistant", "One."))
    row = replace(THOUGHT, thinking="", history=said, system="Be brief.")
    for template in ("chat", "alpaca"):
        tokenizer.chat_template = ROLE_TEMPLATE
        example = encode(Instance("Two?", output="2."), template, tokenizer, 900, "row")
        assert example is not None
        assert example.labels == example.input_ids
    whole = "".join(render(row, "chat", tokenizer)) + tokenizer.eos_token
    assert learnt(row, tokenizer, loss_on="row") == whole
    full = encode(row, "chat", tokenizer, 900, "row")
    assert full is not None
    cut = encode(row, "chat", tokenizer, len(full.input_ids) - 1, "row")
    assert cut is not None
    assert cut.truncated
    assert len(cut.labels) == len(cut.input_ids)


def test_tools_are_rendered_as_the_template_renders_them(tokenizer: Any) -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "What colour is the sky?"},
        {"role": "assistant", "content": None, "tool_calls": [{"function": CALL}]},
        {"role": "tool", "content": '{"colour": "blue"}'},
        {"role": "assistant", "content": "Blue."},
    ]  # fmt: skip
    [row] = to_instances({"messages": turns, "tools": json.dumps([TOOL])})
    assert has_tools(row)
    prompt, rest = render(row, "chat", tokenizer)
    own = tokenizer.apply_chat_template(turns, tools=[TOOL], tokenize=False)
    assert f"{prompt}{rest}<|end|>" == own
    assert learnt(row, tokenizer) == "Blue.<|end|>"
    called = f"<call>{json.dumps(CALL)}</call><|end|>"
    assert learnt(row, tokenizer, loss_on="all") == f"{called}Blue.<|end|>"
    [ends] = to_instances({"messages": turns[:2], "tools": [TOOL]})
    assert learnt(ends, tokenizer) == called


def test_a_template_without_tools_is_named(tokenizer: Any) -> None:
    steps = (Message("assistant", "", tool_calls=json.dumps([CALL])), Message("tool", "blue"))
    row = Instance("What colour is the sky?", output="Blue.", steps=steps)
    tokenizer.chat_template = ROLE_TEMPLATE
    with pytest.raises(ModelError, match="leaves calls of tools out"):
        encode(row, "chat", tokenizer, 900)
    with pytest.raises(ModelError, match="calls of tools"):
        render(row, "alpaca")
