"""Model folders as people have them: what `models add`, `doctor` and a training make of each."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.errors import ModelError
from localinstruct.evaluation.answers import trained_contender
from localinstruct.fit import doctor
from localinstruct.machine import look
from localinstruct.models.adding import add_model
from localinstruct.models.catalog import ModelSpec, checked, load_catalog
from localinstruct.models.chat_template import chat_of, own_templates, served_template
from localinstruct.models.preflight import inspect
from localinstruct.models.token_ids import id_problems
from localinstruct.progress import Silent
from localinstruct.recipe import Recipe
from localinstruct.teacher import Serve
from localinstruct.teacher.serving import server_of
from localinstruct.templates import chat, encode
from localinstruct.training.student import load_tokenizer
from tests.support.case_models import SHAPES, STUDENT, make_models
from tests.support.tiny_student import recipe_data

READABLE = [
    "additional",
    "deepseek_r1",
    "eos_missing",
    "gemma_like",
    "jinja_file",
    "named_no_default",
    "named_templates",
    "pad_is_eos",
    "qwen3_like",
    "smolvlm_like",
    "template_drops_system",
    "template_json",
    "unsloth_shards",
]
ENDPOINT = """
away: {endpoint: "http://127.0.0.1:9/v1", served_name: x, context: 64, licence: MIT, roles: [judge]}
"""
REFUSED = {
    "adapter_in_model_dir": "a LoRA adapter lies beside a whole model",
    "adapter_only": "this is a LoRA adapter, not a model",
    "added_tokens_too_many": "3 tokens have ids beyond the embedding, which has 4,096 rows",
    "auto_map": "asks to run code",
    "both_index_and_single": "model-00002-of-00002.safetensors: missing",
    "gguf_beside": "GGUF is not loaded from a directory",
    "llama_original": "a .pth file may run code",
    "models--acme--tiny": "a folder of a hub's cache",
    "pytorch_bin_beside": "a .bin file may run code",
    "trained_by_trainer": "a .bin file may run code",
}
CHAT = [
    "deepseek_r1",
    "gemma_like",
    "named_templates",
    "qwen3_like",
    "smolvlm_like",
    "template_drops_system",
    "template_json",
]
"""Folders with the different chat templates that a student can be trained with."""
NOTED = {
    "deepseek_r1": ["opens a thought before every answer"],
    "gemma_like": ["no place for a system prompt"],
    "smolvlm_like": ["a list of parts"],
    "template_drops_system": ["no place for a system prompt"],
    "named_no_default": ["templates chat, rag, and none of them is its default"],
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("folders") / "models"
    yield make_models(folder)
    shutil.rmtree(folder)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "models.yaml").write_text(ENDPOINT)
    return tmp_path


def test_every_folder_is_in_one_of_the_lists(folders: Path) -> None:
    assert sorted([*READABLE, *REFUSED]) == sorted(path.name for path in folders.iterdir())


def test_readable_folders_are_entered_and_peculiar_templates_named(
    folders: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace)
    for name in READABLE:
        shown = CliRunner().invoke(app, ["models", "add", name, str(folders / name), "--json"])
        assert shown.exit_code == 0, shown.output
        notes = json.loads(shown.stdout)["notes"]
        expected = NOTED.get(name, [])
        assert len(notes) == len(expected), (name, notes)
        assert all(words in note for words, note in zip(expected, notes, strict=True))
    facts = {fact.name: fact for fact in doctor.models(workspace, look())}
    assert "no place for a system prompt" in facts["model gemma_like"].value
    unchosen = facts["model named_no_default"]
    assert not unchosen.ok
    assert "`chat_template: chat` or `chat_template: rag`" in unchosen.fix


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_at_models_add_with_what_to_do(
    name: str, folders: Path, workspace: Path
) -> None:
    with pytest.raises(ModelError) as caught:
        add_model(workspace, "m", folders / name)
    assert REFUSED[name] in caught.value.message
    assert "models verify" not in caught.value.hint  # it has no entry
    assert "localinstruct models add m DIR" in caught.value.hint


def test_the_advice_for_an_adapter_beside_a_model_leads_out(folders: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(folders / "adapter_in_model_dir", tmp_path / "m")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert name in inspect(folder)[0]
        (folder / name).unlink()
    assert inspect(folder) == []


def test_the_advice_for_a_hubs_cache_leads_out(folders: Path, tmp_path: Path) -> None:
    snapshot = folders / "models--acme--tiny" / "snapshots" / "0123abcd"
    assert f"cp -rL {snapshot} FOLDER" in inspect(folders / "models--acme--tiny")[0]
    assert inspect(shutil.copytree(snapshot, tmp_path / "copy")) == []


@pytest.mark.parametrize(
    ("place", "refused"),
    [
        ("vocabulary", True),
        ("added", True),
        ("added_tokens.json", True),
        ("decoder", True),
        ("picture", False),
        ("vocab_size", True),
        ("none", False),
    ],
)
def test_token_ids_are_held_against_the_embedding_wherever_they_stand(
    place: str, refused: bool, tmp_path: Path
) -> None:
    tokenizer: dict[str, Any] = {"model": {"vocab": {"a": 0, "b": 9}}, "added_tokens": []}
    config: dict[str, Any] = {}
    size = 10
    if place == "vocabulary":
        tokenizer["model"]["vocab"]["c"] = 10
    if place in ("added", "picture"):
        text = "<tool>" if place == "added" else "<image_soft_token>"
        tokenizer["added_tokens"].append({"id": 10, "content": text})
    if place == "decoder":
        config["added_tokens_decoder"] = {"10": {"content": "<x>"}}
    if place == "added_tokens.json":
        (tmp_path / place).write_text('{"<x>": 12}')
    if place == "vocab_size":
        size = 9
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"vocab_size": size}}))
    assert bool(id_problems(tmp_path, [])) == refused


def test_the_weights_count_where_the_config_says_more(tmp_path: Path) -> None:
    folder = shutil.copytree(STUDENT, tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    rows = config["vocab_size"]
    tokenizer["added_tokens"].append({"id": rows, "content": "<x>", "special": True})
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": rows + 64}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert f"which has {rows:,} rows" in id_problems(folder, [folder / "model.safetensors"])[0]


@pytest.mark.parametrize("name", CHAT)
def test_a_student_learns_every_word_of_a_row_of_every_shape(name: str, folders: Path) -> None:
    tokenizer = load_tokenizer(folders / name)
    for shape, row in SHAPES.items():
        encoded = encode(row, "chat", tokenizer, 1024)
        assert encoded is not None
        border = encoded.labels.count(-100)
        prompt = tokenizer.decode(encoded.input_ids[:border])
        learnt = tokenizer.decode(encoded.input_ids[border:])
        for turn in chat.messages(row):
            assert turn.content in prompt, (shape, prompt)
        assert "The oak." in learnt or "The beech." in learnt, (shape, learnt)
        assert ("Acorns mean oaks." in learnt) == (shape == "thinking")
        assert encoded.input_ids[-1] == tokenizer.eos_token_id
        opened = [{"role": turn.role, "content": turn.content} for turn in chat.messages(row)]
        text = tokenizer.apply_chat_template(opened, tokenize=False, add_generation_prompt=True)
        assert (
            tokenizer(text, add_special_tokens=False)["input_ids"][:border]
            == (encoded.input_ids[:border])
        )


@pytest.mark.parametrize("name", ["gemma_like", "smolvlm_like", "template_json"])
def test_a_server_gets_the_template_of_training(name: str, folders: Path, tmp_path: Path) -> None:
    spec = ModelSpec(
        name="m", path=str(folders / name), roles=["student"], chat=True, context=64, licence="x"
    )
    template = server_of(spec, Serve(), tmp_path, Silent()).chat_template or ""
    assert template == load_tokenizer(folders / name).chat_template
    assert template.endswith(own_templates(folders / name)["default"])


def test_words_in_parts_and_as_text_are_one_text(folders: Path) -> None:
    """A server hands over what its client sent; vLLM sends parts to such a template."""
    tokenizer = load_tokenizer(folders / "smolvlm_like")
    turns = [{"role": t.role, "content": t.content} for t in chat.messages(SHAPES["both"])]
    parts = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    text, same = (tokenizer.apply_chat_template(one, tokenize=False) for one in (turns, parts))
    assert text == same


@pytest.mark.parametrize("name", ["jinja_file", "named_templates", "additional", "qwen3_like"])
def test_a_template_that_holds_all_stays_the_models_own(name: str, folders: Path) -> None:
    assert served_template(folders / name, None) is None


def test_one_of_several_templates_is_chosen_by_its_name(folders: Path, workspace: Path) -> None:
    folder = folders / "named_no_default"
    assert chat_of(folder) is None
    add_model(workspace, "m", folder)
    path = workspace / "models.yaml"
    path.write_text(path.read_text().replace("  chat: true", "  chat: true\n  chat_template: rag"))
    spec = load_catalog(workspace).get("m")
    assert checked(spec) == folder
    text = own_templates(folder)["rag"]
    assert served_template(folder, spec.chat_template) == text
    assert load_tokenizer(folder, spec.chat_template).chat_template == text
    with pytest.raises(ModelError, match="its templates are chat, rag"):
        checked(spec.model_copy(update={"chat_template": "rug"}))


def test_a_whole_student_keeps_the_template_that_was_chosen_by_its_name(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder has no template of that name any more; the text goes along."""
    monkeypatch.setattr("localinstruct.evaluation.answers.whole_student", lambda *_: None)
    spec = ModelSpec(
        name="m",
        path=str(folders / "named_no_default"),
        roles=["student"],
        chat=True,
        chat_template="rag",
        context=64,
        licence="x",
    )
    run = tmp_path / "runs" / "one"
    tokenizer = load_tokenizer(folders / "named_no_default", "rag")
    tokenizer.save_pretrained(run / "student")
    (run / "student" / "config.json").write_text("{}")
    contender = trained_contender("it", spec, Recipe.model_validate(recipe_data()), run)
    assert contender.spec.chat_template == own_templates(folders / "named_no_default")["rag"]
    assert load_tokenizer(run / "student", "rag").chat_template == tokenizer.chat_template


def test_a_template_of_models_yaml_is_trained_with(folders: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jinja"
    other.write_text("{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}"
                     "{% if add_generation_prompt %}[assistant] {% endif %}")  # fmt: skip
    tokenizer = load_tokenizer(folders / "gemma_like", str(other))
    encoded = encode(SHAPES["system"], "chat", tokenizer, 256)
    assert encoded is not None
    assert "[system] You are a forester.\n[user] Which tree?" in tokenizer.decode(encoded.input_ids)
