"""Training on several devices: one child process each, started here, speaking to us in JSON lines.

The children run `python -m localinstruct.training.child JOB` with the variables that accelerate and
torch read; they meet on a loopback port. The first one's progress and result come back over its
stdout. When one of them ends badly the others are ended at once; after Ctrl-C or SIGTERM all of
them get the time to save. They die with this process (supervisor). Not covered: several machines.
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
from localinstruct.errors import Interrupted, TrainerError
from localinstruct.interrupt import StopRequest, stop_request
from localinstruct.offline.switches import child_environment
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import StageResult
from localinstruct.store.durable import write_text
from localinstruct.training import checkpoints, student

PATIENCE_SECONDS = 30.0
"""How long the last words of a process that has ended may take to arrive."""
STOP_SECONDS = 4.0
"""How long they may take to save and end after Ctrl-C; it is longer than their own grace, and all
is over within 5."""
POLL_SECONDS = 0.1


def together(
    recipe: Recipe, home: Path, progress: Progress, folder: Path, device_batch: int | None
) -> StageResult:
    """Train in `recipe.train.devices` processes; the result, or the error, of the first that has
    one."""
    job = home / "train" / "job.json"
    job.parent.mkdir(exist_ok=True, mode=0o700)
    facts = {
        "recipe": recipe.to_yaml(),
        "home": str(home),
        "folder": str(folder),
        "device_batch": device_batch,
    }
    write_text(job, json.dumps(facts))
    port, children = _free_port(), []
    try:
        with stop_request(PATIENCE_SECONDS) as stop:
            for number in range(recipe.train.devices):
                children.append(_start(job, number, recipe.train.devices, port))
            heard = _listen(children, progress, stop)
    except KeyboardInterrupt:  # a second one
        heard = {"stopped": True}
    finally:
        for child in children:
            _end(child)
    if "result" in heard:
        result: StageResult = heard["result"]
        return result
    raise _as_error(heard, home)


def _start(job: Path, number: int, count: int, port: int) -> "subprocess.Popen[str]":
    environment = child_environment(
        RANK=str(number),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(count),
        LOCAL_WORLD_SIZE=str(count),
        MASTER_ADDR="127.0.0.1",
        MASTER_PORT=str(port),
        OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // count)),
    )
    command = [sys.executable, "-m", "localinstruct.training.child", str(job)]
    log = job.parent.parent / "logs" / f"train.{number}.log"
    log.parent.mkdir(exist_ok=True, mode=0o700)
    with log.open("w") as words:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
            process_group=0,
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


def _listen(
    children: list["subprocess.Popen[str]"], progress: Progress, stop: StopRequest
) -> dict[str, Any]:
    """Wait until all children have ended, or one badly; the error that was said, the result, or how
    they ended."""
    ears = [
        _Ear(child, progress if number == 0 else None, {}) for number, child in enumerate(children)
    ]
    threads = [
        threading.Thread(target=ear.hear, args=(_pipe(ear.child),), daemon=True) for ear in ears
    ]
    for thread in threads:
        thread.start()
    _wait(children, stop)
    codes = [
        child.poll() for child in children
    ]  # once more: who died first may have been asked first
    for thread, code in zip(threads, codes, strict=True):
        if code is not None:
            thread.join(PATIENCE_SECONDS)
    errors_said = [ear.last for ear in ears if "error" in ear.last]
    if errors_said or codes[0] == 0:
        return errors_said[0] if errors_said else ears[0].last
    return {"stopped": True} if stop.asked else {"codes": codes}


def _wait(children: list["subprocess.Popen[str]"], stop: StopRequest) -> None:
    """Until all have ended; one that ends badly is enough, unless they were asked to stop and may
    still be saving."""
    until = None
    while None in (codes := [child.poll() for child in children]):
        if until is None and any(codes):
            return
        if until is not None and time.monotonic() > until:
            return
        if stop.asked and until is None:
            until = time.monotonic() + STOP_SECONDS
            for child in children:
                child.send_signal(signal.SIGINT)
        time.sleep(POLL_SECONDS)


def _pipe(child: "subprocess.Popen[str]") -> IO[str]:
    assert child.stdout
    return child.stdout


def _as_error(heard: dict[str, Any], home: Path) -> Exception:
    if "error" in heard:
        kind = (
            student.OutOfMemory
            if heard["kind"] == "OutOfMemory"
            else getattr(errors, heard["kind"])
        )
        made: Exception = kind(heard["error"], heard["hint"])
        return made
    steps = checkpoints.sealed(home / "train")
    kept = f"checkpoint of step {steps[0][0]} kept" if steps else "no checkpoint yet"
    again = f"Continue with: localinstruct train {home.name}"
    if "stopped" in heard:
        return Interrupted(f"Training stopped; {kept}.", again)
    codes = heard["codes"]
    number = next((number for number, code in enumerate(codes) if code and code < 0), None)
    if number is not None:
        how = (
            f"Training process {number + 1} of {len(codes)} was ended by "
            f"{signal.Signals(-codes[number]).name}; {kept}."
        )
        return TrainerError(
            how, f"{again}\nIf nobody ended it, the system was out of memory: dmesg"
        )
    number = next(number for number, code in enumerate(codes) if code)
    log = home / "logs" / f"train.{number}.log"
    return TrainerError(
        f"Training process {number + 1} of {len(codes)} crashed; {kept}. Why: {log}", f"tail {log}"
    )


def _end(child: "subprocess.Popen[str]") -> None:
    if child.poll() is None:
        child.kill()
    child.wait()
    _pipe(child).close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
