import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localinstruct.curate.contamination import decontaminate, unique
from localinstruct.dataset import stage
from localinstruct.errors import DataError
from localinstruct.formats import read_instances, write
from localinstruct.formats.tasks import is_right, read_tasks
from localinstruct.pipeline import STAGES, inputs_of
from localinstruct.recipe import Recipe
from localinstruct.records import Instance, Message, StageResult
from localinstruct.store.run import Run, open_run
from tests.support.tiny_student import Recorded, keep, recipe_data, rows


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Run]:
    with open_run(tmp_path / "runs" / "tiny") as run:
        yield run


def prepare(store: Run, made: list[Instance], **sections: Any) -> StageResult:
    keep(store, made)
    recipe = Recipe.model_validate(recipe_data(**sections))
    return stage.run(recipe, store, Recorded(), workspace=store.path.parent.parent)


def sides(store: Run) -> tuple[list[Instance], list[Instance]]:
    return read_instances(store.path / "dataset/train.jsonl"), read_instances(
        store.path / "dataset/held_out.jsonl"
    )


def rejects(store: Run) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (store.path / "dataset/rejects.jsonl").read_text().splitlines()
    ]


def test_every_row_is_on_one_side_and_whole(store: Run) -> None:
    made = rows(50)
    result = prepare(store, made)
    train, held_out = sides(store)
    assert (
        (result["rows"], result["train"], result["held_out"])
        == (50, len(train), len(held_out))
        == (50, 45, 5)
    )
    assert {row.id for row in train} | {row.id for row in held_out} == {row.id for row in made}
    assert sorted(train + held_out, key=made.index) == made
    assert result["with_input"] == sum(row.input != "" for row in made)
    for name, known in result["sha256"].items():
        assert hashlib.sha256((store.path / "dataset" / name).read_bytes()).hexdigest() == known


def test_the_split_follows_seed_and_content_not_order() -> None:
    made = rows(40)
    ids = {row.id for row in stage.split(made, 0.2, 7)[1]}
    assert len(ids) == 8
    assert {row.id for row in stage.split(made[::-1], 0.2, 7)[1]} == ids
    assert {row.id for row in stage.split(made, 0.2, 8)[1]} != ids
    larger = {row.id for row in stage.split(made + rows(4, seed=9), 0.2, 7)[1]}
    assert len(ids - larger) <= 2  # rows that come later push out few


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.01, 1), (0.99, 9)])
def test_no_side_is_empty_unless_asked(share: float, expected: int) -> None:
    train, held_out = stage.split(rows(10), share, 0)
    assert (len(train), len(held_out)) == (10 - expected, expected)


def test_too_few_rows_are_refused(store: Run) -> None:
    with pytest.raises(DataError, match=r"at least 10 rows .* found 9") as caught:
        prepare(store, rows(9))
    assert "localinstruct generate tiny" in caught.value.hint


def test_rows_of_the_evaluation_tasks_are_dropped_and_the_task_is_named(store: Run) -> None:
    made = rows(30)
    copied = Instance(
        f"  {made[3].instruction.upper()}\n", made[3].input.replace(" ", "\t"), "another answer"
    )
    tasks = store.path.parent.parent / "tasks.jsonl"
    lines = [{"id": "t-1", "family": "f", "instruction": "Not there", "input": "", "output": "x"}]
    lines += [
        {
            "id": "t-2",
            "family": "f",
            "instruction": copied.instruction,
            "input": copied.input,
            "output": "x",
        }
    ]
    tasks.write_text("\n".join(map(json.dumps, lines)))
    result = prepare(store, made, evaluate={"tasks": "tasks.jsonl"})
    assert result["dropped"] == {"in the evaluation tasks": 1}
    assert made[3] not in [*sides(store)[0], *sides(store)[1]]
    assert [(row["text"], row["detail"]) for row in rejects(store)] == [
        (made[3].instruction, "task 2")
    ]


def test_the_input_counts_when_comparing() -> None:
    row = Instance("Sort.", "b a", "a b")
    assert decontaminate([row], {"t": Instance("Sort.", "c a")}) == ([row], [])
    left, taken = decontaminate(
        [row], {"first": Instance("SORT.", " b  a"), "second": Instance("Sort.", "b a")}
    )
    assert (left, taken[0].stage, taken[0].detail) == ([], "decontaminate", "first")


def test_a_repeated_question_is_dropped_so_that_it_cannot_stand_on_both_sides(store: Run) -> None:
    made = rows(20)
    again = Instance(made[0].instruction, made[0].input, "a second answer")
    result = prepare(store, [*made, again])
    assert result["dropped"] == {"duplicate": 1}
    assert rejects(store)[0]["detail"] == f"row {made[0].id}"
    assert unique(made) == (made, [])


def test_the_same_last_question_of_two_talks_is_no_repetition() -> None:
    talks = [
        Instance("Why?", output=why, history=(Message("user", asked), Message("assistant", "Yes.")))
        for asked, why in (("Is it cold?", "It is winter."), ("Is it late?", "It is night."))
    ]
    assert unique(talks) == (talks, [])
    assert [
        reject.reason for reject in unique([*talks, replace(talks[0], output="Winter.")])[1]
    ] == ["duplicate"]


def test_max_rows_draws_from_the_training_side(store: Run) -> None:
    result = prepare(store, rows(40), dataset={"max_rows": 12, "held_out": 0.25})
    assert (result["train"], result["held_out"], result["dropped"]) == (
        12,
        10,
        {"over max_rows": 18},
    )
    assert len(rejects(store)) == 18


def test_seeds_join_the_training_side_only(store: Run) -> None:
    made, seeds = rows(20), rows(5, seed=5)
    write([*seeds, made[0]], "alpaca", store.path.parent.parent / "seeds.json")
    result = prepare(store, made, dataset={"include_seeds": True}, seeds="seeds.json")
    train, held_out = sides(store)
    assert len(train) == 18 + 5
    assert {row.instruction for row in seeds} <= {row.instruction for row in train}
    assert not {row.instruction for row in seeds} & {row.instruction for row in held_out}
    assert result["dropped"] == {"duplicate": 1}


def test_rows_the_template_cannot_hold_are_rejects_and_the_others_are_kept(store: Run) -> None:
    talk = Instance(
        "And?", "", "Six.", history=(Message("user", "Five?"), Message("assistant", "Yes."))
    )
    result = prepare(store, [*rows(12), talk])
    reason = "the template has no place for earlier turns of a conversation"
    assert result["dropped"] == {reason: 1}
    assert result["train"] + result["held_out"] == 12
    [reject] = map(json.loads, (store.path / "dataset" / "rejects.jsonl").read_text().splitlines())
    assert (reject["reason"], reject["text"]) == (reason, "And?")


def test_where_all_rows_would_be_left_out_the_way_out_is_a_template(store: Run) -> None:
    history = (Message("user", "Five?"), Message("assistant", "Yes."))
    with pytest.raises(DataError, match=r"found 0 .* left out: 12 because") as caught:
        prepare(store, [replace(row, history=history) for row in rows(12)])
    assert "generate" not in caught.value.hint
    assert "train.template=FILE" in caught.value.hint


def test_a_row_that_the_students_chat_template_refuses_is_a_reject(store: Run) -> None:
    """Told by the template itself: the rest is trained on, and another student reads anew."""
    workspace = store.path.parent.parent
    (workspace / "tiny").mkdir()
    (workspace / "tiny" / "chat_template.jinja").write_text(
        "{% for m in messages %}{% if '<forbidden>' in m.content %}{{ raise_exception('not here')"
        " }}{% endif %}{{ m.content }}\n{% endfor %}"
    )
    (workspace / "models.yaml").write_text(
        "tiny: {path: tiny, roles: [student], chat: true, context: 64, licence: x}\n"
    )
    odd = Instance("Say <forbidden> words.", "", "No.")
    result = prepare(store, [*rows(12), odd], train={"template": "chat"})
    assert result["dropped"] == {"the template refuses the row": 1}
    [reject] = map(json.loads, (store.path / "dataset" / "rejects.jsonl").read_text().splitlines())
    assert (reject["text"], reject["detail"]) == (odd.instruction, "not here")
    dataset = next(stage for stage in STAGES if stage.name == "dataset")
    for template, same in (("chat", False), ("alpaca", True)):
        ours, other = (
            Recipe.model_validate(
                recipe_data(train={"template": template}, models={"student": student})
            )
            for student in ("tiny", "other")
        )
        assert (inputs_of(dataset, ours, store) == inputs_of(dataset, other, store)) == same


def test_tasks_are_read_with_family_and_faults_named(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(
        '{"id": "a", "family": "sort", "instruction": "Sort.", "input": "b a", "output": "a b"}\n'
        '{"instruction": "Say no.", "output": "no"}\n'
    )
    assert [(t.id, t.family, t.instance.output) for t in read_tasks(path)] == [
        ("task 1", "sort", "a b"),
        ("task 2", "", "no"),
    ]
    path.write_text('{"instruction": "Sort.", "output": "x"}\n{"instruction": 3, "output": "x"}\n')
    with pytest.raises(DataError, match=r"tasks.jsonl:2"):
        read_tasks(path)
    path.write_text('{"id": "empty", "instruction": "Sort.", "output": " "}\n')
    with pytest.raises(DataError, match=r"tasks.jsonl:1: expected an output or a check"):
        read_tasks(path)


def test_right_means_equal_but_for_white_space() -> None:
    assert is_right(" a  b\n", "a b")
    assert not is_right("A b", "a b")
    assert not is_right("a b.", "a b")
    assert not is_right("ab", "a b")
