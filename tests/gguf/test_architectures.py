"""Architectures that are read and not written here: random models put into GGUF by llama.cpp's
rules, unpacked again, and held against llama.cpp."""

import json
from pathlib import Path
from typing import Any

import pytest

from localinstruct.training import student
from tests.gguf.test_importing import brought, lab, on_cpu, state  # noqa: F401
from tests.support.gguf_students import save_random, sentencepiece

gguf = pytest.importorskip("gguf", reason="pip install 'localinstruct[gguf]'")
pytest.importorskip("xllamacpp", reason="pip install 'localinstruct[gguf]'")
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
KINDS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gemma3": (
        "gemma3_text",
        {**HEADS, "num_hidden_layers": 6, "sliding_window": 16, "query_pre_attn_scalar": 16},
        {"attention.sliding_window": 16},
    ),
    "gemma2": (
        "gemma2",
        {**HEADS, "sliding_window": 16, "query_pre_attn_scalar": 16},
        {
            "attention.sliding_window": 16,
            "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "phi3": ("phi3", {"pad_token_id": 0}, {}),
}


def put(folder: Path, file: Path, arch_name: str, more: dict[str, Any]) -> Path:
    """A model directory as GGUF: names by the package's own table, norms of Gemma plus one."""
    config = json.loads((folder / "config.json").read_text())
    tokenizer = student.load_tokenizer(folder)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == arch_name)
    writer = gguf.GGUFWriter(file, arch_name)
    layers, width, heads = (
        config[key] for key in ("num_hidden_layers", "hidden_size", "num_attention_heads")
    )
    head = config.get("head_dim") or width // heads
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    rope = config["rope_parameters"]
    writer.add_rope_freq_base(float(rope.get("full_attention", rope)["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    for key, value in more.items():
        add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
        add(f"{arch_name}.{key}", value)
    from localinstruct.gguf.file import _write_tokenizer
    from localinstruct.gguf.vocabulary import vocabulary

    _write_tokenizer(writer, tokenizer, vocabulary(tokenizer, [], config["vocab_size"]))
    names = gguf.get_tensor_name_map(arch, layers)
    for key, weight in state(folder).items():
        if key == "lm_head.weight" and config["tie_word_embeddings"]:
            continue
        offset = 1 if arch_name.startswith("gemma") and "norm" in key else 0
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        writer.add_tensor(name, (weight.float() + offset).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


@pytest.mark.parametrize(
    "arch",
    [
        pytest.param(name, marks=() if name == "gemma3" else pytest.mark.exhaustive)
        for name in KINDS
    ],
)
def test_llama_cpp_and_the_unpacked_model_agree(
    arch: str,
    tmp_path: Path,
    lab: Path,  # noqa: F811
) -> None:
    kind, config, more = KINDS[arch]
    tokenizer = sentencepiece(prefix=False)
    first = save_random(tmp_path / "first", tokenizer, kind, **config)
    imported = brought(put(first, tmp_path / "x.gguf", arch, more), lab)
    before, after = state(first), state(lab / "models" / "mine")
    assert before.keys() == after.keys()
    assert [key for key in before if not (before[key] - after[key]).abs().max() < 1e-6] == []
    facts = dict(imported.facts)
    assert facts["token ids"] == "llama.cpp's are the same for 300 texts"
    assert facts["answers"].startswith("llama.cpp gives the same 20 greedy answers")
