"""Cuts of a text into words before its bytes are merged, by llama.cpp's names for them.

A GGUF file has no pre-tokenizer, only such a name (`tokenizer.ggml.pre`). The patterns are those of
the models' own tokenizer.json where llama.cpp, whose expressions know no classes of letters, comes
close only: words all in capitals beyond ASCII may differ there (gpt-4o, tekken).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_MARKED_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SUFFIX = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_CASED = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*%s"
_GPT_2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}")
PRE_TOKENIZERS: dict[str, tuple[tuple[str, ...], bool]] = {
    "llama-bpe": ((_WORDS % r"\p{N}{1,3}",), True),
    "smaug-bpe": ((_WORDS % r"\p{N}{1,3}",), False),
    "qwen2": ((_WORDS % r"\p{N}",), False),
    "qwen35": ((_MARKED_WORDS,), False),
    "gpt-2": ((_GPT_2,), False),
    "smollm": ((r"\p{N}", _GPT_2), False),
    "deepseek-coder": (_CODER, False),
    "gpt-4o": ((_CASED % (_SUFFIX, _SUFFIX) + r"|\p{N}{1,3}" + _REST,), False),
    "tekken": ((_CASED % ("", "") + r"|\p{N}" + _REST,), True),
}
"""llama.cpp's name -> patterns that cut a text one after the other, and whether a word that is a
token stays whole whatever the merges say (llama-vocab.cpp of release b11549)."""
_ALIKE = {
    "llama-bpe": "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2",
    "smaug-bpe": "dbrx",
    "qwen2": "deepseek-r1-qwen megrez kormo stablelm2",
    "gpt-2": "phi-2 mpt olmo exaone4 a.x-4.0 mellum gigachat",
    "smollm": "starcoder refact command-r codeshell exaone",
    "gpt-4o": "llama4 kanana2",
}
SAME_CUTS = {other: name for name, others in _ALIKE.items() for other in others.split()}
"""Other names of llama.cpp -> the name above with the same cuts; Phi-4 is dbrx, Granite refact."""


def steps_of(patterns: Iterable[str]) -> "PreTokenizer":
    """Cuts by patterns, one after the other, and then bytes."""
    from tokenizers import Regex, pre_tokenizers

    steps: list[Any] = [pre_tokenizers.Split(Regex(text), "isolated") for text in patterns]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    return pre_tokenizers.Sequence(steps)
