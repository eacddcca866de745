"""People's labels of answers, to check a judge against: a JSONL file with a row per label.

A row is about one answer or about a pair of them:

    {"instruction": "Name a tree.", "output": "Oak.", "label": 5}
    {"instruction": "Name a tree.", "first": "Oak.", "second": "Rock.", "better": "first"}

Both kinds may stand in one file, and both may have an `input`. `label` is a grade on the rubric's
scale, for the answer as a whole, as a number or a text; `better` is first, second or tie, or A, B
and their like. Labels given in `review` are taken from there. Not covered: several people.
"""

import contextlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from localinstruct.formats import Malformed, read_rows, to_instances
from localinstruct.judge.rubric import Rubric, Scale
from localinstruct.records import Instance
from localinstruct.store.reviews import Reviewed, mended

Better = Literal["first", "second", "tie"]


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """A row and the grade a person gave its output."""

    row: Instance
    label: float


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """A task, two answers, and the one that a person found better."""

    task: Instance
    first: str
    second: str
    better: Better


Labelled = LabelledAnswer | LabelledPair


def read_labels(path: Path, scale: Scale) -> list[Labelled]:
    """Every labelled row of a file; DataError names every bad line."""
    return read_rows(path, lambda value: [_labelled(value, scale)])


def _labelled(value: object, scale: Scale) -> Labelled:
    if not isinstance(value, dict) or ("label" in value) == ("better" in value):
        raise Malformed("expected an object with either label (of one answer) or better (of two)")
    if "label" in value:
        [row] = to_instances(value, first_instance_only=True)
        return LabelledAnswer(row, _grade(value["label"], scale))
    better = _BETTER.get(str(value["better"]).strip().strip("[]").lower())
    if better is None:
        raise Malformed(f"expected better to be first, second or tie, found {value['better']!r}")
    [task] = to_instances({**value, "output": value.get("first")}, first_instance_only=True)
    [other] = to_instances({**value, "output": value.get("second")}, first_instance_only=True)
    return LabelledPair(task, task.output, other.output, better)


def labels_of(reviews: Iterable[Reviewed], rubric: Rubric) -> list[Labelled]:
    """Labels that people gave in `review`, of the rows as they mended them.

    A row's grade, or the score of its grades for every criterion of the rubric; a pair's better
    answer. Grades outside the rubric's scale are of another rubric and are left out.
    """
    labels = list[Labelled]()
    for one in reviews:
        if one.kind != "row":
            continue
        row = mended(Instance.from_dict(one.original), one.review.edited)
        grade = _whole_grade(one.review.scores, rubric)
        if grade is not None:
            labels.append(LabelledAnswer(row, grade))
        if one.review.better:
            labels.append(LabelledPair(row, row.output, row.rejected, one.review.better))
    return labels


def _whole_grade(scores: Mapping[str, int], rubric: Rubric) -> float | None:
    names = [criterion.name for criterion in rubric.criteria]
    given = [scores["grade"]] if "grade" in scores else [scores[n] for n in names if n in scores]
    lowest, highest = rubric.scale.lowest, rubric.scale.highest
    if not all(lowest <= grade <= highest for grade in given):
        return None
    if "grade" in scores:
        return float(scores["grade"])
    is_whole = len(given) == len(names)
    return rubric.score({name: float(scores[name]) for name in names}) if is_whole else None


_BETTER: dict[str, Better] = {
    **dict.fromkeys(("first", "a", "1", "model_a", "answer a", "left"), "first"),
    **dict.fromkeys(("second", "b", "2", "model_b", "answer b", "right"), "second"),
    **dict.fromkeys(("tie", "c", "0", "equal", "same", "both", "tie (bothbad)"), "tie"),
}
"""What people write for the better of two, in lower case."""


def _grade(label: object, scale: Scale) -> float:
    number = math.nan
    if isinstance(label, int | float | str) and not isinstance(label, bool):
        with contextlib.suppress(ValueError):
            number = float(label)
    if not scale.lowest <= number <= scale.highest:  # nan neither
        raise Malformed(
            f"expected label to be a grade from {scale.lowest} to {scale.highest}, found {label!r}"
        )
    return float(number)
