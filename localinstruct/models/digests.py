"""SHA-256 of a model's files, and what has changed since they were written down."""

from collections.abc import Mapping
from pathlib import Path

from localinstruct.store.durable import sha256

DIGESTED = {".safetensors", ".json", ".model", ".jinja", ".tiktoken"}
DIGESTED_NAMES = {"vocab.txt", "merges.txt"}
"""Weights, tokenizer, configuration and templates: what shapes an answer."""


def file_digests(directory: Path, files: list[Path], remembered: bool = True) -> dict[str, str]:
    """{name relative to `directory`: SHA-256} of those `files` that shape an answer, sorted by
    name."""
    found = {
        path.relative_to(directory).as_posix(): path for path in files if _shapes_answers(path)
    }
    return {name: sha256(path, remembered) for name, path in sorted(found.items())}


def altered(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Files that are missing, new, or not what they were; each as 'name: what is wrong'."""
    missing = [
        f"{name}: missing, though models.yaml has its digest"
        for name in expected
        if name not in found
    ]
    added = [
        f"{name}: not among the files of models.yaml" for name in found if name not in expected
    ]
    changed = [
        f"{name}: altered (SHA-256 {found[name][:12]}…, expected {digest[:12]}…)"
        for name, digest in expected.items()
        if name in found and found[name] != digest
    ]
    return missing + added + changed


def _shapes_answers(path: Path) -> bool:
    return (path.suffix in DIGESTED or path.name in DIGESTED_NAMES) and path.is_file()
