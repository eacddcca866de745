"""A student's tokenizer as llama.cpp reads it: tokens, types, merges or scores, and cuts of texts.

llama.cpp does not run a tokenizer.json: it knows some ways to cut a text into words by name, and
SentencePiece's way, which cuts nowhere. The name is chosen by what the student's tokenizer does
with texts, never by what it is called, and one that does something else is refused. A byte-level
tokenizer with cuts of its own is written SentencePiece's way where its merges alone give the same
ids. Not covered: Unigram and WordPiece.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localinstruct.errors import TrainerError
from localinstruct.gguf.cuts import PRE_TOKENIZERS, steps_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from tokenizers.pre_tokenizers import PreTokenizer
    from transformers import PreTrainedTokenizerBase

HINT = "Use --format merged, or bring llama.cpp's converter: --converter FILE. Nothing was written."
PROBES = (
    "I'm sure they've said it's Ann's; WE'LL SEE, IT'S LATE.",
    "1 12 123, 3.14 and no. 42: 7%",
    "1. Sort:\n\n2. Name\n\n\n3.  Two spaces  4",
    "\tdef f(x):\r\n\t\treturn x**2 + y[0]  # ok\r\n",
    "naïve café, Ärger, Ελληνικά, русский текст, 東京タワー, 한국어, ไทย, हिन्दी",
    "emoji 🙂👩‍👩‍👧 and signs ©®™ € → ∑",
    "  leading, trailing  \n \n\t\n",
    "camelCase snake_case UPPER-lower a/b\\c http://x.example/?q=1&r=2",
    "<b>tag</b> {json: [1, 2]} \"quoted\" 'single' (round) ...!?--",
    "### Instruction:\nWrite.\n\n### Response:",
)
"""Texts on which two ways to cut differ if they differ."""
LONG_NUMBERS = ("In 1969 and 2024.", "1234567 10000, 987654321")
UNUSED = "[PAD{}]"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A tokenizer in GGUF's terms; lists have one entry for each row of the embedding."""

    model: str
    """gpt2 (merges of bytes, with `pre`) or llama (scores, no cuts)."""
    pre: str
    tokens: list[str]
    types: list[int]
    scores: list[float]
    """Minus the rank of the merge that makes a token; empty for gpt2."""
    merges: list[str]
    """`left right`, by rank; empty for llama."""
    space_prefix: bool
    caution: str = ""
    """Texts that llama.cpp cuts otherwise all the same, in words; or ""."""


def vocabulary(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], size: int) -> Vocabulary:
    """The vocabulary for an embedding of `size` rows; TrainerError for one llama.cpp cannot read.

    `texts` are texts of the student's rows: the ids must be right for them too.
    """
    own: Tokenizer = tokenizer.backend_tokenizer
    spec = json.loads(own.to_str())
    model = spec["model"]
    merging = (model.get("dropout"), model.get("continuing_subword_prefix") or None)
    if model["type"] != "BPE" or any(merging) or model.get("end_of_word_suffix"):
        raise _unknown(f"it is {model['type']}, and only plain BPE is written")
    if len(tokenizer) > size:
        raise _unknown(f"it has {len(tokenizer):,} tokens, and the embedding {size:,} rows")
    if model.get("byte_fallback"):
        return _sentencepiece(tokenizer, spec, size)
    if not _has(spec, "ByteLevel"):
        raise _unknown("it works neither on bytes nor with tokens for single bytes")
    if changes := _changes(spec) - {"NFC"}:
        raise _changing(changes)
    # llama.cpp does not compose characters: such texts are counted when it is asked
    texts = [text for text in texts if unicodedata.normalize("NFC", text) == text]
    name = _pre_tokenizer(own, spec, texts)
    if name:
        tokens, types = _tokens(tokenizer, size)
        merges = [" ".join(pair) for pair in _pairs(spec)]
        return Vocabulary("gpt2", name, tokens, types, [], merges, False)
    return _without_cuts(tokenizer, spec, texts, size)


def _pre_tokenizer(own: "Tokenizer", spec: dict[str, Any], texts: Sequence[str]) -> str | None:
    """The name under which llama.cpp cuts as this tokenizer does, or None."""
    looked_at = (*PROBES, *LONG_NUMBERS, *texts)
    for name, (patterns, whole) in PRE_TOKENIZERS.items():
        steps = steps_of(patterns)
        if all(_cuts(own.pre_tokenizer, text) == _cuts(steps, text) for text in looked_at):
            settled = spec["model"].get("ignore_merges") == whole
            other = _cut_by(spec, patterns, whole)
            if _same_ids(own, other, looked_at if settled else _words(spec)):
                return name
    return None


def _cut_by(spec: dict[str, Any], patterns: Iterable[str], ignore_merges: bool) -> "Tokenizer":
    """The tokenizer with other cuts and no normalizer, as llama.cpp would run it."""
    from tokenizers import Tokenizer

    model = spec["model"] | {"ignore_merges": ignore_merges}
    other = Tokenizer.from_str(json.dumps(spec | {"model": model, "normalizer": None}))
    other.pre_tokenizer = steps_of(patterns)
    return other


def _cuts(steps: "PreTokenizer", text: str) -> list[str]:
    return [word for word, _ in steps.pre_tokenize_str(text)]


def _same_ids(one: "Tokenizer", other: "Tokenizer", texts: Sequence[str]) -> bool:
    return all(
        a.ids == b.ids
        for a, b in zip(
            one.encode_batch(list(texts), add_special_tokens=False),
            other.encode_batch(list(texts), add_special_tokens=False),
            strict=True,
        )
    )


def _words(spec: dict[str, Any]) -> list[str]:
    """Every token as text: where words stay whole, merges may not lead to some of them."""
    in_bytes = [_bytes(token) for token in spec["model"]["vocab"]]
    return [raw.decode("utf-8", "replace") for raw in in_bytes if raw is not None]


def _without_cuts(
    tokenizer: "PreTrainedTokenizerBase", spec: dict[str, Any], texts: Sequence[str], size: int
) -> Vocabulary:
    """A byte-level vocabulary written SentencePiece's way; refused where cuts make a difference."""
    own, other = tokenizer.backend_tokenizer, _cut_by(spec, (), False)
    different = [text for text in (*PROBES, *texts) if not _same_ids(own, other, [text])]
    if different:
        raise _unknown(f"it cuts texts as none that llama.cpp knows, {different[0][:80]!r} for one")
    ranks = _ranks(spec)
    tokens, types = _tokens(tokenizer, size)
    scores = [-1e6] * size
    for token, number in spec["model"]["vocab"].items():
        raw = _bytes(token)
        if types[number] != _type("NORMAL") or raw is None:
            continue
        tokens[number], byte = _as_text(raw)
        types[number] = _type("BYTE") if byte else types[number]
        scores[number] = -float(ranks.get(token, 0))
    caution = ""
    if not _same_ids(own, other, LONG_NUMBERS):
        caution = f"numbers such as those in {LONG_NUMBERS[0]!r} are cut otherwise"
    return Vocabulary("llama", "default", tokens, types, scores, [], False, caution)


def _as_text(raw: bytes) -> tuple[str, bool]:
    """A token's bytes as SentencePiece writes them, and whether it is a byte's own token."""
    if len(raw) == 1 and raw[0] >= 0x80:
        return f"<0x{raw[0]:02X}>", True
    try:
        return raw.decode("utf-8").replace(" ", "▁"), False
    except UnicodeDecodeError:
        raise _unknown("some of its tokens are parts of a character") from None


def _sentencepiece(
    tokenizer: "PreTrainedTokenizerBase", spec: dict[str, Any], size: int
) -> Vocabulary:
    """Llama 2's kind: underscores for spaces, tokens for bytes, no cuts."""
    if changes := _changes(spec) - {"Prepend", "Replace"}:
        raise _changing(changes)
    cuts = {step["type"] for step in _steps(spec["pre_tokenizer"])}
    if cuts - {"Metaspace"} or not {"Metaspace", "Replace"} & {*cuts, *_changes(spec)}:
        raise _unknown(f"it cuts texts by {', '.join(sorted(cuts)) or 'nothing'}")
    tokens, types = _tokens(tokenizer, size)
    ranks, scores = _ranks(spec), [-1e6] * size
    for token, number in spec["model"]["vocab"].items():
        if types[number] == _type("NORMAL"):
            scores[number] = -float(ranks.get(token, 0))
            if len(token) == 6 and token.startswith("<0x"):
                types[number] = _type("BYTE")
    if tokenizer.unk_token_id is not None:
        types[tokenizer.unk_token_id] = _type("UNKNOWN")
    first = tokenizer.backend_tokenizer.encode("x", add_special_tokens=False).tokens[0]
    return Vocabulary("llama", "default", tokens, types, scores, [], first.startswith("▁"))


def _tokens(tokenizer: "PreTrainedTokenizerBase", size: int) -> tuple[list[str], list[int]]:
    """(texts, types) of all tokens; rows of the embedding without one are unused tokens."""
    tokens = [UNUSED.format(number) for number in range(size)]
    types = [_type("UNUSED")] * size
    for token, number in tokenizer.get_vocab().items():
        tokens[number], types[number] = token, _type("NORMAL")
    for number, added in tokenizer.added_tokens_decoder.items():
        tokens[number] = added.content
        types[number] = _type("CONTROL" if added.special else "USER_DEFINED")
    return tokens, types


def _type(name: str) -> int:
    import gguf

    return int(gguf.TokenType[name])


def _pairs(spec: dict[str, Any]) -> list[list[str]]:
    return [pair.split(" ") if isinstance(pair, str) else pair for pair in spec["model"]["merges"]]


def _ranks(spec: dict[str, Any]) -> dict[str, int]:
    """Token -> rank of the first merge that makes it."""
    return {a + b: rank for rank, (a, b) in reversed(list(enumerate(_pairs(spec))))}


def _steps(part: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The steps of a normalizer or pre-tokenizer, those of a sequence one by one."""
    if part is None:
        return []
    inner = part.get("normalizers") or part.get("pretokenizers")
    return [step for each in inner for step in _steps(each)] if inner else [part]


def _changes(spec: dict[str, Any]) -> set[str]:
    """Kinds of the steps that change a text before it is cut."""
    return {step["type"] for step in _steps(spec["normalizer"])}


def _changing(steps: set[str]) -> TrainerError:
    return _unknown(f"it changes texts before it reads them ({', '.join(sorted(steps))})")


def _has(spec: dict[str, Any], kind: str) -> bool:
    return any(step["type"] == kind for step in _steps(spec["pre_tokenizer"]))


def _bytes(token: str) -> bytes | None:
    """A byte-level token's bytes, or None for a token that is no text."""
    try:
        return bytes(_BYTE_OF[letter] for letter in token)
    except KeyError:
        return None


def _byte_letters() -> dict[str, int]:
    """GPT-2's letter -> byte: printable Latin-1 stands for itself, other bytes follow from 256."""
    own = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + n): b for n, b in enumerate(others)}


_BYTE_OF = _byte_letters()


def _unknown(reason: str) -> TrainerError:
    return TrainerError(f"llama.cpp cannot read the student's tokenizer: {reason}.", HINT)
