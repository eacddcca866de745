#!/bin/sh
# trl 1.16.0: assistant_only_loss takes a loss on tokens that the generation prompt has already given.
#
# Guess: the mask that a training template marks is what the model itself has to write: from behind the generation
# prompt to the end of the turn. Seen: in seven templates it begins inside the prompt. Qwen 2.5 learns the line's end
# after "assistant", gpt-oss the whole header "<|start|>assistant", Qwen 3.5 to 3.8 an opened or closed empty thought.
# A server gives these, so they are learnt at once, and a mean loss per token looks better than the answers are: losses
# of two families, or of a mask of one's own and TRL's, cannot be compared.
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
inside = {}
for path in sorted(folder.glob("*_training.jinja")):
    if any(name in path.stem for name in ("vl", "llava", "idefics", "smolvlm")):
        continue
    both = {"chat_template": path.read_text(), "bos_token": "<s>", "eos_token": "</s>"}
    prompts, _ = render_jinja_template([asked], add_generation_prompt=True, **both)
    texts, spans = render_jinja_template([answered], return_assistant_tokens_mask=True, **both)
    begins = spans[0][0][0]
    if texts[0].startswith(prompts[0]) and begins < len(prompts[0]):
        inside[path.stem.removesuffix("_training")] = texts[0][begins : len(prompts[0])]
for family, words in inside.items():
    print(f"{family}: learnt although the prompt ends in it: {words!r}")
assert inside["qwen2_5"] == "\n", "Qwen 2.5's mask begins elsewhere now"
assert inside["gptoss"] == "<|start|>assistant", "gpt-oss's mask begins elsewhere now"
assert inside["qwen3_5_nothink"] == "<think>\n\n</think>\n\n", "Qwen 3.5's mask begins elsewhere now"
assert not {"llama3", "gemma3", "phi3", "qwen3"} & set(inside), sorted(inside)
PYTHON
