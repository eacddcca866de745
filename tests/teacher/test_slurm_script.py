"""The Slurm script, which nobody can run here: its syntax, its switches, its options of vLLM."""

import re
import subprocess
from pathlib import Path

from localinstruct.offline.switches import SWITCHES
from localinstruct.progress import Silent
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server

SCRIPT = Path(__file__).parents[2] / "recipes" / "cluster" / "vllm.sbatch"
TEXT = SCRIPT.read_text("utf-8")
BINDING = {"--host", "--port", "--tensor-parallel-size", "--max-model-len"}


def test_bash_can_read_it() -> None:
    assert subprocess.run(["bash", "-n", str(SCRIPT)]).returncode == 0


def test_its_switches_are_the_programs_own() -> None:
    lines = [line for line in TEXT.splitlines() if line.startswith("export ")]
    switches = dict(word.split("=", 1) for line in lines for word in line.split()[1:])
    assert len(switches) > 15
    assert {name: SWITCHES[name][0] for name in switches} == switches


def test_its_options_are_those_with_which_we_start_vllm(tmp_path: Path) -> None:
    ours = Server(tmp_path, "m", Serve(), tmp_path, "vllm", Silent()).command(tmp_path / "s")
    body = TEXT.partition("set -euo pipefail")[2]
    vllm = {word for word in re.findall(r"(?<=\s)--[a-z-]+|(?<=\()--[a-z-]+", body)}
    assert {"--uds", "--served-model-name", "--load-format"} <= vllm
    assert vllm - set(ours) - BINDING == set()
    assert "trust-remote-code" not in TEXT
    assert "0.0.0.0" not in TEXT
