"""SHA-256 of a model's files, and their changes against the digests of models.yaml."""

from collections.abc import Mapping
from pathlib import Path

from localinstruct.store.durable import sha256

DIGESTED = {".safetensors", ".json", ".model", ".jinja", ".tiktoken"}
DIGESTED_NAMES = {"vocab.txt", "merges.txt"}
"""Files that shape an answer: weights, tokenizer, configuration and templates."""


def file_digests(directory: Path, files: list[Path], remembered: bool = True) -> dict[str, str]:
    """{name relative to `directory`: SHA-256} of the `files` that shape an answer, by name."""
    names = {
        path.relative_to(directory).as_posix(): path for path in files if _shapes_answers(path)
    }
    return {name: sha256(path, remembered) for name, path in sorted(names.items())}


def altered(present: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Files that are missing, new or changed; each as 'name: problem'."""
    missing = [name for name in expected if name not in present]
    added = [name for name in present if name not in expected]
    changed = [name for name in expected if name in present and present[name] != expected[name]]
    return [
        *(f"{name}: missing, though models.yaml has its digest" for name in missing),
        *(f"{name}: not among the files of models.yaml" for name in added),
        *(
            f"{name}: altered (SHA-256 {present[name][:12]}…, expected {expected[name][:12]}…)"
            for name in changed
        ),
    ]


def _shapes_answers(path: Path) -> bool:
    return (path.suffix in DIGESTED or path.name in DIGESTED_NAMES) and path.is_file()
