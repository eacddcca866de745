"""`localinstruct fit`: memory, disk and time of a recipe on a machine, and changes that fit."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RecipeArg, Sealed, Set
from localinstruct.errors import DoesNotFit, UsageError
from localinstruct.machine import GIB, Machine
from localinstruct.progress import duration
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.fit.assess import Assessment, Phase
    from localinstruct.fit.pace import Estimate
    from localinstruct.recipe import Recipe

Other = Annotated[
    str | None,
    typer.Option(
        "--machine",
        metavar="vram=24,ram=64,disk=200",
        help="Ask about another machine (GiB; also gpus=2, or unified=128).",
    ),
]
Calibrate = Annotated[
    bool,
    typer.Option(
        "--calibrate", help="Run teacher and student for half a minute each, and estimate the time."
    ),
]
COLUMNS = ("weights", "KV cache", "optimizer", "gradients", "activations")
"""Parts with a column of their own; the rest is added up as "other"."""
TIGHT = 0.9
"""Share of the room above which a phase is called tight."""


def fit(
    recipe: RecipeArg,
    settings: Set = None,
    machine: Other = None,
    calibrate: Calibrate = False,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """Check whether RECIPE fits this machine or another, and what would make it fit.

    Memory and disk are shown by phase. Exit code 7 where it does not fit.
    """
    from localinstruct.fit.advice import advise, more_copies
    from localinstruct.fit.assess import assess
    from localinstruct.models.catalog import load_catalog
    from localinstruct.recipe import find_recipe, find_workspace, load_recipe

    path = find_recipe(recipe)
    chosen = load_recipe(path, tuple(settings or []))
    catalog = load_catalog(find_workspace(path.parent))
    target, disk = _machine(machine)
    assessment = assess(chosen, catalog, target, disk)
    advice = None
    if not assessment.fits:
        changes = advise(chosen, catalog, target, lambda r: assess(r, catalog, target, disk))
        advice = None if changes is None else [str(change) for change in changes]
    faster = more_copies(chosen, catalog, target, lambda r: assess(r, catalog, target, disk))
    times = _times(chosen, path, calibrate, machine)
    result = {
        "recipe": chosen.name,
        "machine": _describe(target, disk),
        **assessment.to_dict(),
        "advice": advice,
        "faster": [str(change) for change in faster],
        "time": [estimate.to_dict() for estimate in times],
    }
    console.as_json(result) if json else _show(result, assessment, times)
    if not assessment.fits:
        command = _next(recipe, settings or [], advice)
        raise DoesNotFit(f"{chosen.name} does not fit: {assessment.why}.", command)


def _machine(words: str | None) -> tuple[Machine, float]:
    """(machine, free disk in bytes) of this machine, or of the one that is described."""
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


def _describe(machine: Machine, disk: float) -> str:
    cards = ", ".join(f"{card.name}, {card.free_gib:.1f} GiB free" for card in machine.gpus)
    memory = f"{machine.available_gib:.1f} GiB memory and {disk / GIB:.0f} GiB disk free"
    return f"{cards or 'no GPU'}; {memory}"


def _next(recipe: str, settings: list[str], advice: list[str] | None) -> str:
    """The command with the changes that make it fit, ready to paste."""
    if advice is None:
        return (
            "No change that was tried is enough: a smaller model, or a larger machine "
            "(--machine asks about one)."
        )
    changed = {change.partition("=")[0] for change in advice}
    unchanged = [setting for setting in settings if setting.partition("=")[0] not in changed]
    options = " ".join(f"--set {shlex.quote(setting)}" for setting in [*unchanged, *advice])
    return f"This fits: localinstruct run {shlex.quote(recipe)} {options}"


def _times(recipe: "Recipe", path: Path, measure: bool, machine: str | None) -> "list[Estimate]":
    """Time and tokens, measured now or taken from runs/; none for another machine."""
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


def _show(result: JsonObject, assessment: "Assessment", times: "list[Estimate]") -> None:
    console.heading(f"{result['recipe']} on: {result['machine']}")
    head = ("phase", "place", *COLUMNS, "other", "needs", "has", "", "of what")
    console.table(head, [_row(phase) for phase in assessment.phases])
    console.line(
        "GiB, at the worst moment of each phase; calculated, and not yet measured on a GPU"
    )
    for text in (*assessment.problems, *assessment.assumed):
        console.line(f"- {text}")
    if result["faster"]:
        options = " ".join(f"--set {setting}" for setting in result["faster"])
        console.line(f"- more answers a second from the same cards, and it fits: {options}")
    console.pairs((estimate.stage, _duration(estimate)) for estimate in times)
    if not times:
        console.line(
            "time: not estimated; --calibrate measures half a minute of it here, and earlier "
            "runs in runs/ count"
        )


def _duration(estimate: "Estimate") -> str:
    pace = estimate.pace
    speed = f"{pace.tokens_per_second:,.0f} tokens/s, {pace.tokens_per_row:,.0f} tokens a row"
    return (
        f"about {duration(estimate.seconds)}, {estimate.tokens:,.0f} tokens for "
        f"{estimate.rows:,} rows ({pace.source}: {speed})"
    )


def _row(phase: "Phase") -> list[str]:
    other = sum(size for part, size in phase.parts.items() if part not in COLUMNS)
    sizes = [*(phase.parts.get(part, 0.0) for part in COLUMNS), other, phase.needs, phase.room]
    is_tight = phase.needs > TIGHT * phase.room
    verdict = "does not fit" if not phase.fits else "tight" if is_tight else "fits"
    return [phase.name, phase.place, *(_gib(size) for size in sizes), verdict, phase.note]


def _gib(size: float) -> str:
    return f"{size / GIB:,.2f}" if size else ""
