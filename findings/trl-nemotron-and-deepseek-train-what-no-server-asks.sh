#!/bin/sh
# trl 1.16.0: its training templates of Nemotron 3 and DeepSeek teach a beginning of the answer that no prompt leads to.
#
# Guess: what `add_generation_prompt=True` renders is a prefix of the same talk with its answer, so that a student is
# asked in the words it was trained behind. Seen: for an answer without thoughts, the prompt ends in "<think>" and a
# line's end, while the trained text has "<think></think>" (Nemotron 3, all four) or no thought at all (DeepSeek V3,
# R1-distill). At the first word the served student stands behind tokens that it never saw in training. The other
# families keep the prefix, also those that open a thought (Qwen 3.5 and later write an empty one).
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
asked = [{"role": "user", "content": "Which tree bears acorns?"}]
answered = [*asked, {"role": "assistant", "content": "The oak."}]
print("trl", importlib.metadata.version("trl"), "- templates for training")
broken, whole = set(), set()
for path in sorted(folder.glob("*_training.jinja")):
    if any(name in path.stem for name in ("vl", "llava", "idefics", "smolvlm")):
        continue
    both = {"chat_template": path.read_text(), "bos_token": "<s>", "eos_token": "</s>"}
    prompts, _ = render_jinja_template([asked], add_generation_prompt=True, **both)
    texts, _ = render_jinja_template([answered], **both)
    family = path.stem.removesuffix("_training")
    if texts[0].startswith(prompts[0]):
        whole.add(family)
        continue
    broken.add(family)
    print(f"{family}: the prompt ends in {prompts[0][-20:]!r}, the trained text in {texts[0][-60:]!r}")
print("a prefix in:", *sorted(whole))
assert all(name.startswith(("nemotron_3", "deepseek")) for name in broken), sorted(broken)
assert len(broken) == 6, sorted(broken)
PYTHON
