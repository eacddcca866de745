"""GGUF for llama.cpp, through a converter that is already on this machine.

None is shipped and none is fetched. llama.cpp's convert_hf_to_gguf.py is a script of its source
tree and needs no build. It gets the merged student as its argument, in the environment that all our
children get (`child_environment`); its output goes to the run's log. Not covered: quantisation,
which llama.cpp's own llama-quantize does from the file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from localinstruct.errors import TrainerError, UsageError
from localinstruct.export import merged
from localinstruct.export.request import ExportRequest, ExportResult
from localinstruct.offline.switches import child_environment
from localinstruct.progress import Progress

SCRIPT = "convert_hf_to_gguf.py"
NAMED_BY = "LOCALINSTRUCT_GGUF_CONVERTER"
"""Environment variable with the converter's path, where --converter does not name it."""
MAGIC = b"GGUF"


def converter(option: str = "") -> Path:
    """The converter from the option, the environment or the PATH; UsageError where none is."""
    named = option or os.environ.get(NAMED_BY, "")
    script = named or shutil.which(SCRIPT) or ""
    if script and Path(script).is_file():
        return Path(script).absolute()
    message = f"{named}: expected llama.cpp's {SCRIPT}, found nothing there." if named else ""
    raise UsageError(
        message or f"No GGUF converter on this machine: {SCRIPT} of llama.cpp is not on the PATH.",
        "Bring the source of a llama.cpp release (no build is needed), "
        f"then add --converter DIR/{SCRIPT}, or set {NAMED_BY}. "
        "Ollama needs none: --format ollama.",
    )


def require_converter(request: ExportRequest) -> None:
    """UsageError, before anything is merged, where there is no converter."""
    converter(request.converter)


def size(request: ExportRequest) -> int:
    """Bytes: the merged student and the file made of it, for a while both."""
    return 2 * merged.size(request)


def write(request: ExportRequest, folder: Path, progress: Progress) -> ExportResult:
    """Merge and check as `merged.write`, convert, and keep the one file."""
    whole, file = folder / "merged", folder / f"{request.name}.gguf"
    result = merged.write(request, whole, progress)
    script = converter(request.converter)
    progress.update(f"converting with {script.name}", 0, 1)
    _convert(script, whole, file, request.log)
    shutil.rmtree(whole)
    progress.update(f"converting with {script.name}", 1, 1)
    converted = f"{file.stat().st_size / 2**20:,.1f} MiB by {script}"
    return ExportResult(
        (*result.facts, ("converted", converted)), f"llama-server -m {{}}/{file.name} --jinja"
    )


def _convert(script: Path, whole: Path, file: Path, log: Path) -> None:
    runner = [sys.executable] if script.suffix == ".py" else []
    command = [*runner, str(script), str(whole), "--outfile", str(file), "--outtype", "auto"]
    log.parent.mkdir(exist_ok=True, mode=0o700)
    with log.open("ab") as output:
        began = output.tell()
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=child_environment()
        ).returncode
    if code or not _is_gguf(file):
        text = log.read_bytes()[began:].decode("utf-8", "replace")
        tail = "\n".join(line[:300] for line in text.strip().splitlines()[-6:])
        raise TrainerError(
            f"{script} ended with code {code} and no GGUF file. It said:\n{tail}",
            f"See {log}. llama.cpp knows only some architectures and tokenizers; a newer release "
            "may know this one. Nothing was written.",
        )


def _is_gguf(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as start:
        return start.read(4) == MAGIC
