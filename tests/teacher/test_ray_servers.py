"""The file that starts servers on Ray: it can be read without Ray, and starts vLLM as we do."""

import ast
import re
from pathlib import Path

from localinstruct.progress import Silent
from localinstruct.teacher import Serve
from localinstruct.teacher.vllm import Server

FILE = Path(__file__).parents[2] / "recipes" / "cluster" / "ray_servers.py"
TEXT = FILE.read_text("utf-8")
OWN = {"model", "name", "servers", "gpus", "cpus", "address", "sockets", "bind"}
"""Options of the file itself."""
BINDING = {"--host", "--port", "--tensor-parallel-size", "--max-model-len"}


def test_its_options_are_those_with_which_we_start_vllm(tmp_path: Path) -> None:
    ast.parse(TEXT)
    ours = Server(tmp_path, "m", Serve(), tmp_path, "vllm", Silent()).command(tmp_path / "s")
    named = set(re.findall(r'"(--[a-z-]+)"', TEXT))
    assert {"--uds", "--served-model-name", "--load-format"} <= named
    assert named - {f"--{name}" for name in OWN} - set(ours) - BINDING == set()
    assert set(re.findall(r'add_argument\("--([a-z]+)"', TEXT)) == OWN


def test_it_listens_nowhere_that_nobody_asked_for() -> None:
    assert "0.0.0.0" not in TEXT
    assert "trust-remote-code" not in TEXT
    assert "umask(0o077)" in TEXT
