"""Runs and files mixed into one dataset, and the family of a row."""

import json
from pathlib import Path
from typing import Any
from weakref import ref

import pytest

from localinstruct import pipeline
from localinstruct.curate.contamination import unique
from localinstruct.curate.filters import Filters
from localinstruct.dataset import mixing, stage
from localinstruct.dataset.ahead import Ahead, look_ahead, require_memory
from localinstruct.dataset.mixing import amounts, asks_rules, mix, state_of
from localinstruct.errors import DataError, RecipeError, UsageError
from localinstruct.formats import read_instances, write
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.recipe.dataset import Dataset, Source
from localinstruct.records import Instance, Lineage, digest
from localinstruct.store.lineage import family
from localinstruct.store.run import open_run
from tests.support.scripted import HashEncoder
from tests.support.tiny_student import Recorded, keep, recipe_data, rows


def test_runs_and_files_are_mixed_and_counted(tmp_path: Path) -> None:
    a, b, c = rows(20), rows(20, seed=1), rows(12, seed=2)
    with open_run(tmp_path / "runs/a") as other:
        keep(other, b)
    write([*c, a[0]], "alpaca", tmp_path / "file.json")
    section: dict[str, Any] = {
        "from": ["runs/a", {"path": "file.json", "max_rows": 13}],
        "similar": None,
    }
    recipe = Recipe.model_validate(recipe_data(dataset=section, generate={"target": 0}))
    told = Recorded()
    with open_run(tmp_path / "runs/mix") as run:
        keep(run, a)
        result = stage.run(recipe, run, told, workspace=tmp_path)
        folder = run.path / "dataset"
        sources = [json.loads(line) for line in (folder / "sources.jsonl").read_text().splitlines()]
    own, first, second = result["sources"]
    assert (own["source"], own["taken"], first["taken"], second["has"], second["taken"]) == (
        "this run",
        20,
        20,
        13,
        12,
    )
    assert second["dropped"] == {"in another source": 1} == result["dropped"]
    assert result["train"] + result["held_out"] == 52 == len({one["id"] for one in sources})
    assert {one["source"] for one in sources} == {"this run", "runs/a", "file.json"}
    assert "file.json: 12 of 13 asked rows taken (it has 13), 1 in another source" in told.said


def test_near_duplicates_across_sources_only(tmp_path: Path) -> None:
    own = [
        Instance("Name ten rivers of Peru", output="x"),
        Instance("Name ten rivers of Peru now", output="y"),
    ]
    write(
        [
            Instance("name ten rivers of peru please", output="z"),
            Instance("Tie a knot", output="w"),
        ],
        "jsonl",
        tmp_path / "f.jsonl",
    )
    mixed = mix(
        own,
        Dataset.model_validate({"from": ["f.jsonl"], "similar": 0.85}),
        1,
        tmp_path,
        HashEncoder(),
        Silent(),
    )
    assert [row.output for row in mixed.rows] == ["x", "y", "w"]
    [reject] = mixed.rejects
    assert (reject.reason, reject.text) == (
        "like a row of another source",
        "name ten rivers of peru please",
    )
    assert reject.score is not None
    assert reject.score > 0.85


def test_weights_are_shares_of_each_other() -> None:
    two = [
        Source(path="a", weight=3),
        Source(path="b", weight=1),
        Source(path="c"),
        Source(path="d", max_rows=5),
    ]
    assert amounts([300, 400, 7, 9], two) == [300, 100, 7, 5]
    assert amounts([3000, 10, 7, 2], two) == [30, 10, 7, 2]


class Watched(Instance):
    """A row that tells whether it is still there."""

    __slots__ = ("__weakref__",)


def test_what_is_not_taken_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read as a stream, and the rows drawn are those of a sort of all of it."""
    many = [Instance(f"Count to {number}.", output=f"So: {number}.") for number in range(500)]
    write(many, "jsonl", tmp_path / "many.jsonl")
    section = Dataset.model_validate({"from": [{"path": "many.jsonl", "max_rows": 20}]})
    expected = sorted(read_instances(tmp_path / "many.jsonl"), key=lambda row: digest([1, row.id]))
    seen, most = list[ref[Watched]](), 0
    real = mixing._rows

    def watched(source: Source, place: Path) -> Any:
        rows, report = real(source, place)

        def passing() -> Any:
            nonlocal most
            for number, row in enumerate(rows):
                watched = Watched(row.instruction, output=row.output)
                seen.append(ref(watched))
                if number % 50 == 0:
                    most = max(most, sum(one() is not None for one in seen))
                yield watched
                del watched, row

        return passing(), report

    monkeypatch.setattr(mixing, "_rows", watched)
    mixed = mix([], section, 1, tmp_path, None, Silent())
    assert [row.id for row in mixed.rows] == [row.id for row in expected[:20]]
    assert mixed.contributions[1].has == 500
    assert most < 40
    ahead = look_ahead_at(section, tmp_path)
    assert most < 40
    assert (ahead.most, ahead.shapes[0].count) == (20, 500)
    assert 20 * 4500 < ahead.bytes < 20 * 4600
    require_memory(ahead, 10**6)
    with pytest.raises(RecipeError, match=r"need about 0 MiB of memory, and 0 MiB are free"):
        require_memory(ahead, 10**4)


def look_ahead_at(section: Dataset, folder: Path) -> Ahead:
    data = recipe_data(generate={"target": 0})
    recipe = Recipe.model_validate(data).model_copy(update={"dataset": section})
    return look_ahead(recipe, folder, [], asks=False, made=False)


def test_missing_sources_are_named_all_at_once(tmp_path: Path) -> None:
    section = Dataset.model_validate({"from": ["runs/no", "nor.jsonl"]})
    with pytest.raises(DataError, match=r"(?s)2 problems.*runs/no.*nor.jsonl"):
        mix([], section, 1, tmp_path, None, Silent())


def test_a_changed_source_makes_the_stage_run_again(tmp_path: Path) -> None:
    stage = pipeline.STAGES[pipeline.NAMES.index("dataset")]
    recipe = Recipe.model_validate(recipe_data(dataset={"from": ["f.jsonl"], "similar": None}))
    write(rows(20), "jsonl", tmp_path / "f.jsonl")
    with open_run(tmp_path / "run") as run:
        run.put("workspace", str(tmp_path))
        before = pipeline.inputs_of(stage, recipe, run)
        assert pipeline.inputs_of(stage, recipe, run) == before
        write(rows(21), "jsonl", tmp_path / "f.jsonl")
        assert pipeline.inputs_of(stage, recipe, run) != before
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe


def test_a_family_goes_back_to_the_seeds() -> None:
    seed = Instance("Seed", output="s")
    child = Instance("Child", output="c", lineage=Lineage("evol", 1, (seed.id, "gone")))
    grandchild = Instance("Grandchild", output="g", lineage=Lineage("evol", 2, (child.id,)))
    found = family(grandchild.id[:6], [child, grandchild], [seed])
    assert (found.row, found.ancestors, found.unknown) == (grandchild, [[child], [seed]], ["gone"])
    assert family(child.id, [child, grandchild], [seed]).children == [grandchild]
    with pytest.raises(UsageError, match="no kept row or seed"):
        family("zz", [child], [seed])
    many = [Instance(f"Task {n}") for n in range(40)]
    first = next(c for c in "0123456789abcdef" if sum(row.id.startswith(c) for row in many) > 1)
    with pytest.raises(UsageError, match="rows have ids that begin so") as caught:
        family(first, many, [])
    assert "Give more of it" in caught.value.hint


CASES = Path(__file__).parents[1] / "data/cases/rows"


def mixed_in(tmp_path: Path, *sources: Any, **train: Any) -> tuple[dict[str, Any], Path, Recorded]:
    """(the dataset stage's result with these sources, its folder, what it said)."""
    section = {"from": list(sources), "similar": None}
    recipe = Recipe.model_validate(recipe_data(dataset=section, generate={"target": 0}))
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=train)})
    told = Recorded()
    with open_run(tmp_path / "runs/mix") as run:
        result = stage.run(recipe, run, told, workspace=tmp_path)
        return result, run.path / "dataset", told


def test_bad_rows_of_a_file_are_rejects_of_the_run(tmp_path: Path) -> None:
    result, folder, told = mixed_in(tmp_path, str(CASES / "14c_empty_outputs.json"))
    rejects = [json.loads(line) for line in (folder / "rejects.jsonl").read_text().splitlines()]
    assert [(one["stage"], one["reason"]) for one in rejects] == [("read", "empty answer")] * 2
    assert "14c_empty_outputs.json:12: expected words in the answer" in rejects[0]["detail"]
    assert result["dropped"] == {"empty answer": 2}
    [_, source] = result["sources"]
    assert source["reading"]["skipped"] == {"empty answer": 2}
    assert any("rows skipped: empty answer (2)" in said for said in told.said)


def test_different_answers_to_one_question_are_all_kept_on_one_side(tmp_path: Path) -> None:
    files = [str(CASES / name) for name in ("16b_same_q_pairs.jsonl", "11_prompt_completion.jsonl")]
    result, folder, _ = mixed_in(tmp_path, *files)
    assert result["dropped"] == {}
    train = read_instances(folder / "train.jsonl")
    assert sum(row.instruction.startswith("Introduce") for row in train) == 12
    assert len(train) + result["held_out"] == 24
    systems = [
        {"system": f"You are {name}.", "question": "Who are you?", "response": name}
        for name in map(str, range(12))
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, systems)))
    section = Dataset.model_validate({"from": ["s.jsonl"], "similar": None})
    mixed = mix([], section, 1, tmp_path, None, Silent())
    assert len(unique(mixed.rows, mixed.of_files)[0]) == len(unique(mixed.rows)[0]) == 12


def test_rows_with_tools_are_left_out_where_no_template_writes_them(tmp_path: Path) -> None:
    result, _, told = mixed_in(tmp_path, str(CASES / "08_openai_tool_calls.jsonl"))
    assert result["dropped"] == {"the template has no place for calls of tools": 1}
    assert any("rows with: tools (1)" in said for said in told.said)


def test_a_source_of_mostly_bad_rows_is_named_with_what_to_type(tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(
        '{"asked": "What does a baker sell?", "reply": "He sells bread."}\n' * 20
    )
    section = Dataset.model_validate({"from": ["f.jsonl"]})
    with pytest.raises(DataError, match=r"20 of 20 rows cannot be used") as caught:
        mix([], section, 1, tmp_path, None, Silent())
    columns = "columns: {instruction: asked, output: reply}"
    assert f"--set 'dataset.from=[{{path: f.jsonl, {columns}}}]'" in caught.value.hint
    entry = {"path": "f.jsonl", "columns": {"instruction": "asked", "output": "reply"}}
    result, _, _ = mixed_in(tmp_path, entry, str(CASES / "18_rows.csv"))
    assert (result["sources"][1]["taken"], result["sources"][2]["taken"]) == (1, 12)


def test_folders_and_patterns_are_sources_too(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for number in range(3):
        write(rows(8, seed=number), "jsonl", tmp_path / f"data/{number}.jsonl")
    for source in ("data", "data/*.jsonl"):
        section = Dataset.model_validate({"from": [source], "similar": None})
        mixed = mix([], section, 1, tmp_path, None, Silent())
        assert len(mixed.rows) + len(mixed.rejects) == 24
    assert state_of(section, tmp_path) != ["missing"]


def test_rows_of_a_file_pass_the_gate_of_generated_rows(tmp_path: Path) -> None:
    good = [
        {"instruction": f"Name one thing that {name} is known for.", "output": f"{name}: its sea."}
        for name in ("Norway", "Chile", "Ghana", "Nepal", "Malta", "Samoa")
    ]
    bad = [
        {
            "instruction": "Describe a walk by the sea.",
            "output": "I'm sorry, I can't help with it.",
        },
        {"instruction": "Draw a picture of a boat at night.", "output": "Here is the picture."},
    ]
    alike = {"instruction": "One thing name that Norway is known for.", "output": "Its fjords."}
    other = {**good[1], "output": "Chile is known for its long coast."}
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in [*good, *bad, alike, other]))
    section = Dataset.model_validate({"from": [str(file)], "similar": 0.95})
    encoder = HashEncoder()
    before = mix([], section, 1, tmp_path, encoder, Silent())
    assert before.contributions[1].dropped == {}  # without rules nothing of a file is looked at
    mixed = mix([], section, 1, tmp_path, encoder, Silent(), Filters())
    dropped = mixed.contributions[1].dropped
    assert dropped.pop("like a row of its source") >= 1
    assert dropped == {"refusal": 1, "asks for media": 1}
    answers = [row.output for row in mixed.rows if "Chile" in row.instruction]
    assert sorted(answers) == sorted([good[1]["output"], other["output"]])
    first = mix([], section, 1, tmp_path, encoder, Silent(), Filters(rules=1))
    assert len(first.rows) == len(before.rows)
    assert asks_rules(section, Filters(), tmp_path)
    assert not asks_rules(section, Filters(rules=1), tmp_path)
