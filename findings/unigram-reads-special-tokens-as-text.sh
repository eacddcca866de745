#!/bin/sh
# tokenizers 0.23.3: "encode special tokens as text" does not hold for Unigram models.
#
# `Tokenizer.encode_special_tokens = True` (what `split_special_tokens=True` of transformers sets) keeps the added
# tokens of a tokenizer from being found in a text. Guess: "</s>" in a text is then read as ordinary pieces. Seen: a
# Unigram model has its special tokens among its pieces, with a score of 0, so the model itself finds "</s>" as one
# piece and gives the id of the end of text. BPE and WordPiece models read it as letters, as one would expect.
# Whoever trains on texts about HTML with a T5-, XLM-R- or Gemma-like tokenizer gets an end of text inside a row.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tokenizers==0.23.3
"$folder/venv/bin/python" - <<'PYTHON'
import string

import tokenizers
from tokenizers import Tokenizer, models

letters = list(string.ascii_lowercase + "</>")
unigram = Tokenizer(
    models.Unigram([("<unk>", 0.0), ("</s>", 0.0), *((x, -5.0) for x in letters)], unk_id=0)
)
bpe = Tokenizer(models.BPE({"</s>": 0, **{x: n for n, x in enumerate(letters, 1)}}, merges=[]))
seen = {}
for name, tokenizer in (("Unigram", unigram), ("BPE", bpe)):
    tokenizer.add_special_tokens(["</s>"])
    tokenizer.encode_special_tokens = True
    seen[name] = tokenizer.encode("a</s>b").tokens
print("tokenizers", tokenizers.__version__)
for name, tokens in seen.items():
    print(f"{name}: 'a</s>b' with encode_special_tokens = True -> {tokens}")
assert seen["BPE"] == ["a", "<", "/", "s", ">", "b"], "BPE no longer reads the letters"
assert seen["Unigram"] == ["a", "</s>", "b"], "Unigram reads the text now: this finding is over"
PYTHON
