"""The template a student was trained with, as a chat template: what other tools render before they
ask it.

`alpaca` and template files become a chat template that writes the same tokens for a user's last
turn. A template without a place for earlier turns or a system prompt leaves them out, as the
student has never seen any. Checked on sample rows with the student's own tokenizer before it is
written.
"""

import re
from typing import Any

from localinstruct.errors import TrainerError
from localinstruct.records import Instance, Message
from localinstruct.templates import (
    WITHOUT_INPUT,
    Template,
    messages,
    prompt_ids,
    render,
    unsupported,
    custom,
)

TURN = """\
{%- set at = namespace(user=-1) -%}
{%- for message in messages -%}
{%- if message['role'] == 'user' -%}{%- set at.user = loop.index0 -%}{%- endif -%}
{%- endfor -%}
{%- if at.user < 0 -%}{{- raise_exception('There is no message of a user to answer.') -}}{%- endif -%}
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
ANSWER = (
    "if messages | length > at.user + 1 %}{{- messages[at.user + 1]['content'] + eos_token "
    "-}}{% endif %}\n"
)
"""An answer that is already there, as it was trained on: closed by the end-of-text token."""
SAMPLES = (
    Instance("What is the opposite of hot?"),
    Instance("Sort these words:\n\n  - stone\n  - apple "),
    Instance("Go on.", system="Be brief."),
    Instance("And 3?", history=(Message("user", "What is 1 + 1?"), Message("assistant", "2"))),
)


def chat_template(template: Template, tokenizer: Any) -> str:
    """Jinja for the student's tokenizer: its own for "chat", else one that renders `template`.

    TrainerError when a chat template cannot write the tokens of a sample row as training did.
    """
    if template == "chat":
        return str(tokenizer.chat_template)
    begin = "{{- bos_token -}}\n" if _begins_with_bos(tokenizer) else ""
    made = f"{TURN}{begin}{_body(template)}{ANSWER}"
    _require_same_tokens(made, template, tokenizer)
    return made


def _body(template: Template) -> str:
    """What stands before the answer. Chat templates trim the lines of blocks, template files do
    not: `+` keeps them."""
    if custom.is_custom(template) and custom.is_jinja(template):
        body = re.sub(r"\{%(?![-+])", "{%+", template)
        return NAMES + "{{- '' }}" + re.sub(r"(?<![-+])%\}", "+%}", body) + "{%+ "
    return (
        _literals(WITHOUT_INPUT if template == "alpaca" else custom.without_input(template))
        + "{%- "
    )


def _literals(form: str) -> str:
    """A plain template as Jinja: its text as strings, so that no white space and no brace means
    anything else."""
    pieces = re.split("{(" + "|".join(custom.FIELDS) + ")}", form)
    names = {
        "instruction": "messages[at.user]['content']",
        "input": "''",
        "system": "(messages[0]['content'] if messages[0]['role'] == 'system' else '')",
    }
    return "".join(
        f"{{{{- {names[piece] if number % 2 else ascii(piece)} -}}}}\n"
        for number, piece in enumerate(pieces)
    )


def _begins_with_bos(tokenizer: Any) -> bool:
    ids = tokenizer("x")["input_ids"]
    return bool(ids) and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id


def _require_same_tokens(made: str, template: Template, tokenizer: Any) -> None:
    for row in SAMPLES:
        if unsupported(row, template):
            continue
        asked = _rendered(made, row, tokenizer)
        if tokenizer(asked, add_special_tokens=False)["input_ids"] != prompt_ids(
            row, template, tokenizer
        ):
            raise TrainerError(
                "train.template cannot be written as a chat template for other tools: for "
                f"{row.instruction!r} it would render\n{asked!r}\ninstead "
                f"of\n{render(row, template, tokenizer)[0]!r}",
                "Write the template file with fewer of Jinja's means (docs/templates.md), and "
                "train again.",
            )


def _rendered(made: str, row: Instance, tokenizer: Any) -> str:
    from jinja2 import TemplateError

    turns = [{"role": turn.role, "content": turn.content} for turn in messages(row)]
    try:
        return str(
            tokenizer.apply_chat_template(
                turns, chat_template=made, add_generation_prompt=True, tokenize=False
            )
        )
    except TemplateError as error:
        return f"({type(error).__name__}: {error})"
