"""Cleaning of files: what stays, byte by byte; why the rest goes; and going on after an end."""

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from localinstruct.cleaning import steps, survey, work
from localinstruct.cleaning.decisions import opened
from localinstruct.cleaning.settings import Clean
from localinstruct.cleaning.work import Job, Outcome, clean, shape_of
from localinstruct.errors import DataError, RunConflict
from localinstruct.formats import parse_columns, read_instances
from localinstruct.progress import Silent
from localinstruct.records import Instance, JsonObject
from tests.support.scripted import HashEncoder

THINGS = ("rain", "bread", "a river", "the moon", "glass", "a clock", "salt", "wool", "a seed")
VERBS = ("Explain how", "Tell a child why", "List three ways in which", "Describe where")
ENDS = ("changes in winter", "was used long ago", "moves from place to place", "can be kept")


class Encoder(HashEncoder):
    """Hashed words in place of a model; counts the texts it reads."""

    is_exact = True
    read = 0

    def __init__(self, directory: Path, exact: bool = False) -> None:
        super().__init__()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        type(self).read += len(texts)
        return super().encode(texts)


@pytest.fixture(autouse=True)
def _encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    Encoder.read = 0
    monkeypatch.setattr(steps, "LocalEncoder", Encoder)
    monkeypatch.setattr(survey, "LocalEncoder", Encoder)


def rows(count: int = 120) -> list[JsonObject]:
    made = [
        {
            "instruction": f"{verb} {thing} {end}.",
            "input": "",
            "output": f"Here is what people say of {thing}: it {end}, and nobody minds.",
        }
        for verb in VERBS
        for thing in THINGS
        for end in ENDS
    ]
    return made[:count]


def written(path: Path, values: Sequence[JsonObject]) -> Path:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return path


def done(file: Path, folder: Path, **settings: object) -> tuple[Job, Outcome]:
    values = {"similar": None, **settings}
    encoder = folder if values["similar"] else None
    job = Job([file], folder / "clean.jsonl", "jsonl", Clean.model_validate(values), encoder)
    return job, clean(job, Silent())


def reasons(job: Job) -> dict[int, str]:
    with opened(job.folder, shape_of(job)) as store:
        return {one.line: one.reason for one in store.rows("reason IS NOT NULL")}


def test_lines_that_nothing_changes_are_the_same_bytes(tmp_path: Path) -> None:
    lines = [json.dumps({**row, "note": n}) for n, row in enumerate(rows(40))]
    lines[3] = (
        '{"output": "Salt keeps it.",   "instruction":"Say how people keep meat \\u00e0 la carte"}'
    )
    lines[7] = json.dumps({**rows()[7], "output": ""})
    lines[9] = json.dumps(
        {
            "instruction": "Name the sea in the north.",
            "input": "N/A",
            "output": "It is the Arctic Ocean.",
        }
    )
    lines[11] = json.dumps(
        {
            "conversations": [
                {"from": "human", "value": "Tell me of\u200b the wind."},
                {"from": "gpt", "value": "It is moving air, warm and cold."},
            ],
            "source": "x",
        }
    )
    file = tmp_path / "rows.jsonl"
    file.write_bytes("\r\n".join(lines).encode() + b"\r\n")
    job, outcome = done(file, tmp_path)
    assert reasons(job) == {8: "empty output"}
    output = job.output.read_bytes().split(b"\n")[:-1]
    assert len(output) == outcome.kept == 39
    same = [line.encode() for n, line in enumerate(lines) if n not in (7, 9, 11)]
    assert [line for n, line in enumerate(output) if n not in (8, 10)] == same
    mended = json.loads(output[10])
    assert mended["source"] == "x"  # its own form, with the new text in the place of the old
    assert mended["conversations"][0] == {"from": "human", "value": "Tell me of the wind."}
    assert json.loads(output[8])["input"] == ""
    assert len(read_instances(job.output)) == 39


def test_alike_repeated_and_other_answers(tmp_path: Path) -> None:
    given = rows(30)
    more = [
        {**given[4]},
        {**given[4], "output": "Another answer that is just as good as the first."},
        {**given[4], "output": "A third one, which says less than the others did."},
        {
            **given[5],
            "instruction": given[5]["instruction"].replace("Explain how", "Explain how so"),
        },
    ]
    file = written(tmp_path / "rows.jsonl", [*given, *more])
    job, outcome = done(file, tmp_path)
    assert reasons(job) == {31: "repeated"}
    work.forget(job.output)
    job, outcome = done(file, tmp_path, answers_per_prompt=2, similar=0.8)
    assert {31: "repeated", 33: "one more answer", 34: "too similar"}.items() <= reasons(
        job
    ).items()
    with opened(job.folder, shape_of(job)) as store:
        alike = next(store.rows("seq = 33"))
        assert alike.like is not None
        assert store.row(alike.like).reason == ""
        assert alike.score is not None
        assert 0.8 < alike.score < 1
    assert outcome.kept == len(read_instances(job.output)) == 34 - sum(outcome.dropped.values())


def test_the_longest_answer_stays_where_that_is_asked(tmp_path: Path) -> None:
    short = rows(3)
    long = {**short[1], "output": short[1]["output"] + " And it is still so today."}
    file = written(tmp_path / "rows.jsonl", [*short, long])
    job, _ = done(file, tmp_path, answers_per_prompt=1, keep="longest")
    assert reasons(job) == {2: "one more answer"}


def test_tasks_and_rows_that_are_there_already_leave(tmp_path: Path) -> None:
    given = rows(20)
    leaked = {
        "instruction": "PLEASE " + given[2]["instruction"].upper().rstrip("."),
        "output": "Yes.",
    }
    part = {
        "instruction": "Here is a riddle for you: if seven small ships sail out of the harbour and "
        "three return, how many are out? Think.",
        "output": "Four ships are still out at sea.",
    }
    tasks = [
        {"id": "a", "family": "f", **given[2]},
        {
            "id": "b",
            "family": "f",
            "instruction": "If seven small ships sail out of the harbour and "
            "three return, how many are out?",
            "input": "",
            "output": "4",
        },
    ]
    file = written(tmp_path / "rows.jsonl", [*given, leaked, part])
    there = written(tmp_path / "there.jsonl", given[5:8])
    job, outcome = done(
        file, tmp_path, tasks=[written(tmp_path / "tasks.jsonl", tasks)], against=[there]
    )
    found = reasons(job)
    assert {n: found.pop(n) for n in (3, 21, 22)} == {
        3: "an evaluation task",
        21: "an evaluation task",
        22: "most of an evaluation task",
    }
    assert found == dict.fromkeys((6, 7, 8), "there already")
    assert outcome.kept == 16
    assert not {row["instruction"] for row in given[5:8]} & {
        row.instruction for row in read_instances(job.output)
    }


class Ended(BaseException):
    """What a kill is to this process."""


def test_a_cleaning_that_was_ended_goes_on_and_decides_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [*rows(144), *({**row, "output": ""} for row in rows(20)), *rows(10)]
    file = written(tmp_path / "rows.jsonl", given)
    (tmp_path / "whole").mkdir()
    whole, outcome = done(file, tmp_path / "whole", similar=0.9)
    monkeypatch.setattr(steps, "CHUNK", 7)
    monkeypatch.setattr(steps, "ENCODED", 16)

    class Ending(Silent):
        left = 0

        def update(self, label: str, done: float, total: float, note: str = "") -> None:
            self.left -= 1
            if self.left < 0:
                raise Ended

    job = Job([file], tmp_path / "clean.jsonl", "jsonl", whole.settings, tmp_path)
    ends, progress = 0, Ending()
    for steps_done in range(1, 60):
        progress.left = steps_done
        try:
            again = clean(job, progress)
        except Ended:
            ends += 1
            continue
        break
    assert ends >= 5
    assert again.dropped == outcome.dropped
    assert job.output.read_bytes() == whole.output.read_bytes()
    assert reasons(job) == reasons(whole)
    before = Encoder.read
    clean(job, Silent())  # all is decided: nothing is asked again
    assert Encoder.read == before


def test_other_settings_or_files_are_refused_with_the_difference(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", rows(20))
    done(file, tmp_path)
    with pytest.raises(RunConflict, match="answers_per_prompt: None then, 1 now"):
        done(file, tmp_path, answers_per_prompt=1)
    written(file, rows(21))
    with pytest.raises(RunConflict, match="files"):
        done(file, tmp_path)


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", rows(20))

    class Growing(Silent):
        def update(self, label: str, done: float, total: float, note: str = "") -> None:
            with file.open("a") as more:
                more.write("\n")

    job = Job([file], tmp_path / "clean.jsonl", "jsonl", Clean(similar=None), None)
    with pytest.raises(DataError, match="changed while being read"):
        clean(job, Growing())
    assert not job.output.exists()


def test_processes_decide_as_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = [{**row, "output": "" if n % 9 == 0 else row["output"]} for n, row in enumerate(rows())]
    file = written(tmp_path / "rows.jsonl", given)
    one, expected = done(file, tmp_path)
    alone = reasons(one)
    work.forget(one.output)
    monkeypatch.setattr(steps, "INLINE", 20)
    monkeypatch.setattr(steps, "CHUNK", 11)
    two, outcome = done(file, tmp_path)
    assert (reasons(two), outcome.dropped) == (alone, expected.dropped)


def test_rows_of_a_run_are_a_source_too(tmp_path: Path) -> None:
    made = [Instance(row["instruction"], "", row["output"]) for row in rows(12)]

    def stream() -> Iterator[tuple[str, int, tuple[str, ...], list[Instance]]]:
        for number, row in enumerate([*made, made[0]], 1):
            yield "runs/x", number, (), [row]

    source = steps.Source(tmp_path, stream)
    job = Job([], tmp_path / "c.jsonl", "jsonl", Clean(similar=None), None, None, [source])
    assert clean(job, Silent()).dropped == {"repeated": 1}
    assert read_instances(job.output) == made


@pytest.mark.parametrize("keys", [("x1", "y1"), ("the question", "the answer")])
def test_the_columns_that_an_error_names_can_be_pasted(
    tmp_path: Path, keys: tuple[str, str]
) -> None:
    values = [{keys[0]: row["instruction"], keys[1]: row["output"]} for row in rows(20)]
    file = written(tmp_path / "rows.jsonl", values)
    with pytest.raises(DataError) as caught:
        done(file, tmp_path)
    word, columns, *more = shlex.split(caught.value.hint.partition("the same command with ")[2])
    assert (word, more) == ("--columns", []), caught.value.hint
    _, outcome = done(file, tmp_path, reading={"columns": parse_columns(columns)})
    assert outcome.kept == 20
