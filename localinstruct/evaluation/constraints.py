"""Constraints in evaluation: held-out requests with checks of seen and of held-out kinds, scored.

`constraint_tasks` makes the tasks for `evaluate.constraints`: requests of the seed file that no
row was made of, half of the tasks with kinds that rows ask for, half with kinds that none does.
`form_scores` counts the tasks whose checks look at an answer's form, whichever file they came from
(IFEval's too): all checks of an answer together, then each check by family and kind, strictly and
loosely, with the gain and its 95 % interval. Pure. Not covered: tasks of one request depend on each
other a little, which the interval does not know.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from localinstruct.errors import RecipeError
from localinstruct.evaluation.scores import Row
from localinstruct.evaluation.statistics import gain_interval
from localinstruct.formats.checks import keeps
from localinstruct.formats.checks_of_form import FAMILY_OF
from localinstruct.formats.tasks import Task
from localinstruct.generation.inputs import seeds_of
from localinstruct.methods.constraint_kinds import Constraints, constrained, drawn
from localinstruct.methods.constraints import ConstraintsOptions, how_many, is_held_out
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, JsonObject

SEEN, HELD_OUT = "seen kinds", "held-out kinds"
Entry = tuple[Row, Constraints]
"""A task with both answers, and the checks of it that are counted together."""


def constraint_tasks(recipe: Recipe, workspace: Path) -> list[Task]:
    """`evaluate.constraints` tasks of each group; [] where the recipe asks for none.

    RecipeError when no request is held out.
    """
    options = recipe.method.constraints or recipe.then.constraints
    if not recipe.evaluate.constraints or options is None:
        return []
    requests = seeds_of(recipe, workspace)
    if recipe.method.constraints:
        share = options.held_out_requests
        requests = [seed for seed in requests if is_held_out(seed, share)]
    if not requests:
        raise RecipeError(
            f"evaluate.constraints: none of the requests of {recipe.seeds} is held out.",
            "Raise method.constraints.held_out_requests, or add seeds.",
        )
    groups = {SEEN: options.weights, HELD_OUT: dict.fromkeys(options.held_out_kinds, 1.0)}
    return [
        _task(group, number, requests[number % len(requests)], weights, options, recipe.seed)
        for group, weights in groups.items()
        for number in range(recipe.evaluate.constraints if weights else 0)
    ]


def _task(
    group: str,
    number: int,
    seed: Instance,
    weights: Mapping[str, float],
    options: ConstraintsOptions,
    random_seed: int,
) -> Task:
    rng = Random(f"{random_seed}:{group}:{number}")
    checks = drawn(rng, seed.instruction, how_many(options.most, rng), weights)
    asked = Instance(
        constrained(seed, checks, rng), seed.input, system=seed.system, history=seed.history
    )
    return Task(f"{group} {number + 1}", group, asked, checks)


def form_scores(rows: Sequence[Row]) -> JsonObject | None:
    """Scores of the tasks that ask for a form; None where none does.

    "groups" has all tasks and each family of tasks, "families" and "kinds" count checks. Each entry
    is {"count", "strict": {"base", "student", "gain", "interval"}, "loose": …}, shares from 0 to 1.
    """
    asked = [(row, checks) for row in rows if (checks := _checks_of(row))]
    if not asked:
        return None
    single = [(row, {name: value}) for row, checks in asked for name, value in checks.items()]
    named = _grouped(asked, lambda row, _: row.task.family if row.task else "")
    return {
        "groups": {"all": _scored(asked)} | (named if len(named) > 1 else {}),
        "families": _grouped(single, lambda _, checks: FAMILY_OF[next(iter(checks))]),
        "kinds": _grouped(single, lambda _, checks: next(iter(checks))),
    }


def _checks_of(row: Row) -> Constraints:
    checks = row.task.check if row.task else {}
    return {name: value for name, value in checks.items() if name in FAMILY_OF}


def _grouped(entries: Sequence[Entry], name: Callable[[Row, Constraints], str]) -> JsonObject:
    parts: dict[str, list[Entry]] = {}
    for row, checks in entries:
        parts.setdefault(name(row, checks), []).append((row, checks))
    return {key: _scored(part) for key, part in sorted(parts.items())}


def _scored(entries: Sequence[Entry]) -> JsonObject:
    return {
        "count": len(entries),
        "strict": _gain(entries, loose=False),
        "loose": _gain(entries, loose=True),
    }


def _gain(entries: Sequence[Entry], *, loose: bool) -> JsonObject:
    kept = [
        (keeps(checks, row.base, loose=loose), keeps(checks, row.student, loose=loose))
        for row, checks in entries
    ]
    base, student, count = sum(b for b, _ in kept), sum(s for _, s in kept), len(kept)
    both = sum(b and s for b, s in kept)
    return {
        "base": base / count,
        "student": student / count,
        "gain": (student - base) / count,
        "interval": list(gain_interval(student - both, base - both, count)),
    }
