"""Model and dataset cards: valid for a hub, true to the run, with what the licences ask, and
nothing of this machine."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.formats import write
from localinstruct.models.adding import add_model
from localinstruct.models.catalog import load_catalog
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe, packaged_workspace
from localinstruct.report import stage
from localinstruct.report.cards import dataset_card, hub_licence, model_card, models_of
from localinstruct.report.facts import finished_results
from localinstruct.store.durable import sha256
from localinstruct.store.run import open_run, read_run
from localinstruct.training import student
from tests.support import sample_run
from tests.support.trained_runs import CPU, train_tiny, workspace

HOME = packaged_workspace()


def make(path: Path, upto: str = "evaluate") -> Path:
    """The sample run with its recipe, and with files where its stages would have left them."""
    sample_run.make(path, upto=upto)
    with open_run(path) as run:
        run.put("recipe", sample_run.recipe().to_yaml())
        run.put("workspace", str(HOME))
        run.put("seeds", "5e" * 32)
        rows = list(run.kept())
    if upto != "generate":
        (path / "dataset").mkdir()
        write(rows[:40], "jsonl", path / "dataset" / "train.jsonl")
        write(rows[40:50], "jsonl", path / "dataset" / "held_out.jsonl")
        (path / "adapter").mkdir()
        (path / "adapter" / "adapter_config.json").write_text("{}")
        (path / "adapter" / "adapter_model.safetensors").write_bytes(b"weights")
        with open_run(path) as run:
            entry = run.stage("dataset")
            assert entry is not None
            files = {name: sha256(path / "dataset" / name) for name in entry.result["sha256"]}
            run.finish_stage("dataset", entry.result | {"sha256": files})
    return path


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("workspace") / "runs" / "nano")


def card(path: Path, form: str = "adapter", workspace: Path = HOME, **changes: Any) -> str:
    with read_run(path) as run:
        return model_card(run, sample_run.recipe(**changes), workspace, form, path / "adapter")


def front(text: str) -> dict[str, Any]:
    """The YAML between the first two lines of dashes."""
    _, head, _ = text.split("---\n", 2)
    found = yaml.safe_load(head)
    assert isinstance(found, dict)
    return found


def test_the_report_stage_leaves_both_cards_in_the_run(full: Path) -> None:
    with read_run(full) as run:
        stage.run(sample_run.recipe(), run, Silent(), workspace=HOME)
    assert (full / "adapter" / "README.md").read_text() == card(full)
    assert "# nano" in (full / "dataset" / "README.md").read_text()


def test_the_front_matter_is_what_a_hub_reads(full: Path) -> None:
    from huggingface_hub import DatasetCard, ModelCard

    data: Any = ModelCard(card(full)).data
    assert (data.license, data.library_name, data.base_model) == (
        "apache-2.0",
        "peft",
        "nano-student",
    )
    assert data.base_model_relation == "adapter"
    assert {"localinstruct", "self-instruct", "alpaca", "sft", "lora"} <= set(data.tags or [])
    assert front(card(full, "merged"))["library_name"] == "transformers"
    with read_run(full) as run:
        files = {"train": full / "dataset" / "train.jsonl"}
        told: Any = DatasetCard(dataset_card(run, sample_run.recipe(), HOME, "jsonl", files)).data
    assert (told.license, told.size_categories, told.task_categories) == (
        "unknown",
        ["n<1K"],
        ["text-generation"],
    )


def test_the_dataset_folder_loads_by_its_card(full: Path) -> None:
    from datasets import load_dataset

    with read_run(full) as run:
        stage.run(sample_run.recipe(), run, Silent(), workspace=HOME)
    (full / "dataset" / "rejects.jsonl").write_text('{"stage": "dataset"}\n')
    found = load_dataset(str(full / "dataset"), cache_dir=str(full.parent / "cache"))
    assert {name: len(part) for name, part in found.items()} == {"train": 40, "test": 10}


def test_numbers_are_those_of_the_run_with_their_conditions(full: Path) -> None:
    text = card(full)
    assert "| right answers | 4.2% | 60.8% | 240 tasks of `nano_tasks.jsonl`" in text
    assert "+56.7 points (95 % interval +50.0 to +62.9)" in text
    assert "| held-out loss | 5.670 | 1.640 | nats per answer token on 44 rows" in text
    assert "| perplexity of general text | 60.3 | 81.5 | `general_text.txt`" in text
    assert "| right before, wrong now | | 1 |" in text
    assert "3.0% of the 403 answers that can be checked were wrong" in text
    assert "61,200 tokens in 52 s on cpu in float32; 294,912 trainable parameters" in text
    assert f"`{'4f' * 32}`" in text
    assert f"dataset `train.jsonl` {sha256(full / 'dataset' / 'train.jsonl')}" in text
    assert re.search(r"`adapter_model.safetensors` [0-9a-f]{64}\n", text)
    assert f"digest of its tasks `{'5e' * 32}`" in text
    assert "torch 2.13.0" in text
    assert "Proof that every part works" in text


def test_what_was_not_measured_is_not_there(tmp_path: Path) -> None:
    text = card(make(tmp_path / "runs" / "young", upto="train"))
    assert "Whether it is better than its base has not been measured." in text
    for absent in ("| right answers", "| held-out loss", "| perplexity", "None |", "nan |"):
        assert absent not in text, absent


def test_a_judge_and_mixed_sources_have_their_place(tmp_path: Path) -> None:
    path = make(tmp_path / "runs" / "judged")
    (path / "evaluation" / "comparisons").mkdir(parents=True)
    judged = {"rate": 0.75, "interval": [0.6, 0.88], "judge": "j", "pairs": 90}
    stored = {"against": "/home/somebody/runs/other", "pairwise": judged}
    (path / "evaluation" / "comparisons" / "x.json").write_text(json.dumps(stored))
    with open_run(path) as run:
        entry = run.stage("dataset")
        assert entry is not None
        source = {
            "source": "/home/somebody/rows.jsonl",
            "has": 90,
            "asked": 50,
            "taken": 40,
            "dropped": {},
        }
        run.finish_stage("dataset", entry.result | {"sources": [source]})
        files = {
            "train": path / "dataset" / "train.jsonl",
            "test": path / "dataset" / "held_out.jsonl",
        }
        told = dataset_card(run, sample_run.recipe(), HOME, "jsonl", files)
    text = card(path, seeds="/home/somebody/seeds.jsonl")
    assert (
        "wins 75.0% (60.0% to 88.0%), its 95 % interval, against other, 90 pairs read by j in "
        "both orders" in text
    )
    assert "- Mixed in: rows.jsonl, 40 of 90 rows\n" in text
    assert "- Seeds: `seeds.jsonl`" in text
    assert "444 rows (" in told
    assert "others mixed in)" in told
    for one in (text, told):
        assert "somebody" not in one
        assert str(tmp_path) not in one


def test_who_graded_is_said_also_when_it_is_the_teacher(full: Path) -> None:
    steps = {"judge": {"grading": {"rubric": "alpaca-5-point"}}}
    assert "- Method: `alpaca`, then `judge`; graded by nano-teacher\n- Seeds" in card(
        full, then=steps
    )
    models = {"teacher": "nano-teacher", "student": "nano-student", "judge": "qwen3-8b"}
    text = card(full, then=steps, models=models)
    assert "graded by qwen3-8b\n" in text
    assert "| judge | Qwen/Qwen3-8B | Apache-2.0 |" in text
    assert "graded by" not in card(full)


def test_documents_are_named_with_their_count_and_their_licence_asked_for(tmp_path: Path) -> None:
    path = make(tmp_path / "runs" / "grounded")
    with open_run(path) as run:
        entry = run.stage("generate")
        assert entry is not None
        documents = {"read": 190, "passages": 1812, "left_out": [["secret/plan.pdf", "encrypted"]]}
        run.finish_stage("generate", entry.result | {"documents": documents})
    text = card(path, seeds="/home/somebody/papers")
    assert (
        "- Documents: `papers`, 190 files read, 1,812 passages, digest of its passages "
        f"`{'5e' * 32}`\n" in text
    )
    assert "- **Documents**: the licence of everything in `papers` counts as well" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("teacher", "base", "licence"),
    [
        ("nano-teacher", "nano-student", {"license": "apache-2.0"}),
        (
            "llama-3.1-8b-instruct",
            "nano-student",
            {"license": "other", "license_name": "apache-2.0-and-llama-3.1-community-license"},
        ),
        ("qwen3-8b", "llama-3.2-1b", {"license": "llama3.2"}),
        ("nobody-knows", "nano-student", {"license": "unknown"}),
    ],
)
def test_a_student_carries_its_base_s_licence_and_what_the_teacher_s_adds(
    teacher: str, base: str, licence: dict[str, str], full: Path
) -> None:
    text = card(full, models={"teacher": teacher, "student": base})
    found = front(text)
    assert {key: found[key] for key in ("license", "license_name") if key in found} == licence
    known = load_catalog(HOME).models.get(teacher)
    asks = " ".join(known.obligations.split()) if known else "not known here: read the licence."
    assert f"{asks}\n" in text
    assert asks


def test_every_licence_of_models_yaml_has_an_identifier() -> None:
    catalog = load_catalog(HOME)
    found = {hub_licence(catalog.get(name).licence) for name in catalog.names()}
    assert len(catalog.names()) >= 25
    assert found == {"apache-2.0", "mit", "gemma", "llama3.1", "llama3.2", "other"}
    licences = {spec.licence for spec in catalog.models.values()}
    others = {licence for licence in licences if hub_licence(licence) == "other"}
    assert others == {"LFM Open License v1.0", "OpenMDW-1.1"}  # the Hub has no names of its own
    assert hub_licence("Somebody's Own Terms") == "other"
    assert hub_licence("unknown") == hub_licence("") == "unknown"


def test_what_was_noted_of_another_model_in_the_role_does_not_count(full: Path) -> None:
    """--redo with another student leaves what generate noted of the first one."""
    recipe = sample_run.recipe(models={"teacher": "nano-teacher", "student": "qwen2.5-0.5b"})
    with read_run(full) as run:
        found = models_of(recipe, finished_results(run, recipe), HOME)["student"]
    assert (found["name"], found["digest"], found["licence"]) == ("qwen2.5-0.5b", "", "Apache-2.0")
    assert found["source"] == "Qwen/Qwen2.5-0.5B"


def test_without_models_yaml_the_run_s_own_notes_are_enough(full: Path, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text("{}")
    text = card(full, workspace=tmp_path)
    assert f"| base | nano-student | Apache-2.0 | `{'a1' * 32}` |" in text


def test_a_table_survives_what_a_reason_may_hold(tmp_path: Path) -> None:
    path = make(tmp_path / "runs" / "odd", upto="generate")
    with open_run(path) as run:
        run._db.execute(
            "UPDATE rejects SET reason = 'a | b' || char(10) || 'c' WHERE reason = 'refusal'"
        )
        text = dataset_card(run, sample_run.recipe(), HOME, "jsonl", {})
    assert "| filter | a \\| b c | " in text


@pytest.mark.parametrize(
    ("format", "suffix"), [("alpaca", "json"), ("jsonl", "jsonl"), ("parquet", "parquet")]
)
def test_an_export_of_rows_has_its_card_beside_it_and_its_own_bytes(
    format: str, suffix: str, full: Path, tmp_path: Path
) -> None:
    output = tmp_path / f"rows.{suffix}"
    done = CliRunner().invoke(
        app, ["export", str(full), "--format", format, "--output", str(output)]
    )
    assert done.exit_code == 0, done.exception
    text = (tmp_path / f"{output.name}.card.md").read_text()
    assert front(text)["configs"][0]["data_files"] == [{"split": "train", "path": output.name}]
    with read_run(full) as run:
        write(run.kept(), format, tmp_path / "plain")
    assert output.read_bytes() == (tmp_path / "plain").read_bytes()


def test_an_exported_student_brings_its_card_and_the_catalog_reads_its_licence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)
    path = train_tiny(
        workspace(tmp_path, licence="MIT", obligations="Keep the notice.", source="somebody/tiny")
    )
    with (tmp_path / "models.yaml").open("a") as catalog:
        catalog.write("none: {path: t, roles: [teacher], context: 99, licence: Apache-2.0}\n")
    for form in ("adapter", "merged"):
        done = CliRunner().invoke(
            app, ["export", str(path), "--format", form, "--output", str(tmp_path / form)]
        )
        assert done.exit_code == 0, done.exception
        text = (tmp_path / form / "README.md").read_text()
        assert (front(text)["base_model"], front(text)["license"]) == ("somebody/tiny", "mit")
        assert "(MIT): Keep the notice." in text
        [weights] = (tmp_path / form).glob("*.safetensors")
        assert f"`{weights.name}` {sha256(weights)}\n" in text
        assert str(tmp_path) not in text
    assert add_model(tmp_path, "mine", tmp_path / "merged").licence.lower() == "mit"


def test_a_recipe_names_its_training_in_the_card(full: Path) -> None:
    recipe: Recipe = sample_run.recipe(
        train={"objective": "dpo", "lora": {"use_dora": True, "r": 8}, "beta": 0.3}
    )
    with read_run(full) as run:
        text = model_card(run, recipe, HOME, "merged", full / "adapter")
    assert (
        "- LoRA with DoRA (r 8, alpha 32, dropout 0.05), on preference pairs (DPO, beta 0.3), "
        "with TRL" in text
    )
    assert {"dpo", "lora"} <= set(front(text)["tags"])
