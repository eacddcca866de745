"""Preference pairs: best and worst of several answers, near ties dropped, and the file that DPO
trainers read."""

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.errors import DataError
from localinstruct.formats import read_instances, write
from localinstruct.methods.preference import PreferenceOptions, preference, preference_rows
from localinstruct.recipe import Recipe
from localinstruct.records import Completion, Instance, Lineage, Message, PoolView
from tests.methods.test_alpaca import golden
from tests.support.episodes import grade, play, reasons_of, rows_of, scripted, told

ROWS = [
    Instance("Name a tree.", output="Rock."),
    Instance("Add the numbers.", "2 3", "6"),
    Instance("Say hi.", output="Hi."),
    Instance("Name a river."),
    Instance("Spell owl."),
]
OPTIONS = PreferenceOptions.model_validate(
    {
        "answers": 2,
        "by": ["teacher", "rival-1"],
        "own_answer": True,
        "grading": {"rubric": "alpaca-5-point"},
    }
)


SCRIPT: list[list[Any]] = [
    [
        ["Oak.", "Elm."],
        ["Oak.", "A tree"],
        ["5", "5"],
        ["Five.", Completion("The s", "length")],
        ["Hi.", "Hi."],
        ["Hi.", " Hi. "],
        [Completion("", "length")] * 2,
        [Completion("", "refused: x")] * 2,
        ["o w l", "owl"],
        ["OWL", "O"],
    ],
    [
        grade(1),
        grade(5),
        grade(4),
        Completion("?", "not in form"),
        grade(3),
        grade(3),
        grade(3),
        *[Completion("{", "length")] * 3,
        grade(4),
    ],
]


def test_episode_golden() -> None:
    calls, found = play(preference_rows(ROWS, OPTIONS, Random(1)), scripted(*SCRIPT))
    golden(
        "preference_episode.json",
        json.dumps(told(calls, found, {}), indent=1, ensure_ascii=False) + "\n",
    )


def test_best_and_worst_become_one_row_and_say_who_wrote_them() -> None:
    [asked, judged], found = play(preference_rows(ROWS, OPTIONS, Random(1)), scripted(*SCRIPT))
    assert [prompt.role for prompt in asked[:3]] == ["teacher", "rival-1", "teacher"]
    assert len(judged) == 4 + 3 + 4  # distinct answers of the three rows that have two or more
    [row] = rows_of(found)
    assert (row.output, row.rejected) == ("Oak.", "Rock.")
    assert row.lineage == Lineage(
        answered_by="teacher",
        scores={"alpaca-5-point": 5, "alpaca-5-point.rejected": 1, "alpaca-5-point.ungraded": 1},
    )
    assert reasons_of(found) == ["one answer only", "no answer", "near tie", "judge cut off"]


def test_the_best_must_be_good_enough() -> None:
    strict = OPTIONS.model_copy(update={"at_least": 5.0, "margin": 0.5})
    script = scripted([["a", "b"], ["c", "d"]], [grade(n) for n in (1, 2, 3, 4)])
    _, found = play(preference(PoolView([Instance("Count.")]), strict, Random(1)), script)
    assert reasons_of(found) == ["best too low"]


def test_equal_grades_are_a_tie_even_without_a_margin() -> None:
    lax = OPTIONS.model_copy(update={"margin": 0.0})
    _, found = play(
        preference(PoolView([Instance("Count.")]), lax, Random(1)),
        scripted([["a", "b"], ["c", "d"]], [grade(2)] * 4),
    )
    assert reasons_of(found) == ["near tie"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"answers": 1}, "expected two answers or more to compare"),
        ({"by": ["judge"]}, "pattern"),
        (
            {"by": ["answerer", "rival-2"]},
            r"method.preference.by: rival-2 is nobody; models.rivals names 1 models",
        ),
    ],
)
def test_wrong_recipes_are_refused_in_words(options: dict[str, Any], problem: str) -> None:
    models = {"teacher": "t", "student": "s", "rivals": ["r"]}
    with pytest.raises(ValueError, match=problem):
        Recipe.model_validate(
            {
                "name": "t",
                "models": models,
                "novelty": {"against": "kept"},
                "method": {"preference": options},
            }
        )


PAIR = Instance(
    "Add.",
    "2 3",
    "5",
    system="Be brief.",
    history=(Message("user", "Hi"), Message("assistant", "Yes?")),
    rejected="6",
)


def test_the_preference_format_is_what_trl_reads(tmp_path: Path) -> None:
    from trl.data_utils import is_conversational

    write([PAIR], "preference", tmp_path / "x")
    [line] = (tmp_path / "x").read_text().splitlines()
    row = json.loads(line)
    assert set(row) == {"prompt", "chosen", "rejected"}
    assert is_conversational(row)
    assert [turn["role"] for turn in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert (row["chosen"], row["rejected"]) == (
        [{"role": "assistant", "content": "5"}],
        [{"role": "assistant", "content": "6"}],
    )
    [back] = read_instances(tmp_path / "x")
    assert (back.instruction, back.output, back.rejected, back.history) == (
        "Add.\n\n2 3",
        "5",
        "6",
        PAIR.history,
    )


@pytest.mark.parametrize("format", ["alpaca", "messages", "sharegpt"])
def test_other_formats_say_why_they_cannot(format: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"has a rejected answer, for which {format} has no place"
    ) as refused:
        write([Instance("a", output="b", rejected="c")], format, tmp_path / "x")
    assert "preference" in refused.value.hint


def test_a_row_without_a_pair_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rejected answer"):
        write([PAIR, Instance("a", output="b")], "preference", tmp_path / "x")


@pytest.mark.parametrize(
    "broken", [{"chosen": []}, {"rejected": "5"}, {"prompt": []}, {"prompt": 7}]
)
def test_what_is_no_pair_is_named(broken: dict[str, Any], tmp_path: Path) -> None:
    write([PAIR], "preference", tmp_path / "x")
    row = json.loads((tmp_path / "x").read_text())
    (tmp_path / "y").write_text(json.dumps(row | broken) + "\n")
    with pytest.raises(DataError, match="expected"):
        read_instances(tmp_path / "y")
