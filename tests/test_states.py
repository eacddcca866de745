"""Results that no longer hold: noticed whatever has changed, said wherever they are shown, never
summed up, and made again by the command that is named."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

import localinstruct as li
from localinstruct import pipeline
from localinstruct.cli.app import app
from localinstruct.dataset import edits
from localinstruct.dataset.stage import run as make_dataset
from localinstruct.errors import RunConflict
from localinstruct.evaluation import comparison
from localinstruct.evaluation.answers import Contender
from localinstruct.models.catalog import load_catalog
from localinstruct.offline import egress_report
from localinstruct.pipeline import recipe_of, run_stage, settle_recipe
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.records import Completion
from localinstruct.report import live_words
from localinstruct.report.cards import model_card
from localinstruct.report.live import Watch
from localinstruct.report.stage import run as make_report
from localinstruct.stages import STAGES, Stage
from localinstruct.states import (
    edited_words,
    is_finished,
    read_comparisons,
    renewal,
    states_of,
)
from localinstruct.store.run import Run, open_run, read_run
from localinstruct.worker import StageJob
from tests.support import sample_run
from tests.support.tiny_student import Recorded, keep, recipe_data, rows

TRAIN, HELD_OUT = "dataset/train.jsonl", "dataset/held_out.jsonl"
BETTER = "The student is better than its base"
Change = Callable[[Path], object]


def recipe(**sections: Any) -> Recipe:
    evaluate = {"tasks": "tasks.jsonl", "text": "text.txt"}
    data = recipe_data(
        seeds="seeds.jsonl", evaluate=evaluate, novelty={"against": "kept"}, generate={"target": 24}
    )
    return Recipe.model_validate(data | sections)


def work(name: str, settled: Recipe, run: Run, workspace: Path) -> dict[str, Any]:
    """What a stage does here: dataset and report are real, train leaves files of its own."""
    if name == "dataset":
        return make_dataset(settled, run, Silent(), workspace=workspace)
    if name == "report":
        return make_report(settled, run, Silent(), workspace=workspace)
    if name == "train":
        (run.path / "adapter").mkdir(exist_ok=True)
        read = (run.path / TRAIN).read_bytes() + (workspace / "tiny/model.safetensors").read_bytes()
        weights = f"{settled.train.epochs} epochs on {hash(read)}"
        (run.path / "adapter" / "adapter_model.safetensors").write_text(weights)
        (run.path / "adapter" / "adapter_config.json").write_text("{}")
    return dict(sample_run.RESULTS[name]) | {"kept": run.count_kept(), "candidates": 30}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a run `tiny` of all five stages, each held to be fresh."""
    lab = tmp_path_factory.mktemp("lab")
    (lab / "tiny").mkdir()
    (lab / "tiny" / "model.safetensors").write_text("weights")
    (lab / "none").mkdir()
    (lab / "none" / "model.safetensors").write_text("a teacher")
    entry = {"roles": ["student", "teacher"], "context": 64, "licence": "MIT"}
    models = {name: {"path": name, **entry} for name in ("tiny", "none")}
    (lab / "models.yaml").write_text(yaml.safe_dump(models))
    (lab / "tasks.jsonl").write_text('{"instruction": "Say a.", "output": "a"}\n')
    (lab / "seeds.jsonl").write_text('{"instruction": "Say c.", "output": "c"}\n')
    (lab / "text.txt").write_text("Some prose.\n")

    def load(stage: Stage) -> Callable[..., Any]:
        return lambda settled, run, _, *, workspace: work(stage.name, settled, run, workspace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Stage, "load", load)
        patch.setattr(pipeline, "require_ready", lambda *_: None)
        with open_run(lab / "runs" / "tiny") as run:
            settled = settle_recipe(run, recipe(), lab)
            keep(run, rows(24))
            for stage in STAGES:
                run_stage(stage, settled, run, Silent(), lab)
        yield lab


@pytest.fixture
def lab(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that workspace, and standing in it."""
    shutil.copytree(made, tmp_path / "lab")
    monkeypatch.chdir(tmp_path / "lab")
    with open_run(Path("runs/tiny")) as run:
        run.put("workspace", str(tmp_path / "lab"))
    return tmp_path / "lab"


def stale(path: Path = Path("runs/tiny")) -> dict[str, tuple[str, ...]]:
    with read_run(path) as run:
        states = states_of(recipe_of(run)[0], run)
    return {name: state.why for name, state in states.items() if state.state == "stale"}


def command(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.exception
    return " ".join(done.output.split())


def lines_of(name: str, change: Callable[[list[str]], list[str]]) -> Change:
    def edit(lab: Path) -> None:
        path = lab / "runs" / "tiny" / name
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return edit


def write(name: str, text: str) -> Change:
    return lambda lab: (lab / name).write_text(text)


def more_rows(lab: Path) -> None:
    with open_run(lab / "runs" / "tiny") as run:
        new = rows(30, seed=5)[24:]
        from localinstruct.records import Kept

        vector = run.vectors()[0]
        run.commit_episode(1, [Kept(row, (), vector) for row in new], [], 0)


def other_entry(lab: Path) -> None:
    models = yaml.safe_load((lab / "models.yaml").read_text())
    models["tiny"]["sha256"] = {"model.safetensors": "ab" * 32}
    (lab / "models.yaml").write_text(yaml.safe_dump(models))


def settle(**sections: Any) -> Change:
    def change(lab: Path) -> None:
        with open_run(lab / "runs" / "tiny") as run:
            settle_recipe(run, recipe(**sections), lab, redo=True)

    return change


def again(name: str, **sections: Any) -> Change:
    def change(lab: Path) -> None:
        with open_run(lab / "runs" / "tiny") as run:
            settled = settle_recipe(run, recipe(**sections), lab, redo=True)
            run_stage(next(one for one in STAGES if one.name == name), settled, run, Silent(), lab)

    return change


NINE = recipe_data(train={"epochs": 9})["train"]
KINDS: dict[str, tuple[Change, dict[str, str]]] = {
    "rows cut from train.jsonl": (
        lines_of(TRAIN, lambda lines: lines[:-2]),
        {"train": f"{TRAIN} has changed", "evaluate": "train is stale"},
    ),
    "held_out.jsonl edited": (
        lines_of(HELD_OUT, lambda lines: lines[:-1]),
        {"train": f"{HELD_OUT} has changed", "evaluate": f"{HELD_OUT} has changed"},
    ),
    "adapter replaced": (
        write("runs/tiny/adapter/adapter_model.safetensors", "another's"),
        {"evaluate": "the student in adapter/ has changed"},
    ),
    "its configuration": (
        write("runs/tiny/adapter/adapter_config.json", '{"lora_alpha": 1}'),
        {"evaluate": "the student in adapter/ has changed"},
    ),
    "adapter deleted": (
        lambda lab: shutil.rmtree(lab / "runs/tiny/adapter"),
        {"train": "adapter is gone", "evaluate": "train is stale"},
    ),
    "tasks changed": (
        write("tasks.jsonl", '{"instruction": "Say b.", "output": "b"}\n'),
        {"dataset": "tasks.jsonl has changed", "evaluate": "tasks.jsonl has changed"},
    ),
    "general text changed": (
        write("text.txt", "Other prose."),
        {"evaluate": "text.txt has changed"},
    ),
    "student's base changed": (
        write("tiny/model.safetensors", "others"),
        {"train": "the model tiny has changed", "evaluate": "the model tiny has changed"},
    ),
    "its digests in models.yaml": (other_entry, {"train": "the model tiny has changed"}),
    "more rows kept": (
        more_rows,
        {"dataset": "24 rows were kept then, 30 now", "train": "dataset is stale"},
    ),
    "larger target": (
        settle(generate={"target": 48}),
        {"generate": "generate.target was 24, is 48", "dataset": "generate is stale"},
    ),
    "recipe changed": (settle(train=NINE), {"train": "train.epochs was 2.0, is 9.0"}),
    "trained again": (
        again("train", train=NINE),
        {"evaluate": "the student in adapter/ has changed"},
    ),
    "report deleted": (
        lambda lab: (lab / "runs/tiny/report.html").unlink(),
        {"report": "report.html is gone"},
    ),
    "evaluated again": (again("evaluate"), {"report": "evaluate has been run since"}),
}


@pytest.mark.parametrize(
    ("kind", "command"),
    [
        ("", "show"),
        ("report deleted", "report"),
        ("adapter replaced", "run"),
        ("tasks changed", "run"),
        ("more rows kept", "run"),
    ],
)
def test_watch_of_a_finished_run_names_the_command_that_renews_it(
    kind: str, command: str, lab: Path
) -> None:
    if kind:
        KINDS[kind][0](lab)
    facts = Watch(Path("runs/tiny")).look()
    assert facts.state == "finished"
    assert live_words.next_step(facts) == f"localinstruct {command} runs/tiny"
    assert live_words.next_step(replace(facts, state="running")) == ""


def test_a_run_just_made_holds(lab: Path) -> None:
    assert stale() == {}
    shown = command("show", "tiny")
    assert "STALE" not in shown
    assert "digests were kept" not in shown
    assert BETTER in Path("runs/tiny/report.html").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_is_noticed_said_and_repaired_by_the_command(kind: str, lab: Path) -> None:
    change, expected = KINDS[kind]
    change(lab)
    found = stale()
    for name, words in expected.items():
        assert words in found[name], (kind, found)
    assert "report" in found
    shown = command("show", "tiny")
    with open_run(Path("runs/tiny")) as run:
        settled = recipe_of(run)[0]
        states = states_of(settled, run)
        for name, why in found.items():
            assert f"STALE: {'; '.join(why)}. Renew it: {renewal(states, name, str(run.path))}" in (
                shown
            )
        if "sha256" in Path("models.yaml").read_text():
            return  # nothing trains on a model that is not the one models.yaml names
        for stage in STAGES:
            if not is_finished(stage, settled, run):
                run_stage(stage, settled, run, Silent(), lab)
    assert stale() == {}


SHOWN = ("rows cut from train.jsonl", "adapter replaced", "trained again", "larger target")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in SHOWN else pytest.mark.exhaustive)
        for kind in KINDS
        if kind not in ("evaluated again", "report deleted")
    ],
)
def test_what_is_stale_is_in_no_verdict_card_table_or_page(kind: str, lab: Path) -> None:
    KINDS[kind][0](lab)
    with read_run(Path("runs/tiny")) as run:
        settled = recipe_of(run)[0]
        folder = run.path / "adapter"
        told = model_card(run, settled, lab, "adapter", folder) if folder.is_dir() else ""
    told += command("report", "tiny") + Path("runs/tiny/report.html").read_text()
    shutil.copytree("runs/tiny", "runs/other")
    told += command("compare", "tiny", "other")
    for words in (BETTER, "61%", "+56.7", "+57", "5.670"):
        assert words not in told, (kind, words)
    assert "No verdict:" in told
    assert "evaluate is stale" in told
    assert li.open_run("tiny").stages()["evaluate"].state == "stale"
    entry = json.loads(CliRunner().invoke(app, ["show", "tiny", "--json"]).stdout)["stages"]
    assert (entry["evaluate"]["state"], bool(entry["evaluate"]["why"])) == ("stale", True)
    assert entry["evaluate"]["renew"].startswith("localinstruct ")


def test_a_student_trained_again_leaves_no_page_that_praises_it(lab: Path) -> None:
    command("train", "tiny", "--redo", "--set", "train.epochs=9")
    assert list(stale()) == ["evaluate"]
    assert "Renew it: localinstruct evaluate runs/tiny" in command("show", "tiny")
    for name in ("report.html", "adapter/README.md"):
        assert BETTER not in Path("runs/tiny", name).read_text(), name
    command("evaluate", "tiny")
    assert stale() == {}
    for name in ("report.html", "adapter/README.md"):
        assert BETTER in Path("runs/tiny", name).read_text(), name


# -- files changed by hand

EDITS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "cut": (lambda lines: lines[:-3], "3 rows fewer"),
    "more": (lambda lines: [*lines, '{"instruction": "Mine.", "output": "x"}\n'], "1 row more"),
    "reworded": (
        lambda lines: [lines[0].replace('"output": "', '"output": "Well, '), *lines[1:]],
        "1 changed",
    ),
    "all of it": (
        lambda lines: [lines[0].replace('"output": "', '"output": "No: '), *lines[1:-2]],
        "2 rows fewer, 1 changed",
    ),
    "twice": (lambda lines: [*lines, lines[0]], "1 row more"),
    "order": (lambda lines: lines[::-1], "the same rows, written otherwise"),
    "emptied": (lambda lines: [], "22 rows fewer"),
    "broken": (lambda lines: [*lines, "{"], "it cannot be read"),
}


@pytest.mark.parametrize("kind", EDITS)
def test_an_edit_is_named_and_counted(kind: str, lab: Path) -> None:
    change, words = EDITS[kind]
    lines_of(TRAIN, change)(lab)
    count = len(Path("runs/tiny", TRAIN).read_text().splitlines())
    with read_run(Path("runs/tiny")) as run:
        [said] = edited_words(states_of(recipe_of(run)[0], run))
    assert said.startswith(f"{TRAIN} was changed by hand since dataset wrote it: {words}")
    shown = command("show", "tiny")
    assert said in shown
    if "cannot be read" not in words:
        assert f"dataset {count} rows to train on" in shown
    assert said.split(":")[1] in str(li.open_run("tiny").stages()["dataset"].remarks)


def test_what_is_trained_on_by_hand_is_counted_everywhere(lab: Path) -> None:
    lines_of(TRAIN, lambda lines: lines[:-2])(lab)
    before = Path("runs/tiny", TRAIN).read_bytes()
    for name in ("train", "evaluate", "report"):
        command(name, "tiny")
    assert stale() == {}
    assert Path("runs/tiny", TRAIN).read_bytes() == before
    page = Path("runs/tiny/report.html").read_text()
    card = Path("runs/tiny/adapter/README.md").read_text()
    for text in (
        page,
        card,
        Path("runs/tiny/dataset/README.md").read_text(),
        command("show", "tiny"),
    ):
        assert "changed by hand since dataset wrote it: 2 rows fewer" in text
    assert "20 rows to train on" in page
    assert "trained on 20 rows" in card
    with read_run(Path("runs/tiny")) as run:
        assert pipeline.due_stages(recipe_of(run)[0], run) == []
    verified = CliRunner().invoke(app, ["verify-report", "runs/tiny/egress.json"]).stdout
    assert "2 rows fewer" in verified
    assert "unchanged" not in verified


def test_an_edit_is_never_lost_without_a_word(lab: Path) -> None:
    lines_of(TRAIN, lambda lines: lines[:-2])(lab)
    before, stored = (
        Path("runs/tiny", TRAIN).read_bytes(),
        Path("runs/tiny/recipe.yaml").read_text(),
    )
    for words in (("run", "tiny", "--set", "generate.target=48"), ("dataset", "tiny")):
        refused = CliRunner().invoke(app, words).exception
        assert isinstance(refused, RunConflict)
        assert "2 rows fewer" in refused.message
        assert "localinstruct train runs/tiny" in refused.hint
        assert "localinstruct dataset runs/tiny --redo" in refused.hint
    assert Path("runs/tiny", TRAIN).read_bytes() == before
    assert Path("runs/tiny/recipe.yaml").read_text() == stored
    assert f"a copy is in runs/tiny/by_hand/{TRAIN}" in command("dataset", "tiny", "--redo")
    assert Path("runs/tiny", TRAIN).read_bytes() != before
    assert Path("runs/tiny/by_hand", TRAIN).read_bytes() == before
    assert stale() == {}


def test_a_program_keeps_edits_as_well(lab: Path) -> None:
    job = StageJob(("dataset", "train"), target="runs/tiny")
    lines_of(TRAIN, lambda lines: lines[:-2])(lab)
    before = Path("runs/tiny", TRAIN).read_bytes()
    job.work(Silent())
    assert Path("runs/tiny", TRAIN).read_bytes() == before
    assert list(stale()) == ["evaluate"]
    more_rows(lab)
    with pytest.raises(RunConflict, match="2 rows fewer"):
        job.work(Silent())
    assert Path("runs/tiny", TRAIN).read_bytes() == before
    StageJob(job.stages, target="runs/tiny", redo=True).work(Silent())
    assert Path("runs/tiny/by_hand", TRAIN).read_bytes() == before


def test_run_repeats_what_is_stale_and_says_why(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines_of(TRAIN, lambda lines: lines[:-2])(lab)
    said, done = Recorded(), list[str]()
    with open_run(Path("runs/tiny")) as run:
        settled = recipe_of(run)[0]
        monkeypatch.setattr(
            pipeline,
            "_in_own_process",
            lambda stage, _: run_stage(stage, settled, run, Silent(), lab),
        )
        pipeline.run_all(
            settled,
            run,
            said,
            lambda stage, result, skipped: (
                done.append(f"{stage.name} {skipped} {result['train']}")
                if stage.name == "dataset"
                else done.append(f"{stage.name} {skipped}")
            ),
        )
    expected = ["generate True", "dataset True 20", "train False", "evaluate False", "report False"]
    assert done == expected
    [train, evaluate, _] = said.said
    assert f"(again: {TRAIN} has changed)" in train
    assert "(again: the student in adapter/ has changed)" in evaluate
    assert stale() == {}


def test_a_student_put_there_by_hand_is_evaluated_and_not_called_trained(lab: Path) -> None:
    KINDS["adapter replaced"][0](lab)
    refused = CliRunner().invoke(app, ["train", "tiny"]).exception
    assert isinstance(refused, RunConflict)
    assert "localinstruct evaluate runs/tiny" in refused.hint
    command("evaluate", "tiny")
    assert stale() == {}
    card = Path("runs/tiny/adapter/README.md").read_text()
    assert "adapter was changed by hand since train wrote it" in card
    assert BETTER in card
    assert "trained on" not in card.split("## ")[0]


def test_kept_edits_outlive_new_rows(lab: Path) -> None:
    lines_of(TRAIN, lambda lines: lines[:-2])(lab)
    more_rows(lab)
    for name in ("train", "evaluate"):
        command(name, "tiny")
    assert list(stale()) == ["dataset"]
    assert BETTER in Path("runs/tiny/report.html").read_text()


# -- comparisons


def test_a_comparison_is_stale_when_either_side_or_a_task_changes(lab: Path) -> None:
    shutil.copytree("runs/tiny", "runs/other")
    spec = load_catalog(lab).get("tiny")
    Path("mine.jsonl").write_text('{"instruction": "Say c.", "output": "c"}\n')
    asked = comparison.Comparison("other", (Path("mine.jsonl"),))

    def side(run: str) -> Contender:
        folder = Path("runs", run, "adapter")
        return Contender(run, spec, "alpaca", folder, folder, "tiny")

    def compare() -> None:
        with open_run(Path("runs/tiny")) as run:
            comparison.compare_answers(
                recipe_of(run)[0],
                run,
                lab,
                asked,
                {"base": side("other"), "student": side("tiny")},
                lambda due: {which: [Completion("c")] * len(own) for which, own in due.items()},
                None,
            )

    def why() -> list[str]:
        with read_run(Path("runs/tiny")) as run:
            [stored] = read_comparisons(run)
        found: list[str] = stored["stale"]
        return found

    for name, words in (
        ("runs/other/adapter/adapter_model.safetensors", "adapter has changed"),
        ("runs/tiny/adapter/adapter_model.safetensors", "the student in adapter/ has changed"),
        ("mine.jsonl", "mine.jsonl has changed"),
        ("tiny/model.safetensors", "the model tiny has changed"),
    ):
        compare()
        assert why() == []
        path = Path(name)
        path.write_text(path.read_text().replace("Say c.", "Say d.") + "\n")
        assert why() == [words]
        again = "localinstruct evaluate runs/tiny --against other --tasks mine.jsonl"
        assert f"{words}. Renew it: {again}" in command("show", "tiny")
        command("report", "tiny")
        assert again in Path("runs/tiny/report.html").read_text()
    compare()
    shutil.rmtree("runs/other")
    assert why() == []  # nobody can look at it any more


def test_a_file_that_is_no_comparison_is_left_out(lab: Path) -> None:
    folder = Path("runs/tiny/evaluation/comparisons")
    folder.mkdir(parents=True)
    for name, text in (("a", '{"read": 5}'), ("b", "[1]"), ("c", "{"), ("d", '{"read": {"a": 1}}')):
        (folder / f"{name}.json").write_text(text)
    with read_run(Path("runs/tiny")) as run:
        assert read_comparisons(run) == []
    command("show", "tiny")


# -- the rest


def test_rows_of_another_teacher_or_of_other_seeds_are_remarked_and_stay(lab: Path) -> None:
    Path("none/model.safetensors").write_text("another teacher")
    Path("seeds.jsonl").write_text('{"instruction": "Say d.", "output": "d"}\n')
    assert stale() == {}
    shown = command("show", "tiny")
    for words in ("the model none has changed since", "seeds.jsonl has changed since"):
        assert words in shown


def test_a_run_carried_to_another_place_is_not_stale(lab: Path) -> None:
    with open_run(Path("runs/tiny")) as run:
        run.put("workspace", "/nowhere")
    assert stale() == {}


def test_the_egress_report_says_what_does_not_fit_its_files(lab: Path) -> None:
    command("train", "tiny", "--redo", "--set", "train.epochs=9")
    path = Path("runs/tiny/egress.json")
    assert egress_report.verify(path) == []
    [first, *others] = egress_report.conclusion(path, "", [])
    assert "unchanged" not in first
    assert "evaluate is stale" in others[0]
    assert "evaluate is stale" in Path("runs/tiny/egress.txt").read_text()
    command("evaluate", "tiny")
    assert "unchanged" in egress_report.conclusion(path, "", [])[0]


def test_a_bundle_of_a_stale_run_says_so(lab: Path) -> None:
    KINDS["adapter replaced"][0](lab)
    said = command("bundle", "pack", "out", "--run", "tiny")
    assert "evaluate is stale: the student in adapter/ has changed" in said
    assert "localinstruct run runs/tiny" in said


def test_rows_of_a_file_without_ids_are_counted_too(lab: Path) -> None:
    with open_run(Path("runs/tiny")) as run:
        assert edits.described(run, "train.jsonl", 30) == "the same rows, written otherwise"
        run._db.execute("DELETE FROM meta WHERE key = ?", (edits.ROWS,))
        assert edits.described(run, "train.jsonl", 30) == "22 rows; 30 were written"
