"""The five stages in order: the keys of the recipe and the files that each reads, what it writes.

Not covered: whether a stage's result still holds (`states`), and its work (`pipeline`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from localinstruct.records import StageResult
from localinstruct.store.folder import HELD_OUT, TRAIN

DATASET = (f"dataset/{TRAIN}", f"dataset/{HELD_OUT}")
StageFunction = Callable[..., StageResult]
STUDENT = ("adapter", "student")
"""Folders of a trained student in a run; a training leaves one of them."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: the recipe's keys that shape its result, and the stages whose results it uses."""

    name: str
    room: str
    """The package whose module `stage` does the work."""
    keys: tuple[str, ...]
    uses: tuple[str, ...]
    about: str
    reads: tuple[str, ...] = ()
    """Files and folders of the run that it reads."""
    writes: tuple[str, ...] = ()
    """Files and folders of the run that other stages read."""
    models: tuple[str, ...] = ()
    """Roles of the recipe's models whose files it reads."""

    def load(self) -> StageFunction:
        """Import its `run` function when it is needed."""
        work: StageFunction = import_module(f"localinstruct.{self.room}.stage").run
        return work


STAGES = (
    Stage(
        "generate",
        "generation",
        (
            "seed",
            "seeds",
            "documents",
            "models.teacher",
            "models.encoder",
            "models.answerer",
            "models.rivals",
            "models.judge",
            "method",
            "then",
            "coverage",
            "generate",
            "sampling",
            "filters",
            "novelty",
        ),
        (),
        "the teacher writes rows; the new ones are kept",
        models=("teacher", "answerer", "judge"),
    ),
    Stage(
        "dataset",
        "dataset",
        ("seed", "seeds", "models.encoder", "dataset", "train.template", "evaluate.tasks"),
        ("generate",),
        "kept rows are split and written",
        writes=DATASET,
    ),
    Stage(
        "train",
        "training",
        ("seed", "models.student", "train"),
        ("dataset",),
        "the student is fine-tuned on these rows",
        reads=DATASET,
        writes=STUDENT,
        models=("student",),
    ),
    Stage(
        "evaluate",
        "evaluation",
        ("models.student", "train.template", "train.max_length", "evaluate"),
        ("dataset", "train"),
        "base against student",
        reads=(DATASET[1], *STUDENT),
        models=("student",),
    ),
    Stage(
        "report",
        "report",
        ("seed", "name", "about", "novelty"),
        ("generate", "dataset", "train", "evaluate"),
        "everything on one page",
        reads=(*DATASET, *STUDENT),
        writes=("report.html",),
    ),
)
"""In order. A stage whose result still holds is not run again."""
NAMES = tuple(stage.name for stage in STAGES)
