"""JSON of a given form: decoded under its schema with a time limit of its own, else asked freely,
once, and read strictly.

Under a schema a server may hang, refuse it, or run away in whitespace until the tokens are used up
(vllm-project/vllm issues 21148 and 44269). What comes freely must be the JSON and nothing else, a
Markdown fence around it excepted. What is of no form keeps its words and ends with "not in form",
so that it is never taken for an empty result; the completion log holds which way every answer came
(`Completion.decoding`).
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from localinstruct.formats import Malformed
from localinstruct.formats.strict_json import parse
from localinstruct.records import Completion, Prompt

NOT_IN_FORM = "not in form"
"""The finish_reason of an answer that is not the JSON that was asked for."""
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)

Ask = Callable[[Prompt], Awaitable[list[Completion]]]


async def structured(
    prompt: Prompt, constrained: Callable[[Prompt], Awaitable[list[Completion] | None]], free: Ask
) -> list[Completion]:
    """`prompt.n` completions in form, or with a finish_reason that says why not.

    `constrained` gives None where the server refused, hung or broke; `free` asks without the
    schema.
    """
    first = await constrained(prompt) or []
    good = [
        replace(one, text=text, decoding="constrained")
        for one in first
        if one.finish_reason == "stop" and (text := in_form(one.text, prompt.schema)) is not None
    ]
    if len(good) == prompt.n:
        return good
    again = await free(replace(prompt, schema=None, n=prompt.n - len(good)))
    answers = good + [_read(one, prompt.schema) for one in again]
    spent = sum(one.tokens for one in [*first, *again])
    return [replace(one, tokens=0 if place else spent) for place, one in enumerate(answers)]


def in_form(text: str, schema: dict[str, Any] | None) -> str | None:
    """The JSON that `text` is, without a fence around it, when it fits the schema; None
    otherwise."""
    from jsonschema import Draft202012Validator

    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    bare = fenced[1].strip() if fenced else stripped
    try:
        value = parse(bare)
    except Malformed:
        return None
    return bare if Draft202012Validator(schema or {}).is_valid(value) else None


def _read(answer: Completion, schema: dict[str, Any] | None) -> Completion:
    found = in_form(answer.text, schema)
    if found is not None and answer.finish_reason == "stop":
        return replace(answer, text=found, decoding="free")
    why = NOT_IN_FORM if answer.finish_reason == "stop" else answer.finish_reason
    return replace(answer, finish_reason=why, decoding="free")
