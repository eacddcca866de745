"""`localinstruct preview`: a few rows in a minute, with prompts, replies and rejects.

The recipe runs as it stands, with a small target, in a temporary run that is gone afterwards:
nothing is written to runs/. It stops early, and says so, when nothing is kept. Not covered:
training and evaluation.
"""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from localinstruct import console
from localinstruct.cli.options import AllowHost, Json, RecipeArg, Sealed, Set
from localinstruct.records import JsonObject

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
    allow_host: AllowHost = None,
    sealed: Sealed = False,
) -> None:
    """Generate a few rows of RECIPE in a minute, in a run that is deleted afterwards.

    Prompts, replies, kept and rejected rows are shown.
    """
    from localinstruct.offline import seal
    from localinstruct.recipe import find_recipe, find_workspace, load_recipe

    path = find_recipe(recipe)
    chosen = load_recipe(path, tuple(settings or []))
    seal.begin(chosen.sealed)
    few = {"target": rows, "stop_window": STOP_WINDOW}
    chosen = chosen.model_copy(update={"generate": chosen.generate.model_copy(update=few)})
    episodes, stopped = preview_episodes(chosen, find_workspace(path.parent))
    more = _cut(episodes, rows)
    if json:
        console.as_json({"episodes": episodes, "stopped": stopped, "not_shown": more})
        return
    for episode in episodes:
        _show(episode)
    kept, rejected = (sum(len(episode[key]) for episode in episodes) for key in ("kept", "rejects"))
    counts = f"{kept} rows kept, {rejected} rejected in {len(episodes)} episodes"
    if more:
        console.line(f"{more} more rows of the last episode are not shown (--rows {rows + more}).")
    console.heading(f"{counts}; nothing was written to runs/")
    if stopped:
        console.line(stopped)


def preview_episodes(recipe: "Recipe", workspace: Path) -> tuple[list[JsonObject], str]:
    """(committed episodes of a short run, reason for stopping below its target or "")."""
    from localinstruct import pipeline
    from localinstruct.errors import NothingNew
    from localinstruct.generation import stage
    from localinstruct.store.run import open_run

    stopped = ""
    with (
        tempfile.TemporaryDirectory(prefix="preview-") as folder,
        open_run(Path(folder, "run")) as run,
    ):
        recipe = pipeline.settle_recipe(run, recipe, workspace)
        with console.progress() as progress:
            pipeline.require_ready(recipe, pipeline.STAGES[:1], workspace, progress)
            try:
                stage.run(recipe, run, progress, workspace=workspace)
            except NothingNew as problem:
                stopped = problem.message
        return episodes_of(run), stopped


def episodes_of(run: "Run") -> list[JsonObject]:
    """Every committed episode with its prompts and replies, its kept rows and its rejects."""
    episodes: dict[int, JsonObject] = {
        number: {"episode": number, "asked": [], "kept": [], "rejects": []}
        for number, *_ in run.episodes()
    }
    for number, call, _, prompt, completions in run.completion_log():
        if number in episodes:
            replies = [{"text": c.text, "finish_reason": c.finish_reason} for c in completions]
            entry = {"call": call, "prompt": _prompt_text(prompt), "replies": replies}
            episodes[number]["asked"].append(entry)
    for row in run.kept():
        episodes[row.lineage.episode]["kept"].append(row.to_dict())
    for number, reject in run.rejects():
        episodes[number]["rejects"].append(asdict(reject))
    return list(episodes.values())


def _cut(episodes: list[JsonObject], rows: int) -> int:
    """Leave the first `rows` kept rows in the episodes; how many are gone.

    An episode brings as many as it brings: with Alpaca's lists that is up to twenty.
    """
    gone = 0
    for episode in episodes:
        kept = episode["kept"]
        gone += max(0, len(kept) - rows)
        episode["kept"] = kept[:rows]
        rows -= len(episode["kept"])
    return gone


def _prompt_text(prompt: JsonObject) -> str:
    turns = [f"[{turn['role']}] {turn['content']}" for turn in prompt["messages"]]
    return "\n".join(turns) or str(prompt["text"])


def _show(episode: JsonObject) -> None:
    topic = next((row["lineage"]["topic"] for row in episode["kept"]), "")
    console.heading(f"episode {episode['episode']}" + (f": {topic}" if topic else ""))
    for entry in episode["asked"]:
        _block(f"prompt {entry['call'] + 1}", entry["prompt"])
        for reply in entry["replies"]:
            _block(f"reply ({reply['finish_reason']})", reply["text"])
    console.line()
    for row in episode["kept"]:
        names = {"kept": "instruction", "  input": "input", "  output": "output"}
        console.pairs([(label, _flat(row[key])) for label, key in names.items()])
    for reject in episode["rejects"]:
        reason = f"{reject['reason']}: {_flat(reject['detail'])}"
        console.pairs([("reject", _flat(reject["text"])), ("  why", reason)])
    console.line()


def _block(title: str, text: str) -> None:
    console.line(f"  {title}")
    for line in text.splitlines():
        console.line(f"    │ {line}")


def _flat(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 160 else flat[:159] + "…"
