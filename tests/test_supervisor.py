"""Nothing a supervisor guards outlives its owner, however the owner ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SERVER = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open(sys.argv[1] + "/grandchild", "w").write(str(os.getpid()))
        time.sleep(300)
    os._exit(0)
open(sys.argv[1] + "/child", "w").write(str(os.getpid()))
time.sleep(300)
"""
OWNER = """
import sys, time
from pathlib import Path
from localinstruct.interrupt import reset_signals
from localinstruct.offline.switches import child_environment
from localinstruct.supervisor import Ward
reset_signals(interruptible=True)
home, folder = Path(sys.argv[1]), Path(sys.argv[2])
server = [sys.executable, "-c", sys.argv[3], str(home)]
ward = Ward(server, folder, home / "log", child_environment(), home / "lock")
print(ward.process.pid, flush=True)
if sys.argv[4] == "wait":
    time.sleep(300)
sys.stdin.readline()
ward.stop()
"""


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(path: Path) -> int:
    for _ in range(1200):  # a minute
        if path.exists() and path.read_text():
            return int(path.read_text())
        time.sleep(0.05)
    raise AssertionError(f"{path} did not appear")


def start_owner(tmp_path: Path, mode: str) -> tuple[subprocess.Popen[str], Path]:
    home, folder = tmp_path / "home", tmp_path / "private"
    home.mkdir()
    folder.mkdir()
    command = [sys.executable, "-c", OWNER, str(home), str(folder), SERVER, mode]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True), home


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_all_descendants_end_with_their_owner(tmp_path: Path, number: int) -> None:
    owner, home = start_owner(tmp_path, "wait")
    with owner:
        assert owner.stdout is not None
        supervisor = int(owner.stdout.readline())
        pids = [wait_for(home / "child"), wait_for(home / "grandchild"), supervisor]
        assert all(is_running(pid) for pid in pids)
        os.kill(owner.pid, number)
        owner.wait(timeout=60)
    deadline = time.monotonic() + 60
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [pid for pid in pids if is_running(pid)] == []
    assert not (tmp_path / "private").exists()


def test_a_supervisor_that_is_told_twice_leaves_nothing(tmp_path: Path) -> None:
    owner, home = start_owner(tmp_path, "wait")
    with owner:
        assert owner.stdout is not None
        supervisor = int(owner.stdout.readline())
        pids = [wait_for(home / "child"), wait_for(home / "grandchild"), supervisor]
        for _ in range(3):
            os.kill(supervisor, signal.SIGTERM)
            time.sleep(0.2)
        deadline = time.monotonic() + 60
        while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [pid for pid in pids if is_running(pid)] == []
        owner.kill()
    assert not (tmp_path / "private").exists()


def test_stop_returns_when_all_are_gone(tmp_path: Path) -> None:
    owner, home = start_owner(tmp_path, "stop")
    with owner:
        pids = [wait_for(home / "child"), wait_for(home / "grandchild")]
        assert owner.stdin is not None
        owner.stdin.write("stop\n")
        owner.stdin.flush()
        assert owner.wait(timeout=60) == 0
    assert [pid for pid in pids if is_running(pid)] == []


def test_the_next_server_waits_for_the_last_to_be_gone(tmp_path: Path) -> None:
    owner, home = start_owner(tmp_path, "wait")
    with owner:
        child = wait_for(home / "child")
        wait_for(home / "grandchild")
        owner.kill()
    from localinstruct.offline.switches import child_environment
    from localinstruct.supervisor import Ward

    folder = tmp_path / "second"
    folder.mkdir()
    ward = Ward(
        [sys.executable, "-c", "pass"], folder, home / "log", child_environment(), home / "lock"
    )
    assert not is_running(child)
    ward.stop()
