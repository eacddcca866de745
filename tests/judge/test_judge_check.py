"""`judge check`: labels read, statistics against hand-made cases, a scripted judge counted, and the
command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import DataError
from localinstruct.judge.agreement import (
    Share,
    all_alike,
    correlation,
    exact,
    weighted_kappa,
    within_one,
)
from localinstruct.judge.check import check
from localinstruct.judge.grading import Grading
from localinstruct.judge.labels import LabelledAnswer, LabelledPair, read_labels
from localinstruct.judge.rubric import packaged
from localinstruct.records import Completion, Prompt
from localinstruct.teacher import serving

LABELS = Path(__file__).parents[2] / "seeds/judge_labels.jsonl"
ONE = packaged("alpaca-5-point")
GRADING = Grading(rubric=ONE, reason=False)


def test_the_shipped_labels_are_a_few_dozen_of_both_kinds() -> None:
    labels = read_labels(LABELS, ONE.scale)
    answers = [one for one in labels if isinstance(one, LabelledAnswer)]
    pairs = [one for one in labels if isinstance(one, LabelledPair)]
    assert (len(answers), len(pairs)) == (24, 8)
    assert {one.label for one in answers} == {1, 2, 3, 4, 5}
    assert {one.better for one in pairs} == {"first", "second", "tie"}


def test_bad_labels_are_all_named(tmp_path: Path) -> None:
    bad = [
        {"instruction": "a", "output": "b"},
        {"instruction": "a", "output": "b", "label": 6},
        {"instruction": "a", "output": "b", "label": "five"},
        {"instruction": "a", "output": "b", "label": True},
        {"instruction": "a", "label": 5},
        {"instruction": "a", "first": "b", "better": "first"},
        {"instruction": "a", "first": "b", "second": "c", "better": "z"},
        {"instruction": "a", "output": "b", "label": 5, "better": "tie"},
    ]
    (tmp_path / "l.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bad))
    with pytest.raises(DataError, match=f"{len(bad)} bad rows") as refused:
        read_labels(tmp_path / "l.jsonl", ONE.scale)
    assert "expected label to be a grade from 1 to 5, found 6" in refused.value.message
    assert "expected better to be first, second or tie, found 'z'" in refused.value.message


def test_kappa_is_that_of_the_textbook() -> None:
    people, judge = [1, 2, 3, 4, 5, 1, 2, 3], [1, 2, 4, 4, 5, 2, 2, 1]
    chance = sum((a - b) ** 2 for a in people for b in judge) / 64
    found = weighted_kappa(people, judge)
    assert found.value == pytest.approx(1 - (6 / 8) / chance)
    assert (found.low or 0) < (found.value or 0) < (found.high or 0) <= 1
    assert weighted_kappa(people, people).value == 1
    assert weighted_kappa([1, 5] * 9, [5, 1] * 9).value == pytest.approx(-1)
    assert weighted_kappa([3] * 9, [3] * 9).value is None
    assert weighted_kappa([3], [3]).value is None


def test_correlation_is_of_ranks_with_ties() -> None:
    assert correlation([1, 2, 3, 4], [1, 2, 3, 90]).value == pytest.approx(1)
    assert correlation([1, 1, 2, 3], [2, 1, 3, 4]).value == pytest.approx(0.9486833)
    assert correlation([1, 2, 3], [4, 4, 4]).value is None


def test_shares_have_wilsons_interval() -> None:
    assert (exact([1, 2, 3], [1.4, 2.5, 3]), within_one([1, 2, 5], [1, 3, 3])) == (
        Share(2, 3),
        Share(2, 3),
    )
    low, high = Share(9, 24).interval
    assert (round(low, 4), round(high, 4)) == (0.2116, 0.5729)
    assert (Share(0, 0).value, Share(0, 0).interval) == (None, (0.0, 1.0))
    assert all_alike([[1, 1], [1, 2], [3], []]) == Share(1, 2)


def judged_by(
    grade: Callable[[str, int], str], better: Callable[[str, str], str]
) -> Callable[..., list[Completion]]:
    """A judge by code: grades from the answer and how often it was asked for, and a seat from the
    two answers."""
    asked: dict[str, int] = {}

    def one(prompt: Prompt) -> Completion:
        text = prompt.messages[0].content
        if "better" in (prompt.schema or {})["properties"]:
            first, _, rest = text.partition("Answer of A:\n")[2].partition("\n\nAnswer of B:\n")
            return Completion(
                json.dumps({"better": better(first, rest.split("\n\nReply")[0])}), decoding="free"
            )
        answer = text.split("The answer:\n")[1].split("\n", 1)[1].split("\n---")[0]
        asked[text] = asked.get(text, -1) + 1
        return Completion(grade(answer, asked[text]), decoding="constrained")

    return lambda prompts: [one(prompt) for prompt in prompts]


def test_a_judge_who_copies_the_people_is_believed() -> None:
    labels = read_labels(LABELS, ONE.scale)
    known = {one.row.output: one.label for one in labels if isinstance(one, LabelledAnswer)}
    best = {
        one.first if one.better == "first" else one.second
        for one in labels
        if isinstance(one, LabelledPair) and one.better != "tie"
    }
    seat = lambda first, second: "A" if first in best else "B" if second in best else "tie"  # noqa: E731
    found = check(
        labels, GRADING, 2, judged_by(lambda a, _: json.dumps({"quality": int(known[a])}), seat)
    )
    answers, pairs = found["answers"], found["pairs"]
    assert (answers["graded"], answers["exact"]["value"], answers["weighted_kappa"]["value"]) == (
        24,
        1,
        1,
    )
    assert (answers["correlation"]["value"], answers["leniency"]) == (pytest.approx(1), 0)
    assert (answers["self_consistency"]["value"], answers["failures"]["count"]) == (1, 0)
    assert (pairs["agreed"]["value"], pairs["position_bias"], pairs["same_seat"]["count"]) == (
        1,
        0,
        0,
    )
    assert (found["replies"], found["constrained"]) == (24 * 2 + 16, 48)


def test_a_judge_who_likes_the_first_seat_and_changes_his_mind_is_found_out() -> None:
    def grade(answer: str, time: int) -> str:
        return "I cannot say" if answer.startswith("Yeast") else json.dumps({"quality": 5 - time})

    found = check(
        read_labels(LABELS, ONE.scale), GRADING, 3, judged_by(grade, lambda first, second: "A")
    )
    answers, pairs = found["answers"], found["pairs"]
    assert (answers["graded"], answers["count"]) == (23, 24)
    assert answers["self_consistency"] | {"low": 0, "high": 0} == {
        "count": 0,
        "of": 23,
        "value": 0,
        "low": 0,
        "high": 0,
    }
    assert answers["failures"]["reasons"] == {"judge wrote no JSON": 3}
    assert answers["correlation"]["value"] is None
    assert (pairs["position_bias"], pairs["first_seat"], pairs["second_seat"]) == (1, 8, 0)
    assert pairs["agreed"]["count"] == 0


def test_pairs_that_cannot_be_read_take_no_part() -> None:
    found = check(
        read_labels(LABELS, ONE.scale),
        GRADING,
        1,
        judged_by(lambda a, _: '{"quality": 3}', lambda a, b: "C"),
    )
    pairs = found["pairs"]
    assert (pairs["read"], pairs["failures"]["count"], pairs["agreed"]["value"]) == (0, 16, None)
    assert found["answers"]["self_consistency"]["value"] is None


def test_the_command_shows_it_and_gives_json(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = judged_by(lambda a, _: '{"quality": 3}', lambda first, second: "A")
    monkeypatch.setattr(serving, "ask_all", lambda spec, prompts, *rest: answer(prompts))
    words = [
        "judge",
        "check",
        str(LABELS),
        "--judge",
        "nano-chat",
        "--rubric",
        "alpaca-5-point",
        "--no-reason",
    ]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    for part in (
        "24 of 24 graded, 3 times each",
        "position bias  +1.00",
        "cannot be told from chance",
    ):
        assert part in shown.output
    data: dict[str, Any] = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert (data["judge"], data["pairs"]["position_bias"]) == ("nano-chat", 1)


def test_rubrics_are_listed_and_a_wrong_name_gets_the_nearest(tmp_path: Path) -> None:
    listed = CliRunner().invoke(app, ["judge", "list", "--json"])
    assert [one["name"] for one in json.loads(listed.stdout)] == [
        "alpaca-5-point",
        "grounded",
        "helpful-correct",
    ]
    wrong = CliRunner().invoke(
        app, ["judge", "check", str(LABELS), "--judge", "nano-chat", "--rubric", "alpaca-5"]
    )
    assert "did you mean 'alpaca-5-point'" in str(getattr(wrong.exception, "hint", ""))
    (tmp_path / "r.yaml").write_text("name: r\ncriteria: [{name: a, ask: x}]\n")
    wrong = CliRunner().invoke(
        app, ["judge", "check", str(LABELS), "--judge", "x", "--rubric", str(tmp_path / "r.yaml")]
    )
    assert "did you mean 'asks'" in str(wrong.exception)
