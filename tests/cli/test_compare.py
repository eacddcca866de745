"""`compare`: what differs between runs, in a table that fits the terminal and in JSON; nothing is
told that was not measured."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct import console, pipeline
from localinstruct.cli import display
from localinstruct.cli.app import app
from localinstruct.errors import UsageError
from localinstruct.progress import duration, per_second
from localinstruct.recipe import differing_keys, packaged_workspace
from localinstruct.report import stage as report
from localinstruct.report.cards import model_card
from localinstruct.report.facts import finished_results, run_facts
from localinstruct.store.run import Run, open_run
from tests.support import sample_run


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: `first`, finished; `second`, another recipe, judged; `third`, generated only."""
    folder = tmp_path_factory.mktemp("workspace")
    changes: dict[str, Any] = {
        "first": {},
        "second": {"train": {"epochs": 7}},
        "third": {"models": {"teacher": "other", "student": "nano-student"}},
    }
    for name, changed in changes.items():
        sample_run.make(folder / "runs" / name, upto="generate" if name == "third" else "evaluate")
        with open_run(folder / "runs" / name) as run:
            run.put("recipe", sample_run.recipe(name=name, **changed).to_yaml())
            run.put("workspace", str(packaged_workspace()))
    judged = {"rate": 0.75, "interval": [0.6, 0.88], "judge": "j", "pairs": 90}
    comparisons = folder / "runs" / "second" / "evaluation" / "comparisons"
    comparisons.mkdir(parents=True)
    (comparisons / "base-by-j.json").write_text(
        json.dumps({"against": "base", "tasks": None, "pairwise": judged})
    )
    return folder


def said(workspace: Path, monkeypatch: pytest.MonkeyPatch, *words: str, width: int = 160) -> str:
    monkeypatch.chdir(workspace)
    monkeypatch.setattr(console.out, "width", width)
    done = CliRunner().invoke(app, ["compare", *words])
    assert done.exit_code == 0, done.exception
    return done.stdout


def line(text: str, label: str) -> list[str]:
    """The cells of the row with this label."""
    [found] = [one for one in text.splitlines() if one.strip().startswith(f"{label}  ")]
    return [cell for cell in (part.strip() for part in found.strip().split("  ")) if cell][1:]


def test_a_column_for_each_run_and_only_keys_that_differ(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(workspace, monkeypatch, "first", "second")
    assert line(text, "train.epochs") == ["3.0", "7.0"]
    assert "train.lora.r" not in text
    assert "  name  " not in text.split("data")[0]
    assert line(text, "rows asked for") == ["450", "450"]
    assert line(text, "kept answers right") == ["97.0% of 403"] * 2
    assert line(text, "held-out loss") == ["5.670 → 1.640", "5.670 → 1.640"]
    assert line(text, "right answers") == ["4.2% → 60.8% of 240"] * 2
    assert line(text, "gain in points, 95 %") == ["+56.7 (+50.0 to +62.9)"] * 2
    assert line(text, "wins before a judge") == [
        "not measured",
        "75.0% (60.0% to 88.0%) of 90, against base, by j",
    ]
    assert line(text, "perplexity of general text") == ["60.3 → 81.5"] * 2
    assert line(text, "train") == ["52 s", "52 s"]
    assert text.count("is better than its base") == 2
    assert "preferred to its base’s by j" in text


def test_stages_that_have_not_run_are_said_to_be_so(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(workspace, monkeypatch, "first", "third", "second")
    assert line(text, "models.teacher") == ["nano-teacher", "other", "nano-teacher"]
    for label in ("rows to train on", "training tokens", "held-out loss", "right answers"):
        assert line(text, label)[1] == "not run", label
    assert line(text, "rows kept")[0] == line(text, "rows kept")[1] != "not run"
    assert "third   not evaluated" in text


def test_a_narrow_terminal_gets_all_of_it_one_value_a_line(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(workspace, monkeypatch, "first", "second", "third", width=60)
    assert "train.epochs\n  first   3.0\n  second  7.0\n  third   3.0\n" in text
    table = text.split("verdict")[0]
    assert max(len(one) for one in table.splitlines() if "by j" not in one) <= 60


def test_json_has_the_numbers_and_null_where_there_are_none(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = json.loads(said(workspace, monkeypatch, "first", "third", "--json"))
    assert told["recipe"] == {"models.teacher": ["nano-teacher", "other"]}
    first, third = told["runs"]
    assert (
        first["name"],
        first["scores"]["tasks"]["count"],
        first["cost"]["seconds"]["train"],
    ) == ("first", 240, 51.6)
    assert (
        third["scores"]["tasks"],
        third["cost"]["seconds"]["train"],
        third["data"]["train"],
    ) == (None, None, None)
    assert third["stages"] == {
        "generate": "done",
        "dataset": "not run",
        "train": "not run",
        "evaluate": "not run",
    }
    assert 0 < first["data"]["share_kept"] < 1


def test_pauses_of_a_resumed_run_are_no_cost(workspace: Path) -> None:
    """The sample was stopped for 1,840 s in the middle of generate, whose result speaks of its last
    session only."""
    with open_run(workspace / "runs" / "first") as run:
        cost = run_facts(run, sample_run.recipe())["cost"]
    assert 66.9 <= cost["seconds"]["generate"] < 200
    assert cost["teacher_tokens_per_second"] == pytest.approx(34_671 / cost["seconds"]["generate"])


def test_results_without_digests_and_different_tasks_are_said(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_run(workspace / "runs" / "first") as run:
        entry = run.stage("evaluate")
        assert entry is not None
        before = entry.result
        run.finish_stage("evaluate", before | {"tasks": before["tasks"] | {"count": 12}})
    monkeypatch.chdir(workspace)
    text = CliRunner().invoke(app, ["compare", "first", "second"]).stderr
    assert "first: generate, dataset, train, evaluate: made before digests were kept" in text
    assert "different tasks" in text
    assert "localinstruct evaluate first --against second" in text
    with open_run(workspace / "runs" / "first") as run:
        run.finish_stage("evaluate", before)


@pytest.mark.parametrize("words", [["first"], ["first", "runs/first"]])
def test_one_run_is_nothing_to_compare(
    words: list[str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    problem = CliRunner().invoke(app, ["compare", *words]).exception
    assert isinstance(problem, UsageError)
    assert "expected two or more different runs" in problem.message


def test_keys_that_only_one_recipe_has_are_differences() -> None:
    one, other = sample_run.recipe(), sample_run.recipe(method={"magpie": {}})
    found = differing_keys([one, other, one])
    assert found["method.magpie.turns"] == [None, 1, None]
    assert all(values[0] == values[2] for values in found.values())


def test_every_page_gives_the_same_numbers(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Terminal, report, table and card of one run: one gain, one speed, one time together."""
    monkeypatch.chdir(workspace)
    home = workspace / "runs" / "first"
    with open_run(home) as run:
        recipe = sample_run.recipe()
        facts, page = run_facts(run, recipe), report.render(recipe, run, "runs/first")
        result = finished_results(run, recipe)["generate"]
        (home / "adapter").mkdir(exist_ok=True)
        card = model_card(run, recipe, workspace, "adapter", home / "adapter")
        for name in ("generate", "train", "evaluate"):
            display.stage_done(
                pipeline.STAGES[pipeline.NAMES.index(name)], _result(run, name), True
            )
    assert result is not None
    table, terminal = said(workspace, monkeypatch, "first", "second"), capsys.readouterr().err
    together = duration(facts["cost"]["total_seconds"])
    diversity = facts["data"]["diversity"]
    assert 0 < diversity["score"] <= 1
    assert diversity["rows"] == min(1000, facts["data"]["kept"])
    assert f"{diversity['score']:.3f}, over {diversity['rows']} of them (DCScore" in page
    assert f"{diversity['score']:.3f} of {diversity['rows']} rows" in table
    for text in (page, table, card):
        assert "+56.7" in text
        assert "+57" not in text
        assert f"Cost: {together} from generate to evaluate" in text
    assert "+56.7 points (95 % interval +50.0 to +62.9)" in terminal
    assert f'>together</th><td></td><td class="num">{together}</td>' in page
    speed = per_second(result["tokens_per_second"])
    assert f"a second  {speed} " in re.sub(" {2,}", "  ", table)
    assert f'<dd class="value">{speed}</dd>' in page
    assert f"in {duration(result['seconds'])} of asking it" in page
    assert page.count("60.8%") >= 2
    assert "61%" not in page


def _result(run: Run, name: str) -> dict[str, Any]:
    """A stage's result with the keys that the sample leaves out."""
    entry = run.stage(name)
    assert entry is not None
    return {"kept": 445, "candidates": 960, **entry.result}


# -- the page


def refused(workspace: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> str:
    monkeypatch.chdir(workspace)
    done = CliRunner().invoke(app, ["compare", *words])
    assert done.exit_code != 0
    return str(done.exception)


def test_the_page_says_what_the_terminal_says(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    told = said(workspace, monkeypatch, "first", "second", "third", "--output", str(page))
    assert told == f"3 runs side by side: {page}\n"
    html = page.read_text()
    terminal = said(workspace, monkeypatch, "first", "second", "third", width=400)
    for label in ("train.epochs", "models.teacher", "rows kept", "right answers", "held-out loss"):
        cells = "".join(f"<td>{cell}</td>" for cell in line(terminal, label))
        assert f'<th scope="row">{label}</th>{cells}' in html, label
    for name in ("first", "second"):
        assert f"<h3>{name}</h3>\n<p>The student is better than its base" in html
    assert "default-src 'none'" in html
    both = said(workspace, monkeypatch, "first", "second", "-o", str(page), "--json")
    assert json.loads(both)["runs"][0]["name"] == "first"


def test_rounds_say_what_each_gained_over_the_one_before(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "rounds.html"
    words = ("first", "second", "third", "--rounds", "--output", str(page))
    said(workspace, monkeypatch, *words)
    owed = "localinstruct evaluate second --against first"
    assert f"Not compared with the round before: <code>{owed}</code>" in page.read_text()
    tasks = {"base": 0.6, "student": 0.65, "gain": 0.05, "interval": [0.01, 0.09], "count": 240}
    stored = workspace / "runs" / "second" / "evaluation" / "comparisons" / "first.json"
    stored.write_text(json.dumps({"against": "first", "tasks": tasks}))
    said(workspace, monkeypatch, *words)
    stored.unlink()
    html = page.read_text()
    assert owed not in html
    assert "<dt>gain over first</dt><dd>+5.0 points (95 % interval +1.0 to +9.0)</dd>" in html
    assert html.index("1. first") < html.index("2. second") < html.index("3. third")
    assert 'aria-label="Right answers, percent: student from 60.83' in html


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--rounds",), "expected --output as well"),
        (("--output", "page.txt"), "ends in .html"),
        (("--output", "nowhere/page.html"), "there is no folder nowhere"),
        (("--output", "runs/first/page.html"), "inside the run"),
    ],
)
def test_a_page_that_cannot_be_is_refused_before_a_run_is_read(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], problem: str
) -> None:
    assert problem in refused(workspace, monkeypatch, "first", "second", *words)
    assert not (workspace / "runs" / "first" / "page.html").exists()
