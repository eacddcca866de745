"""Progress of a long step: lasting lines, and a moving one with the share that is done."""

from typing import Protocol


class Progress(Protocol):
    """Display that a long step is given; `console.py` draws it, tests record it."""

    def say(self, text: str) -> None:
        """Show a lasting line: a choice and its reason, a phase that begins, a warning."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Replace the moving line: `done` of `total`, the time left, and `note` after it."""


class Silent:
    """A Progress that shows nothing, for callers that only want the result."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Drop the update."""


def percent(share: float) -> str:
    """A share as people read it: 61%, 4.2%, and never 0% or 100% for what is not quite that."""
    value = 100 * share
    if 0 < value < 0.05 or 99.95 <= value < 100:
        return "<0.1%" if value < 1 else ">99.9%"
    return f"{value:.0f}%" if 10 <= value <= 99 else f"{value:.1f}".removesuffix(".0") + "%"


def duration(seconds: float) -> str:
    """A time as people read it: 48 s, 4 min 10 s, 3 h 12 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"
