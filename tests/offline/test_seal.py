"""The seal: what it holds, what it says of itself, and that it stops where it would not hold."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest

from localinstruct.offline import backends, kernel, landlock, seccomp, selftest
from localinstruct.offline.seal import OPEN, SealError, describe
from tests.support.sealing import NONE, Environment, needs_namespaces, output, python

ENTER = """
import json, os, socket, subprocess, sys
from localinstruct.offline import seal, switches
from localinstruct.offline import seccomp, kernel, backends, selftest, audit_hook
"""


def entered(code: str, *arguments: str, env: Environment = NONE) -> dict[str, object]:
    """The JSON printed by `code` after `seal.enter()`."""
    return json.loads(output(f"{ENTER}found = seal.enter()\n{code}", *arguments, env=env))


@needs_namespaces
def test_sealed_means_every_attempt_failed_and_the_same_calls_work_over_loopback() -> None:
    found = entered(
        "print(json.dumps([found.sealed, found.headline, [[c.name, c.must, c.ok, c.found] for c "
        "in found.checks]]))"
    )
    sealed, headline, checks = found
    assert sealed is True
    assert str(headline).startswith("sealed: own namespaces")
    assert [check for check in checks if not check[2]] == []  # type: ignore[attr-defined]
    worked = {check[0] for check in checks if check[1] == "work"}  # type: ignore[attr-defined]
    failed = {check[0] for check in checks if check[1] == "fail"}  # type: ignore[attr-defined]
    assert worked == {"TCP over loopback", "UDP over loopback", "unix socket"}
    assert failed >= {
        "TCP",
        "UDP",
        "name lookup",
        "raw socket",
        "socket to the hypervisor",
        "new namespace",
        "TCP from a child",
        "doors to services outside",
        "network of process 1",
    }
    assert len(failed) >= 20


@needs_namespaces
def test_privileges_are_gone_and_the_user_is_the_same(tmp_path: Path) -> None:
    code = """
path = sys.argv[1] + "/mine"
open(path, "w").close()
child = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
names = ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp:")
kept = [line for line in child.splitlines() if line.startswith(names)]
print(json.dumps({"uid": [os.getuid(), os.geteuid(), os.stat(path).st_uid],
                  "state": kernel.state(), "child": kept,
                  "interfaces": kernel.interfaces(), "net": kernel.namespaces()["net"]}))
"""
    found = entered(code, str(tmp_path))
    state = found["state"]
    assert isinstance(state, dict)
    assert found["uid"] == [os.getuid()] * 3
    assert (tmp_path / "mine").stat().st_uid == os.getuid()
    assert [name for name in state if name.startswith("Cap") and int(state[name], 16)] == []
    assert (state["NoNewPrivs"], state["Seccomp"]) == ("1", "2")
    assert found["child"] == [
        "CapPrm:\t0000000000000000",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ]
    assert found["interfaces"] == ["lo"]
    assert found["net"] != kernel.namespaces()["net"]


@needs_namespaces
def test_stage_children_know_the_seal_and_strangers_are_not_believed() -> None:
    code = """
ask = "from localinstruct.offline import seal; s = seal.begin(False); "
ask += "print(s.sealed, s.headline, sep='|')"
child = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
os.environ[seal.MARK] = json.dumps({"net": "net:[1]", "rung": "own namespaces"})
stale = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True)
print(json.dumps([child.stdout.strip() or child.stderr, stale.stdout.strip() or stale.stderr]))
"""
    child, stale = entered(code)
    assert str(child) == "True|sealed: own namespaces; inherited from the process that tested it"
    assert "inherited" not in str(stale)  # it tested for itself, in the network stack it was given
    assert str(stale).startswith("True|sealed: network stack with only loopback")
    forged = json.dumps({"net": kernel.namespaces()["net"], "rung": "own namespaces"})
    outside = output(f"{ENTER}print(seal._inherited())", env={"LOCALINSTRUCT_SEAL": forged})
    assert outside.strip() == "None"  # the kernel does not confirm it


def test_without_being_asked_nothing_happens() -> None:
    code = (
        f"{ENTER}n = kernel.namespaces(); s = seal.begin(False); print(s.sealed, n == "
        "kernel.namespaces(), s.headline)"
    )
    assert output(code).strip() == "False True not sealed: environment switches only"
    assert not [line for line in describe(OPEN) if line.startswith("sealed")]


@needs_namespaces
def test_late_call_is_refused_before_anything_is_changed() -> None:
    code = f"""{ENTER}
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()
before = kernel.namespaces()
try: seal.enter()
except seal.SealError as problem:
    print(problem.message, "|", before == kernel.namespaces(), flush=True)
os._exit(0)
"""
    assert (
        output(code).strip()
        == "The seal must be entered by a process with one thread; this one has 2. | True"
    )


@pytest.mark.parametrize(
    ("broken", "named"),
    [
        pytest.param(
            "kernel.own_namespaces = lambda: None; kernel.root_namespaces = lambda: None",
            "network interfaces",
            marks=pytest.mark.skipif(
                kernel.interfaces() == ["lo"], reason="there is no network to leave open"
            ),
        ),
        (
            "backends.harden = lambda families, alone: kernel.forbid_new_privileges()",
            "new namespace",
        ),
        ("kernel.drop_capabilities = lambda: None", "capabilities"),
        (
            "seccomp.program = lambda families, apart: [(seccomp.RETURN, 0, 0, seccomp.ALLOW)]",
            "new namespace",
        ),
        (
            "selftest.loopback_tcp = lambda: selftest.tcp(socket.AF_INET, ('192.0.2.1', 1))",
            "TCP over loopback",
        ),
        ("kernel.open_doors = lambda: ['/run/docker.sock']", "doors to services outside"),
        ("selftest.CHILD = 'raise SystemExit(4)'", "TCP from a child"),
    ],
)
@needs_namespaces
def test_a_seal_that_does_not_hold_is_never_called_one(broken: str, named: str) -> None:
    """Each part is broken in turn; the self-test must notice, and the word must not be said."""
    code = f"""{ENTER}
{broken}
try: print("sealed", seal.enter().headline)
except seal.SealError as problem: print(problem.message); sys.exit(problem.exit_code)
"""
    done = python(code)
    assert done.returncode == SealError.exit_code, done.stdout + done.stderr
    assert "its self-test does not agree" in done.stdout
    assert f"\n  {named}: " in done.stdout
    assert "sealed" not in done.stdout


def test_where_no_backend_works_it_stops_with_reasons_and_remedies() -> None:
    code = f"""{ENTER}
import dataclasses
refuse = lambda: "not here"
backends.BACKENDS = tuple(dataclasses.replace(b, enter=refuse) for b in backends.BACKENDS)
try: seal.enter()
except seal.SealError as problem: print(problem.message, problem.hint, sep="\\n")
"""
    shown = output(code)
    assert shown.startswith("The seal cannot be made here:\n  own namespaces: not here\n")
    assert "--network none" in shown
    assert "PrivateNetwork=yes" in shown
    assert "sealed" not in shown


@needs_namespaces
def test_given_network_stack_serves_where_own_namespaces_are_forbidden() -> None:
    """As in a container without network: the filter that is on already refuses our own
    namespaces."""
    code = f"""{ENTER}
kernel.own_namespaces()
kernel.forbid_new_privileges()
seccomp.install(seccomp.WITH_LOOPBACK)
found = seal.enter()
print(json.dumps([found.sealed, found.backend, list(found.refused), list(found.lacks)]))
"""
    sealed, backend, refused, lacks = json.loads(output(code))
    assert sealed is True
    assert backend.startswith("network stack with only loopback")
    assert "Operation not permitted" in refused[0]
    assert lacks == ["an interface that whoever made this network stack adds to it later"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a network namespace alone")
@needs_namespaces
def test_root_needs_no_user_namespace() -> None:
    code = f"""{ENTER}
kernel.own_namespaces = kernel.root_namespaces
before = kernel.namespaces()
found = seal.enter()
after = kernel.namespaces()
print(json.dumps([found.sealed, before["user"] == after["user"], before["net"] == after["net"]]))
"""
    assert json.loads(output(code)) == [True, True, False]


def test_socketless_backend_says_what_it_is_and_lets_nothing_but_unix_sockets_be_made() -> None:
    code = f"""{ENTER}
backends.BACKENDS = backends.BACKENDS[-1:]
kernel.open_doors = lambda: []
found = seal.enter(loopback=False)
def made(family):
    try: socket.socket(family, socket.SOCK_STREAM).close()
    except OSError as problem: return problem.strerror
    return "made"
command = [sys.executable, "-c", "import socket; socket.socket()"]
child = subprocess.run(command, capture_output=True, text=True)
families = (socket.AF_INET, socket.AF_INET6, 40, socket.AF_UNIX)
print(json.dumps([found.sealed, found.headline, *(made(family) for family in families),
                  child.stderr.strip().splitlines()[-1],
                  [c.name for c in found.checks if not c.ok]]))
"""
    sealed, headline, *made, child, wrong = json.loads(output(code))
    refusal = "Address family not supported by protocol"
    assert (sealed, headline) == (False, "not sealed: no internet sockets (seccomp, Landlock)")
    assert made == [refusal, refusal, refusal, "made"]
    assert refusal in child
    assert wrong == []


def test_socketless_backend_is_not_taken_where_loopback_is_needed() -> None:
    code = f"""{ENTER}
backends.BACKENDS = backends.BACKENDS[-1:]
try: seal.enter()
except seal.SealError: print("stopped", kernel.state()["Seccomp"])
"""
    # 2: these tests run inside a filter themselves
    assert output(code).strip() in ("stopped 0", "stopped 2")


@pytest.mark.skipif(landlock.abi() < 4, reason="this kernel has no Landlock for TCP")
def test_landlock_alone_forbids_tcp_to_ourselves() -> None:
    code = f"""{ENTER}
from localinstruct.offline import landlock
server = socket.create_server(("127.0.0.1", 0))
kernel.forbid_new_privileges()
landlock.forbid_tcp()
try: socket.create_connection(server.getsockname(), 2); print("connected")
except PermissionError: print("refused;", landlock.promise())
"""
    assert output(code).startswith("refused; TCP a second time, by Landlock ABI")


@needs_namespaces
def test_doors_to_services_outside_are_covered(tmp_path: Path) -> None:
    """A socket of a service outside is reached before, and not from inside, whoever opens it."""
    place = tmp_path / "agent.sock"
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(place))
        agent.listen()
        code = f"""{ENTER}
def reach():
    with socket.socket(socket.AF_UNIX) as s: s.connect(sys.argv[1])
reach()
print(sys.argv[1] in kernel.open_doors())
seal.enter()
try: reach()
except OSError as problem: print(problem.strerror)
print(kernel.open_doors())
"""
        lines = output(code, str(place), env={"SSH_AUTH_SOCK": str(place)}).splitlines()
        with socket.socket(socket.AF_UNIX) as still:
            still.connect(str(place))  # outside nothing changed
    assert lines == ["True", "Connection refused", "[]"]


@needs_namespaces
def test_inherited_connection_is_closed(tmp_path: Path) -> None:
    """A socket opened before the seal would go on working in it."""
    code = f"""{ENTER}
switches.wake_loopback()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
number = client.fileno()
found = seal.enter()
try: os.fstat(number); print("open")
except OSError: print("closed", len(found.closed))
client.detach(); server.detach()
"""
    assert output(code).strip() == "closed 2"


def test_network_connection_as_terminal_is_refused() -> None:
    code = f"""{ENTER}
switches.wake_loopback()
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
os.dup2(client.fileno(), 0)
try: kernel.close_foreign_sockets()
except OSError as problem: print(problem.strerror)
server.detach(); client.detach()
"""
    assert output(code).strip() == "descriptor 0 (stdin, stdout or stderr) is a network connection"


@needs_namespaces
def test_filter_refuses_what_gets_round_namespaces() -> None:
    """System calls by number, as C code would make them; the same calls are let through before."""
    code = f"""{ENTER}
import ctypes, fcntl, pty
calls = seccomp.CALLS[os.uname().machine]
def call(name, *arguments):
    ctypes.set_errno(0)
    done = kernel.LIBC.syscall(calls[name], *[ctypes.c_ulong(a) for a in arguments])
    return "done" if done >= 0 else os.strerror(ctypes.get_errno())
def terminal():
    main, side = pty.openpty()
    try: fcntl.ioctl(side, seccomp.TIOCSTI, b"x")
    except OSError as problem: return problem.strerror
    return "done"
def all_calls():
    return {{"vsock": call("socket", 40, 1, 0),
             "netlink events": call("socket", 16, 3, 15),
             "netlink routes": call("socket", 16, 3, 0),
             "high bits": call("socket", (1 << 32) | 40, 1, 0), "unix": call("socket", 1, 1, 0),
             "clone3": call("clone3", 0, 0), "io_uring": call("io_uring_setup", 0, 0),
             "clone": call("clone", 0x10000000 | 17), "terminal": terminal(),
             "setns": call("setns", 0, 0), "unshare": call("unshare", 0)}}
before = call("socket", 16, 3, 15)
seal.enter()
print(json.dumps([before, all_calls()]))
"""
    before, after = json.loads(output(code))
    family, forbidden, missing = (
        "Address family not supported by protocol",
        "Operation not permitted",
        "Function not implemented",
    )
    assert before == "done"
    assert after == {
        "vsock": family,
        "netlink events": family,
        "high bits": family,
        "netlink routes": "done",
        "unix": "done",
        "clone3": missing,
        "io_uring": missing,
        "clone": forbidden,
        "terminal": forbidden,
        "setns": forbidden,
        "unshare": forbidden,
    }


@pytest.mark.parametrize("machine", seccomp.CALLS)
@pytest.mark.parametrize("families", [seccomp.WITH_LOOPBACK, seccomp.SOCKETLESS])
def test_filter_program_decides_as_written(machine: str, families: tuple[int, ...]) -> None:
    """The program is interpreted here as the kernel would, for both machines, call by call."""
    calls, steps = seccomp.CALLS[machine], seccomp.program(families, machine)
    refused = seccomp.REFUSE

    def decide(number: int, *arguments: int, arch: int = calls["arch"]) -> int:
        words = {seccomp.NUMBER: number, seccomp.ARCHITECTURE: arch}
        words |= {
            seccomp.ARGUMENTS + 8 * i: argument & 0xFFFFFFFF
            for i, argument in enumerate((*arguments, 0, 0, 0))
        }
        at, register = 0, 0
        while True:
            code, true, false, operand = steps[at]
            if code == seccomp.RETURN:
                return operand
            if code == seccomp.LOAD:
                register, at = words[operand], at + 1
                continue
            holds = {
                seccomp.EQUAL: register == operand,
                seccomp.AT_LEAST: register >= operand,
                seccomp.ANY_BIT: bool(register & operand),
            }[code]
            at += 1 + (true if holds else false)

    open_ones = [
        family for family in range(64) if decide(calls["socket"], family, 1, 0) == seccomp.ALLOW
    ]
    netlink = [seccomp.AF_NETLINK] if seccomp.AF_INET in families else []
    assert open_ones == sorted([*families, *netlink])
    assert decide(calls["socket"], seccomp.AF_NETLINK, 3, 15) != seccomp.ALLOW
    assert decide(calls["clone"], 0x00010F00 | 17) == seccomp.ALLOW  # a thread
    assert [bit for bit in range(17, 32) if decide(calls["clone"], 1 << bit) != seccomp.ALLOW] == [
        17,
        25,
        26,
        27,
        28,
        29,
        30,
    ]
    assert decide(calls["clone3"], 0) == refused | 38
    assert decide(calls["ioctl"], 0, 0x5413) == seccomp.ALLOW  # the size of the window
    assert decide(calls["ioctl"], 0, seccomp.TIOCSTI) == refused | 1
    assert decide(0x40000029, 40) == (refused | 38 if machine == "x86_64" else seccomp.ALLOW)
    assert decide(calls["socket"], 1, arch=0x40000003) == refused | 1  # 32-bit calls
    assert decide(1000) == seccomp.ALLOW
    assert len(steps) < 4096


@pytest.mark.parametrize("number", [101, 97, 1, 13, 99, 38, 93])
def test_an_answer_on_the_spot_counts_as_held_back(number: int) -> None:
    def attempt() -> None:
        raise OSError(number, "x")

    assert selftest._must_fail("x", attempt).ok
    assert not selftest._must_work("x", attempt).ok


# in progress, timed out, refused, no route to host
@pytest.mark.parametrize("number", [115, 110, 111, 113])
def test_an_answer_from_afar_does_not(number: int) -> None:
    def attempt() -> None:
        raise OSError(number, "x")

    assert not selftest._must_fail("x", attempt).ok
    assert not selftest._must_fail("x", lambda: None).ok


def test_bubblewrap_command_shuts_off_the_network_and_covers_doors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernel, "doors", lambda: ["/run/docker.sock"])
    command = backends.bubblewrap_command("/usr/bin/bwrap")
    assert command[:5] == ["/usr/bin/bwrap", "--dev-bind", "/", "/", "--unshare-net"]
    assert command[5:8] == ["--bind", "/dev/null", "/run/docker.sock"]
    assert command[-1] == "--"


@pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap (bwrap) is not installed")
def test_bubblewrap_starts_the_program_again_inside() -> None:
    code = f"""{ENTER}
refuse = lambda: "not here"
import dataclasses
backends.BACKENDS = tuple(
    dataclasses.replace(b, enter=refuse) if "own" in b.name else b for b in backends.BACKENDS
)
found = seal.enter()
inside = os.environ[backends.INSIDE_BUBBLEWRAP]
print(json.dumps([found.sealed, found.backend, inside, kernel.interfaces()]))
"""
    sealed, backend, inside, interfaces = json.loads(output(code))
    assert (sealed, inside, interfaces) == (True, "1", ["lo"])
    assert backend.startswith("network stack with only loopback")


@needs_namespaces
def test_torch_computes_inside() -> None:
    code = """
import torch
product = torch.full((64, 64), 2.0) @ torch.full((64, 64), 3.0)
print(json.dumps([float(product.sum()), kernel.interfaces()]))
"""
    assert entered(code, env={"OMP_NUM_THREADS": "1"}) == [64 * 64 * 64 * 6.0, ["lo"]]


@pytest.mark.parametrize("form", ["{}", "unix://{}", "unix:path={},guid=0123", "{},4242,0"])
@pytest.mark.parametrize("name", kernel.NAMED_DOORS)
def test_door_named_by_a_variable_is_found(
    name: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "service.sock"
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(str(place))
        monkeypatch.setenv(name, form.format(place))
        assert str(place) in kernel.doors()
        assert str(place) not in kernel.open_doors()  # nobody listens
        service.listen()
        assert str(place) in kernel.open_doors()


@needs_namespaces
def test_sockets_that_stay_within_reach_are_listed(tmp_path: Path) -> None:
    place = tmp_path / "neighbour.sock"
    with socket.socket(socket.AF_UNIX) as neighbour:
        neighbour.bind(str(place))
        neighbour.listen()
        found = entered("print(json.dumps([found.reachable, seal.describe(found)]))")
    reachable, lines = found
    assert str(place) in reachable
    assert f"  still within reach: {place}" in lines
