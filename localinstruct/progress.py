"""How a long step says what it is doing: a lasting line, or a moving one with how much is done of how much."""

from typing import Protocol


class Progress(Protocol):
    """What a long step is given to speak with; `console.py` draws it, tests record it."""

    def say(self, text: str) -> None:
        """One lasting line: a choice and its reason, a phase that begins, a warning."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Replace the moving line: `done` of `total`, with an estimate of the time left, and `note` after it."""


class Silent:
    """A Progress that says nothing, for callers that only want the result."""

    def say(self, text: str) -> None:
        """Drop the line."""

    def update(self, label: str, done: float, total: float, note: str = "") -> None:
        """Drop the update."""
