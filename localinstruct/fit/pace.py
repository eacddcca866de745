"""Time and tokens that a recipe will take, from the pace of an earlier run or `calibrate`.

Without a measured pace there is no estimate. A straight line through a short measurement: kept rows
get rarer as a run goes on, and the first seconds of an engine are not its best, so the estimate is
a rough one and says where it comes from. Not covered: evaluation and the report.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from localinstruct.errors import LocalInstructError
from localinstruct.recipe import Recipe, recipe_from_text
from localinstruct.records import JsonObject, StageResult
from localinstruct.store.run import read_run


@dataclass(frozen=True, slots=True)
class Pace:
    """Measured speed of one stage."""

    source: str
    """The measurement in words: a run's folder, or the rows and steps that were counted."""
    tokens_per_second: float
    tokens_per_row: float
    """Output tokens of the teacher per kept row, or tokens of a training row."""
    seconds: float
    """Duration of the measurement."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Tokens and seconds that one stage will take."""

    stage: str
    rows: int
    tokens: float
    seconds: float
    pace: Pace

    def to_dict(self) -> JsonObject:
        """Plain JSON values."""
        return asdict(self)


def estimate(recipe: Recipe, generate: Pace | None, train: Pace | None) -> list[Estimate]:
    """Tokens and seconds of the two long stages, where their pace is known."""
    kept = recipe.generate.target
    rows = min(round(kept * (1 - recipe.dataset.held_out)), recipe.dataset.max_rows or kept)
    estimates = []
    if generate and kept:
        tokens = kept * generate.tokens_per_row
        estimates.append(_at_pace("generate", kept, tokens, generate))
    if train and rows:
        tokens = rows * recipe.train.epochs * train.tokens_per_row
        estimates.append(_at_pace("train", rows, tokens, train))
    return estimates


def _at_pace(stage: str, rows: int, tokens: float, pace: Pace) -> Estimate:
    return Estimate(stage, rows, tokens, tokens / max(pace.tokens_per_second, 1e-9), pace)


def earlier(recipe: Recipe, runs: Path) -> tuple[Pace | None, Pace | None]:
    """The paces of generate and train in the newest runs here that resemble this recipe.

    For generate a run has the same teacher and method, for train the same student and mode.
    """
    generate = train = None
    stores = sorted(runs.glob("*/run.sqlite"), key=lambda path: -path.stat().st_mtime)
    for store in stores:
        if generate and train:
            break
        try:
            other, results = _read(store.parent)
        except LocalInstructError:
            continue  # in use or from another version: it tells nothing
        if other is None:
            continue
        generate = generate or _generate(recipe, other, results, store.parent)
        train = train or _train(recipe, other, results, store.parent)
    return generate, train


def _read(folder: Path) -> tuple[Recipe | None, dict[str, StageResult]]:
    """The recipe of a run, and the results of its finished stages."""
    with read_run(folder) as run:
        stored = run.get("recipe")
        entries = {name: run.stage(name) for name in ("generate", "dataset", "train")}
        results = {
            name: entry.result for name, entry in entries.items() if entry and entry.finished
        }
        return (recipe_from_text(stored, str(folder)) if stored else None), results


def _generate(
    recipe: Recipe, other: Recipe, results: dict[str, StageResult], folder: Path
) -> Pace | None:
    result = results.get("generate")
    same = other.models.asked == recipe.models.asked and other.method.name == recipe.method.name
    if not (result and same and result.get("kept") and result["tokens_per_second"]):
        return None
    per_row = result["output_tokens"] / result["kept"]
    return Pace(str(folder), result["tokens_per_second"], per_row, result["seconds"])


def _train(
    recipe: Recipe, other: Recipe, results: dict[str, StageResult], folder: Path
) -> Pace | None:
    result, rows = results.get("train"), results.get("dataset", {}).get("train")
    same = other.models.student == recipe.models.student and other.train.mode == recipe.train.mode
    if not (result and same and rows and result["epochs"] and result["tokens_per_second"]):
        return None
    per_row = result["tokens"] / (rows * result["epochs"])
    return Pace(str(folder), result["tokens_per_second"], per_row, result["seconds"])
