"""The JSON files of a model: readable, not oversized, and asking for no code."""

import json
from pathlib import Path
from typing import Any

from localinstruct.models.template_trial import bomb_problem, templates_in

MAX_JSON_BYTES = 64 * 2**20
"""The largest tokenizer.json in use (a vocabulary of 262,144) has 33 MB."""
MAX_TEMPLATE_BYTES = 2**20


def load_json(path: Path) -> tuple[Any, str | None]:
    """(value, None), or (None, what is wrong with the file)."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return (
                None,
                f"expected at most {MAX_JSON_BYTES // 2**20} MiB of JSON, found "
                f"{path.stat().st_size:,} bytes",
            )
        return json.loads(path.read_bytes()), None
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return None, f"not valid JSON ({' '.join(str(error).split())[:120]})"


def load_object(path: Path) -> dict[str, Any]:
    """Read the object a JSON file holds, or an empty one when it is missing, broken or another
    type."""
    value, problem = load_json(path) if path.is_file() else (None, None)
    return value if isinstance(value, dict) and not problem else {}


def json_problems(path: Path) -> list[str]:
    """List what is wrong with one JSON file of a model."""
    value, problem = load_json(path)
    if problem:
        return [problem]
    problems = sorted(_requests_for_code(value))
    if path.name == "modules.json":
        problems += _foreign_modules(value)
    for template in templates_in(value):
        problems += _template_problems(template)
    return problems


def _template_problems(template: str) -> list[str]:
    if len(template) > MAX_TEMPLATE_BYTES:
        return [f"a chat template of at most {MAX_TEMPLATE_BYTES:,} bytes was expected"]
    return [problem] if (problem := bomb_problem(template)) else []


def _requests_for_code(value: Any) -> set[str]:
    """`auto_map` and its like at any depth; as tokens of a vocabulary (their values numbers) they
    are words."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            found |= {
                key
                for key in ("auto_map", "trust_remote_code", "custom_pipelines")
                if _is_request(item.get(key))
            }
            waiting += item.values()
        elif isinstance(item, list):
            waiting += [entry for entry in item if isinstance(entry, dict | list)]
    return {f"{key}: asks to run code that came with the model" for key in found}


def _is_request(value: Any) -> bool:
    return value is True or (isinstance(value, dict | list | str) and bool(value))


def _foreign_modules(value: Any) -> list[str]:
    """sentence-transformers imports the classes that modules.json names: only its own are
    accepted."""
    if not isinstance(value, list) or not all(isinstance(module, dict) for module in value):
        return ["expected a list of modules"]
    types = [str(module.get("type", "")) for module in value]
    return [
        f"type {name!r} is not one of sentence_transformers"
        for name in types
        if not _is_own_module(name)
    ]


def _is_own_module(name: str) -> bool:
    return name.startswith("sentence_transformers.")
