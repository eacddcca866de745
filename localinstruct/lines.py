"""Lines of a terminal: words kept whole at any width, a moving line that fits, bars, sparklines.

A command that somebody will copy is one word here, so no line ends inside it. Not covered: what is
written besides the moving line (`console`).
"""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from localinstruct.progress import Pace

CLEAR, NEWLINE = "\x1b[K", "\n"
"""Clear what is right of the cursor; end a line."""
FRAME_SECONDS, QUIET = 0.2, 5.0
"""Seconds between two frames of a moving line, and before it says that nothing has come."""

PROGRAMS = "localinstruct|python3?|pip|curl|cd|mv|mkdir|df|ollama|openssl|unshare"
WORDS = re.compile(rf"(\s*)((?:(?<=: )|(?<=· )|^)(?:{PROGRAMS})(?: [^\s;·()]+)+|\S+)")
"""Words, and whole commands after a colon, each with the blanks before it."""
NARROWEST = 30
"""Columns below which nothing is wrapped: the terminal does it."""
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
LEVELS = "▁▂▃▄▅▆▇█"
WIDE = 100
"""Columns from which a moving line has a long bar."""


def wrap(text: str, width: int, indent: str = "", first: str | None = None) -> list[str]:
    """The text in lines of at most `width` columns, cut between words.

    Lines after the first begin with `indent`, that one with `first`. A word or command that is
    longer than a line stays whole. Below NARROWEST columns only newlines are kept.
    """
    begin = indent if first is None else first
    if width < NARROWEST:
        return [begin + part for part in text.split("\n")]
    top, *below = text.split("\n")
    lines = [*_wrapped(top, width, indent, begin)]
    return lines + [piece for part in below for piece in _wrapped(part, width, indent, indent)]


def _wrapped(text: str, width: int, indent: str, first: str) -> Iterator[str]:
    if cell_len(first + text) <= width:
        yield f"{first}{text}"
        return
    blank = text[: len(text) - len(text.lstrip())]
    line, begin = first, True
    for gap, word in WORDS.findall(text):
        if begin or cell_len(line + gap + word) <= width:
            line, begin = f"{line}{gap}{word}", False
        else:
            yield line
            line = f"{indent}{blank}{word}"
    yield line


def moving(
    label: str, share: float | None, count: str, notes: Sequence[str], tick: int, width: int
) -> tuple[str, str]:
    """A moving line in two parts, the second less important, of less than `width` columns in all.

    Notes that do not fit are left out whole, the last ones first.
    """
    bar = "" if share is None else f" {gauge(share, 24 if width >= WIDE else 10)}"
    head = f"{SPINNER[tick % len(SPINNER)]} {label}{bar} {count}".rstrip()
    if cell_len(head) >= width:
        return set_cell_size(head, max(0, width - 2)).rstrip() + "…", ""
    kept = [note for note in notes if note]
    while kept and cell_len(f"{head}  {' · '.join(kept)}") >= width:
        kept.pop()
    return head, f"  {' · '.join(kept)}" if kept else ""


def gauge(share: float, width: int) -> str:
    """A bar of `width` columns, `share` (0 to 1) of it filled."""
    full = round(width * min(max(share, 0.0), 1.0))
    return "━" * full + "╌" * (width - full)


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest `width` values as bars of eight heights, from 0 to the largest."""
    shown = values[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return LEVELS[0] * len(shown)
    return "".join(LEVELS[min(7, int(8 * max(value, 0.0) / top))] for value in shown)


ESCAPES = {*range(0x20), *range(0x7F, 0xA0)} - {ord("\n"), ord("\t")}
BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
HIDDEN = ESCAPES | BIDI | {0x200B, 0xFEFF}
"""Code points that are not shown: terminal escapes, overrides of direction, zero-width blanks."""


def plain(text: str) -> str:
    """The text without control characters; newlines and tabs stay."""
    return "".join(letter for letter in text if ord(letter) not in HIDDEN)


def counted(done: float, total: float) -> str:
    """'3/9', or '3 s' where there is no total."""
    if not total:
        return f"{done:,.0f} s"
    return f"{done:,.0f}/{total:,.0f}"


class LiveProgress:
    """One moving line at the foot of a terminal, drawn over itself: it is never away.

    Each frame is one write, a lasting line above it included. It moves by itself, so that a step
    which says nothing is seen to be alive; what it says then is how long nothing new has come.
    """

    def __init__(self, console: Console, label: str, patience: float = 0.0) -> None:
        self._console = console
        self._pace = Pace()
        self._lock = threading.RLock()
        self._phase = (label, 0.0, 0.0, "")
        self._began = self._changed = time.monotonic()
        self._shown_from = self._began + patience
        self._tick, self._is_there, self._rests = 0, False, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._move, daemon=True)
        self._thread.start()

    def say(self, text: str) -> None:
        """Print a lasting line above the moving one."""
        self.above(
            "".join(f"{line}\n" for line in wrap(plain(text), self._console.width, "    ", "  "))
        )

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Replace the moving line."""
        with self._lock:
            now = time.monotonic()
            left = self._pace.left(label, done, total)
            notes = " · ".join(part for part in (left if " left" not in note else "", note) if part)
            if label != self._phase[0]:
                self._began = now - done * (not total)
            self._phase, self._changed = (label, done, total, notes), now
            if self._is_there or now >= self._shown_from:
                self._draw()

    def above(self, text: str) -> None:
        """Write finished lines above the moving one, in one write with it."""
        with self._lock:
            is_seen = self._is_there or time.monotonic() >= self._shown_from
            self._write(text, again=is_seen and not self._rests)

    @contextmanager
    def resting(self, *, shown: bool = True) -> Iterator[None]:
        """Keep still, with the line on the screen or without it."""
        with self._lock:
            self._draw() if shown else self.erase()
            self._rests = True
        try:
            yield
        finally:
            with self._lock:
                self._rests = False
                self._began = self._changed = time.monotonic()

    def end(self, *, erase: bool) -> None:
        """Move no more; the line stays for another process unless it is erased."""
        self._ended.set()
        self._thread.join()
        with self._lock:
            self._rests = True
            if erase:
                self.erase()

    @contextmanager
    def away(self) -> Iterator[None]:
        """Take the line away, and draw none while something else is written."""
        with self._lock:
            self.erase()
            yield

    def erase(self) -> None:
        """Take the line away until the next frame, for output that is not ours."""
        with self._lock:
            if self._is_there:
                self._console.file.write(f"\r{CLEAR}")
                self._console.file.flush()
                self._is_there = False

    def _move(self) -> None:
        while not self._ended.wait(FRAME_SECONDS):
            with self._lock, suppress(OSError):  # the terminal is gone: the step says so itself
                if not self._rests and time.monotonic() >= self._shown_from:
                    self._draw()

    def _draw(self) -> None:
        if self._rests or self._ended.is_set():
            return
        self._tick += 1
        self._write("", again=True)

    def _write(self, above: str, *, again: bool) -> None:
        """One write: over the line there is, what lasts, and the line anew."""
        over = f"\r{above.replace(NEWLINE, CLEAR + NEWLINE)}"
        self._console.file.write(f"{over}{self._line()}{CLEAR}" if again else over)
        self._console.file.flush()
        self._is_there = again

    def _line(self) -> str:
        (label, done, total, notes), now = self._phase, time.monotonic()
        count = counted(done, total) if total else f"{max(done, now - self._began):,.0f} s"
        quiet = now - self._changed
        waited = [f"nothing new for {quiet:.0f} s"] if total and quiet > QUIET else []
        share = done / total if total else None
        shown = [*waited, *notes.split(" · ")]
        head, rest = moving(label, share, count, shown, self._tick, self._console.width)
        return f"{head}\x1b[2m{rest}\x1b[22m" if rest else head
