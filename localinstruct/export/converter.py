"""llama.cpp's own converter, for students that are not written here.

None is shipped and none is fetched. convert_hf_to_gguf.py is a script of llama.cpp's source tree
and needs no build. It gets the merged student as its argument, in the environment that all our
children get (`child_environment`); its output goes to the run's log.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from localinstruct.errors import TrainerError, UsageError
from localinstruct.offline.switches import child_environment

SCRIPT = "convert_hf_to_gguf.py"
NAMED_BY = "LOCALINSTRUCT_GGUF_CONVERTER"
"""Environment variable with the converter's path, where --converter does not name it."""
MAGIC = b"GGUF"


def find(option: str = "", reason: str = "", first: str = "B") -> Path:
    """The converter from the option, the environment or the PATH; UsageError where none is.

    `reason` says why one is needed, `first` begins the hint, which goes on with "ring".
    """
    named = option or os.environ.get(NAMED_BY, "")
    script = named or shutil.which(SCRIPT) or ""
    if script and Path(script).is_file():
        return Path(script).absolute()
    message = f"{named}: expected llama.cpp's {SCRIPT}, found nothing there." if named else reason
    raise UsageError(
        message or f"No GGUF converter on this machine: {SCRIPT} of llama.cpp is not on the PATH.",
        f"{first}ring the source of a llama.cpp release (no build is needed), "
        f"then add --converter DIR/{SCRIPT}, or set {NAMED_BY}. "
        "Ollama needs none: --format ollama.",
    )


def convert(script: Path, whole: Path, file: Path, precision: str, log: Path) -> None:
    """Run the converter; TrainerError with its last words when it leaves no GGUF file."""
    runner = [sys.executable] if script.suffix == ".py" else []
    command = [*runner, str(script), str(whole), "--outfile", str(file), "--outtype", precision]
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
