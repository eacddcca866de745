"""Facts that a model directory states about itself, for a new entry in models.yaml."""

import re
from dataclasses import dataclass
from pathlib import Path

from localinstruct.models.completeness import weight_files
from localinstruct.models.json_files import load_object
from localinstruct.models.safetensors import read_header

DEFAULT_CONTEXT = 2048
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
_LICENCE = re.compile(r"^licen[sc]e(?:_name)?:\s*[\"']?([^\s\"'#]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts from config.json, the tokenizer's files, README.md and the safetensors headers."""

    context: int
    chat: bool
    encoder: bool
    licence: str
    parameters: int


def read_facts(directory: Path) -> Facts:
    """Read the facts of a directory that is complete for `inspect`.

    `licence` is '' where README.md names none.
    """
    return Facts(
        context=_context(directory),
        chat=has_template(directory),
        encoder=(directory / "modules.json").is_file(),
        licence=_licence(directory / "README.md"),
        parameters=sum(read_header(path).parameters for path in weight_files(directory)),
    )


def _context(directory: Path) -> int:
    """Tokens of the context: a sentence encoder's own limit, else the configuration's limit.

    Where a model has several parts, the configuration is that of its text part.
    """
    encoder_limit = load_object(directory / "sentence_bert_config.json").get("max_seq_length")
    config = load_object(directory / "config.json")
    text = config.get("text_config")
    places = [config, text if isinstance(text, dict) else {}]
    limits = [encoder_limit, *(place.get(key) for place in places for key in _CONTEXT_KEYS)]
    return next((limit for limit in limits if type(limit) is int and limit >= 16), DEFAULT_CONTEXT)


def has_template(directory: Path) -> bool:
    """Tell whether the tokenizer in `directory` brings a chat template."""
    names = ("chat_template.jinja", "chat_template.json")
    in_file = any((directory / name).is_file() for name in names)
    return in_file or bool(load_object(directory / "tokenizer_config.json").get("chat_template"))


def chat_template_of(directory: Path) -> str:
    """The chat template that the tokenizer in `directory` brings, with its named ones; "" for none.

    For a look at what it can write, not to render with.
    """
    texts = [str(load_object(directory / "tokenizer_config.json").get("chat_template") or "")]
    for name in ("chat_template.jinja", "chat_template.json"):
        if (directory / name).is_file():
            texts.append((directory / name).read_text(encoding="utf-8", errors="replace"))
    return "\n".join(texts)


def _licence(readme: Path) -> str:
    """Find the licence in the front matter of README.md (between its two lines of dashes)."""
    if not readme.is_file():
        return ""
    with readme.open("rb") as file:
        text = file.read(64 * 2**10).decode("utf-8", "replace")
    front = text.split("\n---", 1)[0] if text.startswith("---") else ""
    names = dict.fromkeys(match[1] for match in _LICENCE.finditer(front))
    return next((name for name in reversed(names) if name != "other"), "")
