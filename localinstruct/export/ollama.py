"""A folder for `ollama create`: the merged student, and a Modelfile with template and stops."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.export import merged
from localinstruct.export.go_template import TODAY, TODAY_GO, Turns, go_template
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.models.preflight import read_facts
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.templates import NEXT_TASK
from localinstruct.templates.rendered import end_of_turn
from localinstruct.training.student import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OLLAMAS_FORMAT = "%Y-%m-%d"
"""Format of the date that Ollama's `currentDate` writes; it knows no other."""
DEFAULT_CONTEXT = 4096
"""Tokens of context that Ollama gives a model whose Modelfile names no other number."""


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Write the merged student (`merged.write`), and a Modelfile beside it."""
    result = merged.write(request, folder, progress)
    tokenizer, clock = load_tokenizer(folder), Clock()
    text = modelfile(request, tokenizer, read_facts(folder).context, clock)
    write_text(folder / "Modelfile", text)
    _add_no_special_tokens(folder / "tokenizer_config.json")
    commands = f"ollama create {request.name} -f {{}}/Modelfile, then: ollama run {request.name}"
    dated = (("date", clock.note()),) if TODAY_GO in text else ()
    return ExportResult((*result.facts, *dated), commands)


class Clock:
    """The clock of a chat template: writes a word for today's date, and remembers the formats."""

    def __init__(self) -> None:
        self.formats: dict[str, None] = {}

    def __call__(self, format: str) -> str:
        """Stand for `strftime_now` in a template."""
        self.formats[format] = None
        return TODAY

    def note(self) -> str:
        """How the date stands in the Modelfile."""
        others = [format for format in self.formats if format != OLLAMAS_FORMAT]
        how = f", where the student's own template writes {', '.join(others)}" if others else ""
        return f"Ollama writes today's as {OLLAMAS_FORMAT}{how} (Ollama of August 2025 or later)"


def modelfile(
    request: ExportRequest,
    tokenizer: "PreTrainedTokenizerBase",
    context: int,
    clock: Callable[[str], str],
) -> str:
    """The text of the Modelfile for a student with this many tokens of context."""

    def render(turns: Turns) -> str:
        text = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, tokenize=False, strftime_now=clock
        )
        return str(text)

    base = request.base.source or request.base.name
    lines = [
        f"# The student of {request.name}, made by localinstruct from {base}.",
        "FROM .",
        f'TEMPLATE """{go_template(render)}"""',
        *(f'PARAMETER stop "{text}"' for text in stops(request, tokenizer)),
    ]
    if context < DEFAULT_CONTEXT:
        lines.append(f"PARAMETER num_ctx {context}")
    return "\n".join(lines) + "\n"


def stops(request: ExportRequest, tokenizer: "PreTrainedTokenizerBase") -> list[str]:
    """Stop strings: end of text, end of a turn, another task's start, those of models.yaml."""
    next_task = [NEXT_TASK.strip()] if request.template == "alpaca" else []
    ends = [str(tokenizer.eos_token), end_of_turn(tokenizer) or ""]
    return [text for text in dict.fromkeys([*ends, *next_task, *request.base.stop]) if text]


def _add_no_special_tokens(path: Path) -> None:
    """Tell Ollama to add no token: the template writes beginning-of-text where training had it."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"add_bos_token": False, "add_eos_token": False}
    write_text(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
