"""Special tokens that a row spells are text: to the letter what the tokenizer makes of other text,
in every kind of tokenizer and template."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localinstruct.errors import ModelError
from localinstruct.formats import read_instances
from localinstruct.records import Instance, Message, Prompt
from localinstruct.templates import IGNORED, encode, encode_all, encode_pair, prompt_ids, render
from localinstruct.templates import special_tokens as special
from tests.support.tiny_student import byte_level
from tests.support.tokenizers_of_kinds import KINDS, many_marks, metaspace, unigram, word_piece
from tests.templates.test_templates import awkward

CASES = Path(__file__).parents[1] / "data" / "cases" / "rows"
Make = Callable[[], Any]


def learnt(example: Any) -> list[int]:
    return [label for label in example.labels if label != IGNORED]


@pytest.mark.parametrize("make", KINDS)
def test_the_copy_reads_all_other_text_as_the_tokenizer_does(make: Make) -> None:
    tokenizer = make()
    for row in awkward()[::3]:
        text = f"{render(row, 'alpaca')[0]}{row.output}{tokenizer.eos_token}"
        whole = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        # a mark in front changes the way a text is read, and nothing else
        assert special.tokens_in(special.MARK + text, tokenizer)[0] == whole["input_ids"]
        assert (
            special.token_ids(special.MARK + text, tokenizer, added=True)
            == (tokenizer(text)["input_ids"])
        )
        places = special.tokens_in(f"{text}{special.MARK}", tokenizer)[1]
        assert places == whole["offset_mapping"]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "said", ["{0}", "Close it with {0}{0}, then go on.", "x{0}", "{0}{0} {0}\n{0}", "<s>{0}</s>"]
)
def test_an_answer_keeps_what_it_spells_and_ends_once(make: Make, said: str) -> None:
    tokenizer = make()
    end = tokenizer.eos_token
    row = Instance(f"What is {end} for?", end, said.format(end))
    example = encode(row, "alpaca", tokenizer, 5000)
    assert example is not None
    inner = example.input_ids[1:-1]  # the tokenizer's own first token, and the end
    assert not {*inner} & {*tokenizer.all_special_ids} - {tokenizer.unk_token_id}
    assert learnt(example)[-1] == tokenizer.eos_token_id
    assert len(learnt(example)) > said.count("{0}")


@pytest.mark.parametrize("make", [*KINDS[:3], KINDS[6]])
def test_tokens_are_those_of_a_tokenizer_that_splits_its_special_tokens(make: Make) -> None:
    tokenizer = make()
    end = tokenizer.eos_token
    row = Instance(f"Is {end} a tag?", "", f"Yes: {end}.")
    example = encode(row, "alpaca", tokenizer, 5000)
    text = "".join(render(row, "alpaca"))
    oracle = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert example is not None
    assert example.input_ids == [*oracle, tokenizer.eos_token_id]


def test_rows_of_other_peoples_files_keep_their_words() -> None:
    tokenizer = byte_level()
    tokenizer.add_special_tokens(
        {"eos_token": "<|endoftext|>", "additional_special_tokens": ["</s>"]}
    )
    made = read_instances(CASES / "22e_special_tokens.jsonl")
    encoded = encode_all(made, "alpaca", tokenizer, 500)
    assert len(encoded.examples) == len(made) == 12
    for row, example in zip(made, encoded.examples, strict=True):
        assert tokenizer.decode(learnt(example)[:-1]) == row.output
        assert not {*tokenizer.all_special_ids} & {*example.input_ids[:-1]}


def test_a_chat_template_keeps_its_own_marks_and_rows_get_none() -> None:
    tokenizer = many_marks()
    start, end, user = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>", "<|user|>"])
    row = Instance(
        "Explain <|im_end|> and <|user|>.",
        "<|IM_START|><|im_start|>",
        "It ends a turn: <|im_end|>",
        system="Never write <|im_end|>.",
        history=(Message("user", "<|user|>?"), Message("assistant", "<|im_start|>!")),
    )
    example = encode(row, "chat", tokenizer, 5000, "all")
    assert example is not None
    counts = [example.input_ids.count(token) for token in (start, end, user)]
    assert counts == [5, 5, 5]  # of the template: system, two of the history, question, answer
    words = tokenizer.decode(example.input_ids)
    assert words.count("<|im_end|>") == 5 + 3
    assert tokenizer.decode(learnt(example)).startswith("<|im_start|>!<|im_end|>")
    asked = Instance("Explain <|im_end|>.", output="x")
    assert prompt_ids(asked, "chat", tokenizer).count(end) == 1


def test_pairs_differ_only_in_their_answers() -> None:
    tokenizer = metaspace()
    row = Instance("Close </s>?", output="</s>", rejected="</s></s>")
    pair = encode_pair(row, "alpaca", tokenizer, 500)
    assert pair is not None
    for ids in (pair.prompt_ids, pair.chosen_ids[:-1], pair.rejected_ids[:-1]):
        assert tokenizer.eos_token_id not in ids
    assert len(pair.rejected_ids) > len(pair.chosen_ids) > 1


def test_marks_of_thoughts_in_an_answer_stay_tokens() -> None:
    tokenizer = many_marks()
    opens, closes = tokenizer.convert_tokens_to_ids(["<think>", "</think>"])
    row = Instance("Is <think> a tag?", output="<think>Hm.</think>No <|im_end|>.")
    example = encode(row, "alpaca", tokenizer, 500)
    assert example is not None
    assert [example.input_ids.count(token) for token in (opens, closes)] == [1, 1]


def test_a_template_file_keeps_its_own_marks() -> None:
    tokenizer = many_marks()
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for template in ("{instruction}<|im_end|>", "{{ instruction | upper }}<|im_end|>"):
        row = Instance("What is <|im_end|>?", output="<|im_end|>")
        example = encode(row, template, tokenizer, 500)
        assert example is not None
        assert example.input_ids.count(end) == 1


@pytest.mark.parametrize("make", [unigram, word_piece, many_marks])
def test_prompts_are_read_as_training_reads_them(make: Make) -> None:
    tokenizer = make()
    end = tokenizer.eos_token
    row = Instance(f"What is {end}?", f"[{end}]")
    text, plain = special.places_of_text(
        render(special.with_texts(row, special.may_be_spelt), "alpaca")[0]
    )
    assert text == render(row, "alpaca")[0]
    prompt = Prompt(text=text, raw=True, plain=plain)
    ids = special.prompt_token_ids(prompt, tokenizer, chat=False)
    assert ids is not None
    assert tokenizer.eos_token_id not in ids[:-1]
    assert prompt_ids(row, "alpaca", tokenizer) in (ids, ids[:-1])
    assert special.prompt_token_ids(Prompt(text="Hello."), tokenizer, chat=False) is None
    raw = Prompt(text=f"Frame{end}", raw=True)
    assert special.prompt_token_ids(raw, tokenizer, chat=True) is None  # the frame's own


def test_a_tokenizer_without_a_file_leaves_such_rows_out_and_says_so() -> None:
    tokenizer = byte_level()

    class Slow:
        """A tokenizer in Python, as far as we use one."""

        eos_token, eos_token_id = tokenizer.eos_token, tokenizer.eos_token_id
        chat_template = None
        added_tokens_decoder = tokenizer.added_tokens_decoder

        def __call__(self, *texts: Any, **options: Any) -> Any:
            return tokenizer(*texts, **options)

    rows = [Instance("Say it.", output="Yes."), Instance("Say it.", output="<|end|>")]
    encoded = encode_all(rows, "alpaca", Slow(), 500)  # type: ignore[arg-type]
    assert (len(encoded.examples), encoded.unreadable, encoded.dropped_too_long) == (1, 1, 0)


TALK = Instance(
    "And now?",
    output="Six it is.",
    history=(
        Message("user", "Five?"),
        Message("assistant", "Yes, five."),
        Message("user", "Four?"),
        Message("assistant", "No, not four."),
    ),
)
OPEN = {  # template of TRL -> what is learnt of the talk, with loss_on all
    "phi3": "Yes, five.<|end|>No, not four.<|end|>Six it is.<|end|>\n<|endoftext|>",
    "phi3_5": "Yes, five.<|end|>No, not four.<|end|>Six it is.<|end|>\n<|endoftext|>",
    "gptoss": "<|channel|>final<|message|>Yes, five.<|channel|>final<|message|>No, not four."
    "<|channel|>final<|message|>Six it is.<|return|><|endoftext|>",
    "llama3": "Yes, five.<|eot_id|>No, not four.<|eot_id|>Six it is.<|eot_id|><|endoftext|>",
    "gemma3": "Yes, five.<end_of_turn>No, not four.<end_of_turn>Six it is.<end_of_turn>"
    "<|endoftext|>",
    "qwen2_5": "Yes, five.<|im_end|>No, not four.<|im_end|>Six it is.<|im_end|><|endoftext|>",
    "cohere": "Yes, five.<|END_OF_TURN_TOKEN|>No, not four.<|END_OF_TURN_TOKEN|>Six it is."
    "<|END_OF_TURN_TOKEN|><|endoftext|>",
    "qwen3_training": "<think>\n\n</think>\n\nYes, five.<|im_end|><think>\n\n</think>\n\nNo, not "
    "four.<|im_end|><think>\n\n</think>\n\nSix it is.<|im_end|><|endoftext|>",
}


def of_trl(name: str) -> Any:
    import trl

    tokenizer = byte_level()
    tokenizer.add_special_tokens({"eos_token": "<|endoftext|>", "bos_token": "<bos>"})
    folder = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (folder / f"{name}.jinja").read_text(encoding="utf-8")
    return tokenizer


@pytest.mark.parametrize(("name", "expected"), OPEN.items(), ids=list(OPEN))
def test_earlier_answers_are_learnt_as_they_stand(name: str, expected: str) -> None:
    tokenizer = of_trl(name)
    example = encode(TALK, "chat", tokenizer, 5000, "all")
    assert example is not None
    assert tokenizer.decode(learnt(example)) == expected


@pytest.mark.parametrize("name", ["qwen3", "qwen3_5_nothink", "qwen3_6"])
def test_answers_that_a_template_writes_otherwise_later_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="earlier answer differently") as refused:
        encode(TALK, "chat", of_trl(name), 5000, "all")
    assert "loss_on=last" in (refused.value.hint or "")


def test_the_file_of_a_tokenizer_is_renamed_whole() -> None:
    data = json.loads(unigram().backend_tokenizer.to_str())
    renamed = special._renamed(data, {"</s>": "END", "<unk>": "WHAT"})
    assert "</s>" not in json.dumps(renamed["model"]["vocab"][:3])
    assert renamed["added_tokens"][0]["content"] == "WHAT"
