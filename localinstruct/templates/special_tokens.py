"""Special tokens spelt out in a text: they stay text, read as the tokenizer reads any other text.

"</s>" in an answer about HTML is four characters, not the end of the answer. A row's texts are
quoted before they meet a template: a mark that no text has breaks every spelling. What is still
spelt after rendering was written by the template. Such a text is read by a copy of the tokenizer
in which the special tokens have other names, so that all else (pre-tokenizer, merges over the
border of template and row, spaces put in front) stays to the letter; a text without quotes is read
by the tokenizer itself. Marks of thoughts in an answer stay tokens: they are the model's way to
say where it thinks. Not covered: tokenizers without a `tokenizers` backend (`Unreadable`).
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from localinstruct.errors import DataError
from localinstruct.records import Instance, Message, Prompt

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

MARK = "\ufdd0"
"""A noncharacter, which Unicode leaves to programs: no text that people exchange has it."""
NAME = "\U00010000{}\U00010000"
"""Name of a special token in the copy: a letter of Linear B around its number.

Normalizers (lower case, NFKC) leave it as it is.
"""
MAY_BEGIN = re.compile(r"[<\[{|]")
"""Characters with which the special tokens of all known models begin."""
_THOUGHTS = re.compile(r"think|thought|reason", re.IGNORECASE)
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A byte of a letter that a model of pieces does not know: part of its alphabet."""


class Unreadable(DataError):
    """Error: a text spells a special token, and this tokenizer can only read the token."""


@dataclass(frozen=True)
class Specials:
    """The special tokens of a tokenizer, as patterns, and the copy in which they are renamed."""

    spelt: re.Pattern[str] | None
    """The beginning of each spelling, overlapping ones too; None where there are no such tokens."""
    in_answers: re.Pattern[str] | None
    """The same without marks of thoughts."""
    written: re.Pattern[str]
    """A token that a template wrote, or a mark."""
    names: Mapping[str, str]
    """Token -> its name in the copy."""
    thoughts: bool
    """A mark of thoughts is among them."""

    def quoted(self, text: str, *, answer: bool = False) -> str:
        """The text with marks in every spelling of a special token."""
        pattern = self.in_answers if answer else self.spelt
        return pattern.sub(rf"{MARK}\g<0>{MARK}", text) if pattern else text


def quoted_row(instance: Instance, tokenizer: "PreTrainedTokenizerBase") -> Instance:
    """The row with its texts quoted: what a template may be given."""
    specials = specials_of(tokenizer)
    if not specials.spelt:
        return instance
    return with_texts(instance, specials.quoted, partial(specials.quoted, answer=True))


def with_texts(
    instance: Instance, change: Callable[[str], str], answers: Callable[[str], str] | None = None
) -> Instance:
    """The row with every text changed; the assistant's by `answers`, where that is given."""
    answers = answers or change

    def changed(turn: Message) -> Message:
        content = (answers if turn.role == "assistant" else change)(turn.content)
        return replace(turn, content=content, tool_calls=change(turn.tool_calls))

    return replace(
        instance,
        instruction=change(instance.instruction),
        input=change(instance.input),
        system=change(instance.system),
        output=answers(instance.output),
        rejected=answers(instance.rejected),
        history=tuple(map(changed, instance.history)),
        steps=tuple(map(changed, instance.steps)),
        tool_calls=change(instance.tool_calls),
        tools=change(instance.tools),
    )


def token_ids(text: str, tokenizer: "PreTrainedTokenizerBase", *, added: bool) -> list[int]:
    """Token ids of a rendered text; with `added` the tokenizer puts its own tokens around it."""
    if MARK not in text:
        ids: list[int] = tokenizer(text, add_special_tokens=added, verbose=False)["input_ids"]
        return ids
    return _read_by_copy(text, tokenizer, added)[0]


def tokens_in(
    text: str, tokenizer: "PreTrainedTokenizerBase"
) -> tuple[list[int], list[tuple[int, int]]]:
    """(ids, the places of each in the rendered text) without the tokenizer's own tokens."""
    if MARK not in text:
        read = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return read["input_ids"], read["offset_mapping"]
    return _read_by_copy(text, tokenizer, added=False)


def places_of_text(text: str) -> tuple[str, tuple[int, ...]]:
    """A text rendered with `may_be_spelt` rows, without its marks, and where they stood."""
    pieces, places, length = text.split(MARK), [], 0
    for piece in pieces[:-1]:
        length += len(piece)
        places.append(length)
    return "".join(pieces), tuple(places)


def may_be_spelt(text: str) -> str:
    """The text with a mark before every character that may begin a special token."""
    return MAY_BEGIN.sub(rf"{MARK}\g<0>", text)


def prompt_token_ids(
    prompt: Prompt,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    chat: bool,
    chat_template: str | None = None,
) -> list[int] | None:
    """Token ids of a prompt whose texts spell a special token; None where they spell none.

    `chat` says how the model is asked, `chat_template` replaces the tokenizer's own. Unreadable
    where it cannot be said in tokens.
    """
    specials = specials_of(tokenizer)
    if prompt.text and (prompt.raw or not chat):
        text = _quoted_places(prompt, specials) if prompt.raw else specials.quoted(prompt.text)
        return token_ids(text, tokenizer, added=True) if MARK in text else None
    turns = prompt.messages or (Message("user", prompt.text),)
    quoted = [
        replace(turn, content=specials.quoted(turn.content, answer=turn.role == "assistant"))
        for turn in turns
    ]
    if not any(MARK in turn.content for turn in quoted):
        return None
    return token_ids(_rendered(quoted, tokenizer, chat_template), tokenizer, added=False)


def _quoted_places(prompt: Prompt, specials: Specials) -> str:
    """The text with marks in the spellings that begin at `prompt.plain`."""
    if not (specials.spelt and prompt.plain):
        return prompt.text
    plain = set(prompt.plain)

    def mark(match: re.Match[str]) -> str:
        return f"{MARK}{match[0]}{MARK}" if match.start() in plain else match[0]

    return specials.spelt.sub(mark, prompt.text)


def _rendered(
    turns: Sequence[Message], tokenizer: "PreTrainedTokenizerBase", chat_template: str | None
) -> str:
    """The chat up to the assistant's words, as a server renders it."""
    words = turns[-1].content.strip()
    texts = [{"role": turn.role, "content": turn.content} for turn in turns]
    parts = [
        {"role": turn.role, "content": [{"type": "text", "text": turn.content}]} for turn in turns
    ]
    for form in (texts, parts):  # some templates read text only as a part of the content
        try:
            text = tokenizer.apply_chat_template(
                form, chat_template=chat_template, tokenize=False, add_generation_prompt=True
            )
        except Exception as error:  # templates raise anything
            raise Unreadable(f"The chat template refuses this prompt: {error}.") from None
        if words in text:
            return str(text)
    raise Unreadable("The chat template changes a text that spells a special token.")


def specials_of(tokenizer: "PreTrainedTokenizerBase") -> Specials:
    """The special tokens of a tokenizer, found once."""
    return _specials(tokenizer, str(tokenizer.eos_token), str(tokenizer.chat_template or ""))


@lru_cache(maxsize=8)
def _specials(tokenizer: "PreTrainedTokenizerBase", end: str, template: str) -> Specials:
    try:
        added = tokenizer.added_tokens_decoder.values()
    except (AttributeError, NotImplementedError):  # mistral-common, which never reads one in a text
        added = ()
    tokens = [
        token for token in added if _is_control(token.content, end, template, special=token.special)
    ]
    contents = [token.content for token in tokens]
    in_answers = [content for content in contents if not _THOUGHTS.search(content)]
    written = rf"{MARK}|(?<!{MARK})(?:{any_of(contents)})" if contents else MARK
    return Specials(
        _beginnings(contents),
        _beginnings(in_answers),
        re.compile(written),
        {content: NAME.format(number) for number, content in enumerate(contents)},
        len(in_answers) < len(contents),
    )


def _is_control(content: str, end: str, template: str, *, special: bool) -> bool:
    """Tell whether a token of its own steers the model, rather than shortens a text.

    Tokenizer files often forget to call the marks of a template special.
    """
    if content.isspace() or not content or _BYTE.fullmatch(content):
        return False
    if special or content == end:
        return True
    mark = not content.isalnum() and not _THOUGHTS.search(content)
    return mark and content in template


def _beginnings(contents: Sequence[str]) -> re.Pattern[str] | None:
    """The first character of each spelling; case does not matter, as a normalizer may change it."""
    return re.compile(f"(?={any_of(contents)})(?s:.)", re.IGNORECASE) if contents else None


def any_of(contents: Sequence[str]) -> str:
    """Pattern of the longest of these texts at a place: a tree, as some models have thousands."""
    branches: dict[str, list[str]] = {}
    for content in filter(None, contents):
        branches.setdefault(content[0], []).append(content[1:])
    ways = [re.escape(letter) + any_of(rest) for letter, rest in branches.items()]
    if len(ways) == 1 and "" not in contents:
        return ways[0]
    return f"(?:{'|'.join(ways)}){'?' if '' in contents else ''}" if ways else ""


def _read_by_copy(
    text: str, tokenizer: "PreTrainedTokenizerBase", added: bool
) -> tuple[list[int], list[tuple[int, int]]]:
    specials, pieces, places, at = specials_of(tokenizer), [], [0], 0
    for match in specials.written.finditer(text):
        name = specials.names.get(match[0], "")  # a mark has none
        pieces += [text[at : match.start()], name]
        places += range(at + 1, match.start() + 1)
        places += [match.end()] * len(name)
        at = match.end()
    pieces.append(text[at:])
    places += range(at + 1, len(text) + 1)
    copy, ids = _copy(tokenizer, tuple(specials.names))
    read = copy.encode("".join(pieces), add_special_tokens=added)
    return (
        [ids.get(number, number) for number in read.ids],
        [(places[left], places[right]) for left, right in read.offsets],
    )


@lru_cache(maxsize=4)
def _copy(
    tokenizer: "PreTrainedTokenizerBase", contents: tuple[str, ...]
) -> "tuple[Tokenizer, dict[int, int]]":
    """The tokenizer with these tokens renamed, and the ids that changed with it."""
    from tokenizers import Tokenizer

    names = {content: NAME.format(number) for number, content in enumerate(contents)}
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    try:
        copy = Tokenizer.from_str(json.dumps(_renamed(json.loads(backend.to_str()), names)))
    except Exception as error:  # a tokenizer in Python has no backend or cannot be written down
        raise Unreadable(
            "A text spells a special token, and this tokenizer "
            f"({type(tokenizer).__name__}) can only read the token: {error}.",
            "Use a model that has a tokenizer.json, or change the text.",
        ) from None
    ids = {copy.token_to_id(name): backend.token_to_id(content) for content, name in names.items()}
    return copy, {new: old for new, old in ids.items() if new != old}


def _renamed(data: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """A tokenizer.json with these tokens renamed wherever a text could spell them."""
    data["truncation"] = data["padding"] = None
    for token in data["added_tokens"]:
        token["single_word"] &= token["content"] not in names
        token["content"] = names.get(token["content"], token["content"])
    model = data["model"]
    vocab: Any = model["vocab"]
    listed = isinstance(vocab, list)  # Unigram: pieces with their scores
    pairs = (
        (names.get(piece, piece), value) for piece, value in (vocab if listed else vocab.items())
    )
    model["vocab"] = list(pairs) if listed else dict(pairs)
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
    if model.get("merges"):  # as "a b" in old files
        merges = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
        model["merges"] = [pair for pair in merges if not {*pair, "".join(pair)} & names.keys()]
    return data
