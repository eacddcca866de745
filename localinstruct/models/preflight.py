"""Preflight of a model directory: complete and safe, file by file, before a loader sees it.

`trust_remote_code=False` did not hold three times in vLLM's history (CVE-2025-66448,
CVE-2026-22807, CVE-2026-27893), so everything that could run is refused: code, pickled weights,
`auto_map`, links that lead out, headers that lie. Not covered: what the weights make the model
write, and a directory that another user changes after it was looked at.
"""

import os
import stat
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from localinstruct.errors import ModelError
from localinstruct.models.completeness import missing_parts
from localinstruct.models.facts import Facts, has_template, read_facts
from localinstruct.models.json_files import MAX_TEMPLATE_BYTES, json_problems
from localinstruct.models.safetensors import read_header
from localinstruct.models.template_trial import bomb_problem

__all__ = ["LEAVE_OUT", "Facts", "has_template", "inspect", "package_folder", "read_facts", "walk"]

CODE = {".py", ".pyc", ".so", ".dll", ".dylib"}
PICKLED = set(
    [
        ".bin",
        ".pt",
        ".pth",
        ".ckpt",
        ".pkl",
        ".pickle",
        ".joblib",
        ".h5",
        ".hdf5",
        ".msgpack",
        ".npy",
        ".npz",
    ]
)
GGUF = {".gguf", ".ggml"}
SKIPPED_FOLDERS = {".git", ".cache"}
"""Folders left by git and `hf download --local-dir`; no loader reads them."""

LEAVE_OUT = " ".join(
    f"--exclude '{pattern}'"
    for pattern in ("*.bin", "*.pt*", "*.py", "original/*", "metal/*", "onnx/*", "consolidated*")
)
"""Options of `hf download` that leave out files which are refused here and not needed."""


def inspect(directory: Path, packaged: bool = False) -> list[str]:
    """Every reason not to load the model in `directory`; empty when all is well.

    `packaged` allows the `__init__.py` of an installed package whose folder is the model directory.
    """
    root = directory.resolve()
    allowed = {"__init__.py"} if packaged else set()
    problems: list[str] = []
    for path in walk(root, skip=SKIPPED_FOLDERS | ({"__pycache__"} if packaged else set())):
        name = path.relative_to(root).as_posix()
        problems += [
            f"{name}: {problem}" for problem in _file_problems(path, root) if name not in allowed
        ]
    return problems + missing_parts(root)


def walk(
    root: Path, skip: set[str] | frozenset[str] = frozenset(SKIPPED_FOLDERS)
) -> Iterator[Path]:
    """Every file and every link below `root`, sorted; links to folders are given, not entered."""
    for folder, folders, files in os.walk(root):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = sorted(set(folders) - set(links) - skip)
        yield from (Path(folder, name) for name in sorted(files + links))


def package_folder(model: str, package: str, folder: str) -> Path:
    """The path of a folder in an installed package, which is not imported.

    ModelError when the package is not installed.
    """
    spec = find_spec(package)
    roots = list(spec.submodule_search_locations or []) if spec else []
    if not roots:
        raise ModelError(
            f"{model}: its package {package} is not installed.",
            f"pip install {package.replace('_', '-')}",
        )
    return Path(roots[0], folder)


def _file_problems(path: Path, root: Path) -> Iterator[str]:
    if path.is_symlink() and not path.exists():
        yield f"a link to {path.readlink()}, which does not exist"
        return
    if not path.resolve().is_relative_to(root):
        yield f"a link that leaves the directory (to {path.resolve()}); copy with cp -rL"
        return
    if path.is_symlink() and path.is_dir():
        yield "a link to a folder"
        return
    if not stat.S_ISREG(path.stat().st_mode):
        yield "not a regular file"
        return
    yield from _content_problems(path)


def _content_problems(path: Path) -> Iterator[str]:
    suffix = path.suffix.lower()
    if suffix in CODE:
        yield "code; a model must run without any of its own"
    elif suffix in PICKLED:
        yield (
            f"a {suffix} file may run code when it is loaded; only safetensors weights are "
            "accepted, so delete it"
        )
    elif suffix in GGUF:
        yield (
            "GGUF is not loaded from a directory; unpack it (localinstruct models import FILE "
            "--name NAME), or have llama.cpp serve it (`gguf: FILE` in models.yaml)"
        )
    elif suffix == ".jinja":
        yield from _template_problems(path)
    elif suffix == ".json":
        yield from json_problems(path)
    elif suffix == ".safetensors":
        try:
            yield from read_header(path).problems
        except OSError as error:
            yield f"cannot be read: {error.strerror}"


def _template_problems(path: Path) -> Iterator[str]:
    if path.stat().st_size > MAX_TEMPLATE_BYTES:
        yield f"a chat template of at most {MAX_TEMPLATE_BYTES:,} bytes was expected"
        return
    if problem := bomb_problem(path.read_text(encoding="utf-8", errors="replace")):
        yield problem
