"""What commands print about runs and models, read as a person reads it."""

import json
import re
from pathlib import Path

import pytest

from localinstruct.cli import display, display_models, display_rows
from localinstruct.nano import LABEL
from localinstruct.report import live_words
from localinstruct.report.live import Watch
from localinstruct.store.run import open_run, read_run
from tests.support import sample_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "nano"
    sample_run.make(path)
    with open_run(path) as run:
        run.put("recipe", sample_run.recipe().to_yaml())
        run.put("workspace", str(tmp_path))
        run.finish_stage(
            "generate",
            {"kept": 9, "candidates": 12, "coverage": []} | sample_run.RESULTS["generate"],
        )
    return path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    out, err = capsys.readouterr()
    return " ".join((out + err).split())


def test_right_answers_are_a_share_of_those_that_can_be_checked() -> None:
    text = display._checked({"right": 336, "wrong": 37, "unrecognised": 36})
    assert text == "90.1% of 373 that can be checked (37 wrong; 36 kept answers cannot be checked)"


def test_the_threshold_that_borderline_names_moves_the_pairs_it_shows(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display_rows, "LEAST_PAIRS", 6)
    with read_run(folder) as run:
        display_rows.borderline(run, 3, json=True)
        shown = json.loads(capsys.readouterr().out)
        display_rows.borderline(run, 3, json=False)
    text = said(capsys)
    keeps, rejects = (float(number) for number in re.findall(r"novelty\.threshold=([\d.]+)", text))
    assert keeps >= max(pair["score"] for pair in shown["rejected"]) > shown["threshold"]
    assert rejects < min(pair["score"] for pair in shown["kept"]) <= shown["threshold"]
    for pairs in (shown["kept"], shown["rejected"]):
        assert (
            len({(pair["score"], pair["text"], pair["nearest"]) for pair in pairs})
            == len(pairs)
            == 3
        )


@pytest.mark.parametrize(("pairs", "advised"), [(0, 0), (8, 0), (29, 0), (30, 1), (200, 1)])
def test_few_pairs_advise_no_threshold(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    pairs: int,
    advised: int,
) -> None:
    few = [display_rows.ScoredPair(0.8 - n / 1000, f"row {n}", "near") for n in range(pairs)]
    monkeypatch.setattr(display_rows, "_pairs_below", lambda *_: few)
    monkeypatch.setattr(display_rows, "_pairs_above", lambda *_: [])
    with read_run(folder) as run:
        display_rows.borderline(run, 5, json=False)
        text = said(capsys)
        display_rows.borderline(run, 5, json=True)
    assert text.count("novelty.threshold=") == advised
    assert (f"{pairs} pairs are too few" in text) == (not advised)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["pairs"], shown["enough_for_advice"]) == (pairs, bool(advised))


def test_models_are_listed_with_what_their_licences_ask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    display_models.models(json=False)
    text = said(capsys)
    for words in (
        "qwen3-8b",
        "15.3",
        'its name begins with "Llama"',
        "counts as a Model Derivative",
        LABEL,
    ):
        assert words in text


def test_the_last_lines_of_a_nano_run_say_what_it_is(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with read_run(folder) as run:
        display.summary(run)
    assert LABEL in said(capsys)


def test_show_during_a_run_says_what_watch_says(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_run(folder):  # somebody works in it: we do
        facts = Watch(folder).look()
        with read_run(folder) as run:
            display.overview(run, 1, json=False)
            text = said(capsys)
            display.overview(run, 1, json=True)
            live = json.loads(capsys.readouterr().out)["live"]
    assert f"now {live_words.headline(facts)}" in text
    assert live["generation"]["kept"] == facts.generation.kept > 0
    with read_run(folder) as run:
        display.overview(run, 1, json=False)
        assert live_words.headline(facts) not in said(capsys)


def test_a_run_ends_with_three_lines_and_the_next_commands(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with read_run(folder) as run:
        display.summary(run)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["rows", "student", "report"]
    commands = [line for line in lines if "localinstruct " in line]
    assert len(commands) == 4
    assert all(str(folder) in line for line in commands)
