"""Base against student: the `evaluate` section of a recipe."""

from pydantic import Field

from localinstruct.config import Section


class Evaluate(Section):
    """Base against student."""

    tasks: str | None = None
    """JSONL of held-out tasks with a checkable output (fields instruction, input, output, optional family)."""
    side_by_side: int = Field(12, ge=0)
    """Answers of base and student shown next to each other in the report."""
    max_tokens: int = Field(256, ge=1)
    """Output tokens per answer."""
