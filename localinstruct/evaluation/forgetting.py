"""Forgetting: perplexity of base and student on a general text, and right answers lost.

The text is prose that has nothing to do with the rows; a student whose perplexity on it rises much
has paid for its new skill with its old ones. The text is read in windows of train.max_length tokens
without overlap, every token but a window's first is predicted. Not covered: which ability was lost,
beyond the tasks that are asked.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import DataError
from localinstruct.recipe import packaged_workspace
from localinstruct.templates import IGNORED, Encoded
from localinstruct.templates.special_tokens import specials_of, token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PACKAGED = "seeds/general_text.txt"
LONGEST = 2**20
"""Characters that are read; enough for a stable mean on any model."""
HINT = "Correct evaluate.text, or leave it out."


def general_text(named: str | None, workspace: Path) -> tuple[str, str]:
    """(name, text) of the file in `evaluate.text`, or of ours; DataError when it is unreadable."""
    path = workspace / named if named else packaged_workspace() / PACKAGED
    try:
        text = path.read_text(encoding="utf-8")[:LONGEST]
    except (OSError, UnicodeDecodeError) as error:
        problem = "other bytes" if isinstance(error, UnicodeDecodeError) else str(error.strerror)
        raise DataError(
            f"evaluate.text: {path}: expected a readable UTF-8 text, found: {problem}.", HINT
        ) from None
    if not text.strip():
        raise DataError(f"evaluate.text: {path}: expected some text, found none.", HINT)
    return named or PACKAGED, text


def windows(text: str, tokenizer: "PreTrainedTokenizerBase", length: int) -> list[Encoded]:
    """The text as rows of at most `length` tokens; every token but a row's first is predicted."""
    ids = token_ids(specials_of(tokenizer).quoted(text), tokenizer, added=False)
    parts = [ids[start : start + length] for start in range(0, len(ids), length)]
    return [Encoded(part, [IGNORED, *part[1:]]) for part in parts if len(part) > 1]
