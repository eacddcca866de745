"""A folder that `ollama create` takes: the merged student and a Modelfile with its template and
stop strings."""

import json
from pathlib import Path
from typing import Any

from localinstruct.export import merged
from localinstruct.export.go_template import Turns, go_template
from localinstruct.export.request import Exported, ExportRequest
from localinstruct.models.preflight import read_facts
from localinstruct.progress import Progress
from localinstruct.store.durable import write_text
from localinstruct.templates import NEXT_TASK
from localinstruct.training.student import load_tokenizer

DEFAULT_CONTEXT = 4096
"""Tokens that Ollama gives a model unless it is told otherwise."""


def write(wanted: ExportRequest, folder: Path, progress: Progress) -> Exported:
    """The merged student (`merged.write`), and a Modelfile beside it."""
    done = merged.write(wanted, folder, progress)
    tokenizer = load_tokenizer(folder)
    write_text(folder / "Modelfile", modelfile(wanted, tokenizer, read_facts(folder).context))
    _leave_the_beginning_to_the_template(folder / "tokenizer_config.json")
    return Exported(
        done.facts, f"ollama create {wanted.name} -f {{}}/Modelfile, then: ollama run {wanted.name}"
    )


def modelfile(wanted: ExportRequest, tokenizer: Any, context: int) -> str:
    """The text of the Modelfile for a student with this many tokens of context."""

    def render(talk: Turns) -> str:
        return str(tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False))

    lines = [
        f"# The student of {wanted.name}, made by localinstruct from "
        f"{wanted.base.source or wanted.base.name}.",
        "FROM .",
        f'TEMPLATE """{go_template(render)}"""',
        *(f'PARAMETER stop "{text}"' for text in stops(wanted, tokenizer)),
    ]
    if context < DEFAULT_CONTEXT:
        lines.append(f"PARAMETER num_ctx {context}")
    return "\n".join(lines) + "\n"


def stops(wanted: ExportRequest, tokenizer: Any) -> list[str]:
    """What ends an answer: the end-of-text token, the start of another task, and what models.yaml
    says."""
    another = [NEXT_TASK.strip()] if wanted.template == "alpaca" else []
    return list(dict.fromkeys([str(tokenizer.eos_token), *another, *wanted.base.stop]))


def _leave_the_beginning_to_the_template(path: Path) -> None:
    """Our template writes the beginning-of-text token where training had one; Ollama must not add
    another."""
    config = json.loads(path.read_text(encoding="utf-8")) | {
        "add_bos_token": False,
        "add_eos_token": False,
    }
    write_text(path, json.dumps(config, indent=2, ensure_ascii=False) + "\n")
