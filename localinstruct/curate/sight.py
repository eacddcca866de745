"""Texts that an encoder cannot see: most of their letters are unknown to its tokenizer.

To such an encoder all texts of a language look alike (all-MiniLM-L6-v2 has one vector for every
Thai sentence of one word), so that a threshold would reject nearly all of them. Letters are counted
and not tokens, as a whole sentence without blanks may be one unknown token. Not covered: a language
whose letters an encoder knows, and which it was not trained on.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

UNSEEN = 1 / 3
"""Share of unknown letters from which on a text is not seen."""
MULTILINGUAL = "multilingual-e5-small"
"""The entry of models.yaml that is named to people whose texts an encoder cannot see."""
UNLIKE = 0.95
"""A threshold for it: it gives unlike tasks cosines of 0.84 to 0.90, repeated ones 0.97 and more
(seven languages, tests/curate/test_languages_seen.py)."""


def unknown_share(
    text: str, ids: Sequence[int], places: Sequence[tuple[int, int]], unknown: int
) -> float:
    """Share of a text's letters that stand in unknown tokens, 0 to 1; 0 for a text without letters.

    `places` are (start, end) of each token in the text.
    """
    letters = lost = 0
    for token, (start, end) in zip(ids, places, strict=True):
        count = sum(map(str.isalpha, text[start:end]))
        letters += count
        lost += count if token == unknown else 0
    return lost / letters if letters else 0.0


class Sight:
    """Sight of the encoder in a directory, told from its tokenizer alone."""

    def __init__(self, directory: Path) -> None:
        self._tokenizer: Tokenizer | None = None
        self._unknown: int | None = None
        files = [directory / "tokenizer.json", *sorted(directory.glob("*/tokenizer.json"))]
        path = next((file for file in files if file.is_file()), None)
        if path is not None:
            self._load(path)

    def _load(self, path: Path) -> None:
        from tokenizers import Tokenizer

        model = json.loads(path.read_text(encoding="utf-8")).get("model") or {}
        tokenizer = Tokenizer.from_file(str(path))
        named = model.get("unk_token")
        self._unknown = tokenizer.token_to_id(named) if named else model.get("unk_id")
        if model.get("byte_fallback"):  # every letter has its bytes
            self._unknown = None
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def unseen(self, texts: Sequence[str]) -> list[bool]:
        """For each text whether it cannot be seen."""
        unknown = self._unknown
        if self._tokenizer is None or unknown is None:
            return [False] * len(texts)
        hidden = [False] * len(texts)
        asked = [number for number, text in enumerate(texts) if not text.isascii()]
        found = self._tokenizer.encode_batch([texts[n] for n in asked], add_special_tokens=False)
        for number, read in zip(asked, found, strict=True):
            share = unknown_share(texts[number], read.ids, read.offsets, unknown)
            hidden[number] = share > UNSEEN
        return hidden


def not_compared(count: int, what: str, key: str = "novelty.threshold") -> str:
    """A sentence for people: rows that are compared for exact repetition only, and a way out.

    `key` is the recipe's threshold for them.
    """
    return (
        f"{count:,} {what} are in letters that the encoder does not know: to it they look alike, "
        f"so they are compared for exact repetition only. {way_out(key)}"
    )


def way_out(key: str = "novelty.threshold") -> str:
    """Advice for rows that cannot be compared: another encoder, or words."""
    other = f"--set models.encoder={MULTILINGUAL} --set {key}={UNLIKE}"
    words = " or words: --set novelty.measure=rouge_l --set novelty.threshold=0.7"
    return f"Compare with another encoder: {other}" + (words if key.startswith("novelty") else "")
