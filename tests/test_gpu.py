"""What only a GPU can show: the demo on it, and its memory free again when each stage has ended. Run: make test-gpu."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from localinstruct.machine import gpus
from tests.test_real import localinstruct

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not shutil.which("nvidia-smi"), reason="no NVIDIA GPU on this machine"),
]


def used_mib() -> int:
    shown = subprocess.run(
        ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"],
        capture_output=True,
        text=True,
        check=True,
    )
    return sum(int(line) for line in shown.stdout.split())


def test_the_demo_runs_on_the_gpu_and_gives_its_memory_back(tmp_path: Path) -> None:
    assert gpus()
    before = used_mib()
    for stage in ("generate", "dataset", "train", "evaluate"):
        shown = localinstruct(tmp_path, stage, "nano")
        assert shown.returncode == 0, shown.stderr
        assert used_mib() <= before + 200, stage
    results = json.loads(localinstruct(tmp_path, "show", "nano", "--json").stdout)["stages"]
    assert results["train"]["result"]["device"].startswith("cuda")
    assert results["generate"]["result"]["kept"] >= 300
