"""Code that does not parse, where its language is named: Python, JSON, YAML, XML.

A fence with the language's name is code, and a whole answer in code's form is where the request
names the language. The text goes to a process of its own (`parsers.py`), at most 64 KiB of it; a
text that costs too much time or memory ends that process, not this one, and is a reject. Left
alone: longer texts, templates ({{ }}), fences of other languages, code cut short with "...".
"""

import atexit
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock

from localinstruct.curate.texts import Signs, folded

LARGEST = 64 * 1024
"""Bytes of a text that a parser sees; longer ones are not parsed."""
SECONDS, MEMORY_MIB = 2.0, 512
_NAMES = {"python": "python", "py": "python", "python3": "python", "json": "json"}
_NAMES |= {"yaml": "yaml", "yml": "yaml", "xml": "xml"}
_FENCE = re.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*(\w+)[^\n`]*\n(.*?)^[ \t]*\1[ \t]*$", re.MULTILINE | re.DOTALL
)
_NAMED = {
    "python": re.compile(r"\bpython\b"),
    "json": re.compile(r"\bjson\b"),
    "yaml": re.compile(r"\by[a]?ml\b"),
    "xml": re.compile(r"\bxml\b"),
}
_NAMES_ONE = Signs("python", "json", "yaml", "yml", "xml")
_FORM = {
    "python": re.compile(
        r"(?:#[^\n]*\n|\s*\"\"\"|from [\w.]+ import |import \w|@\w+|(?:async )?def \w+ ?\("
        r"|class \w+[(:]"
        r"|(?:for|while|if|with) [^\n]{1,120}:?[ \t]*\n|try:|print\(|lambda \w|while True"
        r"|[a-z_]\w* = )"
    ),
    "json": re.compile(r"\{\s*[\"'}\w]|\[\s*[\[{\"\d\]]"),
    "yaml": re.compile(r"(?:---\n)?(?:- |[\w-]+:(?: |\n)|\{)[^\n]*(?:\n|$)"),
    "xml": re.compile(r"<[?\w!]"),
}
_PROSE = re.compile(r"^(?!\s*[#/*])[A-Z][^\n=(){}\[\]<>\"']{25,}[.:!?]\s*$", re.MULTILINE)
_SHELL = re.compile(r"^\s*(?:\$|%|!|pip3? |python3? |conda |>(?!>))", re.MULTILINE)
_LEFT_OUT = re.compile(r"^\s*(?:#|//)?\s*\.\.\.|\{\{|\{%|<[a-z][\w -]*>", re.MULTILINE)


@dataclass
class Parsers:
    """The process that parses, while there is one; started when it is needed, by whoever asks."""

    seconds: float = SECONDS
    memory_mib: int = MEMORY_MIB
    _process: "subprocess.Popen[str] | None" = None
    _owner: int = 0
    _lock: Lock = field(default_factory=Lock)

    def problem(self, language: str, text: str) -> str:
        """Fault that keeps a text from being parsed, "" if there is none."""
        with self._lock:
            return self._ask(language, text)

    def end(self) -> int:
        """End the process if this one started it; its exit code."""
        process, self._process = self._process, None
        if process is None or self._owner != os.getpid():
            return 0
        with contextlib.suppress(BrokenPipeError):
            process.communicate()
        return process.returncode

    def _ask(self, language: str, text: str) -> str:
        if self._process is None or self._owner != os.getpid():
            self._process, self._owner = _start(self.memory_mib), os.getpid()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            request = {"language": language, "text": text, "seconds": self.seconds}
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        if line.endswith("\n"):
            return str(json.loads(line))
        if self.end() == -signal.SIGALRM:
            return f"not parsed after {self.seconds:g} s"
        return "its parser was ended"


def _start(memory_mib: int) -> "subprocess.Popen[str]":
    program = Path(__file__).with_name("parsers.py")
    return subprocess.Popen(
        [sys.executable, "-I", str(program), str(memory_mib)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )


@lru_cache(maxsize=1)
def _parsers() -> Parsers:
    parsers = Parsers()
    atexit.register(parsers.end)
    return parsers


def pieces(instruction: str, output: str) -> Iterator[tuple[str, str]]:
    """(language, text) of the code whose language is named."""
    if "```" in output or "~~~" in output:
        for match in _FENCE.finditer(output):
            if language := _NAMES.get(match[2].lower()):
                yield language, match[3]
        return
    asked = folded(instruction)
    for language, named in _NAMED.items() if _NAMES_ONE.stand_in(instruction) else ():
        if named.search(asked) and _FORM[language].match(output.lstrip()):
            if not _PROSE.search(output):
                yield language, output
            return


def does_not_parse(instruction: str, output: str, parsers: Parsers | None = None) -> str | None:
    """Say why the code of an answer does not parse, or None."""
    for language, text in pieces(instruction, output):
        if not text.strip() or len(text.encode("utf-8", "replace")) > LARGEST:
            continue
        if _LEFT_OUT.search(text) and language != "xml":
            continue
        if language == "python" and _SHELL.search(text):
            continue
        said = (parsers or _parsers()).problem(language, text)
        if said:
            return f"{language}: {said}"
    return None
