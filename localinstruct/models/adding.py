"""A model directory entered in models.yaml: looked at, described, appended; nothing is loaded."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from localinstruct.config import NOT_YAML, load_yaml
from localinstruct.errors import ModelError, RecipeError
from localinstruct.models import licences
from localinstruct.models.catalog import (
    ModelRole,
    ModelSpec,
    checked,
    file_digests,
    parse_entries,
)
from localinstruct.models.preflight import GGUF, LEAVE_OUT, Facts, read_facts
from localinstruct.records import JsonObject
from localinstruct.store.durable import write_text


def add_model(
    workspace: Path,
    name: str,
    directory: Path,
    roles: Sequence[ModelRole] = (),
    licence: str = "",
    source: str = "",
) -> ModelSpec:
    """Append an entry for the model in `directory` to models.yaml, after the preflight.

    The other entries stay as they are. Context, chat template, parameters and digests are read from
    the files, the licence's name from README.md or the licence file, and what it asks from
    `licences.py` or another entry. Without roles, a sentence encoder becomes encoder
    and everything else teacher and student. RecipeError for a name in use.
    """
    path, directory = workspace / "models.yaml", directory.absolute()
    known = load_yaml(path)
    if name in known:
        raise RecipeError(
            f"{name}: already in {path}.",
            "Choose another name, or correct that entry in an editor.",
        )
    require_no_gguf(name, directory)
    probe = ModelSpec(
        name=name, path=str(directory), roles=["teacher"], context=16, licence="unknown"
    )
    try:
        checked(probe)
    except ModelError as problem:
        problem.hint = _before_adding(name, source)
        raise
    facts = read_facts(directory)
    named = facts.licence if licence in ("", "unknown") else licence
    named = licences.name_of(named or licences.named_by_file(directory) or "unknown")
    terms = {"licence": named, "obligations": licences.asks(named, known)}
    entry = {name: _entry(facts, directory, workspace.absolute(), roles, terms, source)}
    before = path.read_text(encoding="utf-8").rstrip()
    text = f"{before}\n\n{yaml.safe_dump(entry, sort_keys=False, width=110)}"
    spec = parse_entries(_reloaded(text, path), path)[name]
    write_text(path, text)
    return spec


def require_no_gguf(name: str, place: Path) -> None:
    """ModelError with the way in for a GGUF file, or for a folder that holds weights only as such.

    Nothing here trains or embeds with packed weights: `models import` unpacks them, and llama.cpp
    can serve them as they are.
    """
    there = [place] if place.is_file() else []
    if place.is_dir() and not any(place.glob("*.safetensors")):
        there = sorted(place.glob("*"))
    found = next((path for path in there if path.suffix.lower() in GGUF), None)
    if found is None:
        return
    raise ModelError(
        f"{found}: expected a directory with safetensors weights, found a GGUF file.",
        f"Unpack it, for every role: localinstruct models import {found} --name {name}\n"
        "Or have llama.cpp serve it as it is, as a teacher or judge; in models.yaml:\n"
        f"{name}:\n  gguf: {found}\n  roles: [teacher]\n  chat: true\n  context: 4096\n"
        "  licence: …",
    )


def _before_adding(name: str, source: str) -> str:
    """The way out for a model that cannot be entered yet."""
    return (
        "Mend what is named, delete what is refused, or bring it anew on a machine with network: "
        f"hf download {source or 'PUBLISHER/NAME'} --local-dir DIR {LEAVE_OUT}\n"
        f"Then: localinstruct models add {name} DIR"
    )


def _entry(
    facts: Facts,
    directory: Path,
    workspace: Path,
    roles: Sequence[ModelRole],
    terms: JsonObject,
    source: str,
) -> JsonObject:
    inside = directory.is_relative_to(workspace)
    return {
        "path": directory.relative_to(workspace).as_posix() if inside else str(directory),
        "roles": list(roles) or (["encoder"] if facts.encoder else ["teacher", "student"]),
        "chat": facts.chat,
        "context": facts.context,
        **terms,
        "parameters": facts.parameters,
        **({"source": source} if source else {}),
        "sha256": file_digests(directory),
    }


def _reloaded(text: str, path: Path) -> JsonObject:
    """Parse the extended file before it is written; RecipeError where it is no models.yaml."""
    try:
        data = yaml.safe_load(text)
    except NOT_YAML:
        data = None
    if not isinstance(data, dict):
        raise RecipeError(
            f"{path}: an entry cannot be appended.",
            "Write one entry per block, as the packaged file does.",
        )
    return data
