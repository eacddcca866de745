"""Rows that a dataset will have, as far as is known before a teacher starts.

Files and runs to be mixed in are read, and seeds stand for what the teacher will write in their
manner. Of every shape of row one is given, with the count. Not covered: rows of an own method
beyond their shortest form, and the rows that rules and novelty will reject.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from localinstruct.config import listing
from localinstruct.dataset.mixing import amounts, streams_of
from localinstruct.dataset.stage import LEAST_ROWS
from localinstruct.errors import DataError, RecipeError
from localinstruct.methods import OVER_SEEDS
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Message

ROW_BYTES = 4_500
"""Memory a mixed row takes beside its letters: its vector twice, its keys, 1,100 more."""
EARLIER = (Message("user", "What is one and one?"), Message("assistant", "Two."))


@dataclass(frozen=True, slots=True)
class Shape:
    """A row that stands for all rows of its shape from one place; their count where it is known."""

    where: str
    row: Instance
    count: int = 0
    letters: int = 0
    """Of all these rows together."""

    def describe(self) -> str:
        """The rows in words: "12 rows of chats.jsonl"."""
        return f"{self.count:,} rows of {self.where}" if self.count else f"rows of {self.where}"


@dataclass(frozen=True, slots=True)
class Ahead:
    """The rows to come: their shapes, and how many there are at most (None: nobody can know)."""

    shapes: list[Shape]
    most: int | None = None
    bytes: int = 0
    """Memory that the rows taken from files and runs will need at once, about."""


def look_ahead(
    recipe: Recipe, workspace: Path, seeds: Sequence[Instance], asks: bool, made: bool
) -> Ahead:
    """Rows of the teacher, where it is asked, of seeds to train on, and of all that is mixed in.

    `made` where its rows are there already. DataError for a file that cannot be read.
    """
    section, shapes, most = recipe.dataset, list[Shape](), recipe.generate.target if asks else 0
    if asks:
        shapes += shapes_of("the teacher", _written(recipe, seeds), counted=False)
    mixed = [
        shapes_of(source.path, rows)
        for source, rows in zip(section.sources, streams_of(section, workspace), strict=True)
    ]
    has = [sum(shape.count for shape in of_one) for of_one in mixed]
    shapes += [shape for of_one in mixed for shape in of_one]
    taken = amounts(has, section.sources)
    most += sum(taken)
    memory = 0.0
    for of_one, count, rows in zip(mixed, taken, has, strict=True):
        letters = sum(shape.letters for shape in of_one)
        memory += count * (ROW_BYTES + letters / max(rows, 1))
    if section.include_seeds:
        shapes += shapes_of(recipe.seeds, seeds)
    return Ahead(shapes, None if made else most, int(memory))


def shapes_of(where: str, rows: Iterable[Instance], counted: bool = True) -> list[Shape]:
    """One row of every shape: with a system prompt, earlier turns, an input, thoughts, a pair."""
    first, counts, letters = dict[object, Instance](), Counter[object](), Counter[object]()
    for row in rows:
        thinks = bool(row.thinking), "</think" in row.output
        key = bool(row.system), bool(row.history), bool(row.input), bool(row.rejected), thinks
        first.setdefault(key, row)
        counts[key] += 1
        texts = (row.system, row.instruction, row.input, row.output, row.thinking)
        letters[key] += sum(map(len, texts)) + sum(len(turn.content) for turn in row.history)
    return [Shape(where, row, counts[key] * counted, letters[key]) for key, row in first.items()]


def require_memory(ahead: Ahead, free: int) -> None:
    """RecipeError where what is mixed in would not fit into these bytes of memory."""
    if ahead.bytes > free:
        mib = 2**20
        raise RecipeError(
            f"dataset.from: the rows to be taken need about {ahead.bytes // mib:,} MiB of memory, "
            f"and {free // mib:,} MiB are free.",
            "Take fewer: max_rows beside their path. `localinstruct clean FILE --output …` takes "
            "out what is repeated or broken before, and needs no more memory for a larger file.",
        )


def require_enough(recipe: Recipe, ahead: Ahead) -> str:
    """RecipeError where too few rows can come, or no pairs; else a note on few steps, or ""."""
    if ahead.most is not None and ahead.most < LEAST_ROWS:
        mixed = " and all that is mixed in" if recipe.dataset.sources else ""
        raise RecipeError(
            f"generate.target: expected at least {LEAST_ROWS} rows to train on, found "
            f"{ahead.most} rows with the target{mixed}.",
            f"For example: --set generate.target={10 * LEAST_ROWS}; localinstruct generate RECIPE "
            "makes rows alone, as few as you like.",
        )
    if recipe.train.objective == "dpo" and not _may_have_pairs(recipe, ahead.shapes):
        raise RecipeError(
            "train.objective: dpo learns from rows with a rejected answer, and nothing in this "
            "recipe makes or brings one.",
            "Make pairs with --set then.preference={}, mix in a file of pairs, or use "
            "--set train.objective=sft",
        )
    return _few_steps(recipe, ahead.most)


def require_held(
    key: str, shapes: Sequence[Shape], problems: Sequence[str], way_out: str
) -> list[str]:
    """What will be left out for the template, in words; RecipeError where that is all there is."""
    lost = [
        f"{shape.describe()}: the template {problem}"
        for shape, problem in zip(shapes, problems, strict=True)
        if problem
    ]
    if shapes and len(lost) == len(shapes):
        raise RecipeError(f"{key}: no row can be trained on: {listing(lost)}", way_out)
    return lost


def require_tasks_held(problems: Sequence[str], way_out: str) -> None:
    """DataError where tasks cannot be asked in the template; none is left out silently."""
    lost = [problem for problem in problems if problem]
    if lost:
        raise DataError(
            f"evaluate.tasks: {len(lost)} of {len(problems)} tasks cannot be asked: the template "
            f"{' or '.join(dict.fromkeys(lost))}.",
            f"{way_out} Or leave those tasks out of the file.",
        )


def _written(recipe: Recipe, seeds: Sequence[Instance]) -> list[Instance]:
    """Rows in the manner of those that the method will write."""
    if recipe.method.name in OVER_SEEDS:
        return [row if row.output else replace(row, output="An answer.") for row in seeds]
    first = next((row for row in seeds if row.instruction.strip()), Instance("Name a colour."))
    row = Instance(first.instruction, output=first.output or "An answer.")
    if recipe.method.own is not None:
        return [row]
    if recipe.method.name == "magpie":
        talks = recipe.method.options.turns > 1
        return [row, replace(row, history=EARLIER)] if talks else [row]
    return [row, replace(row, input="An input.")]


def _may_have_pairs(recipe: Recipe, shapes: Sequence[Shape]) -> bool:
    method = recipe.method
    verified = (method.constraints, method.cot_self_instruct, method.code, recipe.then.constraints)
    makes = recipe.then.preference is not None or method.name == "preference"
    makes = makes or any(options is not None and options.pairs for options in verified)
    return makes or method.own is not None or any(shape.row.rejected for shape in shapes)


def _few_steps(recipe: Recipe, most: int | None) -> str:
    if not most:
        return ""
    rows = min(most - round(most * recipe.dataset.held_out), recipe.dataset.max_rows or most)
    if rows >= recipe.train.batch_size:
        return ""
    steps = max(1, round(recipe.train.epochs))
    return (
        f"train.batch_size: {recipe.train.batch_size} rows make a step, and there will be about "
        f"{rows} to train on: {steps} steps in all, which teach little; a smaller batch_size makes "
        "more of them"
    )
