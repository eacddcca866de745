"""Time and tokens that a recipe will take: from what was measured, in an earlier run or by
`calibrate`, or not at all.

A straight line through a short measurement: kept rows get rarer as a run goes on, and the first
seconds of an engine are not its best, so the estimate is a rough one and says where it comes from.
Not covered: evaluation and the report.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from localinstruct.errors import LocalInstructError
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.store.run import read_run


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast one stage was."""

    source: str
    """What was measured."""
    tokens_per_second: float
    tokens_per_row: float
    """Output tokens of the teacher per kept row, or tokens of a training row."""
    seconds: float
    """For how long it was measured."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one stage will take."""

    stage: str
    rows: int
    tokens: float
    seconds: float
    pace: Pace

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def estimate(recipe: Recipe, generate: Pace | None, train: Pace | None) -> list[Estimate]:
    """Tokens and seconds of the two long stages, of those whose pace is known."""
    kept = recipe.generate.target
    rows = min(round(kept * (1 - recipe.dataset.held_out)), recipe.dataset.max_rows or kept)
    found = []
    if generate and kept:
        found.append(_line("generate", kept, kept * generate.tokens_per_row, generate))
    if train and rows:
        found.append(_line("train", rows, rows * recipe.train.epochs * train.tokens_per_row, train))
    return found


def _line(stage: str, rows: int, tokens: float, pace: Pace) -> Estimate:
    return Estimate(stage, rows, tokens, tokens / max(pace.tokens_per_second, 1e-9), pace)


def earlier(recipe: Recipe, runs: Path) -> tuple[Pace | None, Pace | None]:
    """The paces of generate and train in the newest runs here with the same teacher and method, or
    student and mode."""
    generate = train = None
    stores = sorted(runs.glob("*/run.sqlite"), key=lambda path: -path.stat().st_mtime)
    for store in stores:
        if generate and train:
            break
        try:
            made, results = _read(store.parent)
        except LocalInstructError:
            continue  # in use or from another version: it tells nothing
        if made is None:
            continue
        generate = generate or _generate(recipe, made, results, store.parent)
        train = train or _train(recipe, made, results, store.parent)
    return generate, train


def _read(folder: Path) -> tuple[Recipe | None, dict[str, dict[str, Any]]]:
    """The recipe of a run, and the results of its finished stages."""
    with read_run(folder) as run:
        stored = run.get("recipe")
        entries = {name: run.stage(name) for name in ("generate", "dataset", "train")}
        results = {
            name: entry.result for name, entry in entries.items() if entry and entry.finished
        }
        return (recipe_from_text(stored, str(folder)) if stored else None), results


def _generate(
    recipe: Recipe, made: Recipe, results: dict[str, dict[str, Any]], folder: Path
) -> Pace | None:
    found = results.get("generate")
    same = made.models.asked == recipe.models.asked and made.method.name == recipe.method.name
    if not (found and same and found.get("kept") and found["tokens_per_second"]):
        return None
    return Pace(
        f"{folder}",
        found["tokens_per_second"],
        found["output_tokens"] / found["kept"],
        found["seconds"],
    )


def _train(
    recipe: Recipe, made: Recipe, results: dict[str, dict[str, Any]], folder: Path
) -> Pace | None:
    found, rows = results.get("train"), results.get("dataset", {}).get("train")
    same = made.models.student == recipe.models.student and made.train.mode == recipe.train.mode
    if not (found and same and rows and found["epochs"] and found["tokens_per_second"]):
        return None
    per_row = found["tokens"] / (rows * found["epochs"])
    return Pace(f"{folder}", found["tokens_per_second"], per_row, found["seconds"])
