"""The best student so far, by held-out loss, and early stopping when no better one follows.

It lies in runs/NAME/train/best/, written whole beside its place and renamed. A resumed training
passes the same losses again, so a best of a step that is yet to come is still the best when it
comes. Not covered: judging by anything but held-out loss.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from localinstruct.store.durable import sync_tree, write_text
from localinstruct.training import modes, ranks

FACTS = "best.json"
FOLDER = "best"


@dataclass
class BestStudent:
    """Keeper of the best student; `save` writes the student as it is now into a folder."""

    folder: Path
    inputs: str
    save: Callable[[Path], None] | None
    """Writer of the student, called in every process; with None nothing is kept."""
    patience: int | None
    losses: list[float] = field(default_factory=list)
    """Held-out losses after training began."""
    device: str = "cpu"

    def offer(self, step: int, loss: float) -> None:
        """Take note of a loss, and keep the student if there was no better one."""
        self.losses.append(loss)
        if self.save is None:
            return
        kept = read(self.folder, self.inputs) if ranks.first() else None
        is_best = ranks.first() and (kept is None or loss < kept[1])
        if not ranks.any_of(is_best, self.device):
            return
        fresh = self.folder.with_name(".best.part")
        self.save(fresh)
        if ranks.first():
            facts = {"inputs": self.inputs, "step": step, "loss": loss}
            write_text(fresh / FACTS, json.dumps(facts))
            modes.move_into_place(fresh, self.folder)

    @property
    def may_end(self) -> bool:
        """True where training may stop before its last step."""
        return self.patience is not None

    def is_over(self) -> bool:
        """Tell whether the last `patience` losses brought no new best."""
        if self.patience is None or len(self.losses) <= self.patience:
            return False
        return min(self.losses[-self.patience :]) >= min(self.losses[: -self.patience])


def read(folder: Path, inputs: str) -> tuple[int, float] | None:
    """(step, held-out loss) of the student kept in `folder` by this training, or None."""
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return (int(facts["step"]), float(facts["loss"])) if facts["inputs"] == inputs else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def copy_to(folder: Path, target: Path) -> None:
    """Put a copy of the student kept in `folder` at `target`."""
    fresh = target.with_name(f".{target.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(folder, fresh, ignore=shutil.ignore_patterns(FACTS))
    sync_tree(fresh)
    modes.move_into_place(fresh, target)
