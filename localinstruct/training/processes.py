"""Training on several devices: one child process each, started and watched here.

The children run `python -m localinstruct.training.child JOB PARENT` with the variables that
accelerate and torch read; they meet on a loopback port. Progress and result of the first come back
over its stdout, as JSON lines. When one of them ends badly the others are ended at once; after
Ctrl-C or SIGTERM all of them get the time to save. They die with this process (supervisor). On
several machines (train.nodes) each starts its own: `nodes`.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from localinstruct import errors
from localinstruct.errors import Interrupted, TrainerError
from localinstruct.interrupt import StopRequest, stop_request
from localinstruct.offline.switches import child_environment
from localinstruct.progress import Progress
from localinstruct.recipe import Recipe
from localinstruct.records import JsonObject, StageResult
from localinstruct.store.durable import write_text
from localinstruct.training import checkpoints, nodes, student

Child = subprocess.Popen[str]
PATIENCE_SECONDS = 30.0
"""Time for the last lines of a process that has ended to arrive."""
STOP_SECONDS = 4.0
"""Time for the children to save and end after Ctrl-C.

It is longer than their own grace, and all is over within 5 seconds.
"""
POLL_SECONDS = 0.1


def train_in_processes(
    recipe: Recipe,
    home: Path,
    progress: Progress,
    folder: Path,
    device_batch: int | None,
    chat_template: str | None = None,
) -> StageResult:
    """Train in `recipe.train.devices` processes; the first result, or the first error, raised."""
    place = nodes.first_place(recipe.train, progress)
    job = home / nodes.JOB
    job.parent.mkdir(exist_ok=True, mode=0o700)
    facts = {
        "recipe": recipe.to_yaml(),
        "home": str(home),
        "folder": str(folder),
        "device_batch": device_batch,
        "chat_template": chat_template,
    }
    write_text(job, json.dumps(facts))
    return train_part(job, recipe.train.devices, place, progress)


def train_part(job: Path, devices: int, place: nodes.Place, progress: Progress) -> StageResult:
    """Train in the `devices` processes of this machine; `job` lies in the run's train/."""
    home, children = job.parent.parent, list[Child]()
    try:
        with stop_request(PATIENCE_SECONDS) as stop:
            for number in range(devices):
                children.append(_start(job, number, devices, place))
            outcome = _outcome(children, progress, stop)
    except KeyboardInterrupt:  # a second one
        outcome = {"stopped": True}
    finally:
        for child in children:
            _end(child)
    if "result" in outcome:
        result: StageResult = outcome["result"]
        return result
    raise _as_error(outcome, home, place.node * devices)


def _start(job: Path, number: int, count: int, place: nodes.Place) -> Child:
    rank = place.node * count + number
    environment = child_environment(
        RANK=str(rank),
        LOCAL_RANK=str(number),
        WORLD_SIZE=str(count * place.nodes),
        LOCAL_WORLD_SIZE=str(count),
        OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // count)),
        **place.environment(),
    )
    command = [sys.executable, "-m", "localinstruct.training.child", str(job), str(os.getpid())]
    log = job.parent.parent / "logs" / f"train.{rank}.log"
    log.parent.mkdir(exist_ok=True, mode=0o700)
    with log.open("w") as file:
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            process_group=0,
        )


@dataclass
class _Output:
    """The lines that one child writes, read by a thread of its own."""

    progress: Progress | None
    last: JsonObject = field(default_factory=dict)
    """The result or the error, once it has come."""

    def read(self, lines: Iterable[str]) -> None:
        """Pass progress on; keep the result or the error."""
        for line in lines:
            message = json.loads(line)
            if "say" not in message and "update" not in message:
                self.last.update(message)
            elif self.progress and "say" in message:
                self.progress.say(message["say"])
            elif self.progress:
                self.progress.update(*message["update"])


def _outcome(children: list[Child], progress: Progress, stop: StopRequest) -> JsonObject:
    """Wait until all children have ended, or one badly; {"error" …}, {"result"} or how they ended.

    How they ended is {"stopped"}, or {"codes"} with their exit codes.
    """
    outputs = [_Output(progress), *(_Output(None) for _ in children[1:])]
    threads = [
        threading.Thread(target=output.read, args=(_pipe(child),), daemon=True)
        for output, child in zip(outputs, children, strict=True)
    ]
    for thread in threads:
        thread.start()
    _wait(children, stop)
    codes = [child.poll() for child in children]  # once more: the first to die may have been asked
    for thread, code in zip(threads, codes, strict=True):
        if code is not None:
            thread.join(PATIENCE_SECONDS)
    errors_sent = [output.last for output in outputs if "error" in output.last]
    if errors_sent or codes[0] == 0:
        return errors_sent[0] if errors_sent else outputs[0].last
    return {"stopped": True} if stop.asked else {"codes": codes}


def _wait(children: list[Child], stop: StopRequest) -> None:
    """Wait until all have ended; one that ends badly is enough.

    Unless they were asked to stop and may still be saving.
    """
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


def _pipe(child: Child) -> IO[str]:
    assert child.stdout
    return child.stdout


def _as_error(outcome: JsonObject, home: Path, before: int) -> Exception:
    """The error of an outcome; `before` are the processes of earlier machines."""
    if "error" in outcome:
        name = outcome["kind"]
        kind = student.OutOfMemory if name == "OutOfMemory" else getattr(errors, name)
        error: Exception = kind(outcome["error"], outcome["hint"])
        return error
    steps = checkpoints.completed(home / "train")
    kept = f"checkpoint of step {steps[0][0]} kept" if steps else "no checkpoint yet"
    again = f"Continue with: localinstruct train {home.name}"
    if "stopped" in outcome:
        return Interrupted(f"Training stopped; {kept}.", again)
    codes = outcome["codes"]
    number = next((number for number, code in enumerate(codes) if code and code < 0), None)
    if number is not None:
        process = _named(before + number, before + len(codes))
        return TrainerError(
            f"{process} was ended by {signal.Signals(-codes[number]).name}; {kept}.",
            f"{again}\nIf nobody ended it, the system was out of memory: dmesg",
        )
    number = next(number for number, code in enumerate(codes) if code)
    log = home / "logs" / f"train.{before + number}.log"
    return TrainerError(
        f"{_named(before + number, before + len(codes))} crashed; {kept}. Why: {log}", f"tail {log}"
    )


def _named(number: int, known: int) -> str:
    """A process in words, of those on this machine and before it."""
    return f"Training process {number + 1} of {known}"


def _end(child: Child) -> None:
    if child.poll() is None:
        child.kill()
    child.wait()
    _pipe(child).close()
