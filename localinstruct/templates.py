"""From a row to what a model reads: Alpaca's two prompts or the student's chat template, and their tokens and labels.

The trained-on text is Alpaca's to the letter (stanford_alpaca, train.py), so that students can be compared; training,
held-out loss and evaluation all come through here and therefore see the same text. The token ids and labels are those
of Alpaca's preprocessing: the whole text tokenised once, the prompt alone, its length masked. On purpose different:

- A prompt that fills max_length leaves nothing to learn: the row is left out and counted (Alpaca: fully masked).
- A student without an end-of-text token is refused (Alpaca misses specials that are '' and not None, its issue #193).
- A tokenizer that closes every text with its own end token: not counted as prompt, not doubled behind the answer.
- No [PAD] token is added: padding is masked by position, so the prompt's length does not depend on the pad id either.
- max_length comes from the recipe, not from the tokenizer; the fast tokenizer is used.

As in Alpaca, an answer that is cut at max_length has no end-of-text token: the student must not learn to stop in the
middle of a sentence. Every whole answer ends in one, and it is learnt. Not covered: rows with earlier turns or a system
prompt under the alpaca template, which has no place for them (refused, `unsupported`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from localinstruct.errors import ModelError, RecipeError
from localinstruct.records import Instance, Message

Template = Literal["alpaca", "chat"]

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
NEXT_TASK = "\n\n### Instruction:"
"""What a model writes that goes on with another task of its own: a stop string of the alpaca template."""

IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as tokens: `labels` equals `input_ids` on the answer, is IGNORED on the prompt, and is as long."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    """The answer lost its end to max_length."""
    merged: bool = False
    """A token spans prompt and answer, so the model answers after slightly other tokens than it was trained on."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """Rows ready for training, in order, and how many were cut, left out or merged at the border."""

    examples: list[Encoded]
    truncated: int
    dropped_too_long: int
    merged: int


def unsupported(instance: Instance, template: Template) -> str | None:
    """Why this row cannot be written in this template, or None."""
    if template == "alpaca" and instance.history:
        return "earlier turns of a conversation"
    if template == "alpaca" and instance.system:
        return "a system prompt"
    return None


def require_supported(rows: Sequence[Instance], template: Template) -> None:
    """RecipeError, with the count of each reason, when some rows cannot be written in this template."""
    reasons = [reason for row in rows if (reason := unsupported(row, template))]
    if not reasons:
        return
    counts = ", ".join(f"{reasons.count(reason)} with {reason}" for reason in sorted(set(reasons)))
    raise RecipeError(
        f"train.template: {template} has no place for {len(reasons)} of {len(rows)} rows ({counts}).",
        "Use a student with a chat template and --set train.template=chat",
    )


def messages(instance: Instance) -> list[Message]:
    """The turns before the answer: system, earlier turns, and the instruction with its input after an empty line."""
    system = [Message("system", instance.system)] if instance.system else []
    asked = f"{instance.instruction}\n\n{instance.input}" if instance.input else instance.instruction
    return [*system, *instance.history, Message("user", asked)]


def render(instance: Instance, template: Template, tokenizer: Any = None) -> tuple[str, str]:
    """(prompt, completion) as text; the completion without the final end-of-text token, which `encode` adds.

    "chat" needs the student's tokenizer; ModelError when it has no usable chat template.
    """
    require_supported([instance], template)
    if template == "chat":
        return _render_chat(instance, tokenizer)
    form = WITH_INPUT if instance.input != "" else WITHOUT_INPUT
    return form.format(instruction=instance.instruction, input=instance.input), instance.output


def encode(instance: Instance, template: Template, tokenizer: Any, max_length: int) -> Encoded | None:
    """One row as at most `max_length` tokens, or None when the prompt alone fills them.

    ModelError when the tokenizer has no end-of-text token or spells it out as ordinary text.
    """
    prompt, completion = render(instance, template, tokenizer)
    special = template == "alpaca"  # a chat template writes its own beginning of text
    source = _open(tokenizer(prompt, add_special_tokens=special, verbose=False)["input_ids"], tokenizer)
    whole = tokenizer(prompt + completion + end_of_text(tokenizer), add_special_tokens=special, verbose=False)[
        "input_ids"
    ]
    whole = _closed_once(whole, tokenizer)
    if len(source) >= max_length or len(whole) <= len(source):
        return None
    labels = [IGNORED] * len(source) + whole[len(source) :]
    return Encoded(
        whole[:max_length],
        labels[:max_length],
        truncated=len(whole) > max_length,
        merged=whole[: len(source)] != source,
    )


def encode_all(rows: Sequence[Instance], template: Template, tokenizer: Any, max_length: int) -> EncodedRows:
    """Every row that leaves something to learn, with the counts of what was cut or left out."""
    require_supported(rows, template)
    found = [encode(row, template, tokenizer, max_length) for row in rows]
    examples = [example for example in found if example]
    return EncodedRows(
        examples,
        truncated=sum(example.truncated for example in examples),
        dropped_too_long=len(rows) - len(examples),
        merged=sum(example.merged for example in examples),
    )


def end_of_text(tokenizer: Any) -> str:
    """The end-of-text token; ModelError when the tokenizer has none (None or '')."""
    if not tokenizer.eos_token:
        raise ModelError(
            "The student's tokenizer has no end-of-text token, so the student could never learn to stop.",
            'Add "eos_token" to the student\'s tokenizer_config.json, naming a token of its vocabulary.',
        )
    return str(tokenizer.eos_token)


def _render_chat(instance: Instance, tokenizer: Any) -> tuple[str, str]:
    """The prompt up to where the assistant speaks, and what the template writes from there on, less its end token."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "train.template is chat, but the student has no chat template (it is a base model).",
            "Use --set train.template=alpaca, or a student whose tokenizer_config.json has a chat_template.",
        )
    turns = [{"role": turn.role, "content": turn.content} for turn in messages(instance)]
    answer = {"role": "assistant", "content": instance.output}
    try:
        prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        whole = tokenizer.apply_chat_template([*turns, answer], tokenize=False)
    except Exception as error:  # templates raise whatever they like, for a system prompt for example
        raise ModelError(
            f"The student's chat template refuses a row: {error}.", "Use --set train.template=alpaca"
        ) from None
    if not whole.startswith(prompt):
        raise ModelError(
            "The student's chat template writes the prompt differently once it is answered, so the answer cannot be "
            "told from the prompt.",
            "Use --set train.template=alpaca, or mend the student's chat_template.",
        )
    return prompt, whole[len(prompt) :].rstrip("\n").removesuffix(end_of_text(tokenizer))


def _open(ids: list[int], tokenizer: Any) -> list[int]:
    """A prompt's ids without the end token that some tokenizers append to every text."""
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _closed_once(ids: list[int], tokenizer: Any) -> list[int]:
    """Ids that end in exactly one end token."""
    end = tokenizer.eos_token_id
    if not ids or ids[-1] != end:
        raise ModelError(
            f"The student's tokenizer does not read its end-of-text token {tokenizer.eos_token!r} as one token.",
            "Mark it as special in the student's tokenizer files.",
        )
    return ids[:-1] if ids[-2:] == [end, end] else ids
