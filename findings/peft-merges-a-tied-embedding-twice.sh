#!/bin/sh
# peft 0.21.2: with `ensure_weight_tying=True`, merging adds what was learnt of a tied embedding twice.
#
# Warned that a LoRA on the embedding of a model with tied weights is trouble, one sets `ensure_weight_tying=True`, as
# the warning says. Guess: the two ends then share one change, and the merged model answers as the adapted one. Seen:
# training does share it, but `merge_and_unload` walks over both ends, which are one tensor, and adds the change at
# each: the weight moves by twice what was learnt, and the logits are off by whole units. Adding it once by hand gives
# the adapted model's logits to float32's last digits.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.19.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON'
import warnings

import peft
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

warnings.simplefilter("ignore")
torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=64,
    hidden_size=16,
    intermediate_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=2,
    tie_word_embeddings=True,
)
ids = torch.arange(8)[None]
with torch.no_grad():
    base = LlamaForCausalLM(config).eval()
    before = base.get_input_embeddings().weight.clone()
    lora = LoraConfig(r=4, target_modules=["embed_tokens"], ensure_weight_tying=True)
    adapted = get_peft_model(base, lora).eval()
    for weight in adapted.parameters():
        if weight.requires_grad:
            weight.add_(torch.randn_like(weight) * 0.3)  # as if it had been trained
    change = adapted.base_model.model.model.embed_tokens.get_delta_weight("default").clone()
    wanted = adapted(ids).logits
    merged = adapted.merge_and_unload()
    embedding = merged.get_input_embeddings().weight
    times = ((embedding - before) / change).median().item()
    off = (merged(ids).logits - wanted).abs().max().item()
    embedding.copy_(before + change)
    once = (merged(ids).logits - wanted).abs().max().item()
print("peft", peft.__version__)
print(f"merge_and_unload moves the tied weight by {times:.3f} times what was learnt")
print(f"largest difference of a logit: {off:.2f} as merged, {once:.0e} with the change added once")
assert abs(times - 2) < 1e-3 and off > 1 and once < 1e-4, "merged once now: this finding is over"
PYTHON
