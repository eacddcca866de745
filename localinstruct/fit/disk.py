"""Disk of a run in bytes: its store, its checkpoints and what is left of a training. What is there
already does not count."""

from localinstruct.fit.shape import Shape
from localinstruct.fit.training import Parts, Plan, trainable
from localinstruct.recipe import Recipe
from localinstruct.training.checkpoints import disk_needs

ROW_TOKENS = 200
"""Tokens of a row, where no run has said otherwise; an assumption."""
TOKEN_BYTES = 4.5
KEPT_SHARE = 0.6
"""Kept rows among candidates, where no run has said otherwise; an assumption."""
EMBEDDING = 384


def needs(recipe: Recipe, shape: Shape | None, made: Plan | None, absent: float) -> Parts:
    """Everything a run may have on the disk at once; `absent` is the size of models that have yet
    to be brought."""
    found: Parts = {"rows": rows(recipe)}
    if shape and made:
        learnt = trainable(shape, made) * (2 if recipe.train.mode == "qlora" else 4)
        found |= disk_needs(float(learnt), recipe.train.keep)
    return found | ({"models to bring": absent} if absent else {})


def rows(recipe: Recipe) -> float:
    """Store, dataset and exports: each candidate's text in the completion log, each kept row twice
    more, its vector and neighbours."""
    kept = recipe.generate.target
    text = ROW_TOKENS * TOKEN_BYTES
    return kept / KEPT_SHARE * text + kept * (3 * text + 4 * EMBEDDING + 500)
