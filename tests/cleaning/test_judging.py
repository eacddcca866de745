"""The judge of a cleaning: who is asked, what is stored before it is used, and what follows."""

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import localinstruct as li
from localinstruct.cleaning import steps, survey, work
from localinstruct.cleaning.decisions import opened
from localinstruct.cleaning.judging import UNGRADED
from localinstruct.cleaning.settings import Clean, Judge
from localinstruct.cleaning.work import Job, Outcome, clean, shape_of
from localinstruct.cli.app import app
from localinstruct.errors import LocalInstructError, ModelError, RunConflict, TeacherError
from localinstruct.formats import read_instances
from localinstruct.models.catalog import ModelSpec, load_catalog
from localinstruct.progress import Silent
from localinstruct.readiness import require_judge
from localinstruct.records import Completion, JsonObject, Prompt
from localinstruct.report.cleaning import write_report
from tests.cleaning.test_cleaning import Encoder, rows, written
from tests.support.nano_server import ROOT, nano_workspace
from tests.support.openai_server import Reply, chat, serving_script

SPEC = ModelSpec(
    name="a-judge",
    endpoint="http://127.0.0.1:9/v1",
    served_name="j",
    roles=["judge"],
    chat=True,
    context=4096,
    licence="none",
)


class Scripted:
    """Grades the answer by the number that stands in it; after `fails_after` prompts it is gone."""

    asked: list[str]
    fails_after = 10**9
    begun = 0

    def __init__(self) -> None:
        self.asked = []

    async def complete(self, prompt: Prompt) -> list[Completion]:
        text = prompt.messages[-1].content
        if len(self.asked) >= self.fails_after:
            raise TeacherError("The teacher is gone.")
        self.asked.append(text)
        grade = re.findall(r"worth (\d)", text)
        if not grade:
            return [Completion("Fine.", "not in form")] * prompt.n
        reply = {"why": "So.", "helpful": int(grade[-1]), "correct": int(grade[-1])}
        return [Completion(json.dumps(reply))] * prompt.n

    async def close(self) -> None:
        return None


@pytest.fixture
def teacher(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    scripted = Scripted()

    @contextmanager
    def serving(*_: Any) -> Iterator[Any]:
        scripted.begun += 1
        yield lambda name, sampling: scripted

    monkeypatch.setattr(work, "serving", serving)
    for module in (steps, survey):
        monkeypatch.setattr(module, "LocalEncoder", Encoder)
    return scripted


def graded_rows(grades: Sequence[int | None]) -> list[JsonObject]:
    """Rows whose answers say what they are worth; None is a row that the judge will not grade."""
    return [
        {**row, "output": f"{row['output']} That is {'odd' if n is None else f'worth {n}'}, I say."}
        for row, n in zip(rows(len(grades)), grades, strict=True)
    ]


def done(file: Path, folder: Path, judge: JsonObject, **settings: object) -> tuple[Job, Outcome]:
    values = {"similar": None, "judge": {"model": "a-judge", **judge}, **settings}
    encoder = folder if values["similar"] else None
    made = Clean.model_validate(values)
    job = Job([file], folder / "clean.jsonl", "jsonl", made, encoder, None, None, SPEC)
    return job, clean(job, Silent())


def decided(job: Job) -> dict[int, tuple[str, int | None]]:
    with opened(job.folder, shape_of(job)) as store:
        lines = {one.seq: one.line for one in store.rows()}
        found = store.rows("reason IS NOT NULL")
        return {
            one.line: (one.reason, None if one.like is None else lines[one.like]) for one in found
        }


def test_rows_that_would_stay_are_graded_and_low_ones_go(tmp_path: Path, teacher: Scripted) -> None:
    given = graded_rows([5, 2, 3, None, 4])
    empty = {**given[0], "instruction": "Say how wool is spun.", "output": ""}
    file = written(tmp_path / "rows.jsonl", [*given, empty, given[0]])
    job, outcome = done(file, tmp_path, {"at_least": 3})
    assert len(teacher.asked) == 5  # not the row of a rule, nor the copy
    assert {line: reason for line, (reason, _) in decided(job).items()} == {
        2: "judged too low",
        4: "judge not in form",
        6: "empty output",
        7: "repeated",
    }
    assert outcome.facts["judge"] == {
        "model": "a-judge",
        "rubric": "helpful-correct",
        "at_least": 3,
        "asked": 5,
        "graded": 4,
        "mean": 3.5,
    }
    with opened(job.folder, shape_of(job)) as store:
        scores = [one.row.lineage.scores for one in store.rows(work.TO_STAY)]
        low = store.row(1)
    parts = ("helpful-correct", "helpful-correct.helpful", "helpful-correct.correct")
    assert scores == [dict.fromkeys(parts, float(grade)) for grade in (5, 3, 4)]
    assert (low.score, low.detail) == (
        2.0,
        "2 where 3 was wanted; helpful-correct: helpful 2, correct 2",
    )
    lines = file.read_bytes().splitlines()
    assert job.output.read_bytes().splitlines() == [lines[0], lines[2], lines[4]]
    page = write_report(job, outcome).read_text()
    assert "a-judge" in page
    assert "judged too low" in page


def test_a_row_without_a_grade_stays_where_that_is_asked(tmp_path: Path, teacher: Scripted) -> None:
    file = written(tmp_path / "rows.jsonl", graded_rows([None, 4]))
    job, outcome = done(file, tmp_path, {"grading": {"on_failure": "keep"}, "at_least": 4})
    assert (outcome.kept, decided(job)) == (2, {})
    assert outcome.facts["judge"]["graded"] == 1


def test_formats_with_a_lineage_hold_the_grades(tmp_path: Path, teacher: Scripted) -> None:
    file = written(tmp_path / "rows.jsonl", graded_rows([5, 2]))
    settings = Clean.model_validate({"similar": None, "judge": "a-judge"})
    job = Job([file], tmp_path / "c.parquet", "parquet", settings, None, None, None, SPEC)
    clean(job, Silent())
    read = [row.lineage.scores["helpful-correct"] for row in read_instances(job.output)]
    assert read == [5.0, 2.0]


@pytest.mark.parametrize("step", [1, 7, 40])
def test_a_judging_that_was_ended_asks_only_for_what_is_missing(
    tmp_path: Path, teacher: Scripted, step: int
) -> None:
    file = written(tmp_path / "rows.jsonl", graded_rows([1 + n % 5 for n in range(60)]))
    judge = {"at_least": 3, "serve": {"max_num_seqs": 4}}
    ends, teacher.fails_after = 0, step
    while True:
        try:
            job, outcome = done(file, tmp_path, judge)
            break
        except TeacherError:
            ends += 1
            teacher.fails_after += step
            with opened(tmp_path / "clean.jsonl.decisions", _begun(file, tmp_path, judge)) as store:
                missing = store.count(UNGRADED)
            assert missing == 60 - len(teacher.asked)  # all that was answered is stored
    assert ends == -(-60 // step) - 1
    assert len(teacher.asked) == len(set(teacher.asked)) == 60
    assert outcome.dropped == {"judged too low": 24}
    begun = teacher.begun
    again = clean(job, Silent())
    assert (again.dropped, teacher.begun) == (outcome.dropped, begun)  # nobody is asked again


def _begun(file: Path, folder: Path, judge: JsonObject) -> JsonObject:
    values = Clean.model_validate({"similar": None, "judge": {"model": "a-judge", **judge}})
    job = Job([file], folder / "clean.jsonl", "jsonl", values, None, None, None, SPEC)
    return shape_of(job)


def test_another_judge_is_another_cleaning(tmp_path: Path, teacher: Scripted) -> None:
    file = written(tmp_path / "rows.jsonl", graded_rows([5, 2]))
    job, _ = done(file, tmp_path, {})
    with pytest.raises(RunConflict, match="at_least"):
        done(file, tmp_path, {"at_least": 2})
    other = SPEC.model_copy(update={"served_name": "k"})
    with pytest.raises(RunConflict, match="judge's files"):
        clean(Job(job.files, job.output, "jsonl", job.settings, None, judge=other), Silent())


def test_the_best_of_rows_that_are_alike_stays(tmp_path: Path, teacher: Scripted) -> None:
    """Two groups of near-copies, a lone row, and a question with three answers."""
    one, two, lone = graded_rows([2, 3, 3])

    def like(row: JsonObject, word: str, grade: int) -> JsonObject:
        asked = row["instruction"].removesuffix(".")
        worth = re.sub(r"worth \d", f"worth {grade}", row["output"])
        return {**row, "instruction": f"{asked} {word}.", "output": worth}

    asked = {"instruction": "Name a colour that many people like.", "input": ""}
    answers = [
        {**asked, "output": f"Many like {name}, it is worth {n}."}
        for name, n in (("blue", 3), ("red", 5), ("green", 4))
    ]
    given = [
        *(one, like(one, "now", 4), like(one, "now", 4) | {"input": "In short"}),
        *(two, like(two, "now", 1), lone, *answers, one),
    ]
    file = written(tmp_path / "rows.jsonl", given)
    (tmp_path / "first").mkdir()
    settings = {"similar": 0.7, "answers_per_prompt": 2}
    first, _ = done(file, tmp_path / "first", {}, **settings)
    assert decided(first) == {
        2: ("too similar", 1),
        3: ("too similar", 1),
        5: ("too similar", 4),
        9: ("one more answer", 7),
        10: ("repeated", 1),
    }
    asked_before = len(teacher.asked)
    assert asked_before == 5  # only what stays
    best, _ = done(file, tmp_path, {}, keep="best", **settings)
    assert decided(best) == {
        1: ("too similar", 2),
        3: ("too similar", 2),  # of equal grades the first
        5: ("too similar", 4),
        7: ("one more answer", 8),
        10: ("repeated", 1),
    }
    assert len(teacher.asked) - asked_before == 9  # all but the copy to the letter
    with pytest.raises(ValueError, match="expected a judge as well"):
        Clean(keep="best")


def test_what_no_judge_can_be_is_said_before_anything_starts(tmp_path: Path) -> None:
    entries = yaml.safe_load((ROOT / "models.yaml").read_text("utf-8"))
    entries["nano-teacher"]["roles"] = ["teacher", "judge"]
    entries["away"] = {**entries["nano-chat"], "path": "nowhere", "chat_template": None}
    for key in ("package", "sha256"):
        entries["away"].pop(key)
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(entries, sort_keys=False), "utf-8")
    catalog, said = load_catalog(tmp_path), list[str]()

    def refused(**judge: Any) -> str:
        with pytest.raises(LocalInstructError) as found:
            require_judge(Judge.model_validate(judge), catalog, said.append)
        return f"{found.value.message} {found.value.hint}"

    with pytest.raises(ModelError, match="nano-chta"):
        require_judge(Judge(model="nano-chta"), catalog, said.append)
    assert "base model nano-teacher" in refused(model="nano-teacher")
    assert "role judge, found all-minilm-l6-v2" in refused(model="all-minilm-l6-v2")
    assert "nowhere" in refused(model="away")
    long = refused(model="nano-chat", grading={"max_tokens": 10**6})
    assert "judge.grading.max_tokens: expected fewer tokens" in long
    assert "YAML file" in long
    huge = {"model": "nano-chat", "serve": {"kv_cache_gib": 10**6}}
    assert require_judge(Judge.model_validate(huge), catalog, said.append).name == "nano-chat"
    assert "This may not fit: nano-chat needs" in said[-1]


def answered(path: str, request: Any, count: int) -> Reply:
    """A server that grades by the number in the answer."""
    time.sleep(0.01)
    worth = re.findall(r"worth (\d)", request["messages"][-1]["content"])
    form = request.get("response_format", {}).get("json_schema", {}).get("schema", {})
    keys = {"why": "So."} | dict.fromkeys(form.get("required", ["why"])[1:], int(worth[-1]))
    text = json.dumps(keys)
    return 200, chat(text if worth[-1] != "1" else "No.")


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """A workspace, as the current directory, whose judge is served already."""
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "s.sock"
        entry = SPEC.model_dump(exclude_defaults=True) | {"endpoint": f"unix://{socket}"}
        entry.pop("name")
        (tmp_path / "models.yaml").write_text(yaml.safe_dump({"a-judge": entry}), "utf-8")
        monkeypatch.chdir(tmp_path)
        with serving_script(socket, answered) as seen:
            yield seen


def test_the_command_asks_a_server_that_is_there(tmp_path: Path, served: list[Any]) -> None:
    written(tmp_path / "rows.jsonl", graded_rows([5, 2, 4, 1]))
    rubric = {"name": "mine", "criteria": [{"name": "correct", "asks": "Is it?"}]}
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(rubric), "utf-8")
    (tmp_path / "judge.yaml").write_text(
        "model: a-judge\ngrading: {rubric: own.yaml, on_failure: keep}\n", "utf-8"
    )
    command = ["clean", "rows.jsonl", "--output", "c.jsonl", "--similar", "0", "--json"]
    said = CliRunner().invoke(app, [*command, "--judge", "judge.yaml", "--at-least", "3"])
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["dropped"] == {"judged too low": 1}
    assert len(served) == 5  # the one that is not in form is asked once more, freely
    card = (tmp_path / "c.jsonl.decisions" / "README.md").read_text()
    assert "3 of 4 rows graded, 3.67 on average; a row needs 3" in card
    assert "--similar 0 --judge judge.yaml" in card
    assert "a-judge by `mine`" in card
    assert "on_failure: keep" in card
    for wrong, why in (
        (["--at-least", "3"], "expected a judge as well"),
        (["--judge", "a-judge", "--at-least", "9"], "expected a score from 1 to 5"),
        (["--judge", "a-jugde"], "a-judge"),
        (["--keep", "best"], "expected a judge as well"),
    ):
        refused = CliRunner().invoke(app, [*command[:-1], "--fresh", *wrong])
        assert refused.exit_code != 0
        assert why in f"{refused.output} {refused.exception}"
    assert card == (tmp_path / "c.jsonl.decisions" / "README.md").read_text()  # nothing was lost


@pytest.mark.slow
def test_a_killed_process_loses_only_what_was_in_flight(tmp_path: Path, served: list[Any]) -> None:
    written(tmp_path / "rows.jsonl", graded_rows([2 + n % 4 for n in range(40)]))
    judge = {"model": "a-judge", "at_least": 3, "serve": {"max_num_seqs": 2}}
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump(judge), "utf-8")
    command = ["clean", "rows.jsonl", "--output", "c.jsonl", "--similar", "0"]
    command = [sys.executable, "-m", "localinstruct", *command, "--judge", "judge.yaml"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while len(served) < 20 and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -9
    asked = len(served)
    with opened(tmp_path / "c.jsonl.decisions", None) as store:
        stored = 40 - store.count(UNGRADED)
    assert asked - 4 <= stored < 40
    subprocess.run(command, check=True, capture_output=True)
    assert len(served) - asked == 40 - stored
    assert len(read_instances(tmp_path / "c.jsonl")) == 30


@pytest.mark.slow
def test_python_asks_it_too(served: list[Any]) -> None:
    given = graded_rows([5, 2, 4, 1])
    plain = li.clean(given, judge={"model": "a-judge", "at_least": 3})
    assert (plain.kept, plain.grades) == ([given[0], given[2]], [5.0, 4.0])
    assert plain.counts() == {"judged too low": 1, "judge not in form": 1}
    assert plain.closest() == []
    [row] = li.clean([li.Instance("Name a sea.", "", "Worth: worth 4")], judge="a-judge").kept
    assert row.lineage.scores["helpful-correct"] == 4
    with pytest.raises(li.LocalInstructError, match="a-judge"):
        li.clean(given, judge="a-jugde")


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_real_vllm_judges(tmp_path: Path, nano_server: str, monkeypatch: Any) -> None:
    """nano cannot judge; whatever it says is a grade on the scale, or a counted failure."""
    monkeypatch.chdir(nano_workspace(tmp_path / "lab", nano_server))
    written(Path("rows.jsonl"), rows(24))
    (Path("judge.yaml")).write_text(
        "model: nano-chat\ngrading: {reason: false, max_tokens: 64, on_failure: keep}\n", "utf-8"
    )
    command = ["clean", "rows.jsonl", "--output", "c.jsonl", "--similar", "0"]
    said = CliRunner().invoke(app, [*command, "--judge", "judge.yaml", "--json"])
    assert said.exit_code == 0, said.output
    with opened(Path("c.jsonl.decisions"), None) as store:
        grades = [score for (score,) in store.select("SELECT score FROM grades")]
        mean = store.facts("judge")["mean"]
    assert len(grades) == 24
    assert all(score is None or 1 <= float(str(score)) <= 5 for score in grades)
    assert mean is not None
