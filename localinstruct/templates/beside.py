"""What stands beside the words of a turn: thoughts and calls of tools, as templates read them."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal

from localinstruct.records import Instance, JsonObject, Message

Thinking = Literal["drop", "learn"]
"""What becomes of a row's thoughts in training."""


def with_thoughts(rows: Iterable[Instance], thinking: Thinking) -> list[Instance]:
    """Rows as they are learnt: thoughts before the answer, between marks, where they are learnt.

    Thoughts of earlier turns stay out: no model sees them when it is asked.
    """
    if thinking == "drop":
        return list(rows)
    return [
        replace(row, output=f"<think>\n{row.thinking}\n</think>\n\n{row.output}", thinking="")
        if row.thinking
        else row
        for row in rows
    ]


def has_tools(row: Instance) -> bool:
    """True for a row with tools or calls of them."""
    calls = any(turn.tool_calls or turn.role == "tool" for turn in row.history)
    return bool(row.tools or row.tool_calls or row.steps or calls)


def renders_tools(chat_template: str) -> bool:
    """True for a chat template that writes calls of tools and what tools are there."""
    return "tool_calls" in chat_template and "tools" in chat_template.replace("tool_calls", "")


def as_dict(turn: Message) -> JsonObject:
    """A turn as a chat template reads it."""
    calls = json.loads(turn.tool_calls) if turn.tool_calls else []
    made = [{"type": "function", "function": call} for call in calls]
    return {"role": turn.role, "content": turn.content} | ({"tool_calls": made} if made else {})


def tools_for(row: Instance) -> dict[str, Any]:
    """The argument `tools` of a chat template, or none."""
    return {"tools": json.loads(row.tools)} if row.tools else {}


def lost_call(row: Instance, text: str) -> str:
    """The first call or result of a tool that a rendered text has not got; "" for none."""
    turns = [*row.history, *row.steps, Message("assistant", "", tool_calls=row.tool_calls)]
    for turn in turns:
        for call in json.loads(turn.tool_calls) if turn.tool_calls else []:
            if call["name"] not in text:
                return f"the call of {call['name']}"
        if turn.role == "tool" and turn.content.strip() not in text:
            return "the result of a tool"
    return ""
