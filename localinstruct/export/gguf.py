"""GGUF for llama.cpp, through a converter that is already on this machine; we bring none and fetch
none.

llama.cpp's convert_hf_to_gguf.py is a script of its source tree and needs no build. It gets the
merged student as its argument, in our environment without network switches; what it says goes to
the run's log. Not covered: quantisation, which llama.cpp's own llama-quantize does from the file.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from localinstruct.errors import TrainerError, UsageError
from localinstruct.export import merged
from localinstruct.export.request import Exported, ExportRequest
from localinstruct.offline.switches import child_environment
from localinstruct.progress import Progress

SCRIPT = "convert_hf_to_gguf.py"
NAMED_BY = "LOCALINSTRUCT_GGUF_CONVERTER"
"""Environment variable with the converter's path, where --converter does not name it."""
MAGIC = b"GGUF"


def converter(given: str = "") -> Path:
    """The converter that is named, by option or environment, or found on the PATH; UsageError where
    there is none."""
    named = given or os.environ.get(NAMED_BY, "")
    found = named or shutil.which(SCRIPT) or ""
    if found and Path(found).is_file():
        return Path(found).absolute()
    message = f"{named}: expected llama.cpp's {SCRIPT}, found nothing there." if named else ""
    raise UsageError(
        message or f"No GGUF converter on this machine: {SCRIPT} of llama.cpp is not on the PATH.",
        "Bring the source of a llama.cpp release (no build is needed), then add --converter "
        f"DIR/{SCRIPT}, or set "
        f"{NAMED_BY}. Ollama needs none: --format ollama.",
    )


def require_converter(wanted: ExportRequest) -> None:
    """UsageError, before anything is merged, where there is no converter."""
    converter(wanted.converter)


def size(wanted: ExportRequest) -> int:
    """Bytes: the merged student and the file made of it, for a while both."""
    return 2 * merged.size(wanted)


def write(wanted: ExportRequest, folder: Path, progress: Progress) -> Exported:
    """Merge and check as `merged.write`, convert, and keep the one file."""
    whole, file = folder / "merged", folder / f"{wanted.name}.gguf"
    done = merged.write(wanted, whole, progress)
    progress.update(f"converting with {converter(wanted.converter).name}", 0, 1)
    _convert(converter(wanted.converter), whole, file, wanted.log)
    shutil.rmtree(whole)
    progress.update(f"converting with {converter(wanted.converter).name}", 1, 1)
    return Exported(
        (
            *done.facts,
            (
                "converted",
                f"{file.stat().st_size / 2**20:,.1f} MiB by {converter(wanted.converter)}",
            ),
        ),
        f"llama-server -m {{}}/{file.name} --jinja",
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
        said = log.read_bytes()[began:].decode("utf-8", "replace").strip().splitlines()[-6:]
        raise TrainerError(
            f"{script} ended with code {code} and no GGUF file. It said:\n"
            + "\n".join(line[:300] for line in said),
            f"See {log}. llama.cpp knows only some architectures and tokenizers; a newer release "
            "may know this one. "
            "Nothing was written.",
        )


def _is_gguf(file: Path) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as start:
        return start.read(4) == MAGIC
