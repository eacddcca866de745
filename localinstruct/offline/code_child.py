"""The process that executes small functions which a teacher wrote, behind walls that stay up.

It reads requests as lines of JSON and answers each with a line. Before the first one it loads what
functions may import, and puts on itself for good: no capability, no new privilege, no file by name
(Landlock), no socket (seccomp). Every text then runs in a child of its own, which can make no
process, send no signal, and has limits of memory and time; the kernel ends it, or this process
does. What a text tried is told apart by the kernel's error numbers: EACCES is Landlock's, EPERM and
EAFNOSUPPORT are seccomp's. Not covered: a text that forges its own outcome from inside its process
(`code_mutants` refuses what that takes), and what it computes at all.
"""

import contextlib
import errno
import importlib
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from localinstruct.interrupt import reset_signals
from localinstruct.offline import kernel, landlock, seccomp
from localinstruct.offline.code_mutants import MODULES, NotUsable, examine
from localinstruct.records import JsonObject

PASSED = "passed"
"""Outcome of a function whose asserts hold."""
FAILED, ERROR = "assert failed", "raised an error"
SLOW, MEMORY = "too slow", "too much memory"
FILES, NETWORK, PROCESSES = "tried a file", "tried a network", "tried a process"
ENDED = "was ended"
LARGEST = 64 * 1024
"""Bytes of a text, at most."""
GRACE = 1.0
"""Seconds that a child has beyond its limit before this process ends it."""
_WALLS = {errno.EACCES: FILES, errno.EPERM: PROCESSES, errno.EAFNOSUPPORT: NETWORK}


def build_walls() -> None:
    """Give up files, network and privileges for good; OSError where the kernel has no such wall."""
    kernel.drop_capabilities()
    kernel.forbid_new_privileges()
    landlock.forbid_files()
    seccomp.install(())


def main() -> None:
    """Answer requests until there are no more."""
    reset_signals()
    # what datetime and socket load late would otherwise look like a file that was tried
    for name in (*MODULES, "_strptime", "socket", "encodings.idna"):
        importlib.import_module(name)
    base = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    nothing = os.open(os.devnull, os.O_RDWR)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    build_walls()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request: JsonObject = json.loads(line)
        answers.write(json.dumps(Checks(request, base, nothing).answer()) + "\n")
        answers.flush()


class Checks:
    """One request: a function, its tests, and its mutants."""

    def __init__(self, request: JsonObject, base: int, nothing: int) -> None:
        self._request = request
        self._base = base
        """Bytes of address space that this process has without a request."""
        self._nothing = nothing

    def answer(self) -> JsonObject:
        """{"outcome", "detail", "code", "asserts", "mutants": [{"change", "outcome"}]}."""
        request = self._request
        if "program" in request:  # the walls are tried with this
            return self._child(lambda: _execute([request["program"]]))
        examined = self._child(lambda: _examined(request))
        if "code" not in examined:
            return examined
        shown = {"code": examined["code"], "tests": examined["tests"]}
        shown["asserts"] = examined["asserts"]
        run = self._child(lambda: _execute([examined["code"], examined["tests"]]))
        if run["outcome"] != PASSED:
            return {**run, **shown, "mutants": []}
        tried = []
        for change, text in examined["mutants"]:
            broken = self._child(partial(_execute, [text, examined["tests"]]))
            tried.append({"change": change, "outcome": broken["outcome"]})
        return {**run, **shown, "mutants": tried}

    def _child(self, work: Callable[[], JsonObject]) -> JsonObject:
        """The result of `work` in a child with limits, or how the child ended."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self._confined(writing, work)
            finally:
                os._exit(1)
        os.close(writing)
        try:
            said = _read(reading, self._request["seconds"] + GRACE)
        finally:
            os.close(reading)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        with contextlib.suppress(ValueError):
            found = json.loads(said or b"null")
            if isinstance(found, dict):
                return found
        return _ending(status, said is None)

    def _confined(self, writing: int, work: Callable[[], JsonObject]) -> None:
        """In the child: put up its own walls, work, and say the result."""
        try:
            for descriptor in (0, 1, 2):
                os.dup2(self._nothing, descriptor)
            os.dup2(writing, 3)
            os.closerange(4, 256)
            seconds, memory = self._request["seconds"], self._request["memory_mib"] * 2**20
            for limit, soft, hard in (
                (resource.RLIMIT_AS, self._base + memory, self._base + memory),
                (resource.RLIMIT_CPU, int(seconds) + 1, int(seconds) + 2),
                (resource.RLIMIT_FSIZE, 0, 0),
                (resource.RLIMIT_NOFILE, 8, 8),
            ):
                resource.setrlimit(limit, (soft, hard))
            signal.setitimer(signal.ITIMER_REAL, seconds)  # the kernel ends it then
            seccomp.put(seccomp.alone())
            result = work()
        except BaseException as problem:
            result = _told(problem)
        signal.setitimer(signal.ITIMER_REAL, 0)
        said = json.dumps(result).encode()
        while said:
            said = said[os.write(3, said) :]


def _examined(request: JsonObject) -> JsonObject:
    try:
        found = examine(
            request["function"],
            request["tests"],
            request["name"],
            request["asserts"],
            request["mutants"],
        )
    except NotUsable as problem:
        return {"outcome": problem.reason, "detail": problem.detail[:200]}
    changed = [(mutant.change, mutant.text) for mutant in found.mutants]
    return {
        "code": found.code,
        "tests": found.tests,
        "asserts": found.asserts,
        "mutants": changed,
    }


def _execute(texts: list[str]) -> JsonObject:
    """Execute texts one after another in one namespace."""
    names: dict[str, object] = {"__name__": "checked"}
    for number, text in enumerate(texts):
        exec(compile(text, ("function", "tests")[number], "exec"), names)
    return {"outcome": PASSED, "detail": ""}


def _told(problem: BaseException) -> JsonObject:
    """What an error of a text says: which wall it met, or that it is just wrong."""
    if isinstance(problem, MemoryError):
        return {"outcome": MEMORY, "detail": ""}
    if isinstance(problem, OSError) and problem.errno in _WALLS:
        return {"outcome": _WALLS[problem.errno], "detail": type(problem).__name__}
    if isinstance(problem, FileNotFoundError):
        return {"outcome": FILES, "detail": type(problem).__name__}
    trace, line = problem.__traceback__, 0
    while trace is not None:
        line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == "tests" else line
        trace = trace.tb_next
    where = f"line {line} of the tests" if line else "the function"
    if isinstance(problem, AssertionError):
        return {"outcome": FAILED, "detail": where}
    with contextlib.suppress(BaseException):  # its text is the teacher's
        return {"outcome": ERROR, "detail": f"{type(problem).__name__}: {problem}"[:200]}
    return {"outcome": ERROR, "detail": type(problem).__name__}


def _read(descriptor: int, seconds: float) -> bytes | None:
    """Everything a child says before its end; None where it does not end in time."""
    deadline, said = time.monotonic() + seconds, b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        part = os.read(descriptor, 65_536)
        if not part or len(said) > 64 * LARGEST:
            return said
        said += part


def _ending(status: int, overdue: bool) -> JsonObject:
    """How a child ended that said nothing."""
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if overdue or number in (signal.SIGALRM, signal.SIGXCPU):
        return {"outcome": SLOW, "detail": ""}
    name = signal.Signals(number).name if number else f"exit code {os.WEXITSTATUS(status)}"
    return {"outcome": ENDED, "detail": name}
