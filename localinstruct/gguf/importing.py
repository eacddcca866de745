"""A GGUF file brought in as a model directory that every library loads, and entered in models.yaml.

The directory appears whole or not at all, after the file was held against llama.cpp where that is
installed. Not covered: files that llama.cpp reads otherwise than transformers (refused), training
on packed weights.
"""

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from localinstruct.errors import ModelError, RecipeError, TrainerError, UsageError
from localinstruct.formats import read_instances
from localinstruct.gguf import agreement, llama_cpp, weights
from localinstruct.gguf.tokenizer import cuts_of, write_tokenizer
from localinstruct.gguf.vocabulary import PROBES
from localinstruct.machine import GIB
from localinstruct.models.adding import add_model
from localinstruct.models.catalog import ModelRole, ModelSpec, load_catalog
from localinstruct.models.gguf_header import INSTALL, Header, read_header
from localinstruct.models.preflight import inspect
from localinstruct.progress import Progress
from localinstruct.recipe import packaged_workspace
from localinstruct.records import Instance
from localinstruct.store.durable import sha256, write_text
from localinstruct.store.whole_folder import new_folder
from localinstruct.training.student import quiet

ANSWERS = 20
"""Greedy answers that are compared."""
SHIFTED = (
    "Nothing was written. Bring the model it was made of, with its safetensors, or have llama.cpp "
    "serve this file (`gguf: FILE` in models.yaml); and please report this."
)


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that was brought in, and what is to be said about it."""

    spec: ModelSpec
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """A file to bring in, the name it gets in models.yaml, and the folder it is unpacked to."""

    file: Path
    name: str
    workspace: Path
    output: Path | None = None
    """The new directory; None is models/NAME, or the path of an entry without its weights."""
    roles: Sequence[ModelRole] = ()
    licence: str = ""
    dtype: str = "auto"
    """A key of `weights.DTYPES`, or auto."""


def import_model(request: ImportRequest, progress: Progress) -> Imported:
    """Write the directory, hold it against llama.cpp, and enter it in models.yaml.

    ModelError for a file that is not read here, RecipeError for a name in use, StoreError where the
    disk is too small, TrainerError where llama.cpp reads the file otherwise.
    """
    waiting, output = _place(request)
    header = read_header(request.file)
    weights.require_read(header)
    cuts = cuts_of(header)
    dtype = weights.default_dtype(header) if request.dtype == "auto" else request.dtype
    context = int(header.number("context_length") or 0)
    needed = weights.size(header, dtype)
    progress.say(f"{output} will take {needed / GIB:.2f} GiB, as {dtype}")
    output.parent.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="localinstruct-") as private,
        new_folder(output, needed) as folder,
        quiet(log := Path(private, "log")),
    ):
        write_tokenizer(header, folder, context)
        weights.write_weights(header, folder, dtype, progress)
        write_text(folder / "README.md", _readme(request, header))
        _open_to_read(folder)
        if problems := inspect(folder):
            raise ModelError(f"{request.file}: {'; '.join(problems)}", "Nothing was written.")
        checked = _compared(request, header, folder, progress, log)
    source = header.text("general.source.url") or header.text("general.base_model.0.repo_url")
    spec = waiting or add_model(
        request.workspace, request.name, output, request.roles, request.licence, source
    )
    facts = (("read as", f"{header.architecture}, {_kinds(header)}; texts cut as {cuts}"), *checked)
    return Imported(spec, facts)


def _place(request: ImportRequest) -> tuple[ModelSpec | None, Path]:
    """The entry that waits for these weights, if there is one, and the directory to be made.

    RecipeError or UsageError, before anything is read, for a name or a place that is taken.
    """
    catalog = load_catalog(request.workspace)
    known = catalog.models.get(request.name)
    waits = known is not None and known.path and not known.present and not known.sha256
    if known is not None and not waits:
        raise RecipeError(
            f"{request.name}: already in {catalog.path}.",
            "Choose another --name, or correct that entry in an editor.",
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", request.name):
        raise UsageError(
            f"--name {request.name}: expected letters, digits, dots, dashes and underscores.",
            "Choose another --name.",
        )
    usual = (
        Path(known.path) if known and known.path else request.workspace / "models" / request.name
    )
    output = (usual if known else request.output or usual).absolute()
    if output.exists():
        raise UsageError(
            f"{output}: expected a new folder, found something of that name.",
            f"If it is this model: localinstruct models add {request.name} {output}. "
            "Otherwise choose another --output.",
        )
    return known, output


def _compared(
    request: ImportRequest,
    header: Header,
    folder: Path,
    progress: Progress,
    log: Path,
) -> tuple[tuple[str, str], ...]:
    """Counts of what llama.cpp does alike, or how to have it asked."""
    if not llama_cpp.installed():
        return (("not checked", f"llama.cpp is not here to be asked: {INSTALL}"),)
    progress.update("asking llama.cpp", 0, 1)
    kind = next(iter(header.types))
    seeds = packaged_workspace() / "seeds" / "seed_tasks.jsonl"
    rows = [*map(Instance, PROBES), *read_instances(seeds)]
    try:
        agreed = agreement.compare(
            request.file.absolute(), folder, rows, kind, log, ANSWERS, with_chats=False
        )
    except TrainerError as problem:
        problem.hint = SHIFTED
        raise
    progress.update("asking llama.cpp", 1, 1)
    return agreed.facts()


def _open_to_read(folder: Path) -> None:
    """Files as others are: safetensors writes its own for the owner alone."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _kinds(header: Header) -> str:
    total = sum(header.types.values())
    return ", ".join(
        f"{kind} {count / total:.0%}" for kind, count in list(header.types.items())[:2]
    )


def _readme(request: ImportRequest, header: Header) -> str:
    """Where the directory comes from, with the licence that the file names."""
    licence = header.text("general.license")
    front = f"---\nlicense: {licence}\n---\n" if re.fullmatch(r"[\w.-]+", licence) else ""
    return (
        f"{front}\n# {header.text('general.name') or request.name}\n\n"
        f"Unpacked by localinstruct from `{request.file.name}` (SHA-256 {sha256(request.file)}): "
        "weights, tokenizer and chat template are the file's.\n"
    )
