"""Processes outside of the seal: a neighbour of the same user with a socket that works is not
robbed by us.

The neighbour lives in another network stack of the same user namespace, as beside a unit with
PrivateNetwork=yes or a process in `unshare -n`. The robbery is real: where nothing holds it back,
its packet arrives.
"""

import json

import pytest

from localinstruct.offline import landlock
from localinstruct.offline.seal import SealError
from tests.support.sealing import needs_namespaces, output

pytestmark = needs_namespaces
BESIDE_A_NEIGHBOUR = """
import ctypes, json, os, signal, socket, subprocess, sys
from localinstruct.offline import seal, switches
from localinstruct.offline import outside_process, seccomp, kernel, backends, landlock, selftest

kernel.own_namespaces()  # the machine, as far as this test goes
receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
receiver.bind(("127.0.0.1", 0))
receiver.settimeout(1)
outside = receiver.getsockname()
said, told = os.pipe()
neighbour = os.fork()
if neighbour == 0:
    kernel.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it ends with us
    kernel.drop_capabilities()
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    os.write(told, str(sender.fileno()).encode())
    signal.pause()
number = int(os.read(said, 9))
# The network stack that we are given.
kernel.checked(kernel.LIBC.unshare(kernel.NEW_NET), "unshare(net)")
switches.wake_loopback()
kernel.drop_capabilities()

def refuse(): raise OSError(1, "not permitted here")
kernel.own_namespaces = kernel.root_namespaces = refuse
kernel.close_foreign_sockets = lambda: []  # the receiver stays, to see what arrives outside

def tried(attempt, *arguments):
    try: attempt(*arguments)
    except OSError as problem: return problem.errno
    return "done"

def rob(pid):
    open_pid, get = outside_process.PIDFD_OPEN, outside_process.PIDFD_GETFD
    process = kernel.checked(kernel.LIBC.syscall(open_pid, pid, 0), "pidfd_open")
    stolen = kernel.checked(kernel.LIBC.syscall(get, process, number, 0), "pidfd_getfd")
    with socket.socket(fileno=stolen) as road: road.sendto(b"rows", outside)
    return receiver.recv(8)

def open_memory(pid): open(f"/proc/{pid}/mem", "rb").close()
def networks(pid): os.readlink(f"/proc/{pid}/ns/net")

def end():
    os.kill(neighbour, signal.SIGKILL)
    os.waitpid(neighbour, 0)
"""
EVERYTHING = """
attempts = {"rob": rob, "memory": open_memory, "net": networks, **outside_process.TAKING}
print(json.dumps({name: tried(attempt, neighbour) for name, attempt in attempts.items()}))
end()
"""
needs_landlock = pytest.mark.skipif(
    not landlock.keeps_apart(), reason="this kernel has no Landlock of ABI 2"
)


def beside(code: str) -> list[object]:
    """The JSON lines that `code` prints beside a neighbour."""
    return [json.loads(line) for line in output(f"{BESIDE_A_NEIGHBOUR}{code}").splitlines()]


def test_control_without_the_seal_the_neighbour_is_robbed_and_the_packet_arrives() -> None:
    [found] = beside(EVERYTHING)
    assert found == {
        "rob": "done",
        "memory": "done",
        "net": "done",
        "open files of a process outside": "done",
        "memory of a process outside": "done",
        "tracing a process outside": "done",
    }


@needs_landlock
def test_given_network_stack_keeps_out_of_the_processes_beside_it() -> None:
    sealed, found = beside(
        f"found = seal.enter()\nprint(json.dumps([found.sealed, found.backend]))\n{EVERYTHING}"
    )
    assert sealed == [True, "network stack with only loopback, given by whoever started us"]
    assert isinstance(found, dict)
    assert found == {
        "rob": 1,
        "memory": 13,
        "net": 13,
        "open files of a process outside": 1,
        "memory of a process outside": 1,
        "tracing a process outside": 1,
    }


@needs_landlock
def test_inside_workers_may_still_look_into_each_other() -> None:
    """CUDA shares memory so. And files are linked and renamed as before."""
    code = """
import pathlib, tempfile
seal.enter()
with outside_process.outside() as sibling:
    print(json.dumps([tried(attempt, sibling) for attempt in outside_process.TAKING.values()]))
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for sub in ("a", "b"): (folder / sub).mkdir()
    (folder / "a/x").write_text("rows")
    os.link(folder / "a/x", folder / "b/y")
    os.replace(folder / "a/x", folder / "b/x")
    os.replace(folder / "a", folder / "b/a")
    nameless = os.open(folder, os.O_TMPFILE | os.O_WRONLY)
    source, target = b"/proc/self/fd/%d" % nameless, os.fsencode(folder / "b/z")
    kernel.checked(kernel.LIBC.linkat(-100, source, -100, target, 0x400), "linkat")
    print(json.dumps(sorted(path.name for path in (folder / "b").iterdir())))
end()
"""
    assert beside(code) == [["done"] * 3, ["a", "x", "y", "z"]]


def test_without_landlock_a_neighbour_with_a_network_is_found_and_the_word_is_not_said() -> None:
    """seccomp refuses the calls; /proc/PID/mem is a path, so the self-test looks who could be
    reached by it."""
    code = f"""
landlock.keeps_apart = lambda: False
try: print(json.dumps(seal.enter().headline))
except seal.SealError as problem: print(json.dumps([problem.exit_code, problem.message, neighbour]))
{EVERYTHING}"""
    told, found = beside(code)
    assert isinstance(told, list)
    exit_code, message, pid = told
    assert exit_code == SealError.exit_code
    assert message.splitlines()[1:] == [
        "  memory of processes in other networks: open: those of the processes "
        f"[{pid}]; end them, or use a user "
        "of its own; none may be open to us"
    ]
    assert isinstance(found, dict)
    assert found == {
        "rob": 1,
        "memory": "done",
        "net": "done",
        "open files of a process outside": 1,
        "memory of a process outside": 1,
        "tracing a process outside": 1,
    }


def test_without_landlock_and_without_such_a_neighbour_it_holds() -> None:
    code = """
landlock.keeps_apart = lambda: False
end()
found = seal.enter()
checks = [check for check in found.checks if check.name.endswith("a process outside")]
print(json.dumps([found.sealed, [check.found for check in checks]]))
"""
    calls = ("pidfd_getfd", "process_vm_readv", "ptrace")
    assert beside(code) == [[True, [f"{call}: Operation not permitted" for call in calls]]]


def test_a_seal_that_lets_us_into_processes_outside_is_noticed() -> None:
    code = """
landlock.keeps_apart = lambda: False
whole = seccomp.program
seccomp.program = lambda families, apart: whole(families)
try: print(json.dumps(seal.enter().headline))
except seal.SealError as problem: print(json.dumps(problem.message))
end()
"""
    [message] = beside(code)
    for name in ("open files of", "memory of", "tracing"):
        assert f"\n  {name} a process outside: was let through, but it must be held back" in str(
            message
        )
    assert "sealed" not in str(message).partition("\n")[2]
