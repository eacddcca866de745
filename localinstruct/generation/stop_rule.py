"""Stop rule of `generate`: too few new rows among the last candidates, or nothing at all."""

from collections import deque
from dataclasses import dataclass, field

from localinstruct.errors import NothingNew
from localinstruct.methods import MethodSection
from localinstruct.recipe.generate import Generate
from localinstruct.store.run import Run


@dataclass
class StopRule:
    """Yield of the last episodes, and the decision to stop."""

    generate: Generate
    method: MethodSection
    _recent: deque[tuple[int, int]] = field(default_factory=deque)
    """(kept, candidates) of the last episodes, about stop_window candidates in all."""
    _empty: int = 0
    """Episodes in a row, up to the last, that brought neither a candidate nor a token."""

    def note(self, kept: int, candidates: int, tokens: int) -> None:
        """Take a committed episode into account.

        One without any candidate counts as one, so that silence stops too.
        """
        is_empty = not candidates and not tokens
        self._empty = self._empty + 1 if is_empty else 0
        if is_empty and self.method.own is None:  # nothing was asked: its document is full
            return
        self._recent.append((kept, max(candidates, 1)))
        while sum(c for _, c in self._recent) - self._recent[0][1] >= self.generate.stop_window:
            self._recent.popleft()

    def check(self, run: Run, total: int) -> None:
        """NothingNew when it is time to stop; `total` rows are kept."""
        if self.method.own is not None and self._empty >= self.generate.stop_window:
            name = self.method.name
            raise NothingNew(
                f"The last {self._empty} episodes of {name} brought nothing: no row, no reject, no "
                f"token of an answer; {total} rows are kept.",
                f"Have it yield prompts and return rows, or end: an attribute {name}.episodes, a "
                "function of (seeds, options), says how many episodes there are.",
            )
        kept, candidates = sum(k for k, _ in self._recent), sum(c for _, c in self._recent)
        few = self.generate.stop_below
        if candidates < self.generate.stop_window or kept >= few * candidates:
            return
        counts = run.reject_counts()[:4]
        reasons = ", ".join(f"{reason} {count}" for _, reason, count in counts)
        raise NothingNew(
            f"Only {kept} of the last {candidates} candidates were new (generate.stop_below is "
            f"{few:.0%}); {total} rows are kept. Rejects so far: "
            f"{reasons or 'none: the episodes returned nothing'}.",
            f"Look at them: localinstruct show {run.path} --rejects. Then try more or other "
            "seeds, a higher sampling.temperature or novelty.threshold, or take what is there: "
            f"--set generate.target={max(total, 1)}",
        )
