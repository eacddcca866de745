"""Facts about a chat template, found by rendering it: which is the default, and where turns end.

The Jinja source is not read: what a template writes for known words is looked at. Not covered:
tools, thoughts, templates that are not the default one of several.
"""

from typing import TYPE_CHECKING

from localinstruct.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUESTION, ANSWER, NEXT = "Q1asked", "A1said", "Q2again"
"""Words of the conversations that are rendered; none is part of another."""


def default_template(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The chat template that chats are rendered with; ModelError where several have no default."""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:
        named = tokenizer.chat_template
        found = f"only {', '.join(sorted(named))}" if isinstance(named, dict) else "none"
        raise ModelError(
            f"The student needs a chat template named default, found {found}.",
            "Save one of them as chat_template.jinja in the model's folder.",
        ) from None


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """The special token that the chat template writes after an answer, or None.

    Gemma's `<end_of_turn>`, Llama 3's `<|eot_id|>`, ChatML's `<|im_end|>`, Phi's `<|end|>`: often
    another one than the end-of-text token of the tokenizer.
    """
    turns = [_turn("user", QUESTION), _turn("assistant", ANSWER)]
    for asked in (turns, [*turns, _turn("user", NEXT)]):  # some close earlier answers only
        after = (rendered(tokenizer, asked) or "").rpartition(ANSWER)[2].lstrip()
        starts = [token for token in special_tokens(tokenizer) if after.startswith(token)]
        if starts:
            return max(starts, key=len)
    return None


def end_ids(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids at which an answer ends: the end of text, and the end of a turn where it differs."""
    end = end_of_turn(tokenizer)
    ids = [tokenizer.eos_token_id, tokenizer.convert_tokens_to_ids(end) if end else None]
    return list(dict.fromkeys(number for number in ids if isinstance(number, int)))


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Texts that the tokenizer reads as one special token each."""
    added = tokenizer.added_tokens_decoder.values()
    return [token.content for token in added if token.special and token.content]


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def rendered(
    tokenizer: "PreTrainedTokenizerBase", turns: list[dict[str, str]], **names: object
) -> str | None:
    """The template's text, given more names, or None where it refuses the conversation."""
    from jinja2 import TemplateError

    try:
        return str(tokenizer.apply_chat_template(turns, tokenize=False, **names))
    except (TemplateError, ValueError, TypeError, KeyError, AttributeError):
        return None
