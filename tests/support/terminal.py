"""A terminal of so many columns that remembers its screen after every piece of output: a pty and
the few control sequences that we write."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

PIECE = re.compile(r"\x1b\[\??([\d;]*)([A-Za-z])|([\r\n])|([^\x1b\r\n]+)|\x1b")


@dataclass
class Screen:
    """The lines as a person sees them, and the place of the cursor."""

    width: int = 80
    lines: list[str] = field(default_factory=lambda: [""])
    row: int = 0
    column: int = 0

    def feed(self, text: str) -> None:
        """Apply a piece of output."""
        for number, command, control, letters in PIECE.findall(text):
            if letters:
                for letter in letters:
                    self._put(letter)
            elif control == "\r":
                self.column = 0
            elif control == "\n":
                self._down()
            elif command == "K":
                self.lines[self.row] = self.lines[self.row][: self.column]
            elif command == "J":
                self.lines[self.row] = self.lines[self.row][: self.column]
                del self.lines[self.row + 1 :]
            elif command == "H":
                self.row = self.column = 0
            elif command == "h" and number == "1049":
                self.lines, self.row, self.column = [""], 0, 0

    def _put(self, letter: str) -> None:
        if self.column == self.width:
            self._down()
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[: self.column] + letter + line[self.column + 1 :]
        self.column += 1

    def _down(self) -> None:
        self.row, self.column = self.row + 1, 0
        if self.row == len(self.lines):
            self.lines.append("")


@dataclass(frozen=True)
class Recording:
    """Pieces of output as they came, seconds after the start, and the screen after each."""

    code: int
    pieces: list[tuple[float, str]]
    screens: list[list[str]]

    @property
    def last_rows(self) -> list[str]:
        """The line of the cursor's row, or the last that is not empty, after each piece."""
        return [screen[-1] for screen in self.screens]


def record(
    command: Sequence[str],
    columns: int = 80,
    *,
    seconds: float = 60.0,
    cwd: str | os.PathLike[str] | None = None,
    typed: bytes = b"",
) -> Recording:
    """Run a program on a terminal of its own; it is ended after so many seconds.

    `typed` is typed when a line ends in a question mark and a blank.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    for name in ("COLUMNS", "LINES", "NO_COLOR"):
        environment.pop(name, None)
    child = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    began, screen, pieces, screens = time.monotonic(), Screen(columns), [], []
    left = b""
    while True:
        ready, _, _ = select.select([master], [], [], 0.05)
        try:
            data = os.read(master, 65536) if ready else b""
        except OSError:
            break
        if ready and not data:
            break
        if data:
            text = (left + data).decode("utf-8", "ignore")
            left = b""
            screen.feed(text)
            pieces.append((time.monotonic() - began, text))
            screens.append([*screen.lines])
            if typed and screen.lines[-1].endswith("? "):
                os.write(master, typed)
                typed = b""
        if time.monotonic() - began > seconds:
            child.terminate()
            break
    os.close(master)
    return Recording(child.wait(20), pieces, screens)
