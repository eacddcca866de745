"""FlashInfer, whose kernels vLLM uses on NVIDIA GPUs: whether they are here, and not fetched.

Read in the source of vLLM 0.33.0 and flashinfer-python 0.7.2.post1, not run: without the wheel
flashinfer-cubin vLLM leaves FlashInfer out, unless nvcc and ninja are there; then it compiles at
start-up, and fetches what it lacks. FLASHINFER_NO_DOWNLOAD is looked at in one of the places that
fetch, so the address they all use is a folder of this machine. Not covered: other GPUs' kernels.
"""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import which

from localinstruct.machine import version

PYTHON = "flashinfer-python"
KERNELS = ("flashinfer-cubin", "flashinfer-jit-cache")
"""Distributions with kernels that are compiled already; of the version of flashinfer-python."""
REPOSITORY = "FLASHINFER_CUBINS_REPOSITORY"
CUDA = "/usr/local/cuda"
ONLINE = "where there is a network, in the same environment: vllm download-kernels"


@dataclass(frozen=True, slots=True)
class State:
    """The kernels of FlashInfer on this machine: `word` to tell them by, in words, and a way on."""

    word: str
    """absent, off, would compile, mismatched or ready."""
    words: str
    fix: str = ""


def state(installed: Mapping[str, str] | None = None) -> State:
    """State of FlashInfer here; `installed` is distribution -> version."""
    names = (PYTHON, *KERNELS)
    have = {name: version(name) for name in names} if installed is None else dict(installed)
    wanted = have.get(PYTHON, "")
    if not wanted:
        return State("absent", "not installed: vLLM uses other kernels")
    pins = " ".join(f"{name}=={wanted}" for name in KERNELS)
    fix = f"Bring {pins} ({ONLINE}). vLLM works without, more slowly"
    other = [f"{name} {have[name]}" for name in KERNELS if not _agree(have.get(name, ""), wanted)]
    if other:
        words = f"mismatched: {', '.join(other)} beside {PYTHON} {wanted}"
        return State("mismatched", words, fix)
    missing = [name for name in KERNELS if not have.get(name)]
    if not missing:
        return State("ready", f"ready: {wanted}, with compiled kernels")
    without = f"{PYTHON} {wanted} without {' and '.join(missing)}"
    can_compile = bool(_nvcc()) and bool(which("ninja"))
    if KERNELS[0] in missing and not can_compile:
        return State("off", f"off: {without}, and no nvcc and ninja to compile with", fix)
    words = f"would compile at every first start: {without}"
    return State("would compile", words + ("" if can_compile else ", and nvcc is missing"), fix)


def environment(given: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables under which FlashInfer looks for kernels in folders of this machine alone.

    A folder that FLASHINFER_CUBINS_REPOSITORY names already stays; else it is FlashInfer's cache.
    """
    home = Path(given.get("FLASHINFER_WORKSPACE_BASE") or Path.home())
    named = given.get(REPOSITORY, "")
    own = named if Path(named).is_absolute() else str(home / ".cache" / "flashinfer" / "cubins")
    return {"FLASHINFER_NO_DOWNLOAD": "1", REPOSITORY: own}


def missing_wheels(wheels: Collection[tuple[str, str]]) -> list[str]:
    """Wheels with kernels ('flashinfer-cubin==0.7.2') that do not come along with FlashInfer's own.

    `wheels` are (name, version); none is missing where FlashInfer itself is not among them.
    """
    found = dict(wheels)
    wanted = found.get(PYTHON)
    if wanted is None:
        return []
    return [
        f"{name}=={wanted}"
        for name in KERNELS
        if not found.get(name) or not _agree(found[name], wanted)
    ]


def _agree(kernels: str, wanted: str) -> bool:
    """True for no kernels, and for those of this version, with or without a tag (+cu130)."""
    return not kernels or kernels.split("+")[0] == wanted.split("+")[0]


def _nvcc() -> str | None:
    """The compiler that FlashInfer would run, found as vLLM finds it."""
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    return which(str(Path(home or CUDA, "bin", "nvcc"))) or (None if home else which("nvcc"))
