"""`localinstruct fit`: does a recipe fit this machine or another, and if not, what would."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RecipeArg, Sealed, Set
from localinstruct.errors import DoesNotFit, UsageError
from localinstruct.machine import GIB, Machine

if TYPE_CHECKING:
    from localinstruct.fit.assess import Assessment, Phase
    from localinstruct.fit.pace import Estimate
    from localinstruct.recipe import Recipe

Other = Annotated[
    str | None,
    typer.Option(
        "--machine",
        metavar="vram=24,ram=64,disk=200",
        help="Ask about another machine (GiB; also gpus=2).",
    ),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate", help="Run teacher and student for half a minute each, and estimate the time."
    ),
]
COLUMNS = {
    "weights": "weights",
    "KV cache": "KV cache",
    "optimizer": "optimizer",
    "gradients": "gradients",
    "activations": "activations",
}
"""Part -> its column; everything else is added up as "other"."""
TIGHT = 0.9
"""Share of what is there above which a phase is called tight."""


def fit(
    recipe: RecipeArg,
    settings: Set = None,
    machine: Other = None,
    calibrate: Calibrate = False,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Memory and disk of RECIPE by phase against this machine or another; what would make it fit.
    Exit code 7: it does not."""
    from localinstruct.fit.advice import advise
    from localinstruct.fit.assess import assess
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_recipe, find_workspace, load_recipe

    path = find_recipe(recipe)
    chosen = load_recipe(path, tuple(settings or []))
    catalog = load_catalog(find_workspace(path.parent))
    target, disk = _machine(machine)
    found = assess(chosen, catalog, target, disk)
    changes = (
        None
        if found.fits
        else advise(chosen, catalog, target, lambda other: assess(other, catalog, target, disk))
    )
    advice = None if changes is None else [str(change) for change in changes]
    times = _times(chosen, path, calibrate, machine)
    result = {
        "recipe": chosen.name,
        "machine": _told(target, disk),
        **found.to_dict(),
        "advice": advice,
        "time": [one.to_dict() for one in times],
    }
    console.as_json(result) if json else _show(result, found, times)
    if not found.fits:
        raise DoesNotFit(
            f"{chosen.name} does not fit: {found.why}.", _next(recipe, settings or [], advice)
        )


def _machine(words: str | None) -> tuple[Machine, float]:
    """(machine, free disk in bytes): this one, or the one that is described."""
    from localinstruct.machine import disk_free, look, parse_machine

    here, disk = look(), float(disk_free(Path.cwd()))
    if words is None:
        return here, disk
    try:
        other, gib = parse_machine(words, here)
    except ValueError as problem:
        raise UsageError(
            f"--machine {words}: {problem}.", "For example: --machine vram=24,ram=64,disk=200"
        ) from None
    return other, disk if gib is None else gib * GIB


def _told(machine: Machine, disk: float) -> str:
    cards = (
        ", ".join(f"{card.name}, {card.free_gib:.1f} GiB free" for card in machine.gpus) or "no GPU"
    )
    return f"{cards}; {machine.available_gib:.1f} GiB memory and {disk / GIB:.0f} GiB disk free"


def _next(recipe: str, settings: list[str], advice: list[str] | None) -> str:
    """The command with what would make it fit, ready to paste."""
    if advice is None:
        return (
            "No change that was tried is enough: a smaller model, or a larger machine "
            "(--machine asks about one)."
        )
    changed = {one.partition("=")[0] for one in advice}
    kept = [one for one in settings if one.partition("=")[0] not in changed]
    words = " ".join(f"--set {shlex.quote(one)}" for one in [*kept, *advice])
    return f"This fits: localinstruct run {shlex.quote(recipe)} {words}"


def _times(recipe: "Recipe", path: Path, measure: bool, machine: str | None) -> "list[Estimate]":
    """Time and tokens, measured now or taken from runs/; nothing of another machine."""
    from localinstruct.fit import pace
    from localinstruct.recipe import find_workspace
    from localinstruct.workspace import RUNS

    if machine and measure:
        raise UsageError(
            "--calibrate measures this machine, not the one of --machine.", "Leave one of them out."
        )
    if not measure:
        return [] if machine else pace.estimate(recipe, *pace.earlier(recipe, RUNS))
    from localinstruct.fit.calibrate import calibrate
    from localinstruct.offline import seal

    seal.begin(recipe.sealed)
    with console.progress() as progress:
        return pace.estimate(recipe, *calibrate(recipe, find_workspace(path.parent), progress))


def _show(result: dict[str, Any], found: "Assessment", times: "list[Estimate]") -> None:
    console.heading(f"{result['recipe']} on: {result['machine']}")
    head = ("phase", "place", *COLUMNS.values(), "other", "needs", "has", "", "of what")
    console.table(head, [_row(phase) for phase in found.phases])
    console.line(
        "GiB, at the worst moment of each phase; calculated, and not yet measured on a GPU"
    )
    for words in (*found.problems, *found.assumed):
        console.line(f"- {words}")
    console.pairs((one.stage, _took(one)) for one in times)
    if not times:
        console.line(
            "time: not estimated; --calibrate measures half a minute of it here, and earlier "
            "runs in runs/ count"
        )


def _took(one: "Estimate") -> str:
    speed = (
        f"{one.pace.tokens_per_second:,.0f} tokens/s, {one.pace.tokens_per_row:,.0f} tokens a row"
    )
    return (
        f"about {console.duration(one.seconds)}, {one.tokens:,.0f} tokens for {one.rows:,} "
        f"rows ({one.pace.source}: {speed})"
    )


def _row(phase: "Phase") -> list[str]:
    other = sum(size for part, size in phase.parts.items() if part not in COLUMNS)
    sizes = [*(phase.parts.get(part, 0.0) for part in COLUMNS), other, phase.needs, phase.room]
    verdict = (
        "does not fit"
        if not phase.fits
        else "tight"
        if phase.needs > TIGHT * phase.room
        else "fits"
    )
    return [phase.name, phase.place, *(_gib(size) for size in sizes), verdict, phase.note]


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}" if size else ""
