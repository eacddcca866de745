"""Provoked leaks: known ways out are fired on purpose inside the seal; no packet leaves, and each
attempt is reported.

Each leak has asserted witnesses. The audit hook notes what Python code tries, with stack and
package. The kernel counts packets for which there is no road, whoever sent them. strace, from
outside, sees every network call of every process and its refusal. What ctypes, C++ and other
programs try, the audit hook must miss (asserted, so that nobody takes it for the wall). The
controls show that the same detectors see a packet where there is a way out, and that each library's
call gets to a world outside when nothing holds it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from localinstruct.offline import audit_hook, egress_report
from tests import leaks
from tests.support.sealing import ROOT, needs_namespaces
from tests.support.strace_log import Call, by_leak, calls, verdict

pytestmark = needs_namespaces
STRACE = ("strace", "-f", "-qq", "-e", "trace=%network", "-o")
QUICK = "--seccomp-bpf"
"""Only network calls stop at strace; but those that the seal's own filter refuses (kinds of
sockets) it never sees."""
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


@dataclass(frozen=True, slots=True)
class Fired:
    """Some groups of leaks after they were fired in one child: what was seen of each, the child's
    run, strace's log."""

    measured: dict[str, dict[str, Any]]
    run: Path
    log: Path

    @property
    def calls(self) -> dict[str, list[Call]]:
        """By leak; {} without strace."""
        return by_leak(self.log) if self.log.exists() else {}


def fire(mode: str, *groups: str, folder: Path, watcher: tuple[str, ...] = ()) -> Fired:
    """Every leak of these groups, fired in one child, with the log of the watcher (strace) where it
    is installed."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("LOCALINSTRUCT_")
    }
    environment = {
        **inherited,
        "HOME": str(folder),
        "HF_HOME": str(folder / "hf"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "VLLM_CONFIG_ROOT": str(folder / "vllm"),
        "VLLM_CACHE_ROOT": str(folder / "vllm"),
        "TMPDIR": str(folder),
        audit_hook.FILE: str(folder / "attempts.jsonl"),
        "OMP_NUM_THREADS": "1",
    }
    before = [*watcher, str(folder / "strace")] if watcher and shutil.which("strace") else []
    done = subprocess.run(
        [*before, sys.executable, "-m", "tests.leaks", mode, *groups],
        cwd=ROOT,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lines = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    return Fired(lines, folder, folder / "strace")


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Fired:
    return fire(
        "sealed", "general", "libraries", folder=tmp_path_factory.mktemp("light"), watcher=STRACE
    )


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Fired:
    return fire(
        "sealed",
        "heavy",
        folder=tmp_path_factory.mktemp("heavy"),
        watcher=("strace", QUICK, *STRACE[1:]),
    )


def check(leak: leaks.Leak, fired: Fired) -> None:
    """Nothing went out, and exactly the witnesses that can see this kind of attempt did; every leak
    has one."""
    if leak.needs and not shutil.which(leak.needs):
        pytest.skip(f"{leak.needs} is not installed")
    assert leak.seen or leak.counted or leak.says
    found = fired.measured[leak.name]
    assert found["sent"] == 0, found
    assert found["interfaces"] == ["lo"]
    assert bool(found["seen"]) == leak.seen, found
    assert all(found["stacks"])
    assert found["counted"] >= leak.counted, found
    assert not leak.says or any(words in found["error"] for words in leak.says), found
    assert not leak.package or leak.package in found["packages"], found
    if fired.calls:
        assert any(call.attempt for call in fired.calls[leak.name]), fired.calls[leak.name]


@pytest.mark.parametrize("leak", [*leaks.GENERAL, *leaks.LIBRARIES], ids=lambda leak: leak.name)
def test_way_out(leak: leaks.Leak, light: Fired) -> None:
    check(leak, light)


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.parametrize("leak", leaks.HEAVY, ids=lambda leak: leak.name)
def test_way_out_of_a_model_library(leak: leaks.Leak, heavy: Fired) -> None:
    check(leak, heavy)


def test_attempts_fail_in_their_own_words(light: Fired) -> None:
    """No attempt returns as if it had worked, but for those whose library swallows the error."""
    silent = {"syslog", "hub telemetry", "hub agent list", "hub newest version"}
    assert {name for name, found in light.measured.items() if not found["error"]} == silent
    assert len(light.measured) >= 50


def test_every_known_path_is_fired() -> None:
    everything = [*leaks.GENERAL, *leaks.LIBRARIES, *leaks.HEAVY]
    assert len({leak.name for leak in everything}) == len(everything) >= 75
    rows = {leak.row for leak in everything} - {0}
    assert rows == leaks.ROWS.keys() - leaks.NOTHING_TO_FIRE
    assert len(rows) >= 33
    # by the program itself
    assert len({leak.row for leak in everything if not leak.stands_in} - {0}) >= 26
    # past the audit hook: ctypes, C++, other programs
    assert sum(not leak.seen for leak in everything) >= 9


UNREPORTED = {"ctypes socket to the hypervisor"}
"""Refused, as errno and strace say, but neither Python's doing nor a packet: no report of ours can
know of it."""


def check_report(fired: Fired) -> None:
    """The egress report of the child's run has every attempt: where to and by whom, or the program
    that was started, and all packets in the kernel's count."""
    body = egress_report.build(fired.run, {})
    [session] = body["sessions"]
    assert sum(egress_report._refused(session)) >= sum(
        found["counted"] for found in fired.measured.values()
    )
    text = "\n".join(egress_report.render(body, ""))
    lines = Counter(
        line.partition(", by ")[0].split(" ", 3)[-1]
        for line in text.splitlines()
        if ", by " in line
    )
    attempts = Counter(target for found in fired.measured.values() for target in found["seen"])
    assert attempts <= lines
    programs = [program for found in fired.measured.values() for program in found["programs"]]
    assert all(egress_report._plain(program[:150]) in text for program in programs)
    reported = {
        name
        for name, found in fired.measured.items()
        if found["seen"] or found["counted"] or found["programs"]
    }
    assert fired.measured.keys() - reported <= UNREPORTED


def test_every_attempt_is_reported(light: Fired) -> None:
    check_report(light)
    assert sum(bool(found["programs"]) for found in light.measured.values()) >= 5


@pytest.mark.exhaustive
@pytest.mark.slow
def test_every_attempt_of_the_model_libraries_is_reported(heavy: Fired) -> None:
    check_report(heavy)


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> Fired:
    return fire("switched", "libraries", folder=tmp_path_factory.mktemp("switched"))


def loud(fired: Fired) -> set[str]:
    return {name for name, found in fired.measured.items() if found["seen"] or found["counted"]}


def test_switches_alone_keep_the_hub_quiet_and_what_no_switch_stops_is_known(
    switched: Fired,
) -> None:
    """The loud ones are why our own code passes addresses itself and ignores proxies, and why there
    is a seal."""
    assert loud(switched) == {leak.name for leak in leaks.LIBRARIES if not leak.quiet}
    assert len(switched.measured) == len(leaks.LIBRARIES)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_switches_alone_keep_the_model_libraries_quiet(tmp_path: Path) -> None:
    switched = fire("switched", "heavy", folder=tmp_path)
    assert loud(switched) == {leak.name for leak in leaks.HEAVY if not leak.quiet}
    assert len(switched.measured) == len(leaks.HEAVY)


# -- strace, and the control: where there is a way out, every detector sees the packets
# ------------------------------


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Fired:
    return fire("control", "control", folder=tmp_path_factory.mktemp("control"), watcher=STRACE)


def test_control_where_there_is_a_way_out_the_detectors_see_packets(
    control: Fired, light: Fired
) -> None:
    assert len(control.measured) == 3
    for name, found in control.measured.items():
        assert (found["error"], found["sent"], found["counted"]) == ("", 1, 0)
        assert (light.measured[name]["sent"], light.measured[name]["counted"]) == (0, 1)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_control_where_there_is_a_way_out_every_library_reaches_the_world(tmp_path: Path) -> None:
    """The leaks are leaks: without the seal and the switches each one gets to the world that a
    child of ours plays."""
    found = fire("open", "libraries", "heavy", folder=tmp_path).measured
    assert len(found) == len(leaks.LIBRARIES) + len(leaks.HEAVY)
    silent = {name for name, entry in found.items() if not (entry["sent"] and entry["arrived"])}
    # a datagram socket that is only connected sends nothing: the audit hook's
    assert silent == {"vLLM own address"}
    assert found["vLLM own address"]["seen"]
    asked = {came.removeprefix("name ") for entry in found.values() for came in entry["arrived"]}
    assert asked >= {
        "huggingface.co",
        "api.openai.com",
        "s3.amazonaws.com",
        "stats.vllm.ai",
        "port 29500",
    }
    assert any(name.startswith("pypi.") for name in asked)  # pip's


@needs_strace
def test_strace_control_sees_a_packet_leave(control: Fired) -> None:
    sent = [(call.name, call.result) for call in calls(control.log) if call.host]
    assert sent == [("sendto", "4"), ("sendmsg", "4"), ("sendto", "4")]
    assert not any(call.attempt for made in control.calls.values() for call in made)
    well, lines = verdict(control.log)
    assert not well
    assert sum(line.startswith("OUT: ") for line in lines) == 3


def check_strace(fired: Fired) -> None:
    """Of all processes, nothing got out; loopback in the same log works, so it is not blind; every
    leak has its mark."""
    well, lines = verdict(fired.log)
    assert well, lines
    assert fired.calls.keys() >= fired.measured.keys()
    worked = [
        call
        for call in calls(fired.log)
        if call.name == "connect" and not call.host and call.result == "0"
    ]
    assert len(worked) >= 2  # the self-test's connections over loopback and a unix socket


@needs_strace
def test_strace_sees_every_attempt_fail(light: Fired) -> None:
    check_strace(light)
    outside = Counter(call.name for call in calls(light.log) if call.host)
    assert outside.total() >= 100
    assert outside.keys() >= {"connect", "sendto", "sendmsg"}
    kinds = [call.text for call in calls(light.log) if call.name == "socket" and call.held_back]
    assert sum("AF_VSOCK" in text for text in kinds) >= 2
    assert sum("IPPROTO_ICMP" in text for text in kinds) >= 2


@pytest.mark.exhaustive
@pytest.mark.slow
@needs_strace
def test_strace_sees_every_attempt_of_the_model_libraries_fail(heavy: Fired) -> None:
    check_strace(heavy)
    assert sum(bool(call.host) for call in calls(heavy.log)) >= 50


def test_blind_log_is_no_evidence(tmp_path: Path) -> None:
    log = tmp_path / "strace"
    log.write_text("")
    assert verdict(log)[0] is False
    log.write_text(
        '7 connect(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("127.0.0.1")}, '
        "16) = 0\n"
    )
    assert verdict(log)[0] is True
    split = (
        '7 connect(3, {sa_family=AF_INET, sin_port=htons(1), sin_addr=inet_addr("192.0.2.1")}, '
        "16 <unfinished ...>\n"
        "8 socket(AF_UNIX, SOCK_STREAM, 0) = 3\n"
        "7 <... connect resumed>) = -1 EINPROGRESS (Operation now in progress)\n"
    )
    log.write_text(log.read_text() + split)
    assert verdict(log)[0] is False


@pytest.mark.exhaustive
@pytest.mark.vllm
@pytest.mark.slow
@needs_strace
def test_real_vllm_in_the_seal_under_strace(tmp_path: Path) -> None:
    """`make sealed-demo` at reduced size: a real vLLM, one stage, the same three verdicts."""
    command = [
        sys.executable,
        "-m",
        "tests.support.sealed_demo",
        str(tmp_path / "x"),
        "--command",
        "generate",
    ]
    done = subprocess.run(
        [*command, "--set", "generate.target=5"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing left this machine" in done.stdout
    assert "egress report: Verdict: sealed throughout" in done.stdout
    assert "positive control: packets that left on purpose were seen" in done.stdout
