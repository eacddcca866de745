"""JSON of a given form: decoded under its schema, else asked for freely and read strictly.

Under a schema a server may hang, refuse it, or run away in whitespace until the tokens are used up
(vllm-project/vllm issues 21148 and 44269), so that has a time limit of its own. The free answer,
asked for once, must be the JSON and nothing else, a Markdown fence around it excepted. An answer
that is not in form keeps its words and ends with "not in form", so that it is never taken for an
empty result; the completion log holds which way every answer came (`Completion.decoding`).
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import replace

from localinstruct.formats import Malformed
from localinstruct.formats.strict_json import parse
from localinstruct.records import Completion, JsonObject, Prompt

NOT_IN_FORM = "not in form"
"""The finish_reason of an answer that is not the JSON that was asked for."""
_FENCED = re.compile(r"```(?:json)?[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL | re.IGNORECASE)

Ask = Callable[[Prompt], Awaitable[list[Completion]]]


async def structured(
    prompt: Prompt, constrained: Callable[[Prompt], Awaitable[list[Completion] | None]], free: Ask
) -> list[Completion]:
    """`prompt.n` completions in form, or with a finish_reason that says why not.

    `constrained` gives None where the server refused, hung or broke; `free` asks without the
    schema. The tokens of all requests are counted on the first completion.
    """
    first = await constrained(prompt) or []
    good = [
        replace(answer, text=text, decoding="constrained")
        for answer in first
        if answer.finish_reason == "stop"
        and (text := in_form(answer.text, prompt.schema)) is not None
    ]
    if len(good) == prompt.n:
        return good
    again = await free(replace(prompt, schema=None, n=prompt.n - len(good)))
    answers = good + [_read(answer, prompt.schema) for answer in again]
    spent = sum(answer.tokens for answer in [*first, *again])
    return [replace(answer, tokens=0 if place else spent) for place, answer in enumerate(answers)]


def in_form(text: str, schema: JsonObject | None) -> str | None:
    """The JSON in `text`, without a fence around it, when it fits the schema; else None."""
    from jsonschema import Draft202012Validator

    stripped = text.strip()
    fenced = _FENCED.fullmatch(stripped)
    bare = fenced[1].strip() if fenced else stripped
    try:
        value = parse(bare)
    except Malformed:
        return None
    return bare if Draft202012Validator(schema or {}).is_valid(value) else None


def _read(answer: Completion, schema: JsonObject | None) -> Completion:
    text = in_form(answer.text, schema)
    if text is not None and answer.finish_reason == "stop":
        return replace(answer, text=text, decoding="free")
    why = NOT_IN_FORM if answer.finish_reason == "stop" else answer.finish_reason
    return replace(answer, finish_reason=why, decoding="free")
