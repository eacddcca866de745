"""GGUF for llama.cpp: written here for Llama, Qwen2 and Qwen3, by a converter for others.

The file is held against the merged student it was made of (`agreement`) where llama.cpp is here as
a Python package, and what was compared is said. Not covered: precisions below 8 bits, which
llama.cpp's own llama-quantize makes from the file.
"""

import json
import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from localinstruct.errors import UsageError
from localinstruct.export import converter, merged
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.formats import read_instances
from localinstruct.gguf import agreement, llama_cpp
from localinstruct.gguf import file as gguf_file
from localinstruct.gguf.vocabulary import PROBES, Vocabulary, vocabulary
from localinstruct.progress import Progress
from localinstruct.records import Instance
from localinstruct.training import student

INSTALL = "pip install 'localinstruct[gguf]'"


def require_way(request: ExportRequest) -> None:
    """UsageError, before anything is merged, where this student cannot be written."""
    if request.precision not in gguf_file.PRECISIONS:
        raise UsageError(
            f"--precision {request.precision}: expected {', '.join(gguf_file.PRECISIONS)}.",
            "Leave it out for the precision of the weights.",
        )
    if _written_here(request):
        return
    kind = _model_type(request)
    known = ", ".join(gguf_file.WRITTEN)
    if kind in gguf_file.WRITTEN:
        reason = f"GGUF of {kind} is written with the package gguf, which is not installed."
        converter.find(request.converter, reason, f"{INSTALL}, or b")
    else:
        reason = f"GGUF is written here for {known}, and this student is {kind}; llama.cpp's "
        converter.find(request.converter, f"{reason}{converter.SCRIPT} is not on the PATH.", "B")


def size(request: ExportRequest) -> int:
    """Bytes: the merged student and the file made of it, for a while both."""
    return 2 * merged.size(request)


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Merge and check as `merged.write`, write the one file, and hold it against the student."""
    whole, file = folder / "merged", folder / f"{request.name}.gguf"
    rows = _rows(request.rows)
    words = _vocabulary(request, rows) if _written_here(request) else None  # before a long merge
    result = merged.write(request, whole, progress)
    if words:
        facts = _write(request, words, rows, whole, file, progress)
    else:
        facts = _convert(request, whole, file, progress)
    shutil.rmtree(whole)
    return ExportResult((*result.facts, *facts), f"llama-server -m {{}}/{file.name} --jinja")


def _written_here(request: ExportRequest) -> bool:
    """True without a named converter, for an architecture we know, where the package is here."""
    known = _model_type(request) in gguf_file.WRITTEN
    return known and not request.converter and find_spec("gguf") is not None


def _model_type(request: ExportRequest) -> str:
    config = (request.base_folder() / "config.json").read_text(encoding="utf-8")
    return str(json.loads(config).get("model_type"))


def _vocabulary(request: ExportRequest, rows: Sequence[Instance]) -> Vocabulary:
    """The tokenizer in GGUF's terms; TrainerError for a student that cannot be written."""
    is_adapter = request.trained.kind == "adapter"
    source = request.base_folder() if is_adapter else request.trained.folder
    size = gguf_file.require_known(source).vocab_size
    texts = agreement.texts_of(rows)[: agreement.TEXTS]
    return vocabulary(student.load_tokenizer(source), texts, size)


def _write(
    request: ExportRequest,
    words: Vocabulary,
    rows: Sequence[Instance],
    whole: Path,
    file: Path,
    progress: Progress,
) -> tuple[tuple[str, str], ...]:
    """Write the file and compare; facts about both."""
    progress.update("writing GGUF", 0, 2)
    about = {
        "name": request.name,
        "base": request.base.source or request.base.name,
        "licence": request.base.licence,
    }
    tokenizer = student.load_tokenizer(whole)
    precision = gguf_file.write_file(whole, file, tokenizer, words, about, request.precision)
    cuts = f"texts cut as {words.pre}" if words.model == "gpt2" else "texts read as SentencePiece's"
    facts = [("gguf", f"{file.stat().st_size / 2**20:,.1f} MiB, {precision}, {cuts}")]
    if words.caution:
        facts.append(("caution", words.caution))
    progress.update("asking llama.cpp", 1, 2)
    if llama_cpp.installed():
        agreed = agreement.compare(file, whole, rows, precision, request.log)
        facts += agreed.facts()
    else:
        facts.append(("not checked", f"llama.cpp is not here to be asked: {INSTALL}"))
    progress.update("asking llama.cpp", 2, 2)
    return tuple(facts)


def _rows(path: Path) -> list[Instance]:
    """Rows of the training for comparisons, and a few of ours, where there are not many."""
    learnt = read_instances(path) if path.is_file() and path.stat().st_size else []
    ours = [Instance(text) for text in PROBES]
    return [*learnt[: agreement.TEXTS], *ours]


def _convert(
    request: ExportRequest, whole: Path, file: Path, progress: Progress
) -> tuple[tuple[str, str], ...]:
    script = converter.find(request.converter)
    progress.update(f"converting with {script.name}", 0, 1)
    converter.convert(script, whole, file, request.precision, request.log)
    progress.update(f"converting with {script.name}", 1, 1)
    return (("converted", f"{file.stat().st_size / 2**20:,.1f} MiB by {script}"),)
