#!/bin/sh
# transformers 5.19.0 beside llama.cpp (xllamacpp 2026.10.11549): a GGUF file's cuts are read for some names only.
#
# `tokenizer.ggml.pre` of a GGUF file names the rule by which a text is cut before pairs are merged. Guess: transformers
# (`from_pretrained(folder, gguf_file=NAME)`) cuts as the name says, or refuses a name that it does not know. Seen: it
# knows the names of Llama 3, Qwen and some others; for "smollm", "starcoder" and about twenty more that llama.cpp knows, and for
# names that nobody knows, it cuts as GPT-2 does and says nothing. llama.cpp takes the digits of a smollm file one by one,
# transformers reads "1234" as one token: a student that is trained so is asked other tokens by the server.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.19.0 torch==2.13.0 gguf==0.19.0 xllamacpp==2026.10.11549
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import json
import sys
import urllib.request
from pathlib import Path

import gguf
import numpy as np
import transformers
import xllamacpp
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer

folder = Path(sys.argv[1])
letters = sorted(ByteLevel.alphabet())
tokens = [*letters, "12", "34", "1234", "<|end|>"]


def written(name: str) -> Path:
    """A llama of one layer whose tokenizer is cut as `name` says."""
    file, drawn = folder / f"{name}.gguf", np.random.default_rng(0)
    model = gguf.GGUFWriter(file, "llama")
    model.add_context_length(64)
    model.add_embedding_length(32)
    model.add_block_count(1)
    model.add_feed_forward_length(32)
    model.add_head_count(1)
    model.add_layer_norm_rms_eps(1e-5)
    model.add_tokenizer_model("gpt2")
    model.add_tokenizer_pre(name)
    model.add_token_list(tokens)
    model.add_token_types([1] * (len(tokens) - 1) + [3])
    model.add_token_merges(["1 2", "3 4", "12 34"])
    model.add_eos_token_id(len(tokens) - 1)
    shapes = {f"blk.0.attn_{one}.weight": (32, 32) for one in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{one}.weight": (32, 32) for one in ("gate", "up", "down")}
    shapes |= {"blk.0.attn_norm.weight": (32,), "blk.0.ffn_norm.weight": (32,)}
    shapes |= {"output_norm.weight": (32,), "token_embd.weight": (len(tokens), 32)}
    for tensor, shape in shapes.items():
        model.add_tensor(tensor, drawn.standard_normal(shape).astype(np.float32))
    model.write_header_to_file()
    model.write_kv_data_to_file()
    model.write_tensors_to_file()
    model.close()
    return file


def by_llama_cpp(file: Path) -> list[str]:
    parameters = xllamacpp.CommonParams()
    parameters.model.path, parameters.n_ctx, parameters.n_parallel = str(file), 64, 1
    parameters.n_gpu_layers, parameters.offline, parameters.verbosity = 0, True, 1
    parameters.warmup = parameters.ui = False
    parameters.hostnames, parameters.port = ["127.0.0.1"], 0
    server = xllamacpp.Server(parameters)
    body = json.dumps({"content": "1234", "add_special": False}).encode()
    request = urllib.request.Request(
        f"{server.listening_address}/tokenize", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        return [tokens[one] for one in json.load(reply)["tokens"]]


def by_transformers(file: Path) -> list[str]:
    return AutoTokenizer.from_pretrained(folder, gguf_file=file.name).tokenize("1234")


print("transformers", transformers.__version__, "xllamacpp", xllamacpp.__version__)
seen = {}
for name in ("gpt-2", "qwen2", "smollm", "starcoder"):
    file = written(name)
    seen[name] = by_transformers(file), by_llama_cpp(file)
    print(f"{name}: '1234' -> transformers {seen[name][0]}, llama.cpp {seen[name][1]}")
assert seen["gpt-2"] == (["1234"], ["1234"]), "gpt-2 is cut otherwise"
assert seen["qwen2"] == (["1", "2", "3", "4"],) * 2, "qwen2 is cut otherwise"
for name in ("smollm", "starcoder"):
    assert seen[name][1] == ["1", "2", "3", "4"], f"llama.cpp cuts {name} otherwise"
    assert seen[name][0] == ["1234"], f"transformers knows {name} now: this finding is over"
PYTHON
