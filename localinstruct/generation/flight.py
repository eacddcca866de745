"""How much goes on at once: requests at the servers, episodes ahead of the commit."""

from localinstruct.recipe import Recipe
from localinstruct.store.run import Run

WINDOW = 6
"""Window of a new run, in requests for each one in flight.

Calculated for 64 places and 10,000 answers, against no window at all: six keep the places filled
(1.00) where lengths are log-normal (sigma 0.5 and 1) or 1 % are ten times the median; four gave
1.00, 1.00 and 0.91, one (as 0.1.0 had it) 0.76, 0.41 and 0.35.
"""


def in_flight_of(recipe: Recipe, servers: int | None = None) -> int:
    """Requests to have at the servers: twice their batches, so that these stay full."""
    servers = servers or len(set(recipe.models.asked.values()))
    return recipe.generate.in_flight or 2 * servers * recipe.serve.max_num_seqs


def window_of(recipe: Recipe, servers: int | None = None) -> int:
    """The window of a new run, in episodes; 0 where no kept row is looked at.

    That is so when neither the method nor a choice among topics depends on kept rows.
    """
    shape = recipe.method.shape
    if not shape.sees_kept and not recipe.coverage.topics:
        return 0
    return recipe.generate.window or max(1, WINDOW * in_flight_of(recipe, servers) // shape.prompts)


def settle_window(recipe: Recipe, run: Run, servers: int | None = None) -> int:
    """The window of this run, kept in it when its first prompt is to be asked.

    A run of 0.1.0 has none; it began with as many episodes as were in flight, and goes on so.
    """
    kept, blank = run.get("window"), run.is_blank()
    if kept is not None and not blank:
        return int(kept)
    before = recipe.generate.in_flight or 2 * recipe.serve.max_num_seqs
    window = window_of(recipe, servers) if blank else before
    run.put("window", str(window))
    return window
