"""Stopping what a script started with `&` or nohup: signals that are inherited as ignored."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from localinstruct.errors import Interrupted, UsageError
from localinstruct.interrupt import NEEDED
from localinstruct.offline.switches import child_environment
from localinstruct.store.run import read_run
from localinstruct.supervisor import Ward
from localinstruct.worker import COMMAND
from tests.test_supervisor import is_running
from tests.torture.program import workspace

ROOT = Path(__file__).parents[1]
SCRIPT = '"$@" > said 2>&1 & echo $!; wait $!; echo $?'
"""In a shell that is not interactive, what is started with `&` has SIGINT ignored."""
SECONDS = 120
"""No wait is longer."""
ENDLESS = ["--set", "generate.target=50000"]
HOSTILE = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
os.execvp(sys.argv[1], sys.argv[1:])
"""
AMPERSAND: list[str] = []
NOHUP = ["nohup"]
TRAINING = (sys.executable, "-m", "localinstruct.training.child")
WORKER = (sys.executable, *COMMAND)
BLOCKED = [sys.executable, "-c", HOSTILE]


@dataclass
class Background:
    """A program in the background of a script, and the folder it works in."""

    folder: Path
    run: str
    pid: int
    script: "subprocess.Popen[str]"

    def exit_code(self) -> int:
        """The exit code when it has ended, as its script sees it."""
        assert self.script.stdout
        self.script.wait(SECONDS)
        return int(self.script.stdout.read())

    def said(self) -> str:
        """Everything on its stdout and stderr."""
        return (self.folder / "said").read_text()

    def kept(self) -> int:
        """Rows in its run, 0 before there is one."""
        try:
            with read_run(self.folder / "runs" / self.run) as run:
                return run.count_kept()
        except UsageError:
            return 0

    def child(self) -> int:
        """The process id of its stage, 0 before there is one."""
        ids = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return int(ids[-1]) if ids else 0

    def left(self) -> list[int]:
        """Processes that work in its folder, itself included."""
        return [
            int(path.parent.name)
            for path in Path("/proc").glob("[0-9]*/cwd")
            if _target(path) == self.folder and is_running(int(path.parent.name))
        ]


def _target(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # gone meanwhile, or somebody else's
        return None


def wait_until(true: Callable[[], object], program: Background, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, program.said()
        time.sleep(0.01)


@contextmanager
def started(folder: Path, starter: Sequence[str], words: Sequence[str]) -> Iterator[Background]:
    workspace(folder)
    module = "tests.support.played_run" if words[0] == "run" else "tests.torture.program"
    with in_script(folder, "tortured", [*starter, sys.executable, "-m", module, *words]) as program:
        yield program


@contextmanager
def in_script(folder: Path, run: str, command: Sequence[str]) -> Iterator[Background]:
    folder = folder.resolve()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        ["sh", "-c", SCRIPT, "sh", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout
        program = Background(folder, run, int(script.stdout.readline()), script)
        try:
            yield program
        finally:
            script.kill()  # it works in the folder too
            script.wait()
            for pid in program.left():
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    ("starter", "command"),
    [
        pytest.param(AMPERSAND, "generate", id="generate &"),
        pytest.param(AMPERSAND, "run", id="run &"),
        pytest.param(NOHUP, "run", id="nohup run &", marks=pytest.mark.exhaustive),  # also below
        pytest.param(BLOCKED, "run", id="run with all signals blocked"),
    ],
)
def test_sigterm_stops_it_and_it_can_go_on(
    tmp_path: Path, starter: list[str], command: str
) -> None:
    words = [command, "recipe.yaml", *ENDLESS]
    with started(tmp_path, starter, words) as program:
        wait_until(lambda: program.kept() >= 20, program)
        os.kill(program.pid, signal.SIGTERM)
        assert program.exit_code() == 130
        kept = program.kept()
        assert f"stopped: {kept} rows are kept in runs/tortured" in program.said()
        assert "localinstruct run runs/tortured" in program.said()
        assert program.left() == []
    if starter is not AMPERSAND:
        return  # a run that was stopped is the same however it was started
    with started(tmp_path, AMPERSAND, words) as program:
        wait_until(lambda: program.kept() >= kept + 20, program)
        os.kill(program.pid, signal.SIGTERM)
        assert program.exit_code() == 130


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """Ctrl-C in the script's terminal and its end are not for a program that was sent away."""
    with started(tmp_path, NOHUP, ["run", "recipe.yaml", *ENDLESS]) as program:
        wait_until(lambda: program.kept() >= 20, program)
        os.kill(program.pid, signal.SIGINT)
        for pid in (program.pid, program.child()):
            os.kill(pid, signal.SIGHUP)
        kept = program.kept()
        wait_until(lambda: program.kept() >= kept + 100, program)
        os.kill(program.pid, signal.SIGTERM)
        assert program.exit_code() == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_that_has_just_begun_ends_with_its_parent(tmp_path: Path, number: int) -> None:
    """A stage needs a moment until it hears signals, and asks to die with its parent."""
    for turn, delay in enumerate((0.0, 0.1, 0.3)):
        folder = tmp_path / str(turn)
        with started(folder, AMPERSAND, ["run", "recipe.yaml", *ENDLESS]) as program:
            wait_until(program.child, program)
            child = program.child()
            time.sleep(delay)
            os.kill(program.pid, number)
            assert program.exit_code() == (130 if number == signal.SIGTERM else 128 + number)
            wait_until(lambda pid=child: not is_running(pid), program)  # type: ignore[misc]
            assert program.left() == []
        shutil.rmtree(folder)


def test_a_stage_that_was_killed_is_not_taken_for_finished(tmp_path: Path) -> None:
    """Where whoever started us ignores SIGCHLD, the kernel keeps no exit codes of children."""
    with started(tmp_path, BLOCKED, ["run", "recipe.yaml", *ENDLESS]) as program:
        wait_until(lambda: program.kept() >= 1, program)
        os.kill(program.child(), signal.SIGKILL)
        assert program.exit_code() == 4
        assert "generate was ended by SIGKILL" in program.said()


@pytest.mark.exhaustive
@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("starter", [AMPERSAND, NOHUP], ids=["&", "nohup"])
def test_no_vllm_is_left(tmp_path: Path, starter: list[str]) -> None:
    words = ["run", "nano", "--set", "generate.target=5000"]
    command = [*starter, sys.executable, "-m", "localinstruct", *words]
    with in_script(tmp_path, "nano", command) as program:
        wait_until(lambda: program.kept() >= 10, program, 180)
        servers = [pid for pid in program.left() if b"vllm.entrypoints" in _command(pid)]
        assert servers
        began = time.monotonic()
        os.kill(program.pid, signal.SIGTERM)
        assert program.exit_code() == 130
        assert time.monotonic() - began < 60
        assert f"stopped: {program.kept()} rows are kept in runs/nano" in program.said()
        assert program.left() == []


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def signal_state(status: Path) -> dict[str, set[int]]:
    """Signals that a process has blocked, ignored and caught, from its /proc/PID/status."""
    lines = status.read_text().splitlines()
    fields = dict(line.split(":\t", 1) for line in lines if line.startswith("Sig"))
    masks = {name: int(fields[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")}
    return {name: {n for n in range(1, 65) if mask >> (n - 1) & 1} for name, mask in masks.items()}


@pytest.fixture
def hostile_signals() -> Iterator[None]:
    """Everything that a process may inherit, ignored and blocked."""
    numbers = (signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("hostile_signals")
def test_a_server_begins_with_the_signals_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    here = tmp_path / "status"
    report = ["sh", "-c", f"exec cat /proc/self/status > {here}"]
    lock = tmp_path / "lock"
    ward = Ward(report, tmp_path / "private", tmp_path / "log", child_environment(), lock)
    assert ward.process.wait(SECONDS) == 0
    ward.stop()
    state = signal_state(here)
    assert state["SigBlk"] == set()
    assert not state["SigIgn"] & {*NEEDED, signal.SIGHUP, signal.SIGINT}


@pytest.mark.usefixtures("hostile_signals")
def test_the_alarm_of_the_reader_of_documents_comes(tmp_path: Path) -> None:
    from localinstruct.documents.worker import Worker

    (tmp_path / "page.txt").write_text("Rivers flow.")
    with Worker() as worker:
        assert worker.read(tmp_path / "page.txt") == {"text": "Rivers flow."}
        assert worker._process
        state = signal_state(Path(f"/proc/{worker._process.pid}/status"))
    assert state["SigBlk"] == set()
    assert not state["SigIgn"] & {signal.SIGALRM, signal.SIGTERM}


@pytest.mark.usefixtures("hostile_signals")
def test_a_training_process_hears_its_parent(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    os.mkfifo(job)
    command = [*TRAINING, str(job), str(os.getpid())]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as child:
        with job.open("w"):  # opened by the child as well: it has come to its work
            state = signal_state(Path(f"/proc/{child.pid}/status"))
        assert child.wait(SECONDS) == 1  # the job was empty
    assert state["SigBlk"] == set()
    assert signal.SIGINT in state["SigCgt"]
    assert not state["SigIgn"] & {signal.SIGINT, signal.SIGTERM}


@pytest.mark.parametrize(
    ("command", "code"),
    [((*TRAINING, "job"), -signal.SIGKILL), ((*WORKER, "job", "1"), Interrupted.exit_code)],
)
def test_a_child_whose_parent_has_gone_already_ends_at_once(
    tmp_path: Path, command: tuple[str, ...], code: int
) -> None:
    os.mkfifo(tmp_path / "job")  # whoever reads it waits for ever
    done = subprocess.run(
        [*command, "1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == code, done.stderr


@pytest.mark.usefixtures("hostile_signals")
def test_a_worker_leaves_nohup_alone_and_hears_its_parent(tmp_path: Path) -> None:
    job = tmp_path / "job"
    os.mkfifo(job)
    words = ["nohup", *WORKER, str(job), "1", str(os.getpid())]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        with job.open("w"):
            state = signal_state(Path(f"/proc/{child.pid}/status"))
        child.communicate(timeout=SECONDS)
    assert state["SigBlk"] == set()
    assert signal.SIGHUP in state["SigIgn"]
    assert state["SigCgt"] >= {signal.SIGINT, signal.SIGTERM}
