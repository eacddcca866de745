"""models.yaml: models, their place on this disk, and the terms of their licences.

A model is a directory, a folder of an installed package, or is served already, on this machine or
on others that the person has allowed; nothing is ever downloaded. `checked` is the gate before any
loader: complete, safe (`preflight`), unchanged (SHA-256). Not covered: how good a model is at its
role; legal advice.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, field_validator, model_validator

from localinstruct.config import (
    Section,
    Where,
    attempt,
    did_you_mean,
    lines_of,
    listing,
    load_yaml,
)
from localinstruct.errors import ModelError, RecipeError
from localinstruct.machine import Precision
from localinstruct.models import digests
from localinstruct.models.chat_template import is_file_name, template_text
from localinstruct.models.endpoints import Endpoint, all_different, usable
from localinstruct.models.preflight import package_folder, walk
from localinstruct.models.problems import digests_of, how_to_bring, problems_of
from localinstruct.models.template_values import Value, with_values
from localinstruct.offline.addresses import allowed_hosts
from localinstruct.records import digest

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
    """One entry of models.yaml; path, package, gguf, endpoint or endpoints says where it is."""

    NEW = frozenset({"endpoints", "chat_template_kwargs"})
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

    unix:///absolute/path.sock, http://127.0.0.1:PORT/v1, or http://HOST:PORT/v1 of a machine that
    is allowed (docs/cluster.md).
    """
    endpoints: list[Endpoint] = Field(default_factory=list)
    """Several servers of the same model, each with its address, or with url and timeout (seconds).

    Requests go to the one with the fewest; one that fails is left out until it is back.
    """
    served_name: str = ""
    """The model's name at its endpoints."""
    roles: list[ModelRole] = Field(min_length=1)
    """Roles it may be used in."""
    chat: bool = False
    """True for a model that is asked through its chat template, false for a base model."""
    chat_template: str | None = None
    """Jinja chat template in place of the model's own.

    The text, a .jinja file relative to models.yaml, or the name of one of the model's own. Beside
    an endpoint: the template its server uses, which magpie needs to know.
    """
    chat_template_kwargs: dict[str, Value] = Field(default_factory=dict)
    """Values for names that the chat template reads, such as enable_thinking: false.

    They hold wherever the template is used, in training too; an endpoint is told with each request.
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

    _allowed: frozenset[str] = PrivateAttr(frozenset())
    """Other machines that the person has allowed: no key, set where the file is read."""

    @field_validator("endpoint")
    @classmethod
    def _of_the_form(cls, value: str | None) -> str | None:
        return value if value is None else usable(value)

    @field_validator("endpoints")
    @classmethod
    def _once_each(cls, value: list[Endpoint]) -> list[Endpoint]:
        return all_different(value)

    @model_validator(mode="after")
    def _template_is_for_a_chat(self) -> "ModelSpec":
        if (self.chat_template or self.chat_template_kwargs or self.stop) and not self.chat:
            raise ValueError(
                "chat_template, chat_template_kwargs and stop are for chats: expected chat: true "
                "beside them"
            )
        return self

    @model_validator(mode="after")
    def _one_place(self) -> "ModelSpec":
        keys = ("path", "package", "gguf", "endpoint", "endpoints")
        places = [key for key in keys if getattr(self, key)]
        if len(places) != 1:
            raise ValueError(
                f"expected one of {', '.join(keys)}; found {', '.join(places) or 'none'}"
            )
        if self.servers and not self.served_name:
            raise ValueError(f"expected served_name beside {places[0]}: the model's name there")
        return self

    @property
    def servers(self) -> list[Endpoint]:
        """Endpoints at which others serve it; none for a model that is started here."""
        return [Endpoint(url=self.endpoint)] if self.endpoint else self.endpoints

    @property
    def allowed(self) -> frozenset[str]:
        """Names of other machines that may be asked."""
        return self._allowed

    def with_allowed(self, hosts: frozenset[str]) -> "ModelSpec":
        """The entry, with other machines that the person has allowed."""
        spec = self.model_copy()
        spec._allowed = hosts
        return spec

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
            f"{self.name}: served at {self.served}, but a directory on this disk is needed here.",
            "Name a model that has a path in models.yaml: localinstruct models list",
        )

    @property
    def served(self) -> str:
        """Where a model is served that cannot be loaded here: an address, or llama.cpp's file."""
        if self.endpoints:
            return ", ".join(endpoint.url for endpoint in self.endpoints)
        return self.endpoint or (f"llama.cpp, from {self.gguf}" if self.gguf else "")

    @property
    def template(self) -> str | None:
        """The chat template to use, as in `chat_template`; None for the model's own as it is.

        Where there are values for it, it is the whole text, with them.
        """
        if not self.chat_template_kwargs or self.servers:
            return self.chat_template
        place = Path(self.gguf) if self.gguf else self.directory
        return with_values(place, self.chat_template, self.chat_template_kwargs)

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

        For an endpoint it is over the address and the name served there; for several over the
        names alone, as rows do not depend on who answered.
        """
        if self.endpoint:
            return digest([self.endpoint, self.served_name, *self._values])
        if self.endpoints:
            return digest(["endpoints", self.name, self.served_name, *self._values])
        parts: list[object] = [*sorted(digests_of(self).items())]
        if self.chat_template or self.stop:
            parts += [template_text(self.chat_template or ""), self.stop]
        return digest([*parts, *self._values])

    @property
    def _values(self) -> list[dict[str, Value]]:
        """What a digest has beside the rest: nothing, as before, for an entry without values."""
        return [self.chat_template_kwargs] if self.chat_template_kwargs else []


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
    entries, allowed = parse_entries(load_yaml(path), path), allowed_hosts(workspace)
    return Catalog(path, {name: spec.with_allowed(allowed) for name, spec in entries.items()})


def checked(spec: ModelSpec) -> Path:
    """Return the directory, or GGUF file, of a model that is complete, safe and unchanged.

    ModelError with every problem otherwise.
    """
    problems = problems_of(spec, remembered=True)
    if problems:
        raise ModelError(
            f"{spec.name} in {spec.gguf or spec.directory}: {listing(problems)}",
            f"Delete what is refused and not needed, or bring it anew:\n{how_to_bring(spec)}",
        )
    return Path(spec.gguf) if spec.gguf else spec.directory


def verify(spec: ModelSpec) -> list[str]:
    """List everything wrong with a model, hashing every file anew; an endpoint is not looked at."""
    try:
        return [] if spec.servers else problems_of(spec, remembered=False)
    except ModelError as error:
        return [f"{error.message}\n{error.hint}"]


def file_digests(directory: Path, remembered: bool = True) -> dict[str, str]:
    """{relative name: SHA-256} of weights, tokenizer, configuration and templates.

    As under `sha256:` in models.yaml.
    """
    return digests.file_digests(directory, list(walk(directory)), remembered)


def is_altered(spec: ModelSpec) -> bool:
    """True for a model with other files than its digests in models.yaml, where it has some."""
    return bool(spec.sha256 and digests.altered(digests_of(spec), dict(spec.sha256)))


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
