"""How much is generated, and when to stop: the `generate` section of a recipe."""

from typing import Literal

from pydantic import Field

from localinstruct.config import Section


class Generate(Section):
    """How much is generated, and when to stop."""

    target: int = Field(52_000, ge=0)
    """Kept rows wanted; 0 generates nothing, for a recipe that only mixes (dataset.from). The
    episode that reaches it is kept whole, so a few more may come."""
    in_flight: int | None = Field(None, ge=1, le=4096)
    """Requests at the servers at the same time; None means twice serve.max_num_seqs for each server
    of each model that is asked."""
    window: int | None = Field(None, ge=1, le=65_536, exclude_if=lambda value: value is None)
    """Episodes that may be ahead of the last commit, for methods that look at kept rows: an episode
    sees the rows kept up to that many episodes before its own, so this number is part of what makes
    a run repeatable. None means as many as bring six times in_flight requests. A method that
    looks at no kept row needs no window."""
    stop_window: int = Field(1_000, ge=10)
    """Candidates looked back on by the stop rule."""
    stop_below: float = Field(0.01, ge=0, lt=1)
    """Stop (exit code 5) when a smaller share than this of the last stop_window candidates was
    kept; 0 never stops."""
    checker: Literal["nano"] | None = None
    """Knows the right answer of the teacher's tasks, so that the share of right answers can be
    reported."""
