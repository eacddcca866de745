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
- A special token that a row spells is text (Alpaca: the token), `special_tokens`.
- No [PAD] token is added: padding is masked by position, so the prompt's length does not depend on
  the pad id either.
- max_length comes from the recipe, not from the tokenizer; the fast tokenizer is used.

As in Alpaca, an answer that is cut at max_length has no end-of-text token: the student must not
learn to stop in the middle of a sentence. Every whole answer ends in one, and it is learnt. A
system prompt for which a template has no place stands before the user's first words. Not covered:
earlier turns under a template without a place for them (left out and counted, `unsupported`).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from localinstruct.errors import ModelError
from localinstruct.records import Instance, JsonObject, Message, Reject
from localinstruct.templates import chat, custom
from localinstruct.templates.beside import as_dict, has_tools, tools_for
from localinstruct.templates.chat import Unrenderable, messages
from localinstruct.templates.special_tokens import Unreadable, quoted_row, token_ids, tokens_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Template = str
"""alpaca, chat, or the text of a template file (`custom`)."""
LossOn = Literal["last", "all", "row"]
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
    unreadable: int = 0
    """Rows left out: they spell a special token that this tokenizer cannot read as text."""
    refused: dict[str, int] = field(default_factory=dict)
    """Reason -> rows that the template cannot hold."""


def unsupported(instance: Instance, template: Template) -> str | None:
    """The part of this row for which this template has no place, or None."""
    if template != "chat" and has_tools(instance):
        return "calls of tools"
    if template == "chat" or not instance.history or has_place_for(template, "history"):
        return None
    return "earlier turns of a conversation"


def has_place_for(template: Template, field: str) -> bool:
    """True when the template has a place for the field (`system` or `history`) of its own.

    For "chat", the student's own template decides: `chat.adapted`.
    """
    return template == "chat" or (template != "alpaca" and custom.has_place_for(template, field))


def without_system(instance: Instance) -> Instance:
    """The row with its system prompt before the user's first words, after which a line is empty."""
    if not instance.system:
        return instance
    if instance.history:
        first, *others = instance.history
        turn = Message(first.role, f"{instance.system}\n\n{first.content}")
        return replace(instance, system="", history=(turn, *others))
    task = f"{instance.system}\n\n{instance.instruction}"
    return replace(instance, system="", instruction=task)


def sort_out(
    rows: Sequence[Instance], problems: Iterable[Unrenderable | None]
) -> tuple[list[Instance], list[Reject]]:
    """(rows that their template can hold, rejects of the others), given the problem of each."""
    held, rejects = list[Instance](), list[Reject]()
    for row, problem in zip(rows, problems, strict=True):
        if problem is None:
            held.append(row)
        else:
            reason = f"the template {problem.reason}"
            rejects.append(Reject("dataset", reason, row.instruction, problem.detail))
    return held, rejects


def way_out(reasons: Iterable[str]) -> str:
    """Advice for rows that the template of training cannot hold, which it has as `reasons`."""
    reasons = list(reasons)
    if any("calls of tools" in reason for reason in reasons):
        return (
            "Leave rows with tools out, or use a student whose chat template writes them, with "
            "--set train.template=chat"
        )
    if any("has no place for" in reason for reason in reasons):
        return (
            "A template file with a place for `history` holds them: --set train.template=FILE "
            "(docs/templates.md has one); so does a student's own chat template, where it has one: "
            "--set train.template=chat"
        )
    return (
        "A template file holds them: --set train.template=FILE (docs/templates.md has one with "
        "places for all that a row can have)."
    )


def problem_of(instance: Instance, template: Template) -> Unrenderable | None:
    """The reason why a template other than "chat" cannot hold a row, or None."""
    part = unsupported(instance, template)
    return Unrenderable(f"has no place for {part}") if part else None


def render(
    instance: Instance, template: Template, tokenizer: "PreTrainedTokenizerBase | None" = None
) -> tuple[str, str]:
    """(prompt, completion) as text, without the final end-of-text token, which `encode` adds.

    "chat" needs the student's tokenizer; ModelError when it has no usable chat template.
    """
    if problem := problem_of(instance, template):
        raise problem
    if template == "chat":
        return _render_chat(instance, tokenizer)
    if not has_place_for(template, "system"):
        instance = without_system(instance)
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

    `loss_on` "all" learns the assistant's earlier turns too, where the template is the student's
    chat template; "row" every token, unless the row marks a turn as not to be learnt. ModelError
    when the tokenizer has no end-of-text token or spells it out as ordinary text.
    """
    row = quoted_row(instance, tokenizer)
    prompt, completion = render(row, template, tokenizer)
    text = prompt + completion + end_of_text(tokenizer)
    source = _prompt_ids(prompt, template, tokenizer)
    whole = _closed_once(_ids(text, template, tokenizer), tokenizer)
    if len(source) >= max_length or len(whole) <= len(source):
        return None
    labels = [IGNORED] * len(source) + whole[len(source) :]
    if loss_on == "row" and all(turn.learn for turn in (*row.history, *row.steps)):
        labels = list(whole)
    elif loss_on != "last" and template == "chat":
        labels = _with_earlier_turns(labels, row, text, tokenizer)
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
    row = quoted_row(instance, tokenizer)
    return _prompt_ids(render(row, template, tokenizer)[0], template, tokenizer)


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
    return _counted(rows, lambda row: encode(row, template, tokenizer, max_length, loss_on))


def encode_pairs(
    rows: Sequence[Instance],
    template: Template,
    tokenizer: "PreTrainedTokenizerBase",
    max_length: int,
) -> EncodedRows[EncodedPair]:
    """Every row with a rejected answer that leaves something to learn, with the counts."""
    return _counted(rows, lambda row: encode_pair(row, template, tokenizer, max_length))


def _counted(
    rows: Sequence[Instance], encode_row: Callable[[Instance], E | None]
) -> EncodedRows[E]:
    examples, refused, too_long, unreadable = list[E](), Counter[str](), 0, 0
    for row in rows:
        try:
            example = encode_row(row)
        except Unrenderable as error:
            refused[error.reason] += 1
            continue
        except Unreadable:
            unreadable += 1
            continue
        too_long += example is None
        examples += [example] if example else []
    return EncodedRows(
        examples,
        truncated=sum(example.truncated for example in examples),
        dropped_too_long=too_long,
        merged=sum(example.merged for example in examples),
        unreadable=unreadable,
        refused=dict(refused),
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
    prompt, rest = chat.assembled(instance, _rendered(instance, tokenizer))
    return prompt, rest.rstrip("\n").removesuffix(end_of_text(tokenizer))


def _rendered(instance: Instance, tokenizer: "PreTrainedTokenizerBase") -> list[chat.Rendered]:
    as_text = partial(tokenizer.apply_chat_template, tokenize=False, **tools_for(instance))

    def text(talk: chat.Talk) -> chat.Rendered:
        try:
            return str(as_text(talk.as_dicts(), add_generation_prompt=talk.opened))
        except Exception as error:  # templates raise anything, for a system prompt for example
            return chat.Refusal(str(error))

    return [text(talk) for talk in chat.talks(instance)]


def _with_earlier_turns(
    labels: list[int], instance: Instance, text: str, tokenizer: "PreTrainedTokenizerBase"
) -> list[int]:
    """Labels that also learn the assistant's earlier turns, each with the token that ends it."""
    said = messages(instance)
    turns = [as_dict(turn) for turn in said]
    spoken = [n for n, turn in enumerate(said) if turn.role == "assistant" and turn.learn]
    as_text = partial(tokenizer.apply_chat_template, tokenize=False, **tools_for(instance))
    spans = [_span(turns, number, text, as_text, end_of_text(tokenizer)) for number in spoken]
    places = zip(labels, *tokens_in(text, tokenizer), strict=False)

    def is_said(left: int, right: int) -> bool:
        # a mark that strips the blanks behind it (Phi 3's) reaches over the end of its turn
        return any(begin <= left < end and not text[end:right].strip() for begin, end in spans)

    return [
        token if left < right and is_said(left, right) else label
        for label, token, (left, right) in places
    ]


def _span(
    turns: list[JsonObject], number: int, text: str, as_text: Callable[..., Any], end: str
) -> tuple[int, int]:
    """(start, end) of an earlier turn of the assistant, in characters, without its introduction.

    What ends the turn belongs to it where it ends a last turn too. Some templates close the whole
    text behind a last turn (Phi 3), others close an earlier turn otherwise (gpt-oss): that is not
    learnt.
    """
    before = as_text(turns[:number], add_generation_prompt=True)
    through = as_text(turns[: number + 1]).rstrip("\n")
    pairs = zip(text, through, strict=False)
    same = next((at for at, (one, other) in enumerate(pairs) if one != other), len(through))
    common, answer = text[:same], turns[number]["content"].strip()
    if not common.startswith(before) or answer not in common[len(before) :]:
        raise ModelError(
            "The student's chat template writes an earlier answer differently than a last one (it "
            "drops its thinking, for example), so earlier answers cannot be learnt as they will "
            "be read.",
            "Use --set train.loss_on=last",
        )
    for closed in (through, through.removesuffix(end).rstrip("\n")):
        if common.startswith(closed):
            return len(before), len(closed)
    return len(before), common.index(answer, len(before)) + len(answer)


def _ids(text: str, template: Template, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    # the tokenizer puts its beginning of text before it; a chat template writes its own
    return token_ids(text, tokenizer, added=template != "chat")


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
