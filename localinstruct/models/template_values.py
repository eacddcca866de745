"""Values of models.yaml for the names that a chat template reads, such as enable_thinking: false.

They stand as assignments before the template's first line, so that they hold wherever it is used:
transformers, vLLM and llama.cpp have each another way to pass them. Not covered: endpoints, which
are told with each request.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from localinstruct.config import did_you_mean
from localinstruct.models.chat_template import chosen_text, template_text
from localinstruct.models.gguf_header import read_header

Value = bool | int | float | str
GIVEN = frozenset(
    ("messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token")
)
"""Names that whoever renders a template gives it."""


def with_values(place: Path, given: str | None, values: Mapping[str, Value]) -> str | None:
    """The text of a model's chat template, with values; `given` where none can be found.

    `place` is the model's directory or GGUF file, `given` the template of models.yaml, if any.
    """
    text = _text(place, given)
    if text is None:
        return given
    return "".join(f"{{% set {name} = {_literal(one)} %}}" for name, one in values.items()) + text


def value_problems(place: Path, given: str | None, values: Mapping[str, Value]) -> list[str]:
    """What is wrong with values for a template: names that it does not read; [] if nothing is."""
    from jinja2 import TemplateSyntaxError, meta
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    text = _text(place, given)
    if text is None:
        return ["chat_template_kwargs: expected a chat template that reads them, found none"]
    environment = ImmutableSandboxedEnvironment(extensions=["jinja2.ext.loopcontrols"])
    try:
        reads = meta.find_undeclared_variables(environment.parse(text)) - GIVEN
    except TemplateSyntaxError:  # a tag that only transformers knows
        return []
    return [
        f"chat_template_kwargs: the chat template does not read {name}; "
        f"{did_you_mean(name, reads) if reads else 'it reads no names of its own'}"
        for name in values
        if name not in reads
    ]


def _text(place: Path, given: str | None) -> str | None:
    if place.is_dir():
        return chosen_text(place, given)
    if given:
        return template_text(given)
    return (read_header(place).text("tokenizer.chat_template") or None) if place.is_file() else None


def _literal(value: Value) -> str:
    """A value as Jinja writes it, which for these is JSON."""
    return json.dumps(value)
