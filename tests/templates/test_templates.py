import copy
from dataclasses import replace
from typing import Any

import pytest

from localinstruct.errors import ModelError
from localinstruct.formats import user_turn
from localinstruct.records import Instance, Message
from localinstruct.templates import IGNORED, Encoded, encode, encode_all, messages, render
from tests.support.tiny_student import ROLE_TEMPLATE, byte_level, metaspace, rows, with_bos

ASKED = Instance("Add the numbers.", "2, 3", "5")
TALK = Instance(
    "And now?", "", "Six.", history=(Message("user", "Five?"), Message("assistant", "Yes."))
)


def awkward() -> list[Instance]:
    """Rows that go wrong first: no answer, blanks at the border, long prompts, long answers, odd
    characters."""
    made = rows(200)
    made += [Instance(row.instruction, row.input, f" {row.output}") for row in rows(10, seed=1)]
    made += [
        Instance(row.instruction, row.input, f"\n{row.output}\n\n") for row in rows(10, seed=2)
    ]
    made += [Instance(f"Repeat: {'house ' * n}", "", "no") for n in range(5, 60, 5)]
    made += [Instance("Count.", "東京 🙂\t" * n, "naïve café " * n) for n in range(1, 12)]
    made += [Instance("Go on.", "", "naïve café 東京 " * n) for n in range(10, 80, 10)]
    made += [
        Instance("Use {braces} and ### marks.", "{input} \\n", "### Response: {output}"),
        Instance("Say nothing."),
    ]
    made += [Instance(" Leading space", " ", "An input of one space is an input.")]
    return made


def alpaca_preprocessing(made: list[Instance], tokenizer: Any, longest: int) -> list[Encoded]:
    """What Alpaca's train.py feeds its model, said again from its description: T2-T7 of the
    reference."""
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": "[PAD]"})

    def ids(text: str) -> Any:
        return tokenizer(
            text, return_tensors="pt", padding="longest", max_length=longest, truncation=True
        ).input_ids[0]

    result = []
    for row in made:
        head = "Below is an instruction that describes a task"
        head += (
            ", paired with an input that provides further context. " if row.input != "" else ". "
        )
        head += "Write a response that appropriately completes the request.\n\n"
        prompt = f"{head}### Instruction:\n{row.instruction}\n\n"
        prompt += f"### Input:\n{row.input}\n\n" if row.input != "" else ""
        prompt += "### Response:"
        whole = ids(prompt + row.output + tokenizer.eos_token)
        labels = whole.clone()
        labels[: int(ids(prompt).ne(tokenizer.pad_token_id).sum())] = -100
        result.append(Encoded(whole.tolist(), labels.tolist()))
    return result


@pytest.mark.parametrize("make", [byte_level, with_bos, metaspace])
def test_ids_and_labels_equal_alpacas(make: Any) -> None:
    tokenizer, made, longest = make(), awkward(), 160
    theirs = alpaca_preprocessing(made, tokenizer, longest)
    ours = [encode(row, "alpaca", tokenizer, longest) for row in made]
    learnable = [bool({*labels} - {IGNORED}) for labels in (example.labels for example in theirs)]
    assert [
        example is not None for example in ours
    ] == learnable  # only rows without a label to learn are left out
    pairs = [(mine, other) for mine, other in zip(ours, theirs, strict=True) if mine]
    assert len(pairs) >= 200
    for mine, other in pairs:
        assert (mine.input_ids, mine.labels) == (other.input_ids, other.labels)
    counted = encode_all(made, "alpaca", tokenizer, longest)
    assert counted.dropped_too_long == learnable.count(False) > 0
    assert (
        counted.truncated
        == sum(example.labels[-1] != tokenizer.eos_token_id for example, _ in pairs)
        > 0
    )
    assert len(counted.examples) == len(pairs)


@pytest.mark.parametrize("make", [byte_level, with_bos, metaspace])
def test_every_whole_answer_ends_in_one_learnt_end_token(make: Any) -> None:
    tokenizer = make()
    for row in awkward():
        example = encode(row, "alpaca", tokenizer, 10_000)
        assert example is not None
        assert not example.truncated
        assert example.labels[-1] == example.input_ids[-1] == tokenizer.eos_token_id
        assert example.input_ids.count(tokenizer.eos_token_id) == 1


def test_the_answer_and_nothing_else_is_learnt() -> None:
    tokenizer = byte_level()
    example = encode(ASKED, "alpaca", tokenizer, 500)
    assert example is not None
    assert tokenizer.decode([label for label in example.labels if label != IGNORED]) == "5<|end|>"


def test_a_tokenizer_that_closes_every_text_itself_gives_the_same_rows() -> None:
    for row in rows(50):
        assert encode(row, "alpaca", with_bos(end_too=True), 500) == encode(
            row, "alpaca", with_bos(), 500
        )


def test_cut_answers_are_as_long_as_allowed_and_flagged() -> None:
    whole = encode(ASKED, "alpaca", byte_level(), 10_000)
    assert whole is not None
    cut = encode(ASKED, "alpaca", byte_level(), len(whole.input_ids) - 1)
    assert cut == Encoded(whole.input_ids[:-1], whole.labels[:-1], truncated=True)
    assert encode(ASKED, "alpaca", byte_level(), len(whole.input_ids) - 2) is None


def test_a_token_across_the_border_is_counted() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens([":Same"])
    found = encode_all([Instance("Say it.", "", "Same"), ASKED], "alpaca", tokenizer, 500)
    assert found.merged == 1


@pytest.mark.parametrize("missing", [None, ""])
def test_a_student_without_end_token_is_refused(missing: str | None) -> None:
    tokenizer = byte_level(pad_token="<|pad|>")
    tokenizer.eos_token = missing
    with pytest.raises(ModelError, match="no end-of-text token"):
        encode(ASKED, "alpaca", tokenizer, 500)


def test_chat_renders_system_and_earlier_turns_and_learns_the_last_answer() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = ROLE_TEMPLATE
    row = Instance("And now?", "2, 3", "Six.", system="Be brief.", history=TALK.history)
    prompt, answer = render(row, "chat", tokenizer)
    assert (
        prompt
        == "<|system|>Be brief.<|user|>Five?<|assistant|>Yes.<|end|>\n<|user|>And now?\n\n2, "
        "3<|assistant|>"
    )
    assert answer == "Six."
    example = encode(row, "chat", tokenizer, 500)
    assert example is not None
    assert (
        tokenizer.decode([label for label in example.labels if label != IGNORED]) == "Six.<|end|>"
    )


def test_the_users_turn_is_that_of_the_exports() -> None:
    for row in (ASKED, TALK):
        assert messages(row)[-1] == Message("user", user_turn(row))


def test_a_base_has_no_chat_template() -> None:
    with pytest.raises(ModelError, match="no chat template") as caught:
        render(ASKED, "chat", byte_level())
    assert "train.template=alpaca" in caught.value.hint


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        (
            "{% if add_generation_prompt %}a{% else %}b{% endif %}{{ messages[0].content }}",
            "differently once it is answered",
        ),
    ],
)
def test_unusable_chat_templates_are_refused(broken: str, words: str) -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = broken
    with pytest.raises(ModelError, match=words):
        render(ASKED, "chat", tokenizer)


def test_alpaca_has_no_place_for_earlier_turns_and_such_rows_are_counted() -> None:
    made = [ASKED, TALK, TALK, Instance("Hi", "", "Hello", system="Be brief.")]
    encoded = encode_all(made, "alpaca", byte_level(), 500)
    assert len(encoded.examples) == 2
    assert encoded.refused == {"has no place for earlier turns of a conversation": 2}


@pytest.mark.parametrize("template", ["alpaca", "Task: {instruction}\nAnswer:"])
def test_a_system_prompt_without_a_place_stands_before_the_users_first_words(template: str) -> None:
    row = Instance("Hi", "there", "Hello", system="Be brief.")
    merged = replace(row, system="", instruction="Be brief.\n\nHi")
    assert render(row, template) == render(merged, template)
    assert encode(row, template, byte_level(), 500) == encode(merged, template, byte_level(), 500)


def test_with_earlier_turns_it_stands_before_the_first_of_them() -> None:
    template = (
        "{% for one in history %}{{ one.role }}: {{ one.content }}\n{% endfor %}{{ instruction }}"
    )
    history = (Message("user", "One?"), Message("assistant", "1"))
    row = Instance("Two?", output="2", system="Be brief.", history=history)
    assert render(row, template)[0] == "user: Be brief.\n\nOne?\nassistant: 1\nTwo?"
