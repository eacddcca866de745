"""Training on several devices: one child process each, started here, speaking to us in JSON lines.

The children run `python -m localinstruct.stages.training.child JOB` with the variables that accelerate and torch read;
they meet on a loopback port. The first one's progress and result come back over its stdout; when one of them ends badly
the others are ended too. They die with this process (warden). Not covered: several machines.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from localinstruct import errors
from localinstruct.errors import TrainerError
from localinstruct.files import write_text
from localinstruct.offline import child_environment
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.stages import StageResult, student
from localinstruct.stages.interrupt import stop_request

PATIENCE_SECONDS = 30.0
"""How long processes may take to end after one of them has."""
POLL_SECONDS = 0.1


def together(recipe: Recipe, home: Path, progress: Progress, folder: Path, device_batch: int | None) -> StageResult:
    """Train in `recipe.train.devices` processes; the result, or the error, of the first that has one."""
    job = home / "train" / "job.json"
    job.parent.mkdir(exist_ok=True, mode=0o700)
    facts = {"recipe": recipe.to_yaml(), "home": str(home), "folder": str(folder), "device_batch": device_batch}
    write_text(job, json.dumps(facts))
    port = _free_port()
    children = [_start(job, number, recipe.train.devices, port) for number in range(recipe.train.devices)]
    try:
        with stop_request(PATIENCE_SECONDS) as stop:
            heard = _listen(children, progress, stop)
    finally:
        for child in children:
            _end(child)
    if "result" in heard:
        result: StageResult = heard["result"]
        return result
    raise _as_error(heard, home)


def _start(job: Path, number: int, count: int, port: int) -> "subprocess.Popen[str]":
    environment = child_environment(
        RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // count)),
    )  # fmt: skip
    command = [sys.executable, "-m", "localinstruct.stages.training.child", str(job)]
    log = job.parent.parent / "logs" / f"train.{number}.log"
    log.parent.mkdir(exist_ok=True, mode=0o700)
    with log.open("w") as words:
        return subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=words, text=True, process_group=0
        )


@dataclass
class _Ear:
    """What one child says, heard by a thread of its own."""

    child: "subprocess.Popen[str]"
    progress: Progress | None
    last: dict[str, Any]

    def hear(self, lines: Iterable[str]) -> None:
        """Pass progress on; keep the result or the error."""
        for line in lines:
            said = json.loads(line)
            if "say" in said or "update" in said:
                self._pass_on(said)
            else:
                self.last.update(said)

    def _pass_on(self, said: dict[str, Any]) -> None:
        if self.progress and "say" in said:
            self.progress.say(said["say"])
        elif self.progress:
            self.progress.update(*said["update"])


def _listen(children: list["subprocess.Popen[str]"], progress: Progress, stop: Any) -> dict[str, Any]:
    """Wait until all children have ended well or one badly; what it said last, else what the first child did."""
    ears = [_Ear(child, progress if number == 0 else None, {}) for number, child in enumerate(children)]
    threads = [threading.Thread(target=ear.hear, args=(_pipe(ear.child),), daemon=True) for ear in ears]
    for thread in threads:
        thread.start()
    told = False
    while None in (codes := [child.poll() for child in children]) and not any(codes):
        if stop.asked and not told:
            told = True
            for child in children:
                child.send_signal(signal.SIGINT)
        time.sleep(POLL_SECONDS)
    speaker = next((number for number, code in enumerate(codes) if code), 0)
    threads[speaker].join(PATIENCE_SECONDS)
    return ears[speaker].last or {"error": "", "code": codes[speaker]}


def _pipe(child: "subprocess.Popen[str]") -> IO[str]:
    assert child.stdout
    return child.stdout


def _as_error(heard: dict[str, Any], home: Path) -> Exception:
    if heard["error"]:
        kind = student.OutOfMemory if heard["kind"] == "OutOfMemory" else getattr(errors, heard["kind"])
        made: Exception = kind(heard["error"], heard["hint"])
        return made
    log = home / "logs" / "train.0.log"
    return TrainerError(f"A training process ended with {heard['code']}; the logs beside {log} say why.", f"tail {log}")


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.kill()
    child.wait()
    _pipe(child).close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
