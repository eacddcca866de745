"""Disk of a run in bytes: its store, its checkpoints, the trained student.

Files that are there already do not count.
"""

from localinstruct.fit.shape import Shape
from localinstruct.fit.training import Parts, Plan, trainable
from localinstruct.recipe import Recipe
from localinstruct.training.checkpoints import disk_needs

ROW_TOKENS = 200
"""Tokens of a row; an assumption."""
TOKEN_BYTES = 4.5
KEPT_SHARE = 0.6
"""Kept rows among candidates; an assumption."""
EMBEDDING = 384
FLOAT32 = 4
"""Bytes of a weight where a narrower number would round away what was learnt."""


def needs(recipe: Recipe, shape: Shape | None, plan: Plan | None, absent: float) -> Parts:
    """Everything a run may have on the disk at once; `absent` is the size of models to be brought.

    Parts: "rows", "checkpoints", "student", "merged student" (DoRA, at most: in float32), "models
    to bring".
    """
    parts: Parts = {"rows": rows(recipe)}
    if shape and plan:
        learnt = trainable(shape, plan) * (2 if recipe.train.mode == "qlora" else 4)
        parts |= disk_needs(float(learnt), recipe.train.keep)
        if recipe.train.lora.use_dora and recipe.train.mode != "full":
            parts["merged student"] = float(FLOAT32 * shape.parameters)
    return parts | ({"models to bring": absent} if absent else {})


def rows(recipe: Recipe) -> float:
    """Bytes of store, dataset and exports.

    Each candidate's text lies in the completion log, each kept row twice more, with its vector and
    its neighbours.
    """
    kept = recipe.generate.target
    text = ROW_TOKENS * TOKEN_BYTES
    return kept / KEPT_SHARE * text + kept * (3 * text + 4 * EMBEDDING + 500)
