"""A folder for `ollama create`: the merged student, and a Modelfile with template and stops."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.export import merged
from localinstruct.export.go_template import Turns, go_template
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.models.preflight import read_facts
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.templates import NEXT_TASK
from localinstruct.training.student import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_CONTEXT = 4096
"""Tokens of context that Ollama gives a model whose Modelfile names no other number."""


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Write the merged student (`merged.write`), and a Modelfile beside it."""
    result = merged.write(request, folder, progress)
    tokenizer = load_tokenizer(folder)
    write_text(folder / "Modelfile", modelfile(request, tokenizer, read_facts(folder).context))
    _add_no_special_tokens(folder / "tokenizer_config.json")
    commands = f"ollama create {request.name} -f {{}}/Modelfile, then: ollama run {request.name}"
    return ExportResult(result.facts, commands)


def modelfile(request: ExportRequest, tokenizer: "PreTrainedTokenizerBase", context: int) -> str:
    """The text of the Modelfile for a student with this many tokens of context."""

    def render(turns: Turns) -> str:
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

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
    """Stop strings: the end-of-text token, the start of another task, those of models.yaml."""
    next_task = [NEXT_TASK.strip()] if request.template == "alpaca" else []
    return list(dict.fromkeys([str(tokenizer.eos_token), *next_task, *request.base.stop]))


def _add_no_special_tokens(path: Path) -> None:
    """Tell Ollama to add no token: the template writes beginning-of-text where training had it."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {"add_bos_token": False, "add_eos_token": False}
    write_text(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
