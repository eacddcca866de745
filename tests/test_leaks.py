"""Provoked leaks: known ways out are fired on purpose inside the seal; no packet leaves, and each attempt is reported.

Each leak has two witnesses. The tripwire notes what Python code tries, with stack and package. The kernel counts packets
for which there is no road, whoever sent them. What ctypes, C++ and other programs try, the tripwire must miss (asserted,
so that nobody takes it for the wall) and the kernel must count. The control shows that the same detectors see a packet
where there is a way out.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests import leaks
from tests.sealing import ROOT, needs_namespaces
from tests.strace_log import HELD_BACK, calls, verdict

pytestmark = needs_namespaces
Measured = dict[str, dict[str, Any]]


def fire(mode: str, group: str, folder: Path, *before: str) -> Measured:
    """Every leak of a group, fired in one child; by name what was seen of it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LOCALINSTRUCT_")}
    environment = {**inherited, "HOME": str(folder), "HF_HOME": str(folder / "hf"), "XDG_CACHE_HOME": str(folder / "cache"),
                   "VLLM_CONFIG_ROOT": str(folder / "vllm"), "VLLM_CACHE_ROOT": str(folder / "vllm"), "TMPDIR": str(folder),
                   "LOCALINSTRUCT_TRIPWIRE": str(folder / f"{mode}-{group}.jsonl"), "OMP_NUM_THREADS": "1"}  # fmt: skip
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.leaks", mode, group], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def general(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return fire("sealed", "general", tmp_path_factory.mktemp("general"))


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return fire("sealed", "libraries", tmp_path_factory.mktemp("libraries"))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return fire("sealed", "heavy", tmp_path_factory.mktemp("heavy"))


def check(leak: leaks.Leak, measured: Measured) -> None:
    """Nothing went out, and exactly the witnesses that can see this kind of attempt did."""
    if leak.needs and not shutil.which(leak.needs):
        pytest.skip(f"{leak.needs} is not installed")
    found = measured[leak.name]
    assert found["sent"] == 0, found
    assert found["interfaces"] == ["lo"]
    assert bool(found["seen"]) == leak.seen, found
    if leak.counted:
        assert found["counted"] >= 1, found
    if leak.seen:
        assert all(stack for stack in found["stacks"])
    if leak.package:
        assert leak.package in found["packages"]


@pytest.mark.parametrize("leak", leaks.GENERAL, ids=lambda leak: leak.name)
def test_general_way_out(leak: leaks.Leak, general: Measured) -> None:
    check(leak, general)


@pytest.mark.parametrize("leak", leaks.LIBRARIES, ids=lambda leak: leak.name)
def test_library_phones_home(leak: leaks.Leak, libraries: Measured) -> None:
    check(leak, libraries)


@pytest.mark.slow
@pytest.mark.parametrize("leak", leaks.HEAVY, ids=lambda leak: leak.name)
def test_model_library_phones_home(leak: leaks.Leak, heavy: Measured) -> None:
    check(leak, heavy)


def test_attempts_fail_in_their_own_words(general: Measured) -> None:
    """No attempt returns as if it had worked, but for the one whose library swallows the error."""
    assert [name for name, found in general.items() if not found["error"]] == ["syslog"]
    assert len(general) >= 25


def test_the_list_is_long_enough() -> None:
    everything = [*leaks.GENERAL, *leaks.LIBRARIES, *leaks.HEAVY]
    assert len({leak.name for leak in everything}) == len(everything) >= 55
    assert len({leak.row for leak in everything} - {0}) >= 16  # lines of the list of known paths
    assert sum(leak.row > 0 for leak in everything) >= 25
    assert sum(not leak.seen for leak in everything) >= 8  # past the tripwire: ctypes, C++, other programs


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    return fire("switched", "libraries", tmp_path_factory.mktemp("switched"))


@pytest.mark.parametrize("leak", [leak for leak in leaks.LIBRARIES if leak.quiet], ids=lambda leak: leak.name)
def test_switches_alone_keep_the_hub_quiet(leak: leaks.Leak, switched: Measured) -> None:
    assert (switched[leak.name]["seen"], switched[leak.name]["counted"]) == ([], 0)


def test_what_no_switch_stops_is_known(switched: Measured) -> None:
    """These are why our own code passes addresses itself and ignores proxies, and why there is a seal."""
    loud = {name for name, found in switched.items() if found["seen"]}
    assert loud == {leak.name for leak in leaks.LIBRARIES if not leak.quiet}


@pytest.mark.slow
def test_switches_alone_keep_the_model_libraries_quiet(tmp_path: Path) -> None:
    found = fire("switched", "heavy", tmp_path)
    loud = {name for name, entry in found.items() if entry["seen"] or entry["counted"]}
    assert loud == {leak.name for leak in leaks.HEAVY if not leak.quiet}
    assert len(found) == len(leaks.HEAVY)


def test_control_where_there_is_a_way_out_the_detectors_see_packets(tmp_path: Path, general: Measured) -> None:
    found = fire("control", "control", tmp_path)
    assert len(found) == 3
    for name, entry in found.items():
        assert (entry["error"], entry["sent"], entry["counted"]) == ("", 1, 0)
        assert (general[name]["sent"], general[name]["counted"]) == (0, 1)


# -- strace: every network call of every process, seen from outside ------------------------------------------------


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_sees_every_attempt_fail(tmp_path: Path) -> None:
    """Attempts and their refusals as the kernel answered them, of all children too; loopback in the same log works."""
    log = tmp_path / "strace"
    fire("sealed", "general", tmp_path, "strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log))
    seen = list(calls(log))
    outside = [(name, result) for name, host, result in seen if host]
    assert len(outside) >= 25
    assert [
        entry for entry in outside if not entry[1].startswith("-1") or not any(e in entry[1] for e in HELD_BACK)
    ] == []
    assert Counter(name for name, _ in outside).keys() >= {"connect", "sendto", "sendmsg"}
    worked = [name for name, host, result in seen if name == "connect" and not host and result == "0"]
    assert len(worked) >= 2  # the self-test's connections over loopback and a unix socket: the log is not blind
    well, lines = verdict(log)
    assert well, lines


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_strace_control_sees_a_packet_leave(tmp_path: Path) -> None:
    log = tmp_path / "strace"
    fire("control", "control", tmp_path, "strace", "-f", "-qq", "-e", "trace=%network", "-o", str(log))
    sent = [(name, result) for name, host, result in calls(log) if host]
    assert sent == [("sendto", "4"), ("sendmsg", "4"), ("sendto", "4")]
    well, lines = verdict(log)
    assert not well
    assert sum(line.startswith("OUT: ") for line in lines) == 3


def test_blind_log_is_no_evidence(tmp_path: Path) -> None:
    log = tmp_path / "strace"
    log.write_text("")
    assert verdict(log)[0] is False
    log.write_text('7 connect(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, 16) = 0\n')
    assert verdict(log)[0] is True
    split = (
        '7 connect(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.1")}, 16 <unfinished ...>\n'
        "8 socket(AF_UNIX, SOCK_STREAM, 0) = 3\n"
        "7 <... connect resumed>) = -1 EINPROGRESS (Operation now in progress)\n"
    )
    log.write_text(log.read_text() + split)
    assert verdict(log)[0] is False


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_real_vllm_in_the_seal_under_strace(tmp_path: Path) -> None:
    """`make sealed-demo` at reduced size: a real vLLM, one stage, the same three verdicts."""
    command = [sys.executable, "-m", "tests.sealed_demo", str(tmp_path / "x"), "--command", "generate"]
    done = subprocess.run([*command, "--set", "generate.target=5"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing left this machine" in done.stdout
    assert "egress report: Verdict: sealed throughout" in done.stdout
    assert "positive control: packets that left on purpose were seen" in done.stdout
