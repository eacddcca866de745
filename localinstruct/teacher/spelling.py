"""Prompts that spell a special token of the model they go to, as token ids.

A server reads every special token in a prompt as one: a seed that spells "<|im_end|>" would end the
turn. Our own vLLM has the model's folder in common with us, so such a prompt is rendered and read
here (`templates.special_tokens`) and sent as token ids; all others are left to the server. Not
covered: endpoints, whose tokenizer we do not have.
"""

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.records import Prompt
from localinstruct.templates import special_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Spelling:
    """Reader of the prompts for the model in `folder`."""

    folder: Path
    chat: bool
    chat_template: str | None = None
    """The text of the template that the server was given in place of the model's own."""

    def token_ids(self, prompt: Prompt) -> list[int] | None:
        """The prompt as token ids, or None where the server can read its text.

        Unreadable where neither is possible.
        """
        texts = [prompt.text, *(turn.content for turn in prompt.messages)]
        if self._added and not any(self._added.search(text) for text in texts):
            return None
        return special_tokens.prompt_token_ids(
            prompt, self._tokenizer, chat=self.chat, chat_template=self.chat_template
        )

    @property
    def shows_thoughts(self) -> bool:
        """True where marks of thoughts are special tokens, which a server leaves out of texts."""
        return special_tokens.specials_of(self._tokenizer).thoughts

    @cached_property
    def _added(self) -> re.Pattern[str] | None:
        """Pattern of every added token, from the file alone; None where it does not tell.

        Few prompts spell one: most models' tokenizers are never loaded for this.
        """
        try:
            file = json.loads((self.folder / "tokenizer.json").read_text(encoding="utf-8"))
            contents = [token["content"] for token in file["added_tokens"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        marks = [content for content in contents if content.strip(" \t\n\u2581")]
        return re.compile(special_tokens.any_of(marks), re.IGNORECASE) if marks else None

    @cached_property
    def _tokenizer(self) -> "PreTrainedTokenizerBase":
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(
            str(self.folder.resolve()), local_files_only=True, trust_remote_code=False
        )
