"""Runs in a closed network of two other hosts, made by this test: who is asked, and what the egress
report says of it."""

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.sealing import ROOT

MAKES_NETWORKS = not subprocess.run(
    ["unshare", "-rnm", "ip", "link", "add", "near", "type", "veth", "peer", "name", "far"],
    capture_output=True,
).returncode
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MAKES_NETWORKS, reason="no networks of our own here"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("hosts")
    program = [sys.executable, "-m", "tests.support.two_hosts", str(folder)]
    done = subprocess.run(
        ["unshare", "-rnm", *program], cwd=ROOT, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("which", ["allowed", "by file"])
def test_the_egress_report_names_every_host_and_that_the_road_is_not_encrypted(
    runs: dict[str, dict[str, Any]], which: str
) -> None:
    run = runs[which]
    assert run["code"] == 0, run["said"]
    lines: list[str] = run["report"]
    begin = lines.index("Endpoints that prompts were sent to") + 1
    for number, host in enumerate(("gpu-1", "gpu-2")):
        line = lines[begin + number]
        assert line.startswith(f"  played at http://{host}:8000/v1: network, plain HTTP, ")
        assert f"unencrypted, to 10.77.{number}.2, NOT sealed; from " in line
    assert run["verified"] == 0
    assert "Verdict: not sealed: nothing is proven by the kernel." in lines


def test_who_is_not_allowed_is_not_asked(runs: dict[str, dict[str, Any]]) -> None:
    run = runs["not allowed"]
    assert run["code"] == 2
    assert "gpu-2 is not allowed" in run["said"]
    assert "--allow-host gpu-2" in run["said"]
    assert not any("Endpoints" in line for line in run["report"])


def test_an_address_on_the_internet_is_refused_whatever_is_allowed(
    runs: dict[str, dict[str, Any]],
) -> None:
    run = runs["public"]
    assert run["code"] == 2
    assert "93.184.215.14 is an address on the internet, which nobody can allow" in run["said"]


def test_the_seal_keeps_to_this_machine(runs: dict[str, dict[str, Any]]) -> None:
    assert runs["sealed"]["code"] == 2, runs["sealed"]["said"]
    assert "the run is sealed: no road leads there" in runs["sealed"]["said"]
    assert runs["both"]["code"] == 2
    assert "no road leads to another machine in the seal" in runs["both"]["said"]
