"""llama.cpp asked about a GGUF file, in a child process: token ids, chats as text, greedy answers.

A child (`llama_cpp_child`), because a file that llama.cpp dislikes may end its process. Not
covered: GPUs, speed.
"""

import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from localinstruct.errors import TrainerError
from localinstruct.offline.switches import child_environment
from localinstruct.records import Message

SECONDS = 1800
"""For all questions together."""
JOB, ANSWERS, SOCKET = "job.json", "answers.json", "llama.sock"
"""Files in the private folder of a child."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Questions to llama.cpp about a file."""

    file: str
    texts: list[str]
    """To be cut into tokens, without any put before them; special tokens in them are read."""
    chats: list[list[dict[str, str]]]
    """To be written by the file's chat template up to the assistant's turn."""
    prompts: list[list[int]]
    """To be answered greedily, as token ids."""
    max_tokens: int
    context: int


@dataclass(frozen=True, slots=True)
class Answers:
    """Replies of llama.cpp, in the order of the questions."""

    texts: list[list[int]]
    chats: list[str | None]
    """None where llama.cpp refuses the chat."""
    prompts: list[list[int]]
    """The tokens of each answer, with the one that ended it."""


def installed() -> bool:
    """True when llama.cpp is here as a Python package."""
    return find_spec("xllamacpp") is not None


def ask(questions: Questions, log: Path) -> Answers:
    """Have llama.cpp load the file and answer; TrainerError when it does not."""
    with tempfile.TemporaryDirectory() as private:
        job, out = Path(private, JOB), Path(private, ANSWERS)
        job.write_text(json.dumps(asdict(questions)), encoding="utf-8")
        log.parent.mkdir(exist_ok=True, mode=0o700)
        command = [sys.executable, "-m", "localinstruct.gguf.llama_cpp_child", private]
        with log.open("ab") as output:
            began = output.tell()
            code = _run(command, output)
        if code or not out.is_file():
            text = log.read_bytes()[began:].decode("utf-8", "replace").strip()
            tail = "\n".join(line[:300] for line in text.splitlines()[-6:])
            raise TrainerError(
                f"llama.cpp does not read the file (code {code}). It said:\n{tail}",
                f"See {log}. Nothing was written; please report this.",
            )
        return Answers(**json.loads(out.read_text(encoding="utf-8")))


def _run(command: list[str], output: Any) -> int | str:
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=child_environment(),
            timeout=SECONDS,
        ).returncode
    except subprocess.TimeoutExpired:
        return f"none after {SECONDS} s"


def turns(messages: list[Message]) -> list[dict[str, str]]:
    """Messages as a chat template reads them."""
    return [{"role": message.role, "content": message.content} for message in messages]
