"""What a chat template writes, found by rendering it: the end of a turn, and which of several
templates is meant."""

from typing import Any

import pytest

from localinstruct.errors import ModelError
from localinstruct.templates.rendered import (
    default_template,
    end_ids,
    end_of_turn,
)
from tests.support.tiny_student import byte_level

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA_3 = (
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
PHI_3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
LLAMA_2 = (
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% elif m.role == 'assistant' %} {{ m.content }} {{ eos_token }}{% endif %}{% endfor %}"
)
EARLIER_ONLY = (
    "{% for m in messages %}{{ m.content }}{% if not loop.last %}<|im_end|>{% endif %}{% endfor %}"
)
NO_END = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


def tokenizer_of(template: Any, *special: str) -> Any:
    tokenizer = byte_level(eos_token="<|end|>" if "<|im_end|>" in special else "<|pad|>")
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize(
    ("template", "special", "end"),
    [
        (CHATML, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
        (GEMMA, ("<start_of_turn>", "<end_of_turn>"), "<end_of_turn>"),
        (LLAMA_3, ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"), "<|eot_id|>"),
        (PHI_3, ("<|user|>", "<|assistant|>"), "<|end|>"),
        (LLAMA_2, (), "<|pad|>"),
        (EARLIER_ONLY, ("<|im_end|>",), "<|im_end|>"),
        (NO_END, (), None),
        ("{{ raise_exception('never') }}", (), None),
        ({"default": CHATML, "tool_use": NO_END}, ("<|im_start|>", "<|im_end|>"), "<|im_end|>"),
    ],
    ids=["chatml", "gemma", "llama 3", "phi 3", "llama 2", "earlier", "none", "raises", "named"],
)
def test_the_end_of_a_turn_is_the_token_the_template_writes_after_an_answer(
    template: Any, special: tuple[str, ...], end: str | None
) -> None:
    tokenizer = tokenizer_of(template, *special)
    assert end_of_turn(tokenizer) == end
    expected = [tokenizer.eos_token] + ([end] if end and end != tokenizer.eos_token else [])
    assert end_ids(tokenizer) == tokenizer.convert_tokens_to_ids(expected)


def test_several_templates_without_a_default_are_named() -> None:
    with pytest.raises(ModelError, match="named default, found only chat, rag"):
        default_template(tokenizer_of({"rag": CHATML, "chat": CHATML}))
    assert default_template(tokenizer_of({"default": CHATML, "rag": GEMMA})) == CHATML
