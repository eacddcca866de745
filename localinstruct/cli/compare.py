"""`localinstruct compare`: runs side by side: differing recipe keys, data, cost and scores."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import Json, SealedAlone
from localinstruct.records import JsonObject

if TYPE_CHECKING:
    from localinstruct.recipe import Recipe
    from localinstruct.store.run import Run

Runs = Annotated[
    list[str], typer.Argument(metavar="RUN RUN…", help="Two runs or more, by name or directory.")
]
Page = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="PAGE.html", help="Write them as a page, in one file."),
]
Rounds = Annotated[
    bool,
    typer.Option("--rounds", help="In the page, take the runs as rounds, the first one first."),
]


def compare(
    targets: Runs,
    output: Page = None,
    rounds: Rounds = False,
    json: Json = False,
    sealed: SealedAlone = False,
) -> None:
    """Show runs side by side: differing recipe keys, data, cost and scores."""
    from localinstruct.pipeline import recipe_of
    from localinstruct.recipe import differing_keys
    from localinstruct.report.facts import run_facts
    from localinstruct.workspace import viewed_run

    _require_several(targets)
    if output:
        _require_page(output)
    elif rounds:
        _require_output()
    with ExitStack() as stack:
        runs = [stack.enter_context(viewed_run(target, loopback=False)) for target in targets]
        recipes = [recipe_of(run)[0] for run in runs]
        pairs = zip(runs, recipes, strict=True)
        facts = [run_facts(run, recipe) | _doubts(run, recipe) for run, recipe in pairs]
    names = _names(targets, runs)
    differing = differing_keys(recipes)
    for key in ("name", "about"):
        differing.pop(key, None)
    if output:
        _write(output, names, differing, facts, rounds=rounds)
    if not json and output:
        console.line(f"{len(names)} runs side by side: {output}")
        return
    if not json:
        _show(names, differing, facts)
        return
    entries = [
        {"name": name, "path": str(run.path), **own}
        for name, run, own in zip(names, runs, facts, strict=True)
    ]
    page = {"page": str(output)} if output else {}
    console.as_json({"runs": entries, "recipe": differing, **page})


def _require_several(targets: Sequence[str]) -> None:
    """UsageError for fewer than two runs, or one that is named twice."""
    from localinstruct.errors import UsageError
    from localinstruct.workspace import run_path

    paths = [run_path(target).resolve() for target in targets]
    if len(set(paths)) < max(2, len(paths)):
        raise UsageError(
            f"compare: expected two or more different runs, found {', '.join(targets)}.",
            "For example: localinstruct compare RUN OTHER-RUN",
        )


def _names(targets: Sequence[str], runs: Sequence["Run"]) -> list[str]:
    """The runs' own names, or the typed ones where two runs have one name."""
    names = [run.path.name for run in runs]
    return names if len(set(names)) == len(names) else [target.rstrip("/") for target in targets]


def _doubts(run: "Run", recipe: "Recipe") -> JsonObject:
    """The run's stale stages, and sentences on them and on files that were changed by hand."""
    from localinstruct import states as standing

    states = standing.states_of(recipe, run)
    shown = {name: state for name, state in states.items() if name != "report"}
    stale = [name for name, state in shown.items() if state.state == "stale"]
    undated = [name for name, state in shown.items() if standing.UNDATED in state.remarks]
    words = [
        f"{name} is stale: {standing.stale_words(states, name, str(run.path))}" for name in stale
    ]
    words += standing.edited_words(states)
    words += [f"{', '.join(undated)}: {standing.UNDATED}"] if undated else []
    return {"outdated": stale, "remarks": words}


def _show(
    names: Sequence[str],
    differing: Mapping[str, Sequence[object]],
    facts: Sequence[JsonObject],
) -> None:
    from localinstruct.report.side_by_side import cautions, groups, verdicts

    console.heading(f"{len(names)} runs: {', '.join(names)}")
    console.columns(names, groups(differing, facts))
    console.heading("verdict")
    console.pairs((f"  {name}", text) for name, text in verdicts(names, facts))
    for line in cautions(names, facts):
        console.note(line)


def _write(
    output: Path,
    names: Sequence[str],
    differing: Mapping[str, Sequence[object]],
    facts: Sequence[JsonObject],
    *,
    rounds: bool,
) -> None:
    """Write the page."""
    from localinstruct.report.side_by_side import page
    from localinstruct.store.durable import write_text

    write_text(output, page(names, differing, facts, rounds=rounds))


def _require_page(output: Path) -> None:
    """UsageError for a page that cannot be written there, before any run is read."""
    from localinstruct.errors import UsageError
    from localinstruct.store.folder import require_outside

    require_outside(output)
    if output.suffix not in (".html", ".htm") or output.is_dir():
        raise UsageError(
            f"--output {output}: expected the name of a page to write, that ends in .html.",
            "For example: --output compare.html",
        )
    if not output.parent.is_dir():
        raise UsageError(
            f"--output {output}: there is no folder {output.parent}.",
            f"Make it first: mkdir -p {output.parent}",
        )


def _require_output() -> None:
    from localinstruct.errors import UsageError

    raise UsageError(
        "--rounds: expected --output as well: rounds are shown in a page.",
        "For example: localinstruct compare one two three --rounds --output rounds.html",
    )
