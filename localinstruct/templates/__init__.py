"""From a row to a student's prompt, tokens and labels.

The prompt is Alpaca's, the student's chat template's or a template file's. The trained-on text is
Alpaca's to the letter (stanford_alpaca, train.py), so that students can be compared; training,
held-out loss and evaluation all come through here and therefore see the same text. The token ids
and labels are those of Alpaca's preprocessing: the whole text tokenised once, the prompt alone, its
length masked. On purpose different:

- A prompt that fills max_length leaves nothing to learn: the row is left out and counted (Alpaca:
  fully masked).
- A student without an end-of-text token is refused (Alpaca misses specials that are '' and not
  None, its issue #193).
- A tokenizer that closes every text with its own end token: not counted as prompt, not doubled
  behind the answer.
- No [PAD] token is added: padding is masked by position, so the prompt's length does not depend on
  the pad id either.
- max_length comes from the recipe, not from the tokenizer; the fast tokenizer is used.

As in Alpaca, an answer that is cut at max_length has no end-of-text token: the student must not
learn to stop in the middle of a sentence. Every whole answer ends in one, and it is learnt. Not
covered: rows with earlier turns or a system prompt under the alpaca template, which has no place
for them (refused, `unsupported`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from localinstruct.errors import ModelError, RecipeError
from localinstruct.records import Instance, JsonObject, Message
from localinstruct.templates import custom
from localinstruct.templates.beside import as_dict, has_tools, lost_call, tools_for

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = str
"""alpaca, chat, or the text of a template file (`custom`)."""
LossOn = Literal["last", "all"]
"""Turns of the assistant that are learnt."""

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
NEXT_TASK = "\n\n### Instruction:"
"""Stop string of the alpaca template: a model that goes on with a task of its own writes it."""

IGNORED = -100
"""Label of a token that is not learnt."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row as tokens.

    `labels` is as long as `input_ids`, equal on the answer, IGNORED on the prompt.
    """

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False
    """The answer lost its end to max_length."""
    merged: bool = False
    """A token spans prompt and answer.

    The model then answers after slightly other tokens than it was trained on.
    """

    @property
    def length(self) -> int:
        """Tokens that a device has to work on."""
        return len(self.input_ids)


@dataclass(frozen=True, slots=True)
class EncodedPair:
    """A preference pair as tokens: a prompt, the chosen answer, the rejected one."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    truncated: bool = False
    merged: bool = False

    @property
    def length(self) -> int:
        """Tokens that a device has to work on."""
        return 2 * len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)


E = TypeVar("E", Encoded, EncodedPair)


@dataclass(frozen=True, slots=True)
class EncodedRows(Generic[E]):
    """Rows ready for training, in order, with the counts of those cut, left out or merged."""

    examples: Sequence[E]
    truncated: int
    dropped_too_long: int
    merged: int


def unsupported(instance: Instance, template: Template) -> str | None:
    """The part of this row for which this template has no place, or None."""
    if template != "chat" and has_tools(instance):
        return "calls of tools"
    if template == "alpaca" and instance.history:
        return "earlier turns of a conversation"
    if template == "alpaca" and instance.system:
        return "a system prompt"
    if template in custom.NAMES:
        return None
    if instance.history and not custom.has_place_for(template, "history"):
        return "earlier turns of a conversation"
    if instance.system and not custom.has_place_for(template, "system"):
        return "a system prompt"
    return None


def require_supported(rows: Sequence[Instance], template: Template) -> None:
    """RecipeError, with the count of each reason, when this template cannot hold some rows."""
    reasons = [reason for row in rows if (reason := unsupported(row, template))]
    if not reasons:
        return
    counts = ", ".join(f"{reasons.count(reason)} with {reason}" for reason in sorted(set(reasons)))
    name = "the template file" if custom.is_custom(template) else template
    raise RecipeError(
        f"train.template: {name} has no place for {len(reasons)} of {len(rows)} rows ({counts}).",
        "Use a student with a chat template and --set train.template=chat",
    )


def messages(instance: Instance) -> list[Message]:
    """The turns before the answer: system, earlier turns, instruction with its input, tools.

    An empty line stands between instruction and input.
    """
    system = [Message("system", instance.system)] if instance.system else []
    task = instance.instruction
    if instance.input:
        task += f"\n\n{instance.input}"
    return [*system, *instance.history, Message("user", task), *instance.steps]


def render(
    instance: Instance, template: Template, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> tuple[str, str]:
    """(prompt, completion) as text, without the final end-of-text token, which `encode` adds.

    "chat" needs the student's tokenizer; ModelError when it has no usable chat template.
    """
    require_supported([instance], template)
    if template == "chat":
        return _render_chat(instance, tokenizer)
    if custom.is_custom(template):
        return custom.prompt_of(instance, template), instance.output
    form = WITH_INPUT if instance.input != "" else WITHOUT_INPUT
    return form.format(instruction=instance.instruction, input=instance.input), instance.output


def encode(
    instance: Instance,
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    loss_on: LossOn = "last",
) -> Encoded | None:
    """One row as at most `max_length` tokens, or None when the prompt alone fills them.

    With `loss_on` "all" the assistant's earlier turns are learnt too, where the template is the
    student's chat template. ModelError when the tokenizer has no end-of-text token or spells it out
    as ordinary text.
    """
    prompt, completion = render(instance, template, tokenizer)
    text = prompt + completion + end_of_text(tokenizer)
    source = _prompt_ids(prompt, template, tokenizer)
    whole = _closed_once(_ids(text, template, tokenizer), tokenizer)
    if len(source) >= max_length or len(whole) <= len(source):
        return None
    labels = [IGNORED] * len(source) + whole[len(source) :]
    if loss_on == "all" and template == "chat":
        labels = _with_earlier_turns(labels, instance, text, tokenizer)
    return Encoded(
        whole[:max_length],
        labels[:max_length],
        truncated=len(whole) > max_length,
        merged=whole[: len(source)] != source,
    )


def prompt_ids(
    instance: Instance, template: Template, tokenizer: "PreTrainedTokenizerBase"
) -> list[int]:
    """The tokens before a row's answer, as training reads them: the prompt of a student."""
    return _prompt_ids(render(instance, template, tokenizer)[0], template, tokenizer)


def encode_pair(
    instance: Instance, template: Template, tokenizer: "PreTrainedTokenizerBase", max_length: int
) -> EncodedPair | None:
    """A row with its rejected answer as tokens; None when the prompt alone fills `max_length`."""
    other = replace(instance, output=instance.rejected or "")
    chosen, rejected = (encode(row, template, tokenizer, max_length) for row in (instance, other))
    if chosen is None or rejected is None:
        return None
    border = chosen.labels.count(IGNORED)
    # a token across prompt and answer differs: it belongs to the answers then
    while chosen.input_ids[:border] != rejected.input_ids[:border]:
        border -= 1
    return EncodedPair(
        chosen.input_ids[:border],
        chosen.input_ids[border:],
        rejected.input_ids[border:],
        truncated=chosen.truncated or rejected.truncated,
        merged=chosen.merged or rejected.merged,
    )


def encode_all(
    rows: Sequence[Instance],
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
    loss_on: LossOn = "last",
) -> EncodedRows[Encoded]:
    """Every row that leaves something to learn, with the counts of those cut or left out."""
    require_supported(rows, template)
    return _counted([encode(row, template, tokenizer, max_length, loss_on) for row in rows])


def encode_pairs(
    rows: Sequence[Instance],
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
) -> EncodedRows[EncodedPair]:
    """Every row with a rejected answer that leaves something to learn, with the counts."""
    require_supported(rows, template)
    return _counted([encode_pair(row, template, tokenizer, max_length) for row in rows])


def _counted(encoded: Sequence[E | None]) -> EncodedRows[E]:
    examples = [example for example in encoded if example]
    return EncodedRows(
        examples,
        truncated=sum(example.truncated for example in examples),
        dropped_too_long=len(encoded) - len(examples),
        merged=sum(example.merged for example in examples),
    )


def end_of_text(tokenizer: "PreTrainedTokenizerBase") -> str:
    """The end-of-text token; ModelError when the tokenizer has none (None or '')."""
    if not tokenizer.eos_token:
        raise ModelError(
            "The student's tokenizer has no end-of-text token, so the student could never learn "
            "to stop.",
            'Add "eos_token" to the student\'s tokenizer_config.json, naming a token of its '
            "vocabulary.",
        )
    return str(tokenizer.eos_token)


def _render_chat(instance: Instance, tokenizer: "PreTrainedTokenizerBase") -> tuple[str, str]:
    """The prompt up to the assistant's words, and the rest of the text less its end token."""
    if not getattr(tokenizer, "chat_template", None):
        raise ModelError(
            "train.template is chat, but the student has no chat template (it is a base model).",
            "Use --set train.template=alpaca, or a student whose tokenizer_config.json has a "
            "chat_template.",
        )
    turns = [as_dict(turn) for turn in messages(instance)]
    answer = as_dict(Message("assistant", instance.output, tool_calls=instance.tool_calls))
    as_text = partial(tokenizer.apply_chat_template, tokenize=False, **tools_for(instance))
    try:
        prompt = str(as_text(turns, add_generation_prompt=True))
        whole = str(as_text([*turns, answer]))
    except Exception as error:  # templates raise anything, for a system prompt for example
        raise ModelError(
            f"The student's chat template refuses a row: {error}.",
            "Use --set train.template=alpaca",
        ) from None
    if lost := lost_call(instance, whole):
        raise ModelError(
            f"The student's chat template leaves {lost} out.",
            "Leave rows with tools out, or use a student whose chat template renders them.",
        )
    if not whole.startswith(prompt):
        raise ModelError(
            "The student's chat template writes the prompt differently once it is answered, so "
            "the answer cannot be told from the prompt.",
            "Use --set train.template=alpaca, or mend the student's chat_template.",
        )
    return prompt, whole[len(prompt) :].rstrip("\n").removesuffix(end_of_text(tokenizer))


def _with_earlier_turns(
    labels: list[int], instance: Instance, text: str, tokenizer: "PreTrainedTokenizerBase"
) -> list[int]:
    """Labels that also learn the assistant's earlier turns, each with the token that ends it."""
    said = messages(instance)
    turns = [as_dict(turn) for turn in said]
    spoken = [n for n, turn in enumerate(said) if turn.role == "assistant" and turn.learn]
    as_text = partial(tokenizer.apply_chat_template, tokenize=False, **tools_for(instance))
    spans = [_span(turns, number, text, as_text) for number in spoken]
    tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    places = zip(labels, tokens["input_ids"], tokens["offset_mapping"], strict=False)
    return [
        token if any(begin <= left < right <= end for begin, end in spans) else label
        for label, token, (left, right) in places
    ]


def _span(
    turns: list[JsonObject], number: int, text: str, as_text: Callable[..., Any]
) -> tuple[int, int]:
    """(start, end) of an earlier turn of the assistant, in characters, without its introduction."""
    before = as_text(turns[:number], add_generation_prompt=True)
    through = as_text(turns[: number + 1]).rstrip("\n")
    if not (text.startswith(through) and through.startswith(before)):
        raise ModelError(
            "The student's chat template writes an earlier answer differently than a last one (it "
            "drops its thinking, for example), so earlier answers cannot be learnt as they will "
            "be read.",
            "Use --set train.loss_on=last",
        )
    return len(before), len(through)


def _ids(text: str, template: Template, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    # the tokenizer puts its beginning of text before it; a chat template writes its own
    special = template != "chat"
    ids: list[int] = tokenizer(text, add_special_tokens=special, verbose=False)["input_ids"]
    return ids


def _prompt_ids(prompt: str, template: Template, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """A prompt's ids without the end token that some tokenizers append to every text."""
    ids = _ids(prompt, template, tokenizer)
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _closed_once(ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    """Ids that end in exactly one end token."""
    end = tokenizer.eos_token_id
    if not ids or ids[-1] != end:
        raise ModelError(
            "The student's tokenizer does not read its end-of-text token "
            f"{tokenizer.eos_token!r} as one token.",
            "Mark it as special in the student's tokenizer files.",
        )
    return ids[:-1] if ids[-2:] == [end, end] else ids
