"""The real program with a teacher that plays recorded replies, in a process of its own that may be
harmed.

Command line, recipe, lock, store, completion log, scheduler, filters, novelty, egress report and
error messages are the product's. Only what a GPU would do is played: the teacher's words (by
prompt, so that every run hears the same) and the embeddings. A server on a unix socket can stand in
for the teacher, then the product's own client asks it.

    python -m tests.torture.program WORDS...        # a fresh interpreter
"""

import asyncio
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn

from localinstruct import readiness
from localinstruct.cli import app
from localinstruct.formats import write
from localinstruct.generation import meter, stage
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.store import durable
from localinstruct.store.run import read_run
from tests.support.scripted import HashEncoder, numbered_list

ANNOUNCE = "LOCALINSTRUCT_TORTURE_PIPE"
"""Descriptor on which the program says how many rows it has shown as kept."""
RECIPE = """\
name: tortured
seeds: seeds.jsonl
models: {teacher: played, student: played, encoder: words}
method: {alpaca: {kept_demonstrations: 1}}
generate: {target: 120}
serve: {max_num_seqs: 4, request_timeout: 0.6}
novelty: {threshold: 0.95}
"""
MODELS = """\
played: {endpoint: "unix://%s", served_name: played, roles: [teacher, student], context: 4096,
  licence: none}
words: {path: words, roles: [encoder], context: 256, licence: none}
"""
SEEDS = "".join(
    f'{{"instruction": "Name {number} kinds of {thing}", "input": "", "output": "…"}}\n'
    for number, thing in enumerate(["tea", "moss", "bread", "rope", "knot", "hill"])
)


TIMING = ""
"""Other words, other moments at which the teacher answers."""


class PlayedTeacher:
    """Says the recorded reply of a prompt after a moment that depends on the prompt."""

    async def complete(self, prompt: Prompt) -> list[Completion]:
        """The reply, `prompt.n` times."""
        rng = Random(TIMING + prompt.digest)
        await asyncio.sleep(0.004 * rng.random())
        text = recorded(prompt.text)
        return [Completion(text, "stop", len(text) // 4)] * prompt.n

    def endpoints(self) -> list[JsonObject]:
        """It has none."""
        return []

    async def close(self) -> None:
        """Nothing to close."""


def recorded(prompt: str) -> str:
    """What the teacher says to a prompt, always."""
    return numbered_list(Random(prompt))


def play_at(timing: str) -> None:
    """In a child: other moments of the teacher, and the same temporary name for every atomic file,
    known beforehand."""
    global TIMING
    TIMING = timing
    durable.secrets.token_hex = lambda nbytes=None: "tortured"  # type: ignore[assignment]


def workspace(folder: Path, target: int = 120, socket: str = "/nowhere.sock") -> Path:
    """A folder with recipe, seeds and models.yaml; the recipe's path."""
    # the encoder's directory: HashEncoder needs nothing in it
    (folder / "words").mkdir(parents=True, exist_ok=True)
    (folder / "seeds.jsonl").write_text(SEEDS)
    (folder / "models.yaml").write_text(MODELS % socket)
    (folder / "recipe.yaml").write_text(RECIPE.replace("target: 120", f"target: {target}"))
    return folder / "recipe.yaml"


def play(words: list[str], served: bool = False) -> NoReturn:
    """Be `localinstruct WORDS` until the process ends."""
    stage.checked = readiness.checked = lambda spec: Path()  # type: ignore[assignment]
    stage.LocalEncoder = lambda folder, **_: HashEncoder()  # type: ignore[assignment,misc,return-value]
    if not served:
        readiness.require_answers = lambda *_: None  # type: ignore[assignment]
        stage.serving_all = _played  # type: ignore[assignment]
    _announcing()
    sys.argv = ["localinstruct", *words]
    app.main()


@contextmanager
def _played(*_: object) -> Iterator[Callable[[object], Any]]:
    yield lambda sampling: PlayedTeacher()


def _announcing() -> None:
    pipe = os.environ.pop(ANNOUNCE, "")
    if not pipe:
        return
    shown = meter.Meter.__call__

    def told(self: meter.Meter, commit: meter.Commit) -> None:
        shown(self, commit)
        os.write(int(pipe), f"{commit.total}\n".encode())

    meter.Meter.__call__ = told  # type: ignore[method-assign]


@dataclass(frozen=True)
class Outcome:
    """How a run of the program ended."""

    code: int
    """Exit code, or minus the signal."""
    shown: int
    """Rows it had shown as kept."""
    said: str
    """What it wrote on stderr."""
    seconds: float

    @property
    def clean(self) -> bool:
        """Whether a person was told what happened, without a traceback."""
        return "Traceback" not in self.said


def run(
    folder: Path,
    words: list[str],
    harm: Callable[[int], None] | None = None,
    *,
    before: Callable[[], None] | None = None,
    served: bool = False,
) -> Outcome:
    """Fork the program in `folder`; `harm(pid)` is called at once in the parent, `before()` in the
    child."""
    reading, writing = os.pipe()
    log, began = folder / ".said", time.monotonic()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            become_child(folder, log, writing)
            if before:
                before()
            play(words, served)
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 0)
        except BaseException:  # as the interpreter would end
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(1)
    os.close(writing)
    if harm:
        harm(pid)
    shown = _listen(reading, pid)
    _, status = os.waitpid(pid, 0)
    said = log.read_text("utf-8", "replace") if log.exists() else ""
    return Outcome(os.waitstatus_to_exitcode(status), shown, said, time.monotonic() - began)


def become_child(folder: Path, log: Path, writing: int | None = None) -> None:
    """After a fork: a session of its own in `folder`, output to `log`, kept rows announced on
    `writing`."""
    os.setsid()
    os.chdir(folder)
    os.environ |= {ANNOUNCE: str(writing)} if writing is not None else {}
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    from localinstruct import console

    console.out.file, console.err.file = sys.stdout, sys.stderr


def _listen(reading: int, pid: int) -> int:
    """The last number the program announced."""
    heard = b""
    while chunk := os.read(reading, 4096):
        heard = (heard + chunk)[-64:]
    os.close(reading)
    numbers = (
        [int(word) for word in heard.split(b"\n")[1:] if word] if heard.count(b"\n") > 1 else []
    )
    return (
        numbers[-1]
        if numbers
        else int(heard.split(b"\n")[0] or 0)
        if heard.count(b"\n") == 1
        else 0
    )


def killer(delay: float, number: int = signal.SIGKILL) -> Callable[[int], None]:
    """Harm: send a signal after `delay` seconds, unless the process has ended by then."""

    def harm(pid: int) -> None:
        ended = os.pidfd_open(pid)
        if not select.select([ended], [], [], delay)[0]:
            signal.pidfd_send_signal(ended, number)
        os.close(ended)

    return harm


def exported(folder: Path, name: str = "tortured") -> tuple[bytes, list[str]]:
    """The kept rows of a run as JSONL bytes, and their ids; also checks that the store is sound."""
    path = folder / "runs" / name
    with read_run(path) as found:
        rows = list(found.kept())
    write(iter(rows), "jsonl", folder / "export.jsonl")
    return (folder / "export.jsonl").read_bytes(), [row.id for row in rows]


if __name__ == "__main__":
    play(sys.argv[1:], served="--served" in os.environ.get("LOCALINSTRUCT_TORTURE", ""))
