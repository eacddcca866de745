"""The reader of documents as a process of its own: a bad document costs that document only.

It reads requests as lines of JSON and answers each with a line. The kernel ends it when a file
takes too long (an alarm) or too much memory, also where the parent is gone; for the next file a new
one starts. It inherits the seal, and nothing it reads makes it fetch anything.
"""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from localinstruct.documents.decoding import Unreadable
from localinstruct.documents.readers import text_of
from localinstruct.interrupt import reset_signals
from localinstruct.offline.switches import child_environment
from localinstruct.records import JsonObject
from localinstruct.supervisor import line_child

MEMORY_MIB = 2048
"""Memory that the process may take."""
SECONDS = 120
"""Time that one file may take."""


@dataclass
class Worker:
    """The process while there is one; a context manager, so that none is left."""

    seconds: float = SECONDS
    memory_mib: int = MEMORY_MIB
    encoding: str | None = None
    """Encoding of texts that are not UTF-8 and declare no other."""
    _process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def read(self, path: Path) -> dict[str, str]:
        """{"text": …} of a document, or {"problem": why there is none}."""
        process = self._process = self._process or _start(self.memory_mib)
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            request = {"path": str(path), "seconds": self.seconds, "encoding": self.encoding}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if line.endswith("\n"):
            answer: dict[str, str] = json.loads(line)
            return answer
        code = self._end()
        if code == -signal.SIGALRM:
            return {"problem": f"not read after {self.seconds} s"}
        ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"problem": f"its reader crashed ({ending})"}

    def _end(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        return process.returncode


def _start(memory_mib: int) -> "subprocess.Popen[str]":
    words = ["-c", f"from {__name__} import main; main({memory_mib})"]
    return line_child(words, child_environment())


def read(path: Path, encoding: str | None = None) -> dict[str, str]:
    """In the worker: {"text": …} of one file, or {"problem": why there is none}.

    A link in the file's place is not followed.
    """
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return {"text": text_of(path, file.read(), encoding)}
    except Unreadable as reason:
        return {"problem": str(reason)}
    except MemoryError:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        return {"problem": f"needs more than {limit / 2**30:.2g} GiB of memory to be read"}
    except OSError as error:
        return {"problem": f"cannot be opened: {error.strerror or error}"}
    except Exception as error:
        words = " ".join(str(error).split())[:120]
        return {"problem": f"damaged ({type(error).__name__}: {words})"}


def main(memory_mib: int) -> None:
    """Answer requests until there are no more; prints of libraries go nowhere."""
    reset_signals()  # the alarm must come
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20, memory_mib * 2**20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        request: JsonObject = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        answer = json.dumps(read(Path(request["path"]), request["encoding"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(answer + "\n")
        answers.flush()
