"""The tokenizer of a GGUF file as tokenizer.json, tokenizer_config.json and chat templates.

Built from what the file says, as llama.cpp reads it: byte-level BPE with cuts by name, or
SentencePiece's BPE, whose scores order the merges. transformers' own reading of GGUF knows fewer
names and cuts texts as GPT-2 does under every other. Not covered: Unigram, WordPiece, RWKV.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from localinstruct.errors import ModelError
from localinstruct.gguf.cuts import PRE_TOKENIZERS, SAME_CUTS, steps_of
from localinstruct.models.gguf_header import Header
from localinstruct.store.durable import write_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNKNOWN, CONTROL, USER_DEFINED, UNUSED = 2, 3, 4, 5
"""llama.cpp's types of tokens."""
SPECIAL = {"bos": "bos", "eos": "eos", "unk": "unknown", "pad": "padding", "sep": "seperator"}
"""Name in tokenizer_config.json -> llama.cpp's, whose spelling of the last is so."""
WHOLE_TEMPLATES = "tokenizer.chat_template"


def cuts_of(header: Header) -> str:
    """The name under which texts are cut, of `PRE_TOKENIZERS`, or sentencepiece.

    ModelError, with the file's own name, for a tokenizer that is not read here.
    """
    kind, name = header.text("tokenizer.ggml.model"), header.text("tokenizer.ggml.pre")
    if kind == "llama":
        return "sentencepiece"
    known = SAME_CUTS.get(name, name)
    if kind == "gpt2" and known in PRE_TOKENIZERS:
        return known
    read = ", ".join(sorted({*PRE_TOKENIZERS, *SAME_CUTS}))
    if kind != "gpt2":
        problem, expected = f"is of the kind {kind or 'unnamed'}", "gpt2 (byte-level BPE) or llama"
    elif name in ("", "default"):
        problem, expected = "does not say how it cuts texts (tokenizer.ggml.pre)", read
    else:
        problem, expected = f"cuts texts as {name}", read
    raise ModelError(
        f"{header.path}: its tokenizer {problem}; read here: {expected}.",
        "Bring the model it was made of, with its tokenizer.json and safetensors. "
        "Or have llama.cpp serve this file: `gguf: FILE` in models.yaml.",
    )


def write_tokenizer(header: Header, folder: Path, context: int) -> None:
    """Write the tokenizer's files into `folder`; ModelError for one that cannot be read."""
    tokenizer = build(header)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {name: header.token_id(theirs) for name, theirs in SPECIAL.items()}
    tokens = {f"{name}_token": header.tokens[n] for name, n in ids.items() if n is not None}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        **tokens,
    }
    write_text(folder / "tokenizer_config.json", json.dumps(config, indent=2) + "\n")
    for name, template in templates_of(header).items():
        place = folder / "additional_chat_templates" / f"{name}.jinja"
        if name == "default":
            place = folder / "chat_template.jinja"
        place.parent.mkdir(exist_ok=True)
        write_text(place, template)


def templates_of(header: Header) -> dict[str, str]:
    """Chat templates by name, the default one first; names that are no file's are left out."""
    found = {"default": header.text(WHOLE_TEMPLATES)}
    for key in header.fields:
        name = key.removeprefix(f"{WHOLE_TEMPLATES}.")
        if name != key and name.replace("_", "").replace("-", "").isalnum():
            found[name] = header.text(key)
    return {name: text for name, text in found.items() if text}


def build(header: Header) -> "Tokenizer":
    """The tokenizer, with the file's ids."""
    cuts = cuts_of(header)
    try:
        tokenizer = _sentencepiece(header) if cuts == "sentencepiece" else _in_bytes(header, cuts)
    except Exception as error:  # a merge of tokens that are not there: tokenizers has no other
        raise ModelError(
            f"{header.path}: its tokenizer does not fit together: {error}",
            "The file may be damaged: compare its SHA-256 with its source.",
        ) from None
    _add_whole_tokens(tokenizer, header)
    _begin_with_bos(tokenizer, header)
    return tokenizer


def _in_bytes(header: Header, cuts: str) -> "Tokenizer":
    from tokenizers import Tokenizer, decoders, models

    patterns, whole = PRE_TOKENIZERS[cuts]
    merges = [_pair(merge) for merge in header.fields.get("tokenizer.ggml.merges", [])]
    tokenizer = Tokenizer(models.BPE(_vocabulary(header), merges, ignore_merges=whole))
    tokenizer.pre_tokenizer, tokenizer.decoder = steps_of(patterns), decoders.ByteLevel()
    return tokenizer


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _sentencepiece(header: Header) -> "Tokenizer":
    """Merges are every cut of a token into two others, best score first, as llama.cpp merges."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    vocabulary, scores = _vocabulary(header), header.fields.get("tokenizer.ggml.scores", [])
    ranked = sorted(vocabulary.items(), key=lambda item: (-scores[item[1]], item[1]))
    merges = [pair for token, _ in ranked for pair in _halves(token, vocabulary)]
    unknown = header.token_id("unknown")
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            merges,
            unk_token=None if unknown is None else header.tokens[unknown],
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = header.fields.get("tokenizer.ggml.add_space_prefix", True)
    first: list[Any] = [normalizers.Prepend("▁")] if prefix else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
    last: list[Any] = [decoders.Strip(" ", 1, 0)] if prefix else []
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *last]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _halves(token: str, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
    for place in range(1, len(token)):
        if token[:place] in vocabulary and token[place:] in vocabulary:
            yield token[:place], token[place:]


def _vocabulary(header: Header) -> dict[str, int]:
    """Token -> id; rows of the embedding that stand for no token are left out."""
    filler = _types(header)
    vocabulary = {
        token: number
        for number, token in enumerate(header.tokens)
        if not (filler[number] == UNUSED and token == f"[PAD{number}]")
    }
    spare = sum(kind == UNUSED for kind in filler)
    if not vocabulary or len(vocabulary) < len(header.tokens) - spare:
        raise ValueError("the same text stands for several tokens, or for none")
    return vocabulary


def _types(header: Header) -> list[int]:
    types = header.fields.get("tokenizer.ggml.token_type", [])
    return [*types, *[1] * (len(header.tokens) - len(types))]


def _add_whole_tokens(tokenizer: "Tokenizer", header: Header) -> None:
    """Tokens that are read whole wherever they stand: control tokens, and those of the users."""
    from tokenizers import AddedToken

    unknown = header.token_id("unknown")
    special, plain = [], []
    for number, (token, kind) in enumerate(zip(header.tokens, _types(header), strict=True)):
        if kind == CONTROL or (kind == UNKNOWN and number == unknown):
            special.append(AddedToken(token, special=True, normalized=False))
        elif kind == USER_DEFINED:
            plain.append(AddedToken(token, special=False, normalized=False))
    tokenizer.add_special_tokens(special)
    tokenizer.add_tokens(plain)


def _begin_with_bos(tokenizer: "Tokenizer", header: Header) -> None:
    """Begin texts with bos where llama.cpp does."""
    from tokenizers import processors

    begin = header.token_id("bos")
    if begin is None or not header.adds_bos:
        return
    token = header.tokens[begin]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[token, "$A"], pair=[token, "$A", token, "$B"], special_tokens=[(token, begin)]
    )
