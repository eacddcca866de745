"""The audit hook's notes of the programs that our processes start, by whatever call, and of what it
cannot see."""

import json
from pathlib import Path
from typing import Any

from localinstruct.offline import audit_hook
from localinstruct.store.durable import read_json_lines
from tests.support.sealing import output

ARMED = """
import ctypes, json, os, socket, subprocess, sys, threading
from pathlib import Path
from localinstruct.offline import audit_hook
audit_hook.arm()
audit_hook.keep_in(Path(sys.argv[1]))
"""


def noted(code: str, folder: Path) -> list[dict[str, Any]]:
    """What the audit hook of an armed child that runs `code` wrote, forks of it included."""
    output(ARMED + code, str(folder / "noted"))
    return [entry for entry in read_json_lines(folder / "noted") if entry["kind"] != "process"]


def told(code: str, folder: Path) -> list[list[str]]:
    """[event, target] of each; every one must be a child with a stack."""
    entries = noted(code, folder)
    assert all(entry["kind"] == "child" and entry["stack"] for entry in entries)
    return [[entry["event"], entry["target"]] for entry in entries]


def test_every_call_of_python_that_starts_a_program_is_noted(tmp_path: Path) -> None:
    code = """
os.system("true --system")
os.posix_spawn("/bin/true", ["true", "--posix"], os.environ)
os.spawnlp(os.P_WAIT, "true", "true", "--spawnlp")
subprocess.run(["true", "--run"])
pid, terminal = os.forkpty()
if pid == 0: os.execv("/bin/true", [b"true", b"--execv"])
os.waitpid(pid, 0)
"""
    found = told(code, tmp_path)
    search = [
        target for event, target in found if event == "os.exec" and target.endswith("--spawnlp")
    ]
    assert len(search) == 1  # though PATH has more folders
    assert search[0].startswith("/")
    assert [entry for entry in found if entry[1] != search[0]] == [
        ["os.system", "true --system"],
        ["os.posix_spawn", "/bin/true --posix"],
        ["os.fork", "fork number 1 of this process"],
        ["subprocess.Popen", "true --run"],
        ["os.forkpty", "fork number 2 of this process"],
        ["os.exec", "/bin/true --execv"],
    ]


def test_a_program_started_by_subprocess_is_noted_once_however_it_does_it(tmp_path: Path) -> None:
    code = """
subprocess._USE_VFORK = False
subprocess.run(["/bin/true", "plain"])
subprocess.run(["/bin/true", "spawned"], close_fds=False)
assert subprocess._USE_POSIX_SPAWN
"""
    assert told(code, tmp_path) == [
        ["subprocess.Popen", "/bin/true plain"],
        ["subprocess.Popen", "/bin/true spawned"],
    ]


def test_many_forks_are_a_few_entries_with_their_number(tmp_path: Path) -> None:
    code = """
for _ in range(100):
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)
"""
    assert told(code, tmp_path) == [
        ["os.fork", f"fork number {2**n} of this process"] for n in range(7)
    ]


def test_a_fork_notes_attempts_even_if_a_thread_was_writing_at_that_moment(tmp_path: Path) -> None:
    code = """
recorder = audit_hook._recorder[0]
forking, hooked = threading.Event(), audit_hook._hook
def write():
    forking.wait()
    with recorder.lock: held.set(); threading.Event().wait(20)
held = threading.Event()
threading.Thread(target=write, daemon=True).start()
os.register_at_fork(before=lambda: (forking.set(), held.wait()))
child = os.fork()
if child == 0:
    # Connecting a UDP socket sends nothing.
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(("192.0.2.1", 443))
    finally: os._exit(0)
for _ in range(100):
    if os.waitpid(child, os.WNOHANG)[0]: break
    threading.Event().wait(0.1)
else: os.kill(child, 9)
os._exit(0)
"""
    entries = noted(code, tmp_path)
    assert [(entry["kind"], entry["target"]) for entry in entries] == [
        ("child", "fork number 1 of this process"),
        ("attempt", "192.0.2.1 port 443"),
    ]


def test_what_it_cannot_see_is_what_it_says_it_cannot(tmp_path: Path) -> None:
    """ctypes, C's own system(), another program's socket, a spawned worker: no entry but the start
    of the one program."""
    code = """
import multiprocessing
libc = ctypes.CDLL(None)
os.close(libc.socket(socket.AF_INET, socket.SOCK_DGRAM, 0))
libc.system(b"true")
other = "import socket as s; s.socket(s.AF_INET, s.SOCK_DGRAM).connect(('192.0.2.1', 9))"
subprocess.run([sys.executable, "-S", "-c", other], stderr=subprocess.DEVNULL)
worker = multiprocessing.get_context("spawn").Process(target=print)
worker.start(), worker.join()
"""
    [[event, target]] = told(code, tmp_path)
    assert event == "subprocess.Popen"
    assert "192.0.2.1" in target
    words = " ".join(audit_hook.UNSEEN)
    for named in ("ctypes", "C code", "programs", "multiprocessing's spawn", "the wall"):
        assert named in words
    assert json.dumps(audit_hook.UNSEEN).isascii()
