"""Base against student: the `evaluate` section of a recipe."""

from pydantic import Field

from localinstruct.config import Section


class Evaluate(Section):
    """Base against student."""

    tasks: str | None = None
    """Held-out tasks: rows with instruction, input, output, optional family and check; or
    Self-Instruct's or AlpacaEval's. Without a check an answer must equal an output of one line of
    at most 12 words; longer outputs are open: shown and judged, neither right nor wrong."""
    constraints: int = Field(0, ge=0, exclude_if=lambda value: value == 0)
    """With method.constraints or then.constraints: tasks asked on held-out requests with kinds of
    constraints that the rows ask for, and as many with kinds that are held out."""
    text: str | None = None
    """General text on which forgetting is measured, a UTF-8 file; None takes the one that came with
    the program."""
    side_by_side: int = Field(12, ge=0)
    """Answers of base and student shown next to each other in the report."""
    max_tokens: int = Field(256, ge=1)
    """Output tokens per answer; one that reaches them is cut, marked as cut, and counted."""
