"""The machine's facts, read from made-up /proc, control groups and nvidia-smi."""
# ruff: noqa: E501 (tables: one case per line)

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from localinstruct import machine
from localinstruct.machine import GIB, Gpu, Machine, Precision, fits, look, parse_gpus

MEMINFO = "MemTotal:       16777216 kB\nMemFree: 1 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\n"
BOX = Machine("Linux", "A CPU", 8, 16.0, 8.0, (), "3.11.7", {})
CARD = Gpu("A Card", 24.0, 22.0, "600.1")

Fake = Callable[[dict[str, str]], None]


@pytest.fixture
def fake_files(monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Let machine.py read these files, and no others."""
    return lambda contents: monkeypatch.setattr(
        machine, "_read", lambda path: contents.get(path, "")
    )


V2 = "/sys/fs/cgroup/system.slice/run.scope"
V1 = "/sys/fs/cgroup/memory/docker/abc"
CGROUPS: dict[str, tuple[dict[str, str], tuple[int, int]]] = {
    "none": ({}, (16 * GIB, 8 * GIB)),
    "version 2, no limit": ({f"{V2}/memory.max": "max\n"}, (16 * GIB, 8 * GIB)),
    "version 2": ({f"{V2}/memory.max": f"{4 * GIB}\n", f"{V2}/memory.current": f"{GIB}\n"}, (4 * GIB, 3 * GIB)),
    "version 2, limit above": ({"/sys/fs/cgroup/system.slice/memory.max": f"{4 * GIB}"}, (4 * GIB, 4 * GIB)),
    "version 2, in a container": ({"/sys/fs/cgroup/memory.max": f"{2 * GIB}"}, (2 * GIB, 2 * GIB)),
    "file cache is given back": (
        {f"{V2}/memory.max": f"{4 * GIB}", f"{V2}/memory.current": f"{3 * GIB}", f"{V2}/memory.stat": f"anon 1\ninactive_file {2 * GIB}\n"},
        (4 * GIB, 3 * GIB),
    ),
    "version 1": ({f"{V1}/memory.limit_in_bytes": f"{4 * GIB}", f"{V1}/memory.usage_in_bytes": f"{GIB}"}, (4 * GIB, 3 * GIB)),
    "version 1, no limit": ({f"{V1}/memory.limit_in_bytes": "9223372036854771712"}, (16 * GIB, 8 * GIB)),
    "used up": ({f"{V2}/memory.max": f"{GIB}", f"{V2}/memory.current": f"{GIB}"}, (GIB, 0)),
}  # fmt: skip


@pytest.mark.parametrize("kind", CGROUPS)
def test_memory_respects_control_groups(kind: str, fake_files: Fake) -> None:
    extra, expected = CGROUPS[kind]
    fake_files(
        {
            "/proc/meminfo": MEMINFO,
            "/proc/self/cgroup": "4:memory:/docker/abc\n0::/system.slice/run.scope\n",
            **extra,
        }
    )
    assert expected == machine.memory()


def test_cores_respect_affinity_and_quota(
    fake_files: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))
    for quota, expected in (
        ("max 100000\n", 16),
        ("250000 100000\n", 3),
        ("50000 100000\n", 1),
        ("", 16),
        ("9900000 100000\n", 16),
    ):
        fake_files({"/proc/self/cgroup": "0::/x\n", "/sys/fs/cgroup/x/cpu.max": quota})
        assert expected == machine.cpu_count()


def test_gpus_are_parsed_and_odd_lines_skipped() -> None:
    text = "NVIDIA H100 80GB HBM3, 81559, 81004, 580.82\nNVIDIA X, Rev 2, 24576, 512, 600.1\nNo devices were found\nY, [N/A], [N/A], 1\n"
    assert (
        Gpu("NVIDIA H100 80GB HBM3", 79.65, 79.11, "580.82"),
        Gpu("NVIDIA X, Rev 2", 24.0, 0.5, "600.1"),
    ) == parse_gpus(text)
    assert parse_gpus("") == ()


@pytest.mark.parametrize(
    "line",
    [
        "NVIDIA GB10, [N/A], [N/A], 580.95",
        "NVIDIA GB10, N/A, N/A, 580.95",
        "NVIDIA Thor, [Not Supported], [Not Supported], 580.00",
    ],
)
def test_a_gpu_without_memory_of_its_own_has_the_machines(line: str) -> None:
    [gpu] = parse_gpus(line, (128 * GIB, 100 * GIB))
    assert (gpu.total_gib, gpu.free_gib, gpu.unified) == (128.0, 100.0, True)
    assert "the same memory" in replace(BOX, gpus=(gpu,)).describe()
    assert parse_gpus(line) == ()


def test_a_machine_of_shared_memory_can_be_described() -> None:
    found, _ = machine.parse_machine("unified=128,disk=900", BOX)
    assert (found.available_gib, found.gpus[0].free_gib, found.gpus[0].unified) == (128, 128, True)
    with pytest.raises(ValueError, match="without vram"):
        machine.parse_machine("unified=128,vram=24", BOX)


SMI = {
    "one card": ("echo 'A Card, 24576, 22528, 600.1'", (CARD,)),
    "fails": ("echo 'A Card, 24576, 22528, 600.1'; exit 9", ()),
    "hangs": ("exec sleep 300", ()),
}


@pytest.mark.parametrize("kind", SMI)
def test_nvidia_smi_is_asked_with_a_time_limit(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, expected = SMI[kind]
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "NVIDIA_SMI_SECONDS", 0.5 if kind == "hangs" else 60)
    started = time.monotonic()
    assert expected == machine.gpus()
    assert time.monotonic() - started < 200


def test_without_nvidia_smi_there_are_no_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.gpus() == ()


@dataclass
class Model:
    name: str = "m"
    memory_gib: dict[Precision, float] = field(
        default_factory=lambda: {"bf16": 15.0, "fp8": 7.5, "int4": 4.2}
    )


FITS: dict[str, tuple[Machine, str | None]] = {
    "a card with room": (replace(BOX, gpus=(CARD,)), None),
    "the largest card counts": (replace(BOX, gpus=(replace(CARD, free_gib=2.0), CARD)), None),
    "only smaller": (replace(BOX, gpus=(replace(CARD, free_gib=11.0),)), "m fits only in a smaller precision: needs about 18.0 GiB in bf16, 9.0 GiB in fp8"),
    "not at all": (replace(BOX, gpus=(replace(CARD, free_gib=4.0),)), "m does not fit: needs about 18.0 GiB in bf16"),
    "memory counts without a card": (replace(BOX, available_gib=64.0), None),
    "only bf16 on a CPU": (BOX, "m does not fit: needs about 18.0 GiB in bf16; memory has 8.0 GiB free"),
}  # fmt: skip


@pytest.mark.parametrize("kind", FITS)
def test_fits(kind: str) -> None:
    box, expected = FITS[kind]
    found = fits(Model(), box)
    assert (expected is None) == (found is None)
    assert (found or "").startswith(expected or "")


def test_a_model_of_unknown_size_is_not_judged() -> None:
    assert fits(Model(memory_gib={}), BOX) is None


def test_a_look_at_this_machine_is_plausible() -> None:
    found = look()
    assert found.cpu_count >= 1
    assert 0 < found.available_gib <= found.memory_gib
    assert f"{found.cpu_count} CPU cores" in found.describe()
    assert found.python in found.describe()
    assert {"torch", "transformers", "trl", "peft"} <= set(found.versions)
    assert "cpu_count" in found.to_dict()


def test_disk_and_file_system_of_places_that_do_not_exist_yet(tmp_path: Path) -> None:
    assert machine.disk_free(tmp_path) > 0
    assert machine.disk_free(tmp_path / "not" / "yet") > 0
    assert machine.file_system(tmp_path / "not" / "yet")


def test_the_innermost_mount_decides(fake_files: Fake, tmp_path: Path) -> None:
    inner = str(tmp_path / "my disk").replace(" ", "\\040")
    fake_files(
        {
            "/proc/self/mounts": f"a / ext4 rw 0 0\nb {tmp_path} xfs rw 0 0\nc {inner} nfs4 rw 0 0\nd {tmp_path}x btrfs rw 0 0\n"
        }
    )
    assert machine.file_system(tmp_path / "my disk" / "runs") == "nfs4"
    assert machine.file_system(tmp_path / "other") == "xfs"
    assert machine.file_system(Path("/elsewhere")) == "ext4"


def test_nothing_heavy_is_imported() -> None:
    code = "import sys; from localinstruct.machine import look; look(); print(sorted({'torch', 'transformers', 'vllm'} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=Path(__file__).parents[1],
    )
    assert result.stdout == "[]\n", result.stderr


def test_the_commit_is_that_of_a_checkout_and_nothing_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*words: str) -> None:
        subprocess.run(
            ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
            check=True,
        )

    (tmp_path / "localinstruct").mkdir()
    (tmp_path / "localinstruct" / "machine.py").write_text("one")
    monkeypatch.setattr(machine, "__file__", str(tmp_path / "localinstruct" / "machine.py"))
    assert machine.commit() == ""
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "first")):
        git(*words)
    git("tag", "v1")
    found = machine.commit()
    assert re.fullmatch("[0-9a-f]{12}", found)
    (tmp_path / "localinstruct" / "machine.py").write_text("two")
    assert machine.commit() == f"{found}-dirty"
    monkeypatch.setenv("PATH", "")
    assert machine.commit() == ""
