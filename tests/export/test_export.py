"""The student as files: merged weights that compute the same, an adapter others load, templates to
the token."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import (
    DataError,
    LocalInstructError,
    StoreError,
    TrainerError,
    UsageError,
)
from localinstruct.evaluation.answers import trained_contender
from localinstruct.export import ExportResult, export_request, export_student
from localinstruct.export.chat_template import chat_template
from localinstruct.models.adding import add_model
from localinstruct.models.catalog import load_catalog
from localinstruct.models.preflight import inspect
from localinstruct.pipeline import recipe_of
from localinstruct.records import Instance, Message
from localinstruct.store import whole_folder
from localinstruct.store.run import read_run
from localinstruct.store.whole_folder import new_folder
from localinstruct.templates import encode, messages, prompt_ids, unsupported
from localinstruct.training import merging, student
from tests.support.tiny_student import ROLE_TEMPLATE, Recorded, byte_level, metaspace, with_bos
from tests.support.trained_runs import CPU, train_tiny, workspace
from tests.templates.test_boundaries import closes_itself
from tests.templates.test_rendered import CHATML


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student, "choose_device", lambda: CPU)


@pytest.fixture(scope="module")
def run_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(workspace(tmp_path_factory.mktemp("lab")))


def shipped(run_path: Path, format: str, output: Path) -> ExportResult:
    with read_run(run_path) as run:
        recipe, home = recipe_of(run)
    return export_student(
        export_request(recipe, load_catalog(home).get("tiny"), run_path), format, output, Recorded()
    )


def logits(model: Any, ids: list[int]) -> Any:
    import torch

    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].float()


def loaded(folder: Path, **how: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **how).eval()


def tokenizer_of(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- merged
# ------------------------------------------------------------------------------------------------


def test_merged_weights_compute_what_base_and_adapter_do(run_path: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    done = shipped(run_path, "merged", tmp_path / "out")
    ids = prompt_ids(Instance("Sort these.", "red blue"), "alpaca", tokenizer_of(tmp_path / "out"))
    base = loaded(run_path.parents[1] / "tiny")
    before = logits(base, ids)
    trained = logits(PeftModel.from_pretrained(base, run_path / "adapter").eval(), ids)
    again = logits(loaded(tmp_path / "out"), ids)
    assert (again - trained).abs().max() < 1e-4
    assert (before - trained).abs().max() > 0.05  # the adapter did something
    assert dict(done.facts)["checked"].startswith("loaded again: it loses 0.0% of the training's")
    assert names(tmp_path) == ["out"]


def test_a_merged_student_is_a_model_that_our_own_gate_lets_in(
    run_path: Path, tmp_path: Path
) -> None:
    shipped(run_path, "merged", tmp_path / "out")
    assert inspect(tmp_path / "out") == []
    workspace(tmp_path / "other").joinpath("models.yaml").rename(tmp_path / "models.yaml")
    spec = add_model(tmp_path, "mine", tmp_path / "out")
    assert (spec.chat, spec.context) == (True, 256)


def test_merged_weights_stay_in_the_precision_of_the_base(run_path: Path, tmp_path: Path) -> None:
    home = workspace(tmp_path / "lab", dtype="bfloat16")
    path = train_tiny(home)
    done = shipped(path, "merged", tmp_path / "out")
    assert dict(done.facts)["weights"] == "safetensors, bfloat16"
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert str(loaded(tmp_path / "out", dtype="auto").dtype) == "torch.bfloat16"


def _lost(model: Any) -> Any:
    return model.unload() if hasattr(model, "unload") else model


def _half(model: Any) -> Any:
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data *= 0.4
    return model.merge_and_unload()


@pytest.mark.parametrize("harm", [_lost, _half])
def test_a_merge_that_lost_something_is_refused(
    harm: Callable[[Any], Any], run_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "merged", harm)
    with pytest.raises(
        TrainerError, match="does not compute what base and adapter do: it lost"
    ) as refused:
        shipped(run_path, "merged", tmp_path / "out")
    assert "Rounding is not the cause" in refused.value.message
    assert names(tmp_path) == []


def test_a_student_of_which_all_weights_were_trained_is_merged_as_it_is(tmp_path: Path) -> None:
    path = train_tiny(workspace(tmp_path / "lab", dtype="bfloat16"), train={"mode": "full"})
    shipped(path, "merged", tmp_path / "out")
    assert str(loaded(tmp_path / "out", dtype="auto").dtype) == "torch.bfloat16"
    ids = [5, 6, 7, 8]
    trained, again = logits(loaded(path / "student"), ids), logits(loaded(tmp_path / "out"), ids)
    assert (trained - again).abs().max() < 0.05 * trained.abs().max()
    with pytest.raises(DataError, match="there is no adapter") as caught:
        shipped(path, "adapter", tmp_path / "other")
    assert "--format merged" in caught.value.hint
    assert names(tmp_path) == ["lab", "out"]


def test_generation_stops_at_the_tokens_the_student_learnt_to_end_with(run_path: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    generation = loaded(run_path.parents[1] / "tiny").generation_config
    for before, after in ((7, [7, 1, turn]), ([1, 7], [1, 7, turn]), (None, [1, turn])):
        generation.eos_token_id = before
        merging.end_with(generation, tokenizer)
        assert generation.eos_token_id == after
    tokenizer.chat_template, generation.eos_token_id = None, None
    merging.end_with(generation, tokenizer)
    assert generation.eos_token_id == 1


def test_an_adapter_that_vllm_cannot_serve_is_merged_in_its_run_once_for_each_training(
    tmp_path: Path,
) -> None:
    home = workspace(tmp_path)
    path = train_tiny(home, train={"lora": {"r": 4, "alpha": 8, "dropout": 0.0, "use_dora": True}})
    with read_run(path) as run:
        recipe, _ = recipe_of(run)
    spec = load_catalog(home).get("tiny")
    one = trained_contender("the student", spec, recipe, path)
    assert (one.adapter, one.spec.directory) == (None, path / "merged")
    assert inspect(path / "merged") == []
    ids = [5, 6, 7, 8]
    trained = logits(student.load_trained(home / "tiny", student.artefact(path), CPU).eval(), ids)
    assert (logits(loaded(path / "merged"), ids) - trained).abs().max() < 1e-4
    made = (path / "merged" / "model.safetensors").stat().st_mtime_ns
    trained_contender("the student", spec, recipe, path)
    assert (path / "merged" / "model.safetensors").stat().st_mtime_ns == made
    (path / "merged" / "made_from").write_text("another adapter")
    trained_contender("the student", spec, recipe, path)
    assert (path / "merged" / "model.safetensors").stat().st_mtime_ns > made


# -- adapter
# -----------------------------------------------------------------------------------------------


def test_an_adapter_is_loaded_by_peft_from_its_folder_alone(run_path: Path, tmp_path: Path) -> None:
    from peft import AutoPeftModelForCausalLM, PeftModel

    shipped(run_path, "adapter", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(run_path.parents[1] / "tiny")
    ids = prompt_ids(Instance("Sort these."), "alpaca", tokenizer_of(tmp_path / "out"))
    theirs = logits(AutoPeftModelForCausalLM.from_pretrained(str(tmp_path / "out")).eval(), ids)
    ours = logits(
        PeftModel.from_pretrained(
            loaded(run_path.parents[1] / "tiny"), run_path / "adapter"
        ).eval(),
        ids,
    )
    assert (theirs - ours).abs().max() < 1e-5
    assert tokenizer_of(tmp_path / "out").chat_template


def test_an_adapter_names_the_publishers_base(tmp_path: Path) -> None:
    path = train_tiny(workspace(tmp_path / "lab", source="Somebody/Tiny"))
    shipped(path, "adapter", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "Somebody/Tiny"


def test_named_templates_and_the_ends_of_answers_travel_with_the_adapter(tmp_path: Path) -> None:
    from transformers import GenerationConfig

    tokenizer = byte_level()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = {"default": CHATML, "tool_use": CHATML + "T", "rag": "R" + CHATML}
    path = train_tiny(workspace(tmp_path / "lab", tokenizer, chat=True), train={"template": "chat"})
    for format in ("adapter", "merged"):
        out = tmp_path / format
        shipped(path, format, out)
        assert tokenizer_of(out).chat_template == tokenizer.chat_template
        assert (out / "chat_template.jinja").read_text() == CHATML
        assert names(out / "additional_chat_templates") == ["rag.jinja", "tool_use.jinja"]
        ends = GenerationConfig.from_pretrained(str(out), local_files_only=True).eos_token_id
        assert ends == [1, tokenizer.convert_tokens_to_ids("<|im_end|>")]


# -- the template, to the token
# ----------------------------------------------------------------------------

PLAIN = (
    "{system}\n  Q: {instruction}\nGiven: {input}\nA: \n---\n {system} Q: {instruction}\n\n  A: "
)
JINJA = """{% if system %}
  [{{ system }}]
{% endif %}
{% for turn in history %}
{{ turn.role }}: {{ turn.content }}
{% endfor %}
 Q: {{ instruction }}
{% if input %}
   Given: {{ input }}
{% endif %}

A:
"""
ROWS = (
    Instance("Say {{ hi }} and {% this %}.", output="Hi\n"),
    Instance("  Leading\n\nand “quotes” ' \" \\n {instruction} ", output="a"),
    Instance(
        "And 4?",
        output="5",
        system="Be brief.",
        history=(Message("user", "3?"), Message("assistant", "4")),
    ),
)


@pytest.mark.parametrize("template", ["alpaca", PLAIN, JINJA], ids=["alpaca", "plain", "jinja"])
@pytest.mark.parametrize("family", [byte_level, with_bos, closes_itself, metaspace])
def test_the_chat_template_writes_the_tokens_of_training(
    family: Callable[[], Any], template: str
) -> None:
    tokenizer, looked_at = family(), 0
    tokenizer.chat_template = chat_template(template, tokenizer)
    for row in ROWS:
        if unsupported(row, template):
            continue
        looked_at += 1
        turns = [{"role": turn.role, "content": turn.content} for turn in messages(row)]
        text = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        assert tokenizer(text, add_special_tokens=False)["input_ids"] == prompt_ids(
            row, template, tokenizer
        )
        whole = tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": row.output}], tokenize=False
        )
        encoded = encode(row, template, tokenizer, 4096)
        ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
        assert encoded is not None
        assert (ids[:-1] if ids[-2:] == [1, 1] else ids) == encoded.input_ids
    assert looked_at >= 2


def test_a_template_without_a_place_for_turns_answers_the_last_one() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = chat_template("alpaca", tokenizer)
    talk = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    ]
    text = tokenizer.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    last = [{"role": "user", "content": "S\n\ntwo"}]
    assert text == tokenizer.apply_chat_template(last, add_generation_prompt=True, tokenize=False)
    with pytest.raises(Exception, match="no message of a user"):
        tokenizer.apply_chat_template(talk[:1], tokenize=False)


def test_the_students_own_chat_template_stays_as_it_is() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = ROLE_TEMPLATE
    assert chat_template("chat", tokenizer) == ROLE_TEMPLATE


@pytest.mark.parametrize(
    "template", ["{% raw %}{% so %}{% endraw %}{{ instruction }}", "{{ '{% x' + instruction }}"]
)
def test_a_template_that_would_read_otherwise_is_refused(template: str) -> None:
    with pytest.raises(TrainerError, match="cannot be written as a chat template") as caught:
        chat_template(template, byte_level())
    assert "docs/templates.md" in caught.value.hint


# -- whole or not there
# ------------------------------------------------------------------------------------


def _fill(output: Path, needed: int = 0) -> None:
    with new_folder(output, needed) as folder:
        (folder / "file").write_text("x")


def test_a_place_that_is_taken_missing_or_too_small_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "gone").symlink_to("nowhere")
    for taken in ("file", "gone"):
        with pytest.raises(UsageError, match="found something of that name"):
            _fill(tmp_path / taken)
    with pytest.raises(UsageError, match="does not exist") as caught:
        _fill(tmp_path / "no" / "out")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'no'}"
    monkeypatch.setattr(whole_folder, "disk_free", lambda path: 2**30)
    with pytest.raises(StoreError, match=r"about 3\.06 GiB are needed there, 1\.00 GiB are free"):
        _fill(tmp_path / "out", 3 * 2**30)
    assert names(tmp_path) == ["file", "gone"]
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), TrainerError("no"), OSError(28, "No space left on device")]
)
def test_a_folder_that_fails_leaves_no_trace(error: BaseException, tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out", 0) as folder:
            (folder / "half").write_text("x")
            raise error

    expected = StoreError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        fail()
    assert names(tmp_path) == []


def test_a_kill_leaves_nothing_that_looks_whole_and_the_next_export_clears_up(
    tmp_path: Path,
) -> None:
    code = (
        "import os, sys; from pathlib import Path; from localinstruct.store.whole_folder import "
        "new_folder\n"
        "with new_folder(Path(sys.argv[1]), 0) as folder:\n"
        "    (folder / 'half').write_text('x'); os.kill(os.getpid(), 9)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")])
    assert killed.returncode == -signal.SIGKILL
    assert names(tmp_path) == [".out.part"]
    _fill(tmp_path / "out")
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["file"]


# -- the command
# -------------------------------------------------------------------------------------------


def said(*words: str) -> str:
    done = CliRunner().invoke(app, list(words))
    if done.exit_code:
        assert isinstance(done.exception, LocalInstructError), done.exception
        return f"{done.exception.message}\n{done.exception.hint}"
    return done.output


def test_the_command_exports_rows_and_students(run_path: Path, tmp_path: Path) -> None:
    text = said("export", str(run_path), "--format", "merged", "--output", str(tmp_path / "m"))
    assert "loaded again: it loses" in text
    assert f"localinstruct models add NAME {tmp_path / 'm'}" in text
    assert "24 rows in" in said(
        "export", str(run_path), "--format", "jsonl", "--output", str(tmp_path / "rows.jsonl")
    )
    assert "found something of that name" in said(
        "export", str(run_path), "--format", "adapter", "--output", str(tmp_path / "m")
    )
    assert "did you mean 'merged'" in said("export", str(run_path), "--format", "merge")


def test_a_run_without_a_student_says_what_to_do_first(tmp_path: Path, run_path: Path) -> None:
    import shutil

    shutil.copytree(run_path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "adapter")
    assert "localinstruct train run" in said("export", str(tmp_path / "run"), "--format", "merged")
