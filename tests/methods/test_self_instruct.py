"""Self-Instruct: its three calls, its parsers, the bugs of the original that do not return, rows of
all four kinds."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from localinstruct.curate.filters import Filters, first_reason
from localinstruct.curate.novelty import Novelty
from localinstruct.formats import read_instances
from localinstruct.generation.stage import make_gate
from localinstruct.methods.examples import read_examples
from localinstruct.methods.prompt_files import prompt_file
from localinstruct.methods.self_instruct import (
    SelfInstructOptions,
    bootstrap_prompt,
    read_instructions,
    read_kinds,
    self_instruct,
)
from localinstruct.progress import Silent
from localinstruct.records import Completion, Instance, PoolView, Prompt, fill
from tests.methods.test_alpaca import SEEDS, golden
from tests.support.episodes import play, reasons_of, rows_of, scripted, told
from tests.support.scripted import HashEncoder

ROOT = Path(__file__).parents[2]
SMALL = SelfInstructOptions(demonstrations=3, kept_demonstrations=0, instructions_per_prompt=4)
SCRIPT: list[list[Completion | str]] = [
    [
        Completion(
            " Explain what SQL is.\n5. Is the review kind or unkind?\n6) Name two NASA "
            "missions.\n7. Cut o",
            "length",
        )
    ],
    [" No", "Yes, it", Completion("", "refused: failed 6 times")],
    [
        "Output: A language for databases.\nExample sentence one. Example 2 follows.\nExample "
        "2\nOutput: Asks for rows.",
        "Class label: kind\nInput: Lovely!\nClass label: unkind\nInput: Awful.\nClass label: "
        "kind\nInput: Lovely!",
    ],
]


def test_episode_golden() -> None:
    ids = {seed.id: seed.name or seed.instruction for seed in SEEDS}
    calls, found = play(self_instruct(PoolView(SEEDS), SMALL, Random(3)), scripted(*SCRIPT))
    golden(
        "self_instruct_episode.json",
        json.dumps(told(calls, found, ids), indent=1, ensure_ascii=False) + "\n",
    )


def test_names_keep_their_capitals_and_both_forms_of_numbers_part_tasks() -> None:
    found, rejects = read_instructions(
        Completion(" Explain SQL to NASA.\n10. Use 3.5 l.\n11) Sing.\n 12 . Hum."), 9, 9
    )
    assert found == ["Explain SQL to NASA.", "Use 3.5 l.", "Sing.", "Hum."]
    assert rejects == []


def test_only_the_cut_instruction_is_lost() -> None:
    found, rejects = read_instructions(
        Completion("One is here.\n10. Two is here.\n11. Thr", "length"), 9, 9
    )
    assert (found, reasons_of(rejects)) == (["One is here.", "Two is here."], ["truncated"])
    assert reasons_of(read_instructions(Completion("", "refused: x"), 9, 9)[1]) == [
        "empty completion"
    ]
    assert reasons_of(read_instructions(Completion("a\n2. b\n3. c"), 1, 2)[1]) == [
        "beyond the list"
    ]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (" Yes", True),
        ("no.", False),
        ("**Yes**", True),
        ("", None),
        ("Perhaps", None),
        ("Yesterday", None),
    ],
)
def test_a_kind_is_said_or_unknown_and_never_guessed(said: str, kind: bool | None) -> None:
    kinds, unclear = read_kinds(["Sort"], [Completion(said)])
    assert kinds.get("Sort") is kind
    assert len(unclear) == (kind is None)


EXAMPLES: list[tuple[str, list[tuple[str, str]], list[str]]] = [
    ("Input: a\nOutput: b\nExample 2\nInput: c\nOutput: d", [("a", "b"), ("c", "d")], []),
    (
        "Output: In Example 2, rest.\nExample words help.",
        [("", "In Example 2, rest.\nExample words help.")],
        [],
    ),
    ("Class label: x\nInput: a\nClass label: y\nInput: b", [("a", "x"), ("b", "y")], []),
    ("Class label: x\nClass label: y", [("", "x"), ("", "y")], []),
    ("Input: <noinput>\nOutput: b", [("", "b")], []),
    ("1. Input:\na\n1. Output:\nb", [("a", "b")], []),
    ("Input: a\nOutput: b\nTask: another\nInput: c\nOutput: d", [("a", "b")], []),
    ("Input: a\nOutput: b\nExample 2\nInput: a\nOutput: c", [], ["same input, other output"] * 2),
    ("Input: a\nOutput: b\nExample 2\nInput: a\nOutput: b", [("a", "b")], ["repeated example"]),
    ("Input: a\nExample 2\nInput: c\nOutput: d", [("c", "d")], ["missing output"]),
    ("I do not know.", [], ["no example"]),
    ("", [], ["no example"]),
]


@pytest.mark.parametrize(("text", "examples", "reasons"), EXAMPLES)
def test_examples_are_read_back(
    text: str, examples: list[tuple[str, str]], reasons: list[str]
) -> None:
    found, rejects = read_examples(text, "stop", 5)
    assert (found, [reject.reason for reject in rejects]) == (examples, reasons)


def test_a_cut_answer_loses_its_last_example_only_and_at_most_five_are_kept() -> None:
    text = "\nExample 2\n".join(f"Input: {n}\nOutput: {n}{n}" for n in range(7))
    found, rejects = read_examples(text, "length", 5)
    assert [one[0] for one in found] == ["0", "1", "2", "3", "4"]
    assert [reject.reason for reject in rejects] == ["truncated", "beyond the examples"]
    assert read_examples("Input: a\nOutput: b\nExample 2\nInput: c", "length", 5)[0] == [("a", "b")]


def test_two_demonstrations_come_from_the_machine_once_it_has_written_some() -> None:
    kept = [Instance(f"Machine task {n} of many.", output="x") for n in range(5)]
    options = SelfInstructOptions()
    seeds = read_instances(ROOT / "seeds/seed_tasks.jsonl", first_instance_only=True)
    for pool, machine in ((PoolView(seeds, kept), 2), (PoolView(seeds), 0)):
        [prompt] = next(self_instruct(pool, options, Random(1)))
        assert prompt.text.count("Machine task") == machine
        assert "\n8. " in prompt.text
        assert prompt.text.endswith("\n9.")
        assert prompt.stop == ("\n\n", "\n16.")


def test_braces_in_a_task_stay_and_every_placeholder_is_filled() -> None:
    task = Instance("Say {next} and {x}.", "{output}", "o")
    for wording in ("self_instruct", "self_instruct_nano"):
        text = bootstrap_prompt([task], SelfInstructOptions(prompts=wording)).text  # type: ignore[arg-type]
        assert "Say {next} and {x}." in text
    assert fill("{a}{b}", a="{b}", b="c") == "{b}c"
    assert prompt_file("self_instruct", "classify").count("Answer: Yes") == 4


def answer_like_a_teacher(prompt: Prompt) -> str:
    """Two tasks of each kind, told apart by their words."""
    last = (
        prompt.text.rstrip().splitlines()[-1]
        if "Task:" not in prompt.text
        else prompt.text.rsplit("Task: ", 1)[1]
    )
    if prompt.text.endswith("Answer:"):
        return " Yes" if "label" in last else " No"
    if "label" in last:
        return (
            "Class label: hot\nClass label: cold"
            if "alone" in last
            else "Class label: hot\nInput: 40 degrees"
        )
    if "write" in last:
        return (
            "Output: Some text."
            if "alone" in last
            else "Input: a word\nOutput: A text about a word."
        )
    number = len(prompt.text)
    return (
        f" Please write number {number} alone.\n10. Please write number {number} from this.\n"
        f"11. Choose the label of {number} alone.\n12. Choose the label of {number} from this."
    )


def test_seeds_of_the_original_format_give_rows_of_all_four_kinds() -> None:
    seeds = read_instances(ROOT / "seeds/seed_tasks.jsonl", first_instance_only=True)
    assert len(seeds) == 175
    assert sum(seed.is_classification for seed in seeds) >= 20
    rows: list[Instance] = []
    for number in range(5):
        _, found = play(
            self_instruct(PoolView(seeds), SelfInstructOptions(), Random(number)),
            answer_like_a_teacher,
        )
        rows += rows_of(found)
    kinds = Counter((row.is_classification, bool(row.input)) for row in rows)
    assert kinds == {(False, False): 5, (False, True): 5, (True, False): 10, (True, True): 5}
    assert {len(row.lineage.parents) for row in rows} == {8}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (Instance("Repeat what I say.", "ping", "ping"), "input equals output"),
        (Instance("List the planets now.", "", "Here they are:"), "trailing colon"),
        (Instance("List these planets now.", "The planets:", "Mars"), "trailing colon"),
        (Instance("List the planets now.", "", " "), "empty output"),
        (Instance("Describe the picture above.", "", "It is red."), "self instruct blacklist"),
        (Instance("List planets now.", "", "Mars"), "alpaca length"),
        (Instance("Choose music for dancing.", "", "A waltz."), None),
    ],
)
def test_the_clean_up_has_named_rules(row: Instance, reason: str | None) -> None:
    reject = first_reason(row, Filters(set="self-instruct"))
    assert (reject.reason if reject else None) == reason


def test_examples_of_one_task_do_not_repeat_each_other() -> None:
    rows = [Instance("Choose the label.", text, "x") for text in ("a", "b")] + [
        Instance("Choose the label.", "a", "y")
    ]
    encoder: Any = HashEncoder()
    for apart, kept in ((True, 2), (False, 1)):
        gate = make_gate(Novelty(examples_apart=apart), SEEDS, encoder, Silent())
        vectors = encoder.encode([row.instruction for row in rows])
        verdicts = gate.admit(rows, vectors)
        assert sum(not hasattr(verdict, "reason") for verdict in verdicts) == kept
        again = gate.admit([Instance("Choose the label.", "new", "x")], vectors[:1])
        assert [getattr(verdict, "reason", "") for verdict in again] == ["too similar"]
