"""The JSON files of a model: readable, not oversized, and asking for no code."""

import json
from pathlib import Path

from localinstruct.models.template_trial import bomb_problem, templates_in
from localinstruct.records import JsonObject

MAX_JSON_BYTES = 64 * 2**20
"""The largest tokenizer.json in use (a vocabulary of 262,144) has 33 MB."""
MAX_TEMPLATE_BYTES = 2**20
CODE_KEYS = ("auto_map", "trust_remote_code", "custom_pipelines")
"""Keys with which a model asks a loader to run code of its own."""


def load_json(path: Path) -> tuple[object, str | None]:
    """(value, None), or (None, the problem of the file)."""
    try:
        size = path.stat().st_size
        if size > MAX_JSON_BYTES:
            limit = MAX_JSON_BYTES // 2**20
            return None, f"expected at most {limit} MiB of JSON, found {size:,} bytes"
        return json.loads(path.read_bytes()), None
    except OSError as error:
        return None, f"cannot be read: {error.strerror}"
    except (ValueError, RecursionError) as error:
        return None, f"not valid JSON ({' '.join(str(error).split())[:120]})"


def load_object(path: Path) -> JsonObject:
    """Read the object in a JSON file, or {} when it is missing, broken or of another type."""
    value, problem = load_json(path) if path.is_file() else (None, None)
    return value if isinstance(value, dict) and not problem else {}


def json_problems(path: Path) -> list[str]:
    """List the problems of one JSON file of a model."""
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


def _requests_for_code(value: object) -> set[str]:
    """Problems of `auto_map` and its like at any depth.

    As tokens of a vocabulary, with numbers as their values, they are plain words.
    """
    keys: set[str] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            keys |= {key for key in CODE_KEYS if _is_request(item.get(key))}
            waiting += item.values()
        elif isinstance(item, list):
            waiting += [entry for entry in item if isinstance(entry, dict | list)]
    return {f"{key}: asks to run code that came with the model" for key in keys}


def _is_request(value: object) -> bool:
    return value is True or (isinstance(value, dict | list | str) and bool(value))


def _foreign_modules(value: object) -> list[str]:
    """Problems of modules.json: sentence-transformers imports the classes that it names.

    Only its own are accepted.
    """
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
