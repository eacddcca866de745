"""Where the prompt ends and the answer begins, token by token, for the families of tokenizers and
every kind of template."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from localinstruct.errors import ModelError, RecipeError
from localinstruct.recipe import load_recipe, recipe_from_text
from localinstruct.records import Instance, Message
from localinstruct.templates import IGNORED, Encoded, custom, encode, render, unsupported
from tests.support.tiny_student import CORPUS, ROLE_TEMPLATE, byte_level, metaspace, rows, with_bos

THINKING = (
    "{% for message in messages %}<|{{ message.role }}|>\n"
    "{% if message.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ message.content }}{{ eos_token }}\n{% endfor %}{% if add_generation_prompt "
    "%}<|assistant|>\n{% endif %}"
)
"""Qwen 3's kind: an empty thinking block before a last answer, none before an earlier one."""


def word_bpe() -> Any:
    """The first kind: BPE on words split at blanks, blanks not kept, an unknown token."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE(unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "</s>"], show_progress=False),
    )
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", unk_token="<unk>")


def closes_itself() -> Any:
    """T5's kind: puts its end token behind every text."""
    return with_bos(end_too=True)


def end_named_late() -> Any:
    """R4 of the reference: the special token is '' in the files; the loader names the model's
    own."""
    tokenizer = byte_level(pad_token="<|pad|>")
    tokenizer.eos_token = ""
    with pytest.raises(ModelError, match="no end-of-text token"):
        encode(Instance("Say it.", "", "Yes."), "alpaca", tokenizer, 300)
    tokenizer.eos_token = "<|end|>"
    return tokenizer


def thinking() -> Any:
    """A chat template with a thinking block."""
    tokenizer = byte_level()
    tokenizer.chat_template = THINKING
    return tokenizer


def roles() -> Any:
    """A plain chat template."""
    tokenizer = with_bos()
    tokenizer.chat_template = ROLE_TEMPLATE
    return tokenizer


FAMILIES: tuple[tuple[Callable[[], Any], str], ...] = (
    (word_bpe, "alpaca"),
    (byte_level, "alpaca"),
    (with_bos, "alpaca"),
    (metaspace, "alpaca"),
    (closes_itself, "alpaca"),
    (end_named_late, "alpaca"),
    (thinking, "chat"),
    (roles, "chat"),
)


def learnt(example: Encoded) -> list[int]:
    return [label for label in example.labels if label != IGNORED]


@pytest.mark.parametrize(("make", "template"), FAMILIES)
def test_every_token_of_the_prompt_is_masked_and_every_token_of_the_answer_learnt(
    make: Callable[[], Any], template: str
) -> None:
    tokenizer, looked_at = make(), 0
    for row in rows(60):
        example = encode(row, template, tokenizer, 10_000)
        assert example is not None
        border = example.labels.count(IGNORED)
        assert example.labels == [IGNORED] * border + example.input_ids[border:]
        # it ends users' turns too
        assert example.input_ids.count(tokenizer.eos_token_id) == (2 if make is thinking else 1)
        assert example.input_ids[-1] == tokenizer.eos_token_id
        prompt, answer = render(row, template, tokenizer)
        special = template != "chat"
        asked = tokenizer(prompt, add_special_tokens=special)["input_ids"]
        asked = asked[:-1] if asked[-1] == tokenizer.eos_token_id and special else asked
        assert example.input_ids[:border] == asked  # what the student reads when it is asked
        if not example.merged:
            assert squeezed(tokenizer.decode(learnt(example)[:-1])) == squeezed(
                tokenizer.decode(plain(tokenizer, answer))
            )
        looked_at += border
    assert looked_at > 1000


def plain(tokenizer: Any, text: str) -> list[int]:
    found = tokenizer(text, add_special_tokens=False)["input_ids"]
    return list(found)


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_there_are_enough_families() -> None:
    assert len({make for make, _ in FAMILIES}) >= 6


def test_the_thinking_block_of_a_last_answer_is_learnt() -> None:
    example = encode(Instance("Say it.", "", "Yes."), "chat", thinking(), 500)
    assert example is not None
    assert thinking().decode(learnt(example)) == "<think>\n\n</think>\n\nYes.<|end|>"


TALK = Instance(
    "And now?",
    "",
    "Six.",
    system="Be brief.",
    history=(
        Message("user", "Five?"),
        Message("assistant", "Yes."),
        Message("user", "Sure?"),
        Message("assistant", "Yes,"),
    ),
)


@pytest.mark.parametrize("make", [byte_level, with_bos, metaspace])
def test_all_turns_of_the_assistant_are_learnt_and_nothing_else(make: Callable[[], Any]) -> None:
    tokenizer = make()
    tokenizer.chat_template = ROLE_TEMPLATE
    whole, last = (encode(TALK, "chat", tokenizer, 500, loss_on) for loss_on in ("all", "last"))  # type: ignore[arg-type]
    assert whole is not None
    assert last is not None
    end = tokenizer.eos_token
    assert squeezed(tokenizer.decode(learnt(last))) == squeezed(f"Six.{end}")
    assert squeezed(tokenizer.decode(learnt(whole))) == squeezed(f"Yes.{end}Yes,{end}Six.{end}")
    assert whole.input_ids == last.input_ids
    masked = tokenizer.decode(
        [i for i, label in zip(whole.input_ids, whole.labels, strict=True) if label == IGNORED]
    )
    assert "Yes" not in masked
    assert "Six" not in masked


def test_a_template_that_drops_earlier_thinking_cannot_learn_all_turns() -> None:
    with pytest.raises(ModelError, match="writes an earlier answer differently") as caught:
        encode(TALK, "chat", thinking(), 500, "all")
    assert caught.value.hint == "Use --set train.loss_on=last"
    assert encode(TALK, "chat", thinking(), 500, "last") is not None


# -- template files
# ---------------------------------------------------------------------------------------

PLAIN = "Task: {instruction}\nGiven: {input}\nAnswer:\n---\nTask: {instruction}\nAnswer:"
JINJA = (
    "{% for turn in history %}{{ turn.role }}: {{ turn.content }}\n{% endfor %}user: {{ "
    "instruction }}\nassistant:"
)


def test_a_plain_template_has_a_part_for_rows_without_input() -> None:
    assert render(Instance("Add {input}.", "2", "4"), PLAIN) == (
        "Task: Add {input}.\nGiven: 2\nAnswer:",
        "4",
    )
    assert render(Instance("Sing.", "", "La."), PLAIN) == ("Task: Sing.\nAnswer:", "La.")
    example = encode(Instance("Sing.", "", " La."), PLAIN, byte_level(), 300)
    assert example is not None
    assert byte_level().decode(learnt(example)) == " La.<|end|>"


def test_a_jinja_template_knows_earlier_turns() -> None:
    prompt, answer = render(Instance("And now?", "", "Six.", history=TALK.history), JINJA)
    assert (
        prompt
        == "user: Five?\nassistant: Yes.\nuser: Sure?\nassistant: Yes,\nuser: And now?\nassistant:"
    )
    assert answer == "Six."
    assert unsupported(TALK, JINJA) is None
    assert unsupported(TALK, PLAIN) == "earlier turns of a conversation"


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{{ instruction.__class__.__mro__ }}{{ instruction }}", "unsafe|undefined|not"),
        ("{{ instruction }}{{ unheard_of }}", "unheard_of"),
        ("{% if %}{{ instruction }}", "TemplateSyntaxError"),
        ("{% include '/etc/passwd' %}{{ instruction }}", "cannot be rendered"),
        ("{{ history.append(1) }}{{ instruction }}", "cannot be rendered"),
        ("{% for i in range(10 ** 9) %}x{% endfor %}{{ instruction }}", "cannot be rendered"),
        ("Task: {input}", "leaves the instruction out"),
        ("alpacca", "expected alpaca, chat or a file"),
    ],
)
def test_unusable_or_unsafe_templates_are_refused(template: str, words: str) -> None:
    fault = custom.fault(template)
    assert fault
    assert re.search(words, fault), fault


def test_usable_templates_have_no_fault() -> None:
    assert [custom.fault(template) for template in ("alpaca", "chat", PLAIN, JINJA)] == [None] * 4


def test_a_recipe_holds_the_text_of_its_template_file(tmp_path: Any) -> None:
    (tmp_path / "models.yaml").write_text("{}")
    (tmp_path / "mine.txt").write_text(PLAIN + "\n")
    recipe = tmp_path / "r.yaml"
    head = "name: r\nmodels: {teacher: a, student: b}\nmethod: {alpaca: {}}\n"
    recipe.write_text(head + "train: {template: mine.txt}\n")
    loaded = load_recipe(recipe)
    assert loaded.train.template == PLAIN
    (tmp_path / "mine.txt").unlink()
    assert recipe_from_text(loaded.to_yaml(), "again") == loaded
    with pytest.raises(RecipeError, match=r"mine\.txt: no such file"):
        load_recipe(recipe)
