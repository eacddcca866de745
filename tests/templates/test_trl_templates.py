"""Every chat template that TRL ships: rows of every shape in it, counted, one text everywhere."""

from collections import Counter
from pathlib import Path

import pytest

from docs import chat_templates
from docs.chat_templates import TOKENS, shipped, table
from localinstruct.models.template_trial import rendered
from localinstruct.records import Instance
from localinstruct.templates.chat import assembled, talks
from tests.support.case_models import SHAPES
from tests.support.tiny_student import byte_level


def test_every_template_is_in_the_table_and_none_loses_a_word() -> None:
    lines = table()
    assert [line.name for line in lines] == sorted(shipped())
    assert Counter(line.outcome for line in lines) == {"trained": 64, "merged": 2, "as parts": 6}
    assert [line.name for line in lines if line.form.lacks or line.form.problem] == []


def test_the_page_shows_the_table() -> None:
    shown = (Path(chat_templates.__file__).parent / "chat-templates.md").read_text("utf-8")
    assert shown == chat_templates.page(), "run `make docs`"


def test_transformers_writes_what_the_guarded_child_wrote() -> None:
    """So that what was tried before a run is what is trained on."""
    forms = {line.name: line.form.text for line in table()}
    every = [talk for row in SHAPES.values() for talk in talks(row)]
    child = dict(zip(forms, rendered(list(forms.values()), every, TOKENS), strict=True))
    tokenizer = byte_level(bos_token="<s>", eos_token="</s>")
    for name, text in forms.items():
        tokenizer.chat_template = text
        here = [
            tokenizer.apply_chat_template(
                talk.as_dicts(), tokenize=False, add_generation_prompt=talk.opened
            )
            for talk in every
        ]
        assert here == child[name], name


def test_an_answer_with_a_thought_is_learnt_whole_or_left_out() -> None:
    row, words = SHAPES["thinking"], ("Acorns mean oaks.", "The oak.")
    lines = [line for line in table() if "left out" not in line.thoughts]
    assert len(lines) == 70
    texts = rendered([line.form.text for line in lines], talks(row), TOKENS)
    for line, own in zip(lines, texts, strict=True):
        prompt, rest = assembled(row, own)
        assert all(rest.count(word) == 1 and word not in prompt for word in words), line.name
        assert rest.index(words[0]) < rest.index("</think") < rest.index(words[1])


@pytest.mark.parametrize(
    "answer", ["    return x\n    # done", "\treturn x", "a\n    b", " one space"]
)
def test_the_first_line_of_code_keeps_its_indentation(answer: str) -> None:
    row = Instance("Complete the function.", output=answer)
    lines = table()
    texts = rendered([line.form.text for line in lines], talks(row), TOKENS)
    kept = answer if answer.startswith(("    ", "\t")) else answer.strip()
    for line, own in zip(lines, texts, strict=True):
        _, rest = assembled(row, own)
        assert rest.count(kept) == rest.count(answer.strip()) == 1, line.name
