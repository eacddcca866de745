"""`localinstruct preview`: a few rows in a minute, with the prompts, the replies and what became of
them.

The recipe runs as it stands, with a small target, in a temporary run that is gone afterwards:
nothing is written to runs/. It stops early, and says so, when nothing is kept. Not covered:
training and evaluation.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from localinstruct import console
from localinstruct.cli.options import Json, RecipeArg, Sealed, Set

if TYPE_CHECKING:
    from localinstruct.recipe import Recipe
    from localinstruct.store.run import Run

Rows = Annotated[
    int, typer.Option("--rows", min=1, max=1000, help="Stop when this many rows are kept.")
]
STOP_WINDOW = 60
"""Candidates after which a preview that keeps nothing ends."""


def preview(
    recipe: RecipeArg,
    rows: Rows = 5,
    settings: Set = None,
    json: Json = False,
    sealed: Sealed = False,
) -> None:
    """A few rows of RECIPE in a minute: prompts, replies and what became of them; nothing is
    kept."""
    from localinstruct.offline import seal
    from localinstruct.recipe import find_recipe, find_workspace, load_recipe

    path = find_recipe(recipe)
    chosen = load_recipe(path, tuple(settings or []))
    seal.begin(chosen.sealed)
    few = {"target": rows, "stop_window": STOP_WINDOW}
    chosen = chosen.model_copy(update={"generate": chosen.generate.model_copy(update=few)})
    episodes, stopped = previewed(chosen, find_workspace(path.parent))
    if json:
        console.as_json({"episodes": episodes, "stopped": stopped})
        return
    for episode in episodes:
        _show(episode)
    kept, dropped = (sum(len(episode[key]) for episode in episodes) for key in ("kept", "rejects"))
    console.heading(
        f"{kept} rows kept, {dropped} rejected in {len(episodes)} episodes; nothing was written "
        "to runs/"
    )
    if stopped:
        console.line(stopped)


def previewed(recipe: "Recipe", workspace: Path) -> tuple[list[dict[str, Any]], str]:
    """The committed episodes of a short run, and why it stopped below its target ("" if it did
    not)."""
    from localinstruct import pipeline
    from localinstruct.errors import NothingNew
    from localinstruct.generation import stage
    from localinstruct.store.run import open_run

    stopped = ""
    with (
        tempfile.TemporaryDirectory(prefix="preview-") as folder,
        open_run(Path(folder, "run")) as run,
    ):
        pipeline.settle_recipe(run, recipe, workspace)
        with console.progress() as progress:
            pipeline.require_ready(recipe, pipeline.STAGES[:1], workspace, progress)
            try:
                stage.run(recipe, run, progress, workspace=workspace)
            except NothingNew as problem:
                stopped = problem.message
        return episodes_of(run), stopped


def episodes_of(run: "Run") -> list[dict[str, Any]]:
    """Every committed episode: what was asked and answered, what was kept, what was rejected and
    why."""
    episodes: dict[int, dict[str, Any]] = {
        entry[0]: {"episode": entry[0], "asked": [], "kept": [], "rejects": []}
        for entry in run.episodes()
    }
    for number, call, _, prompt, replies in run.completion_log():
        if number in episodes:
            answers = [{"text": one.text, "finish_reason": one.finish_reason} for one in replies]
            episodes[number]["asked"].append(
                {"call": call, "prompt": _words(prompt), "replies": answers}
            )
    for row in run.kept():
        episodes[row.lineage.episode]["kept"].append(row.to_dict())
    for number, reject in run.rejects():
        episodes[number]["rejects"].append(asdict(reject))
    return list(episodes.values())


def _words(prompt: dict[str, Any]) -> str:
    turns = [f"[{turn['role']}] {turn['content']}" for turn in prompt["messages"]]
    return "\n".join(turns) or str(prompt["text"])


def _show(episode: dict[str, Any]) -> None:
    topic = next((row["lineage"]["topic"] for row in episode["kept"]), "")
    console.heading(f"episode {episode['episode']}" + (f": {topic}" if topic else ""))
    for asked in episode["asked"]:
        _block(f"prompt {asked['call'] + 1}", asked["prompt"])
        for reply in asked["replies"]:
            _block(f"reply ({reply['finish_reason']})", reply["text"])
    console.line()
    for row in episode["kept"]:
        console.pairs(
            [
                ("kept", _flat(row["instruction"])),
                ("  input", _flat(row["input"])),
                ("  output", _flat(row["output"])),
            ]
        )
    for reject in episode["rejects"]:
        console.pairs(
            [
                ("reject", _flat(reject["text"])),
                ("  why", f"{reject['reason']}: {_flat(reject['detail'])}"),
            ]
        )
    console.line()


def _block(title: str, text: str) -> None:
    console.line(f"  {title}")
    for line in text.splitlines():
        console.line(f"    │ {line}")


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else flat[:159] + "…"
