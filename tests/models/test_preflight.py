"""The preflight: one sound model directory, and every way in which it can be unsound."""
# ruff: noqa: E501 (tables: one case per line)

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import ModelError
from localinstruct.models import catalog, json_files, preflight, template_trial
from localinstruct.models.catalog import checked, verify
from localinstruct.models.preflight import inspect
from localinstruct.models.safetensors import MAX_HEADER_BYTES, read_header
from localinstruct.models.template_trial import bomb_problem
from tests.support.sound_model import INDEX, SHARDS, TWO, dump, encoder, shard, sound_model, weights


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return sound_model(tmp_path)


def test_the_sound_model_passes(model: Path) -> None:
    assert inspect(model) == []


def entry(**changes: Any) -> dict[str, Any]:
    return {"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16], **changes}}


def link(folder: Path, name: str, target: str) -> None:
    (folder / name).symlink_to(target)


LONG = {
    "loops": "{% for a in range(3000) %}{% for b in range(900) %}{% set c = a * b %}{% endfor %}{% endfor %}",
    "memory": "{% set a = messages[0].content * 14000000 %}{{ messages }}",
    "output": "{% for a in range(20) %}{{ messages }}{% endfor %}",
    "macro": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(16) }}",
    "power": "{{ 9 ** 1000000 > 1 }}",
}
"""Templates that end within a second on a slow machine; `low_limits` are lower."""


@pytest.fixture
def low_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_trial, "SECONDS", 0.05)
    monkeypatch.setattr(template_trial, "MEMORY_BYTES", 64 * 2**20)
    monkeypatch.setattr(template_trial, "OUTPUT_BYTES", 1000)
    for module in (json_files, preflight):
        monkeypatch.setattr(module, "MAX_TEMPLATE_BYTES", 1000)


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda m: (m / "config.json").unlink(), "config.json: missing"),
    "config without type": (lambda m: dump(m / "config.json", {"a": 1}), "config.json: expected an object with model_type"),
    "config a list": (lambda m: dump(m / "config.json", []), "config.json: expected an object with model_type"),
    "config broken": (lambda m: (m / "config.json").write_text("{"), "config.json: not valid JSON"),
    "config too deep": (lambda m: (m / "config.json").write_text("[" * 3_000), "config.json: not valid JSON"),
    "no tokenizer": (lambda m: (m / "tokenizer.json").unlink(), "tokenizer.json (or tokenizer.model"),
    "half a tokenizer": (lambda m: (m / "tokenizer.json").rename(m / "vocab.json"), "tokenizer.json (or tokenizer.model"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), "model.safetensors: missing"),
    "an adapter": (lambda m: (m / "config.json").rename(m / "adapter_config.json"), "this is a LoRA adapter"),
    "shards without index": (lambda m: (m / "model.safetensors").rename(m / "model-00001-of-00002.safetensors"), f"{INDEX}: missing (1 of 2"),
    "a shard missing": (lambda m: (shard(m, SHARDS), (m / SHARDS["b"]).unlink()), f"{SHARDS['b']}: missing, though {INDEX} names it"),
    "an index that leads out": (lambda m: shard(m, {"a": "../x.safetensors"}), f"{INDEX}: expected weight_map"),
    "an empty index": (lambda m: shard(m, {}), f"{INDEX}: expected weight_map"),
    "an index that is wrong": (lambda m: shard(m, {**SHARDS, "c": SHARDS["a"]}), "1 tensors that model.safetensors.index.json names are not in it (c"),
    "code": (lambda m: (m / "modeling.py").write_text(""), "modeling.py: code"),
    "code in a folder": (lambda m: ((m / "sub").mkdir(), (m / "sub" / "X.PY").write_text("")), "sub/X.PY: code"),
    "a library": (lambda m: (m / "kernel.so").write_text(""), "kernel.so: code"),
    **{f"pickled{suffix}": (lambda m, suffix=suffix: (m / f"w{suffix}").write_text(""), f"w{suffix}: a {suffix} file may run code")
       for suffix in (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")},
    "gguf": (lambda m: (m / "w.gguf").write_text(""), "w.gguf: GGUF is not loaded"),
    "auto_map in config": (lambda m: dump(m / "config.json", {"model_type": "x", "auto_map": {"AutoModel": "m.X"}}), "config.json: auto_map: asks to run code"),
    "auto_map, key escaped": (lambda m: (m / "config.json").write_text('{"model_type": "x", "auto\\u005fmap": {"A": "b.C"}}'), "config.json: auto_map"),
    "auto_map in the tokenizer": (lambda m: dump(m / "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.X", None]}}), "tokenizer_config.json: auto_map"),
    "auto_map deep in another file": (lambda m: dump(m / "preprocessor_config.json", {"a": [{"b": {"auto_map": "x.Y"}}]}), "preprocessor_config.json: auto_map"),
    "trust_remote_code": (lambda m: dump(m / "generation_config.json", {"trust_remote_code": True}), "generation_config.json: trust_remote_code"),
    "a module of its own": (lambda m: encoder(m, "os.path.X"), "modules.json: type 'os.path.X' is not one of"),
    "modules not a list": (lambda m: dump(m / "modules.json", {"a": 1}), "modules.json: expected a list of modules"),
    "a link out": (lambda m: link(m, "merges.txt", "/etc/hostname"), "merges.txt: a link that leaves the directory"),
    "a link out, relative": (lambda m: (dump(m.parent / "x.json", {}), link(m, "x.json", "../x.json")), "x.json: a link that leaves"),
    "a folder linked out": (lambda m: link(m, "sub", "/etc"), "sub: a link that leaves the directory"),
    "a link to nowhere": (lambda m: link(m, "x.json", "y.json"), "x.json: a link to y.json, which does not exist"),
    "a pipe": (lambda m: os.mkfifo(m / "x.json"), "x.json: not a regular file"),
    "a large template": (lambda m: (m / "chat_template.jinja").write_text(" " * 2_000), "chat_template.jinja: a chat template of at most 1,000 bytes"),
    "a template that takes too long": (lambda m: (m / "chat_template.jinja").write_text(LONG["loops"]), "chat_template.jinja: a chat template that does not end within 0.05 s"),
    "a template that takes too much memory": (lambda m: (m / "chat_template.jinja").write_text(LONG["memory"]), "chat_template.jinja: a chat template that does not end within 0.05 s and 64 MiB"),
    "a template that writes too much": (lambda m: (m / "chat_template.jinja").write_text(LONG["output"]), "chat_template.jinja: a chat template that writes more than 1,000 bytes"),
    "a template that calls itself too often": (lambda m: dump(m / "tokenizer_config.json", {"chat_template": LONG["macro"]}), "tokenizer_config.json: a chat template that does not end within"),
    "a template with too large a number": (lambda m: dump(m / "tokenizer_config.json", {"chat_template": LONG["power"]}), "tokenizer_config.json: a chat template that does not end within"),
    "a long one among named templates": (lambda m: dump(m / "tokenizer_config.json", {"chat_template": [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": LONG["loops"]}]}), "tokenizer_config.json: a chat template that does not end within"),
    "a long one behind a tag of transformers": (lambda m: dump(m / "chat_template.json", {"chat_template": "{% generation %}" + LONG["loops"] + "{% endgeneration %}"}), "chat_template.json: a chat template that does not end within"),
    "a large template in a config": (lambda m: dump(m / "tokenizer_config.json", {"chat_template": " " * 2_000}), "tokenizer_config.json: a chat template of at most 1,000 bytes"),
    "weights cut off": (lambda m: weights(m / "model.safetensors", TWO, 10), "cut off or a false header"),
    "weights with a tail": (lambda m: weights(m / "model.safetensors", TWO, 99), "77 bytes after the last tensor"),
    "weights of four bytes": (lambda m: (m / "model.safetensors").write_bytes(b"abcd"), "found a file of 4 bytes"),
    "header longer than the file": (lambda m: weights(m / "model.safetensors", TWO, 22, 5_000), "cut off"),
    "header absurdly long": (lambda m: weights(m / "model.safetensors", TWO, 22, MAX_HEADER_BYTES + 1), "a header of at most"),
    "header of 2^63 bytes": (lambda m: weights(m / "model.safetensors", TWO, 22, 2**63), "a header of at most"),
    "header not json": (lambda m: weights(m / "model.safetensors", b"\x80\x04pickle", 0), "expected a header in JSON"),
    "header a list": (lambda m: weights(m / "model.safetensors", b"[1]", 0), "expected a header that is a JSON object"),
    "header too deep": (lambda m: weights(m / "model.safetensors", b"[" * 3_000, 0), "expected a header in JSON"),
    "header without tensors": (lambda m: weights(m / "model.safetensors", {"__metadata__": {}}, 0), "expected at least one tensor"),
    "a tensor twice": (lambda m: weights(m / "model.safetensors", b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}', 1), "a name twice"),
    "unknown dtype": (lambda m: weights(m / "model.safetensors", entry(dtype="PICKLE"), 16), "unknown dtype 'PICKLE'"),
    "dtype a list": (lambda m: weights(m / "model.safetensors", entry(dtype=["F32"]), 16), "unknown dtype ['F32']"),
    "shape too large": (lambda m: weights(m / "model.safetensors", entry(shape=[2, 3]), 16), "hold 16 bytes, shape and dtype need 24"),
    "negative shape": (lambda m: weights(m / "model.safetensors", entry(shape=[-2, -2]), 16), "lists of whole numbers"),
    "offsets backwards": (lambda m: weights(m / "model.safetensors", entry(data_offsets=[16, 0]), 16), "hold -16 bytes"),
    "three offsets": (lambda m: weights(m / "model.safetensors", entry(data_offsets=[0, 16, 16]), 16), "lists of whole numbers"),
    "offsets as text": (lambda m: weights(m / "model.safetensors", entry(data_offsets=["0", "16"]), 16), "lists of whole numbers"),
    "overlap": (lambda m: weights(m / "model.safetensors", {**entry(), "b": {"dtype": "U8", "shape": [9], "data_offsets": [8, 17]}}, 17), "'b': starts inside 'a'"),
    "a gap": (lambda m: weights(m / "model.safetensors", entry(data_offsets=[4, 20]), 20), "starts not right after 'the start'"),
    "entry not an object": (lambda m: weights(m / "model.safetensors", {"a": 5}, 0), "tensor 'a': expected an object"),
    "entry a list": (lambda m: weights(m / "model.safetensors", {"a": [1, 2]}, 0), "tensor 'a': expected an object"),
}  # fmt: skip


@pytest.mark.usefixtures("low_limits")
@pytest.mark.parametrize("kind", BAD)
def test_unsound_models_are_refused_with_the_reason(kind: str, model: Path) -> None:
    spoil, reason = BAD[kind]
    spoil(model)
    problems = inspect(model)
    assert [problem for problem in problems if reason in problem], problems


def test_there_are_enough_unsound_models() -> None:
    assert len(BAD) >= 65  # the promise says 40


def test_unsound_models_are_refused_before_anything_loads(model: Path) -> None:
    """By the gate that every stage passes, with its exit code; not only by the list of problems."""
    refused = 0
    for spoil, reason in (
        BAD[kind] for kind in ("code", "pickled.bin", "auto_map in config", "a link out", "gguf")
    ):
        spoil(model)
        spec = catalog.ModelSpec(
            name="m", path=str(model), roles=["teacher"], context=64, licence="x"
        )
        with pytest.raises(ModelError) as caught:
            checked(spec)
        assert caught.value.exit_code == 3
        assert reason in caught.value.message
        refused += 1
    assert refused == 5


def test_a_wrong_digest_is_refused(model: Path) -> None:
    spec = catalog.ModelSpec(name="m", path=str(model), roles=["teacher"], context=64, licence="x",
                            sha256={"model.safetensors": "0" * 64})  # fmt: skip
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        checked(spec)


def test_honest_templates_pass_the_trial() -> None:
    """With loops, macros, a refusal of its own, and what transformers adds to Jinja."""
    honest = [
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}{% endfor %}",
        "{% macro turn(m) %}{{ m['role'] }}: {{ m['content'] }}{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}",
        "{{ raise_exception('only one turn') }}{{ messages }}",
        "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}{{ strftime_now('%d') }}",
        "{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.content * 3 }}{% endfor %}",
    ]
    assert [bomb_problem(text) for text in honest] == [""] * 5


def test_what_low_limits_refuse_passes_the_real_ones() -> None:
    assert [bomb_problem(text) for text in LONG.values()] == [""] * 5


def test_the_real_limits() -> None:
    assert (template_trial.SECONDS, template_trial.MEMORY_BYTES) == (2, 2**30)
    assert template_trial.OUTPUT_BYTES == json_files.MAX_TEMPLATE_BYTES == 2**20


def test_oversized_json_is_refused_unread(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_files, "MAX_JSON_BYTES", 2**20)
    with (model / "tokenizer.json").open("r+b") as file:
        file.truncate(2**20 + 1)
    assert inspect(model) == [
        "tokenizer.json: expected at most 1 MiB of JSON, found 1,048,577 bytes"
    ]


def test_all_problems_are_named_at_once(model: Path) -> None:
    (model / "config.json").unlink()
    (model / "a.py").touch()
    (model / "b.bin").touch()
    spec = catalog.ModelSpec(name="m", path=str(model), roles=["teacher"], context=64, licence="x")
    with pytest.raises(ModelError) as caught:
        checked(spec)
    assert "3 problems" in caught.value.message
    assert all(
        name in caught.value.message for name in ("config.json", "a.py", "b.bin", str(model))
    )
    assert len(verify(spec)) == 3


ALLOWED: dict[str, Callable[[Path], object]] = {
    "shards": lambda m: shard(m, SHARDS),
    "what hf download leaves": lambda m: ((m / ".cache").mkdir(), (m / ".cache" / "x.lock").touch()),
    "a link inside": lambda m: ((m / "model.safetensors").rename(m / "w.safetensors"), link(m, "model.safetensors", "w.safetensors")),
    "an encoder": lambda m: encoder(m, "sentence_transformers.models.Transformer"),
    "metadata": lambda m: weights(m / "model.safetensors", {"__metadata__": {"format": "pt"}, **TWO}),
    "an empty tensor": lambda m: weights(m / "model.safetensors", {**TWO, "e": {"dtype": "F32", "shape": [0], "data_offsets": [22, 22]}}),
    "a scalar": lambda m: weights(m / "model.safetensors", {"s": {"dtype": "I64", "shape": [], "data_offsets": [0, 8]}}, 8),
    "four-bit values": lambda m: weights(m / "model.safetensors", {"s": {"dtype": "F4", "shape": [6], "data_offsets": [0, 3]}}, 3),
    "a header with blanks at its end": lambda m: weights(m / "model.safetensors", json.dumps(TWO).encode() + b"   "),
    "trust_remote_code false": lambda m: dump(m / "x.json", {"trust_remote_code": False, "auto_map": None}),
    "pictures": lambda m: (m / "x.png").touch(),
}  # fmt: skip


@pytest.mark.parametrize("kind", ALLOWED)
def test_sound_variants_pass(kind: str, model: Path) -> None:
    ALLOWED[kind](model)
    assert inspect(model) == []


def test_init_is_allowed_in_a_package_only(model: Path) -> None:
    (model / "__init__.py").touch()
    (model / "__pycache__").mkdir()
    (model / "__pycache__" / "__init__.cpython-311.pyc").touch()
    assert inspect(model, packaged=True) == []
    assert len(inspect(model)) == 2
    (model / "more.py").touch()
    assert inspect(model, packaged=True) == [
        "more.py: code; a model must run without any of its own"
    ]


def test_a_linked_model_directory_is_followed(model: Path, tmp_path: Path) -> None:
    link(tmp_path, "elsewhere", str(model))
    assert inspect(tmp_path / "elsewhere") == []


def test_headers_of_noise_never_raise(tmp_path: Path) -> None:
    rng, path, sound = random.Random(5), tmp_path / "w.safetensors", json.dumps(TWO).encode()
    unsound = 0
    for _ in range(1_000):
        noise = bytearray(sound)
        for _ in range(rng.randint(1, 3)):
            noise[rng.randrange(len(noise))] = rng.choice(b'[]{}",:0129-aF ')
        weights(path, bytes(noise))
        unsound += bool(read_header(path).problems)
    assert 800 < unsound < 1_000  # a changed name of a tensor is no harm


def test_safetensors_library_agrees_on_our_sound_file(model: Path) -> None:
    from safetensors import safe_open

    with safe_open(model / "model.safetensors", "numpy") as file:
        assert {"a", "b"} == set(file.keys()) == read_header(model / "model.safetensors").tensors
