"""Runner of small functions that a teacher wrote: only in the seal, behind walls that were tried.

It holds the process of `code_child` and starts it again when it is gone. Before anything a teacher
wrote is executed, five harmless programs try the walls: one opens a file, one a socket, one forks,
one sleeps beyond its time, one takes more memory than it may. Each must be held back and told apart
from the others; else nothing is executed.
"""

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from threading import Lock

from localinstruct.errors import UsageError
from localinstruct.offline import code_child, landlock, seal, seccomp
from localinstruct.offline.switches import child_environment
from localinstruct.records import JsonObject, fill

_TRIALS = {
    code_child.FILES: "open('/proc/self/status', 'rb')",
    code_child.NETWORK: "import socket\nsocket.socket()",
    code_child.PROCESSES: "import os\nos.fork()",
    code_child.SLOW: "import time\ntime.sleep(5)",
    code_child.MEMORY: "x = bytearray({twice_the_memory})",
}
"""Outcome -> a program that must have it, and that does no harm where it has another."""
TRIAL_SECONDS = 0.3


def missing() -> list[str]:
    """Walls that cannot be had here, each with the way to have it; [] when all can."""
    lacks = []
    if not seal.status().sealed:
        lacks.append("the seal: start with --sealed, or set sealed: true in the recipe")
    if (version := landlock.abi()) < landlock.FILES_ABI:
        found = f"version {version}" if version else "none"
        lacks.append(
            f"Landlock of version {landlock.FILES_ABI} (Linux 6.2, switched on); found {found}"
        )
    if (machine := os.uname().machine) not in seccomp.CALLS:
        lacks.append(f"a list of the system calls of {machine} for seccomp")
    return lacks


def require_walls(who: str) -> None:
    """UsageError that names what is missing; `who` would execute what a teacher wrote."""
    if lacks := missing():
        wanted = "\n".join(f"  {one}" for one in lacks)
        raise UsageError(
            f"{who}: executes functions that a teacher wrote, which needs:\n{wanted}",
            "Nothing is executed without all of them. localinstruct doctor says what is here.",
        )


@dataclass
class CodeRunner:
    """The process while there is one; a context manager, so that none is left."""

    seconds: float = 2.0
    """Time that a function with its tests may take, and each mutant."""
    memory_mib: int = 256
    """Memory that it may take."""
    _process: "subprocess.Popen[str] | None" = None
    _lock: Lock = field(default_factory=Lock)
    _stopped: bool = False

    def __enter__(self) -> "CodeRunner":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def check(self, request: JsonObject) -> JsonObject:
        """The outcome of a request: "outcome", "detail", "code", "tests", "asserts", "mutants".

        It names a function and its tests, and how many asserts and mutants are wanted.
        """
        limits = {"seconds": self.seconds, "memory_mib": self.memory_mib}
        texts = (request["function"], request["tests"])
        if any(len(text.encode("utf-8", "replace")) > code_child.LARGEST for text in texts):
            return {"outcome": "too long", "detail": f"over {code_child.LARGEST:,} bytes"}
        return self._ask({**request, **limits})

    def prove(self) -> None:
        """Try the walls; UsageError where one does not hold, before anything else is executed."""
        wrong = []
        for outcome, program in _TRIALS.items():
            tried = fill(program, twice_the_memory=2 * self.memory_mib * 2**20)
            said = self.run(tried, seconds=TRIAL_SECONDS)
            is_told = outcome != code_child.FILES or said["detail"] == "PermissionError"
            if said["outcome"] != outcome or not is_told:
                wrong.append(f"  {outcome}: found {said['outcome']} {said['detail']}".rstrip())
        if wrong:
            self.end()
            raise UsageError(
                "The walls around a teacher's functions were tried, and do not hold:\n"
                + "\n".join(wrong),
                "Nothing was executed. Please report this with the kernel's version (uname -r).",
            )

    def run(self, program: str, *, seconds: float | None = None) -> JsonObject:
        """{"outcome", "detail"} of a program as it stands, with nothing looked at beforehand."""
        limits = {"seconds": seconds or self.seconds, "memory_mib": self.memory_mib}
        return self._ask({"program": program, **limits})

    def stop(self) -> None:
        """Let every request that waits have an end at once; from another thread than theirs."""
        self._stopped = True
        if process := self._process:
            process.terminate()

    def end(self) -> int:
        """End the process, also in the middle of a request; its exit code."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.terminate()  # where it is gone, the code that it went with stays
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        return process.returncode

    def _ask(self, request: JsonObject) -> JsonObject:
        with self._lock:
            if self._stopped:
                return {"outcome": code_child.ENDED, "detail": "was told to stop"}
            process = self._process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(request) + "\n")
                process.stdin.flush()
            line = process.stdout.readline()
            if line.endswith("\n"):
                answer: JsonObject = json.loads(line)
                return answer
            return {"outcome": code_child.ENDED, "detail": f"with its checker ({self.end()})"}

    @staticmethod
    def _start() -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", f"from {code_child.__name__} import main; main()"]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=child_environment(PYTHONHASHSEED="0"),
        )
        assert process.stdout is not None
        if process.stdout.readline() != '{"ready": true}\n':
            _, said = process.communicate()
            last = said.strip().splitlines()[-1:] or [f"exit code {process.returncode}"]
            raise UsageError(
                f"The walls around a teacher's functions cannot be put up: {last[0]}",
                "Nothing was executed. localinstruct doctor says what this machine has.",
            )
        return process
