"""Topic trees that a teacher grows: what a person wrote stays to the letter, what is added is read
back as it was meant."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from typer.testing import CliRunner

from localinstruct.cli.app import app
from localinstruct.cli.topics import grow, initial_text
from localinstruct.errors import RecipeError, TeacherError, UsageError
from localinstruct.records import Completion, Prompt
from localinstruct.topics.coverage import Coverage, leaves
from localinstruct.topics.tree import branches, new_names, new_tree, subtopics_prompt, with_topics
from tests.support.openai_server import Reply, chat, failure, serving_script

More = dict[tuple[str, ...], list[str]]
FILE = """\
# ours, by hand
topics:
  - bread   # the best
  - Cooking:
  - Soup: ~
  - {topic: knots, quota: 3, weight: 2}
  - Letters:
      - to a friend   # keep
      - "to: nobody"

  - Flow: [a, {b: [c]}]
  - Maths:
      sums:
      angles: right
"""


def names_of(text: str) -> list[str]:
    data = yaml.safe_load(text)
    flat = leaves(data.get("topics", data))
    return [leaf["topic"] for leaf in flat if isinstance(leaf, dict)]


def test_every_form_of_a_topic_grows_where_it_stands() -> None:
    paths = [one.path for one in branches(FILE, "t.yaml")]
    assert len(paths) == 14
    more: More = {
        (top,): ["one, two", "three"]
        for top in ("bread", "Cooking", "Soup", "Letters", "Flow", "Maths")
    }
    text = with_topics(FILE, more, "t.yaml")
    assert names_of(text) == [
        "bread: one, two",
        "bread: three",
        "Cooking: one, two",
        "Cooking: three",
        "Soup: one, two",
        "Soup: three",
        "knots",
        "Letters: to a friend",
        "Letters: to: nobody",
        "Letters: one, two",
        "Letters: three",
        "Flow: a",
        "Flow: b: c",
        "Flow: one, two",
        "Flow: three",
        "Maths: sums",
        "Maths: angles: right",
        "Maths: one, two",
        "Maths: three",
    ]
    below: More = {
        ("Maths", "sums"): ["x"],
        ("Maths", "angles"): ["acute"],
        ("Flow", "a"): ["y"],
        ("Flow", "b"): ["z"],
        ("Letters", "to a friend"): ["w"],
        ("bread", "three"): ["no"],
    }
    deeper = names_of(with_topics(text, below, "t.yaml"))
    assert {
        "Maths: sums: x",
        "Maths: angles: acute",
        "Maths: angles: right",
        "Flow: a: y",
        "Flow: b: z",
        "Flow: b: c",
        "Letters: to a friend: w",
        "bread: three: no",
    } <= set(deeper)


def test_what_a_person_wrote_stays_to_the_letter() -> None:
    text = with_topics(FILE, {("Letters",): ["new"], ("Cooking",): ["new"]}, "t.yaml")
    kept = text.splitlines()
    for line in ("      - new", "    - new", "      - new"):
        kept = [one for one in kept if one != line]
    assert kept == FILE.splitlines()
    assert with_topics(FILE, {}, "t.yaml") == FILE
    [was, now] = (
        [one for one in yaml.safe_load(t)["topics"] if "quota" in one] for t in (FILE, text)
    )
    assert was == now


HEADED = """\
Letters:   # by hand
{0}- to a friend   # keep
{0}- to nobody

# for the kitchen
Soup:   # hot
{0}- cold   # yes

# the end
"""


@pytest.mark.parametrize("indent", ["", "  ", "    "])
def test_a_comment_stays_above_what_it_is_about(indent: str) -> None:
    text = HEADED.format(indent)
    grown = with_topics(text, {("Letters",): ["new"], ("Soup",): ["warm"]}, "t.yaml")
    lines = text.splitlines()
    assert grown.splitlines() == [
        *lines[:3],
        f"{indent}- new",
        *lines[3:7],
        f"{indent}- warm",
        *lines[7:],
    ]


def test_any_tree_grows_without_losing_a_topic() -> None:
    rng = Random(7)

    def tree(depth: int) -> object:
        words = [
            f"{rng.choice(['tea', 'no', '1', 'né', 'a b'])} {n}" for n in range(rng.randint(1, 3))
        ]
        if depth == 0 or rng.random() < 0.3:
            return rng.choice([words, None, words[0]])
        return {word: tree(depth - 1) for word in words}

    grew = 0
    for number in range(150):
        data = {f"top {n}": tree(2) for n in range(rng.randint(1, 3))}
        text = yaml.safe_dump(
            data,
            default_flow_style=rng.choice([None, False, True]),
            allow_unicode=True,
            sort_keys=False,
        )
        level = rng.randint(1, 3)
        before = branches(text, "t")
        more = {one.path: [f"new {number}", "it's"] for one in before if len(one.path) == level}
        try:
            after = {one.path for one in branches(with_topics(text, more, "t"), "t")}
        except RecipeError:  # a single name in the place of a list cannot always take more
            continue
        grew += 1
        assert after == {one.path for one in before} | {
            (*path, name) for path, names in more.items() for name in names
        }
    assert grew > 110


@pytest.mark.parametrize(
    "text",
    [
        "a: &x [b]\nc: *x\n",
        "- a\n",
        "a: [b\n",
        "a: |\n  long\n  text\n",
        "",
        "a: {topic: b, quota: 0}",
    ],
)
def test_a_file_that_cannot_grow_is_refused_with_its_name(text: str) -> None:
    with pytest.raises(RecipeError, match=r"topics\.yaml"):
        with_topics(text, {("a",): ["new"], ("a", "long\ntext\n"): ["new"]}, "topics.yaml")


def reply(*names: object) -> Completion:
    return Completion(json.dumps({"topics": names}))


def test_names_that_cannot_be_used_are_counted_with_their_reason() -> None:
    [cooking] = [one for one in branches("Cooking: [Bread]\n", "t") if one.path == ("Cooking",)]
    names, why = new_names(
        reply(" soups\n", "BREAD", "cooking", "", "x" * 61, "a: b", "Soups", "pies", "jam"),
        cooking,
        2,
    )
    assert names == ["soups", "pies"]
    assert why == {
        "named before": 3,
        "empty": 1,
        "too long": 1,
        "with a colon": 1,
        "more than asked for": 1,
    }
    bad: tuple[tuple[Completion, str], ...] = (
        (Completion("{", "length"), "reply cut off"),
        (Completion("[]"), "reply not in form"),
        (Completion("x", "not in form"), "reply not in form"),
    )
    for said, reason in bad:
        assert new_names(said, cooking, 2) == ([], {reason: 1})


def test_the_prompt_names_the_path_what_is_there_and_the_form() -> None:
    [bread] = [
        one
        for one in branches("Cooking: {Bread: [rye]}\n", "t")
        if one.path == ("Cooking", "Bread")
    ]
    prompt = subtopics_prompt(bread, 3)
    said = prompt.messages[0].content
    assert "Name 3 subtopics of this topic: Cooking > Bread" in said
    assert "Already named: rye." in said
    assert '{"topics": [' in said
    form = Draft202012Validator(prompt.schema or {})
    assert form.is_valid({"topics": ["a", "b", "c"]})
    wrong: list[object] = [{"topics": []}, {"topics": ["a"] * 4}, {"topics": [1]}, ["a"], {}]
    assert not any(form.is_valid(other) for other in wrong)


def asker(asked: list[str]) -> Callable[[Sequence[Prompt]], list[Completion]]:
    def ask(prompts: Sequence[Prompt]) -> list[Completion]:
        asked.extend(prompt.messages[0].content for prompt in prompts)
        return [reply(*(f"t{len(asked)} {n}" for n in range(9))) for _ in prompts]

    return ask


def test_a_new_file_grows_level_by_level_and_a_second_time_only_where_something_is_missing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "topics.yaml"
    asked: list[str] = []
    added, why = grow(file, initial_text(file, "Gardening"), 3, 2, asker(asked))
    assert (added, len(asked), why) == (3 + 9, 1 + 3, {"more than asked for": 4 * 6})
    assert len(names_of(file.read_text())) == 9
    assert (
        Coverage.model_validate({"topics": yaml.safe_load(file.read_text())}).topics[8].topic
        == "Gardening: t1 2: t4 2"
    )
    edited = (
        file.read_text()
        .replace("  - t1 1:\n", "  # mine\n  - Roses:\n")
        .replace("      - t4 2\n", "", 1)
    )
    file.write_text(edited)
    assert grow(file, initial_text(file, ""), 3, 2, asker(asked))[0] == 1
    assert "Gardening > t1 0\n" in asked[4]
    assert "Already named: t4 0; t4 1." in asked[4]
    assert file.read_text() == edited.replace("      - t4 1\n", "      - t4 1\n      - t5 0\n", 1)
    assert "# mine\n  - Roses:\n" in file.read_text()


def test_a_level_without_names_is_an_error_and_what_was_added_before_stays(tmp_path: Path) -> None:
    file, levels = tmp_path / "topics.yaml", [[reply("a", "b")], [Completion("", "length")] * 2]
    with pytest.raises(
        TeacherError, match="None of 2 replies named a new topic on level 2: 2 reply cut off"
    ):
        grow(file, new_tree("Tea"), 2, 2, lambda prompts: levels.pop(0))
    assert names_of(file.read_text()) == ["Tea: a", "Tea: b"]


def test_a_file_that_somebody_changed_meanwhile_is_left_to_them(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("Tea:\n")

    def ask(prompts: Sequence[Prompt]) -> list[Completion]:
        file.write_text("Tea: [mine]\n")
        return [reply("a")]

    with pytest.raises(UsageError, match="somebody changed it meanwhile"):
        grow(file, "Tea:\n", 1, 1, ask)
    assert file.read_text() == "Tea: [mine]\n"


def test_a_missing_file_needs_about_and_a_file_that_is_there_does_not(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"t\.yaml: no such file") as refused:
        initial_text(tmp_path / "t.yaml", "")
    assert "--about" in refused.value.hint
    (tmp_path / "t.yaml").write_text("a:\n")
    with pytest.raises(UsageError, match="is there already"):
        initial_text(tmp_path / "t.yaml", "tea")


def test_the_command_asks_freely_where_a_server_refuses_schemas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    socket = tmp_path / "t.sock"
    model = {
        "endpoint": f"unix://{socket}",
        "served_name": "m",
        "roles": ["teacher"],
        "context": 1024,
        "licence": "MIT",
        "about": "x",
    }
    Path("models.yaml").write_text(
        yaml.safe_dump({"m": model | {"chat": True}, "base": model | {"chat": False}}), "utf-8"
    )

    def answer(path: str, request: dict[str, Any], count: int) -> Reply:
        if "response_format" in request:
            return 400, failure("no schemas here")
        topic = request["messages"][0]["content"].splitlines()[0].split(": ")[1]
        names = [f"{'ab'[n]} of {len(topic)}" for n in range(2)]
        return 200, chat(
            "```json\n" + json.dumps({"topics": names}) + "\n```"
            if count < 6
            else "Sure! Topics: x"
        )

    def said(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["topics", "grow", *words])
        problem = result.exception
        return result.exit_code, result.output + getattr(problem, "message", "") + getattr(
            problem, "hint", ""
        )

    with serving_script(socket, answer):
        code, told = said(
            "t.yaml", "--teacher", "m", "--about", "tea", "--branching", "2", "--depth", "2"
        )
        assert code == 0, told
        assert "4 topics added to t.yaml; not used: 1 reply not in form" in " ".join(told.split())
        assert len(names_of(Path("t.yaml").read_text("utf-8"))) == 3
        before = Path("t.yaml").read_text("utf-8")
        code, told = said("t.yaml", "--teacher", "m", "--branching", "2")
        assert code != 0
        assert "None of 1 replies named a new topic on level 2: 1 reply not in form" in told
        assert "expected a chat model, found a base model" in said("t.yaml", "--teacher", "base")[1]
        assert "begins a new one" in said("t.yaml", "--teacher", "m", "--about", "x")[1]
    assert Path("t.yaml").read_text("utf-8") == before
    # and nobody is asked: the server is gone
    Path("long.yaml").write_text("Tea:\n- green\n  and black\n", "utf-8")
    assert "long.yaml: topics cannot be added" in said("long.yaml", "--teacher", "m")[1]
    assert (
        "every topic has 1 below it already"
        in said("t.yaml", "--teacher", "m", "--branching", "1", "--depth", "1")[1]
    )
