"""Constraints: what is asked is what is checked, what is kept keeps it, and kinds that may be asked
together can be kept together. Run: pytest tests/methods/test_constraints.py"""

import json
from collections import Counter
from itertools import combinations
from random import Random
from typing import Any

import pytest

from localinstruct.config import parse
from localinstruct.curate.filters import Filters, examine
from localinstruct.errors import RecipeError
from localinstruct.formats import read_instances, write
from localinstruct.formats.checks import keeps, keeps_one, read_checks
from localinstruct.formats.checks_of_form import FAMILIES, FAMILY_OF
from localinstruct.methods.constraint_kinds import (
    KINDS,
    compatible,
    constrained,
    drawn,
    mined,
    repaired,
    sentence,
    wordings,
)
from localinstruct.methods.constraint_repairs import REPAIRS, without_rest
from localinstruct.methods.constraints import (
    HELD_OUT,
    ConstraintsOptions,
    asked,
    constraint_rows,
    constraints,
    is_held_out,
)
from localinstruct.records import Completion, Instance, Lineage, PoolView
from tests.methods.test_alpaca import golden
from tests.support.episodes import play, reasons_of, rows_of, told

ALL = dict.fromkeys(KINDS, 1.0)
REQUEST = "Describe a quiet garden in winter."
PROSE = (
    "A winter garden is quiet (almost silent). Snow lies on the beds, and 2 birds look for seeds; "
    '3 of them sing. People say "it sleeps". Who would walk there? I would! Come and see it.'
)


def test_there_are_kinds_of_every_family_each_in_several_words() -> None:
    assert len(KINDS) >= 40
    assert KINDS.keys() == wordings().keys()
    assert {FAMILY_OF[name] for name in KINDS} == set(FAMILIES)
    assert all(len(set(wording.says)) >= 3 for wording in wordings().values())
    claimed = {name for wording in wordings().values() for name in wording.not_with}
    assert claimed <= {*KINDS, *FAMILIES}
    assert set(REPAIRS) <= set(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_every_wording_says_its_argument(name: str) -> None:
    for number in range(20):
        rng = Random(number)
        [(drawn_name, argument)] = drawn(rng, REQUEST, 1, {name: 1}).items()
        assert drawn_name == name
        assert read_checks({name: argument}, "") == {name: argument}
        said = sentence(name, argument, rng)
        assert "{" not in said
        values = argument if isinstance(argument, list) else [argument]
        assert all(str(value) in said for value in values if value is not True), said
        assert " 1 " not in said or "1 question marks" not in said


# One text that keeps each kind and one that does not, whatever mining and repairs do.
def mended(name: str) -> tuple[Any, str]:
    rng = Random(name)
    [argument] = drawn(rng, REQUEST, 1, {name: 1}).values()
    text = "\n\n".join([PROSE, "1. Second a\n2. Third b\n3. Fourth c\n4. Fifth d\n5. Sixth e"])
    return argument, repaired(text if name in LISTS else PROSE, {name: argument})


LISTS = {"bullets", "numbered", "checkboxes", "alphabetical", "lines", "paragraphs", "divided"}
THIN = {"paragraphs", "divided", "words_between"}
"""Kinds whose argument can ask for more than the text has."""


@pytest.mark.parametrize("name", [name for name in REPAIRS if name not in THIN])
def test_code_brings_a_text_into_form(name: str) -> None:
    argument, text = mended(name)
    assert keeps_one(name, argument, text), (argument, text)


@pytest.mark.parametrize(
    ("name", "argument", "before", "after"),
    [
        ("sentences", 2, "One. Two, e.g. this. Three.", "One. Two, e.g. this."),
        ("max_words", 3, "One two. Three four.", "One two."),
        ("paragraphs", 2, "a\n\nb\n\nc", "a\n\nb"),
        ("divided", 2, "a\n\nb\n\nc", "a\n***\nb"),
        ("bullets", 2, "Here:\n* a\n* b\n* c\nDone.", "Here:\n- a\n- b"),
        ("numbered", 2, "- a\n- b", "1. a\n2. b"),
        ("alphabetical", True, "- pear\n- Apple", "- Apple\n- pear"),
        ("first_word", "Today", "I like it.", "Today, I like it."),
        ("first_word", "Today", "The sea.", "Today, the sea."),
        ("ends_with", "That is all.", "Salt.", "Salt. That is all."),
        ("ends_with", "That is all.", "- a\n- b", "- a\n- b\nThat is all."),
        ("quoted", True, 'He said "no".', "\"He said 'no'.\""),
        ("exclamations", 1, "Yes! No! Maybe.", "Yes! No. Maybe."),
        ("bold", 1, "The garden is here.", "The **garden** is here."),
        (
            "bold",
            1,
            "A never-ending garden's story blooms.",
            "A never-ending garden's **story** blooms.",
        ),
        ("tag", "note", "a", "<note>\na\n</note>"),
        ("lines_start_with", "> ", "a\n\nb", "> a\n> b"),
        ("max_sentences", 1, "No end", "No end"),
        ("sentences", 4, "One.", "One."),
        ("bullets", 2, "none", "none"),
    ],
)
def test_repairs_cut_at_whole_parts_and_invent_nothing(
    name: str, argument: Any, before: str, after: str
) -> None:
    assert repaired(before, {name: argument}) == after


def test_an_unfinished_end_is_left_out() -> None:
    assert without_rest("One. Two is") == "One."
    assert without_rest("- a.\n- b is") == "- a."
    assert without_rest("Nothing whole") == ""


def test_mined_constraints_are_kept_and_compatible() -> None:
    seen = Counter[str]()
    texts = [
        "First winter comes. The garden sleeps at first. Then I rest in other words.",
        PROSE,
        f"# A\n\n{PROSE}",
        "- apple (1)\n- pear (2)",
        '{"answer": "winter"}',
        f"{PROSE}\n\nSecond **part** with NASA and NATO in it [date] [name].\n\nP.S. Write back.",
        "- [ ] call\n- [ ] write\n- [ ] wait?",
        "<<Winter>>\n\n| a | b |\n|---|---|\n| 1 | 2 |",
        "# One\n1. a\n2. b\n\n```\nx = 1\n```",
        "Garden after garden. Is it cold? It was. They slept. We left",
    ]
    for text in texts:
        for number in range(60):
            found = mined(Random(number), text, 3, ALL)
            assert keeps(found, text), (found, text)
            assert all(compatible(one, other) for one, other in combinations(found, 2))
            seen.update(list(found))
    minable = {name for name, kind in KINDS.items() if kind.mine}
    assert minable <= set(seen), minable - set(seen)


def test_kinds_that_exclude_each_other_are_never_drawn_together() -> None:
    for number in range(300):
        found = drawn(Random(number), REQUEST, 5, ALL)
        assert all(compatible(one, other) for one, other in combinations(found, 2))
    for one, other in (
        ("json", "bullets"),
        ("uppercase", "lowercase"),
        ("uppercase", "starts_with"),
        ("no_digits", "numbered"),
        ("sentences", "paragraphs"),
        ("no_letter", "uses_words"),
        ("words", "max_words"),
    ):
        assert not compatible(one, other)
        assert not compatible(other, one)
    assert compatible("max_words", "no_commas")


@pytest.mark.parametrize("name", KINDS)
def test_the_rules_of_cleaning_let_every_kind_pass(name: str) -> None:
    """A text in the form that was asked for is no fault: of each kind some text is kept."""
    texts = [*GOOD.get(name, ()), mended(name)[1], PROSE]
    for number in range(12):
        rng = Random(number)
        [argument] = drawn(rng, REQUEST, 1, {name: 1}).values()
        argument = FIXED.get(name, argument)
        text = next((text for text in texts if keeps_one(name, argument, text)), None)
        if text is not None:
            row = Instance(constrained(Instance(REQUEST), {name: argument}, rng), output=text)
            assert examine(row, Filters()).reject is None, (row, examine(row, Filters()).reject)
            return
    pytest.fail(f"no text keeps {name}")


FIXED: dict[str, Any] = {
    "words": 3,
    "min_words": 30,
    "words_between": [2, 4],
    "sentence_words": 20,
    "lines": 2,
    "paragraphs": 2,
    "divided": 2,
    "word_times": ["garden", 2],
    "questions": 1,
    "last_word": "winter",
    "contains": "at first",
    "contains_one_of": ["at first", "as a result"],
    "uses_words": ["garden"],
    "in_order": ["winter", "garden"],
    "no_letter": "z",
    "json_keys": ["answer", "reason"],
    "headings": 1,
    "table": 2,
    "checkboxes": 2,
    "language": "French",
    "word_in_first_sentence": "winter",
    "word_in_last_sentence": "winter",
    "nth_word": ["winter", 2],
    "paragraph_starts": ["Then", 2],
    "placeholders": 2,
    "parentheses": 1,
    "quotations": 1,
    "numbers": 2,
    "ascending": 2,
    "varied_starts": 3,
}
GOOD: dict[str, list[str]] = {
    "words": ["Snow covers everything."],
    "words_between": ["Snow covers everything."],
    "lines": ["Snow on the beds.\nA bird in the tree."],
    "paragraphs": ["Snow on the beds.\n\nA bird in the tree."],
    "divided": ["Snow on the beds.\n***\nA bird in the tree."],
    "placeholders": ["Dear [name], the garden at [address] sleeps under the snow."],
    "word_times": ["A garden is a garden in winter too."],
    "last_word": ["Few people visit a garden in winter."],
    "ends_with_question": ["The beds sleep under the snow. Who would wake them?"],
    "postscript": ["The beds sleep under the snow.\n\nP.S. The birds do not."],
    "contains": ["It is only cold at first."],
    "contains_one_of": ["It is only cold at first."],
    "in_order": ["In winter the garden sleeps."],
    "json": ['{"garden": "quiet", "season": "winter"}'],
    "json_keys": ['{"answer": "A quiet place.", "reason": "It is winter."}'],
    "checkboxes": ["- [ ] Cover the roses\n- [ ] Feed the birds"],
    "headings": ["# Winter\n\nThe beds sleep under the snow."],
    "title": ["<<A Winter Garden>>\n\nThe beds sleep under the snow."],
    "table": ["| Thing | State |\n|---|---|\n| beds | asleep |\n| birds | hungry |"],
    "code_block": ["```\nsnow on the beds\n```"],
    "language": ["Le jardin est calme en hiver, et la neige est sur les roses du jardin."],
    "word_in_first_sentence": ["In winter the garden is quiet. Nobody comes."],
    "word_in_last_sentence": ["Nobody comes. The garden is quiet in winter."],
    "nth_word": ["Deep winter has come to the garden."],
    "paragraph_starts": ["First it snows.\n\nThen it is quiet."],
    "no_digits": ["The beds sleep under the snow."],
    "numbers": ["There are 3 trees and 12 birds in it."],
    "ascending": ["There are 3 trees and 12 birds in it."],
    "no_commas": ["The beds sleep under the snow."],
    "uses_words": ["In winter the garden sleeps."],
}


FRENCH = (
    "Le jardin est calme en hiver et la neige est sur les roses (2 ou 12) du jardin. "
    'Qui est dans le jardin ? Les oiseaux sont "là" pour la nuit et les enfants ne sont pas là.'
)
MORE = [
    "Deep winter in the garden (all of it). Then the garden sleeps. Birds wait for 2 hours or 12.",
    'Snow falls. "Quiet" is the word. Nobody (nearly) comes at first! Who would in winter?',
    '{"answer": "It is cold at first", "reason": "winter in the garden"}',
    "- a garden in winter\n- beds under snow? (yes)\n\nThen a bird waits. It is winter",
    f"{FRENCH}\n- est dans le jardin\n- la neige",
    f"{FRENCH}\n1. est dans le jardin\n2. la neige\n3. les roses",
    FRENCH,
    "- snow\n- ice\n- frost\n- sleet\n- hail",
    "First winter comes\n\nThen [name] and [address] rest",
    "First it snows in winter. Birds wait there. Who comes?",
    "The beds sleep (all of them). A bird (a small one) waits (for seeds).\nP.S. It is winter.",
    "Deep winter has come.\n\nThen it is quiet in the garden.",
]
"""Texts that keep what PROSE and GOOD do not."""


def test_kinds_that_may_be_asked_together_can_be_kept_together() -> None:
    alone, seen = [], 0
    for one, other in combinations(KINDS, 2):
        if not compatible(one, other):
            continue
        seen += 1
        few = [*GOOD.get(one, ()), *GOOD.get(other, ()), mended(one)[1], mended(other)[1], PROSE]
        few += MORE
        texts = [*few, *(f"{a}\n\n{b}" for a in few[:6] for b in few[:6])]
        asks = [
            {one: first, other: second} for first in arguments(one) for second in arguments(other)
        ]
        if not any(keeps(c, t) or keeps(c, repaired(t, c)) for c in asks for t in texts):
            alone.append((one, other))
    assert seen > 1200
    assert alone == []


def arguments(name: str) -> list[Any]:
    """Arguments that a text of the tests can have; of lengths, any."""
    if name in ("words", "min_words"):
        return list(range(4, 80))
    if name == "words_between":
        return [[low, low + 20] for low in range(2, 60, 6)]
    if name in FIXED:
        return [FIXED[name]]
    return [drawn(Random(n), REQUEST, 1, {name: 1})[name] for n in range(4)]


def answering(*texts: str | Completion) -> Any:
    return lambda prompt: list(texts)


def episode(seed: Instance, texts: Any, **options: Any) -> Any:
    chosen = ConstraintsOptions.model_validate({"answers": 2, "most": 1, **options})
    return play(constraint_rows([seed], chosen, Random(3)), texts)


def only(*names: str) -> dict[str, float]:
    return {name: float(name in names) for name in KINDS}


SEED = Instance(REQUEST, output="The beds sleep under the snow, and a bird waits.")


def test_a_passing_answer_is_kept_with_a_failing_one_beside_it() -> None:
    _, found = episode(
        SEED, answering("Snow, and ice.", "The beds sleep under snow."), kinds=only("no_commas")
    )
    [row] = rows_of(found)
    assert (row.output, row.rejected) == ("The beds sleep under snow.", "Snow, and ice.")
    assert row.lineage.constraints == {"no_commas": True}
    assert (row.lineage.method, row.lineage.scores) == ("constraints/sample", {"passed": 0.5})
    assert row.instruction.startswith(REQUEST)
    assert "comma" in row.instruction


def test_a_passing_answer_that_a_rule_rejects_is_passed_over() -> None:
    _, found = episode(
        SEED,
        answering("As an AI language model I cannot.", "Snow lies there."),
        kinds=only("no_commas"),
    )
    [row] = rows_of(found)
    assert row.output == "Snow lies there."


@pytest.mark.parametrize("way", ["sample", "repair", "mine"])
def test_an_answer_that_repeats_its_demand_is_no_answer(way: str) -> None:
    def copying(prompt: Any) -> list[str]:
        demand = prompt.messages[-1].content.removeprefix(REQUEST).strip()
        return [f"{demand} It sleeps.", "Snow lies there."]

    kinds = only("uppercase" if way == "repair" else "no_commas", "max_words")
    _, found = episode(SEED, copying, kinds=kinds, ways=[way])
    [row] = rows_of(found)
    assert row.output.casefold() == "snow lies there."


def test_the_demanded_words_alone_are_no_answer() -> None:
    def bare(prompt: Any) -> list[str]:
        _, demanded, _ = prompt.messages[-1].content.split('"')
        return [demanded, f"Snow lies there. {demanded}"]

    _, found = episode(SEED, bare, kinds=only("ends_with"))
    [row] = rows_of(found)
    assert row.output.startswith("Snow lies there.")


def test_a_quoted_sentence_is_not_mined_as_json() -> None:
    for number in range(20):
        assert "json" not in mined(Random(number), '"The beds sleep."', 3, ALL)


def test_code_brings_into_form_what_no_answer_has() -> None:
    cut = Completion("Snow lies on the beds. Birds look", "length")
    _, found = episode(SEED, answering("Snow lies here.", cut), kinds=only("uppercase"))
    [row] = rows_of(found)
    assert (row.output, row.rejected) == ("SNOW LIES HERE.", "Snow lies here.")
    assert (row.lineage.method, row.lineage.changes) == (
        "constraints/repair",
        ("brought into form",),
    )
    _, found = episode(SEED, answering(cut, cut), kinds=only("max_words"))
    [row] = rows_of(found)
    assert (row.output, row.rejected) == ("Snow lies on the beds.", "")


def test_constraints_are_mined_from_an_answer_where_nothing_else_helps() -> None:
    kinds = only("json", "no_commas")
    _, found = episode(
        SEED, answering("The beds sleep.", "Snow, ice."), kinds=kinds | {"no_commas": 1e-9}
    )
    [row] = rows_of(found)
    assert (row.output, row.rejected) == ("The beds sleep.", "Snow, ice.")
    assert (row.lineage.method, row.lineage.constraints) == (
        "constraints/mine",
        {"no_commas": True},
    )
    assert "JSON" not in row.instruction


def test_the_rows_own_answer_can_be_mined() -> None:
    _, found = episode(
        SEED,
        answering("?", "?"),
        kinds=only("word_in_first_sentence"),
        own_answer=True,
        ways=["mine"],
    )
    [row] = rows_of(found)
    assert row.output == SEED.output
    assert row.lineage.answered_by == ""


def test_rejects_say_how_many_answers_kept_which_constraint() -> None:
    _, found = episode(SEED, answering("Snow.", "Ice."), kinds=only("json"))
    assert reasons_of(found) == ["constraints not kept"]
    assert found[0].detail == "of 2 whole answers kept: json 0"
    silent = [Completion("", "length")] * 2
    _, found = episode(SEED, answering(*silent), kinds=only("json"))
    assert reasons_of(found) == ["no answer"]


def test_loose_answers_pass_where_that_is_wanted() -> None:
    said = "Sure, here it is, as asked:\nThe beds sleep under snow."
    _, found = episode(
        SEED, answering(said, said), kinds=only("no_commas"), ways=["sample"], loose=True
    )
    assert [row.output for row in rows_of(found)] == [said]
    _, found = episode(SEED, answering(said, said), kinds=only("no_commas"), ways=["sample"])
    assert reasons_of(found) == ["constraints not kept"]


def test_any_answer_is_a_row_that_claims_nothing() -> None:
    _, found = episode(SEED, answering("Snow.", "{}"), kinds=only("json"), ways=["any"])
    [row] = rows_of(found)
    assert (row.output, row.rejected, row.lineage.constraints) == ("Snow.", "", {})
    assert row.lineage.method == "constraints/any"


def test_whole_requests_and_kinds_are_kept_out() -> None:
    seeds = [Instance(f"Describe thing {n}.") for n in range(400)]
    held = [seed for seed in seeds if is_held_out(seed, 0.25)]
    assert 70 <= len(held) <= 130
    assert all(is_held_out(Instance(seed.instruction, output="x"), 0.25) for seed in held)
    options = ConstraintsOptions(answers=1, rounds=2, held_out_requests=0.25)
    for number in range(2 * len(seeds)):
        work = constraints(PoolView(seeds, number=number), options, Random(number))
        calls, found = play(work, answering(PROSE))
        seed = seeds[number % len(seeds)]
        assert bool(calls) is not (seed in held)
        for row in rows_of(found):
            assert row.lineage.parents == (seed.id,)
            assert keeps(row.lineage.constraints, row.output)
            assert not row.lineage.constraints.keys() & set(HELD_OUT)


def test_one_constraint_is_the_commonest_number() -> None:
    rows = [asked(SEED, ConstraintsOptions(), Random(n)) for n in range(300)]
    counts = Counter(len(row.lineage.constraints) for row in rows)
    assert set(counts) == {1, 2, 3}
    assert counts[1] > counts[2] > counts[3]


def test_the_lineage_travels_in_our_own_files(tmp_path: Any) -> None:
    row = Instance("Say it.", output="It.", lineage=Lineage(constraints={"nth_word": ["it", 1]}))
    write([row], "jsonl", tmp_path / "rows.jsonl")
    assert read_instances(tmp_path / "rows.jsonl") == [row]
    assert "constraints" not in Instance("Say it.").to_dict()["lineage"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kinds": {"max_wordz": 1}}, "did you mean 'max_words'"),
        ({"held_out_kinds": ["casing"]}, "no kind of constraint 'casing'"),
        ({"kinds": dict.fromkeys(KINDS, 0)}, "a weight above 0"),
        ({"only": ["uppercas"]}, "did you mean 'uppercase'"),
        ({"only": ["quoted", "title_case"]}, "'title_case' is in only and in held_out_kinds"),
        ({"ways": []}, "ways"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse(ConstraintsOptions, options, "recipe")
    assert words in caught.value.message


def test_only_the_kinds_that_are_named_are_asked_for() -> None:
    options = ConstraintsOptions(only=["quoted", "tag"], kinds={"tag": 3})
    assert options.weights == {"quoted": 1, "tag": 3}
    assert ConstraintsOptions(only=[]).weights == ConstraintsOptions().weights


def test_golden() -> None:
    options = ConstraintsOptions(answers=2)
    replies: list[list[Any]] = [
        [PROSE, "Short."],
        ["- b\n- a", "One. Two."],
        ["No", Completion("Cut", "length")],
    ]
    rows = [SEED, Instance("List two letters."), Instance("Sort.", "b a", "a b")]
    texts = iter(replies)
    calls, found = play(constraint_rows(rows, options, Random(5)), lambda prompt: next(texts))
    golden(
        "constraints_episode.json",
        json.dumps(told(calls, found, {}), indent=1, ensure_ascii=False) + "\n",
    )
