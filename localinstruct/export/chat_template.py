"""The training template of a student as a Jinja chat template, which other tools render.

`alpaca` and template files become a chat template that writes the same tokens for a user's last
turn. A template without a place for earlier turns leaves them out, as the student has never seen
any; a system prompt without a place stands before the user's first words, as in training. Checked
on sample rows with the student's own tokenizer before it is used.
"""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from localinstruct.errors import TrainerError
from localinstruct.records import Instance, Message
from localinstruct.templates import (
    WITHOUT_INPUT,
    Template,
    custom,
    has_place_for,
    messages,
    prompt_ids,
    render,
    unsupported,
)
from localinstruct.templates.rendered import default_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TURN = """\
{%- set at = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set at.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- if at.user < 0 -%}\
{{- raise_exception('There is no message of a user to answer.') -}}\
{%- endif -%}
"""
"""Finds the last turn of the user."""
NAMES = """\
{%- set begin = 1 if messages[0]['role'] == 'system' else 0 -%}
{%- set system = messages[0]['content'] if begin else '' -%}
{%- set history = messages[begin:at.user] -%}
{%- set instruction = messages[at.user]['content'] -%}
{%- set input = '' -%}
"""
"""Sets the names that a written template may use."""
MERGED = """\
{%- if system and history -%}
{%- set said = system + '\\n\\n' + history[0]['content'] -%}
{%- set history = [{'role': history[0]['role'], 'content': said}] + history[1:] -%}
{%- elif system -%}{%- set instruction = system + '\\n\\n' + instruction -%}{%- endif -%}
"""
"""Puts a system prompt without a place before the user's first words."""
ANSWER = (
    "if messages | length > at.user + 1 %}"
    "{{- messages[at.user + 1]['content'] + eos_token -}}"
    "{% endif %}\n"
)
"""An answer that is already there, as it was trained on: closed by the end-of-text token."""
SYSTEM_FIRST = "((messages[0]['content'] + '\\n\\n') if messages[0]['role'] == 'system' else '') + "
FIELDS = {
    "instruction": "messages[at.user]['content']",
    "input": "''",
    "system": "(messages[0]['content'] if messages[0]['role'] == 'system' else '')",
}
"""Placeholder of a plain template -> its value as a Jinja expression."""
SAMPLES = (
    Instance("What is the opposite of hot?"),
    Instance("Sort these words:\n\n  - stone\n  - apple "),
    Instance("Go on.", system="Be brief."),
    Instance("And 3?", history=(Message("user", "What is 1 + 1?"), Message("assistant", "2"))),
)


def chat_template(template: Template, tokenizer: "PreTrainedTokenizerBase") -> str:
    """Jinja for the student's tokenizer: its own for "chat", else one that renders `template`.

    TrainerError when a chat template cannot write the tokens of a sample row as training did.
    """
    if template == "chat":
        return default_template(tokenizer)
    begin = "{{- bos_token -}}\n" if _begins_with_bos(tokenizer) else ""
    jinja = f"{TURN}{begin}{_body(template)}{ANSWER}"
    _require_same_tokens(jinja, template, tokenizer)
    return jinja


def give_chat_template(template: Template, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Give the tokenizer of an export the student's chat template, beside those of other names."""
    own = tokenizer.chat_template
    made = chat_template(template, tokenizer)
    tokenizer.chat_template = {**own, "default": made} if isinstance(own, dict) else made


def _body(template: Template) -> str:
    """The text before the answer, as Jinja that ends inside an opened block."""
    if custom.is_custom(template) and custom.is_jinja(template):
        # Chat templates trim the lines of blocks, template files do not: `+` keeps them.
        merged = "" if has_place_for(template, "system") else _merged(template)
        body = re.sub(r"\{%(?![-+])", "{%+", template)
        return NAMES + merged + "{{- '' }}" + re.sub(r"(?<![-+])%\}", "+%}", body) + "{%+ "
    form = WITHOUT_INPUT if template == "alpaca" else custom.without_input(template)
    if has_place_for(template, "system"):
        return _literals(form, FIELDS) + "{%- "
    task = {"system": "''", "instruction": SYSTEM_FIRST + FIELDS["instruction"]}
    return _literals(form, FIELDS | task) + "{%- "


def _merged(template: Template) -> str:
    history = "" if has_place_for(template, "history") else "{%- set history = [] -%}\n"
    return history + MERGED


def _literals(form: str, fields: Mapping[str, str]) -> str:
    """A plain template as Jinja; its text becomes strings, so that blanks and braces stay text."""
    pieces = re.split("{(" + "|".join(custom.FIELDS) + ")}", form)  # every second one is a field
    return "".join(
        f"{{{{- {fields[piece] if number % 2 else ascii(piece)} -}}}}\n"
        for number, piece in enumerate(pieces)
    )


def _begins_with_bos(tokenizer: "PreTrainedTokenizerBase") -> bool:
    ids = tokenizer("x")["input_ids"]
    return bool(ids) and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


def _require_same_tokens(
    jinja: str, template: Template, tokenizer: "PreTrainedTokenizerBase"
) -> None:
    for row in SAMPLES:
        if unsupported(row, template):
            continue
        text = _render(jinja, row, tokenizer)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        if ids != prompt_ids(row, template, tokenizer):
            expected, _ = render(row, template, tokenizer)
            raise TrainerError(
                "train.template cannot be written as a chat template for other tools: for "
                f"{row.instruction!r} it would render\n{text!r}\ninstead of\n{expected!r}",
                "Write the template file with fewer of Jinja's means (docs/templates.md), and "
                "train again.",
            )


def _render(jinja: str, row: Instance, tokenizer: "PreTrainedTokenizerBase") -> str:
    from jinja2 import TemplateError

    turns = [{"role": turn.role, "content": turn.content} for turn in messages(row)]
    try:
        text = tokenizer.apply_chat_template(
            turns, chat_template=jinja, add_generation_prompt=True, tokenize=False
        )
        return str(text)
    except TemplateError as error:
        return f"({type(error).__name__}: {error})"
