#!/bin/sh
# trl 1.16.0: a third of its training templates trim the assistant's answer.
#
# Guess: a template may trim what a user typed, but an answer that is to be learnt goes in as it stands; the docs of
# "training" templates promise a prefix that stays, and a mask of the answer. Seen: Gemma, Llama 3, GLM, Cohere and
# Qwen 3.5 and later cut the blanks before an answer's first line. In prose nothing is lost. An answer that continues
# code ("    return x" and more lines) keeps the depth of every line but the first, and the student learns that.
# Qwen 2.5, Qwen 3, Phi, LFM2, DeepSeek and gpt-oss keep them.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.19.0 jinja2
"$folder/venv/bin/pip" install --quiet --no-deps trl==1.16.0
"$folder/venv/bin/python" - <<'PYTHON'
import importlib.metadata
import importlib.util
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

folder = Path(importlib.util.find_spec("trl").submodule_search_locations[0]) / "chat_templates"
answer = "    if x:\n        return 1\n    return 0"
talk = [
    {"role": "user", "content": [{"type": "text", "text": "Go on: def f(x):"}]},
    {"role": "assistant", "content": [{"type": "text", "text": answer}]},
]
plain = [{**turn, "content": turn["content"][0]["text"]} for turn in talk]
trimmed, kept = [], []
for path in sorted(folder.glob("*_training.jinja")):
    in_parts = any(name in path.stem for name in ("vl", "llava", "idefics", "smolvlm"))
    texts, _ = render_jinja_template(
        [talk if in_parts else plain],
        chat_template=path.read_text(),
        bos_token="<s>",
        eos_token="</s>",
    )
    family = path.stem.removesuffix("_training")
    (kept if answer in texts[0] else trimmed).append(family)
    assert answer.strip() in texts[0], family
print("trl", importlib.metadata.version("trl"), "- templates for training")
print("first line's indentation trimmed:", *trimmed)
print("kept:", *kept)
assert {"gemma3", "llama3", "glm4moe", "qwen3_8"} <= set(trimmed), "no longer trimmed"
assert {"qwen2_5", "qwen3", "phi3", "gptoss"} <= set(kept), "trimmed now"
PYTHON
