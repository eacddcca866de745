"""The shipped seed tasks: schema, Alpaca's own filters, variety, and the numbers that
seeds/README.md states.

Reads the real files with the standard library only, so that a mistake in the package cannot hide
one in the seeds.
"""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

SEEDS = Path(__file__).parents[2] / "seeds" / "seed_tasks.jsonl"
README = SEEDS.with_name("README.md")

TASKS = 175
PAIRS = TASKS * (TASKS - 1) // 2
KEYS = ["id", "name", "instruction", "instances", "is_classification", "domain"]

# Words that Alpaca's filter refuses in an instruction, because a language model cannot do what they
# ask for.
REFUSED = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go "
    r"to|video|audio|music|flowchart|diagram)\b",
    re.IGNORECASE,
)
PLACEHOLDER = re.compile(
    r"\[(your|my|insert|name|date|company|recipient|product)\b[^\]]*\]|https?://|\bTODO\b",
    re.IGNORECASE,
)

Task = dict[str, Any]


def tokens(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def common_subsequence(left: list[str], right: list[str]) -> int:
    """Length of the longest common subsequence, one bit of a whole number per token of `left`
    (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, token in enumerate(left):
        places[token] = places.get(token, 0) | 1 << place
    mask = (1 << len(left)) - 1
    row = mask
    for token in right:
        matched = row & places.get(token, 0)
        row = ((row + matched) | (row - matched)) & mask
    return len(left) - row.bit_count()


def rouge_l(left: list[str], right: list[str]) -> float:
    return 2 * common_subsequence(left, right) / (len(left) + len(right))


def texts(task: Task) -> list[str]:
    return [text for case in task["instances"] for text in (case["input"], case["output"])]


def first_words(seeds: list[Task]) -> Counter[str]:
    return Counter(tokens(task["instruction"])[0] for task in seeds)


def without_input(task: Task) -> bool:
    return all(case["input"] == "" for case in task["instances"])


@pytest.fixture(scope="module")
def seeds() -> list[Task]:
    rows = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == TASKS
    return rows


@pytest.fixture(scope="module")
def similarities(seeds: list[Task]) -> list[float]:
    scores = [
        rouge_l(left, right)
        for left, right in combinations([tokens(task["instruction"]) for task in seeds], 2)
    ]
    assert len(scores) == PAIRS == 15_225
    return scores


def test_rouge_l_agrees_with_cases_worked_out_by_hand() -> None:
    assert common_subsequence(list("abcbdab"), list("bdcaba")) == 4
    assert common_subsequence([], ["a"]) == 0
    assert rouge_l(tokens("The cat sat."), tokens("the CAT, sat")) == 1
    assert rouge_l(
        tokens("police killed the gunman"), tokens("police kill the gunman")
    ) == pytest.approx(0.75)
    assert rouge_l(tokens("one two"), tokens("three")) == 0


def test_every_row_has_the_schema_and_nothing_else(seeds: list[Task]) -> None:
    for number, task in enumerate(seeds):
        assert list(task) == KEYS
        assert task["id"] == f"seed_task_{number}"
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", task["name"]), task["name"]
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", task["domain"]), task["domain"]
        assert isinstance(task["is_classification"], bool)
        assert task["instances"], task["name"]
        for case in task["instances"]:
            assert list(case) == ["input", "output"], task["name"]
    assert len({task["name"] for task in seeds}) == TASKS
    assert len({task["instruction"].casefold() for task in seeds}) == TASKS


def test_texts_are_finished(seeds: list[Task]) -> None:
    looked_at = 0
    for task in seeds:
        for text in (task["instruction"], *texts(task)):
            looked_at += 1
            assert text == text.strip(), task["name"]
            assert not PLACEHOLDER.search(text), task["name"]
            assert "###" not in text, f"{task['name']}: the prompt's own separator"
            assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\ufffd]", text), task["name"]
        assert all(case["output"] for case in task["instances"]), task["name"]
        inputs = [case["input"] for case in task["instances"]]
        assert len(set(inputs)) == len(inputs), task["name"]
    assert looked_at == TASKS + 2 * sum(len(task["instances"]) for task in seeds)
    assert looked_at == 593


def test_every_instruction_survives_alpacas_filters(seeds: list[Task]) -> None:
    for task in seeds:
        instruction = task["instruction"]
        assert 3 < len(instruction.split()) <= 150, instruction
        assert re.match(r"[A-Za-z]", instruction), instruction
        assert not REFUSED.search(instruction), instruction
        assert not instruction.startswith("Write a program"), instruction


def test_classification_tasks_name_their_labels_and_vary_them(seeds: list[Task]) -> None:
    tasks = [task for task in seeds if task["is_classification"]]
    assert len(tasks) == 34
    for task in tasks:
        labels = [case["output"] for case in task["instances"]]
        assert len(set(labels)) >= 2, task["name"]
        assert all(case["input"] for case in task["instances"]), task["name"]
        for label in labels:
            assert label.lower() in task["instruction"].lower(), (task["name"], label)
    assert sum(len(task["instances"]) for task in tasks) == 68
    assert max(Counter(task["instances"][0]["output"] for task in tasks).values()) <= 2


def test_openings_vary(seeds: list[Task]) -> None:
    openings = first_words(seeds)
    assert openings.total() == TASKS
    assert max(openings.values()) <= 12
    assert len(openings) >= 100


def test_outputs_vary_in_length_and_shape(seeds: list[Task]) -> None:
    outputs = [task["instances"][0]["output"] for task in seeds]
    lengths = sorted(len(output.split()) for output in outputs)
    assert len(lengths) == TASKS
    assert lengths[0] == 1
    assert lengths[-1] <= 250
    assert sum(length >= 150 for length in lengths) >= 10
    assert sum(output.startswith(("{", "[")) for output in outputs) >= 4, "JSON"
    assert sum("|---" in output for output in outputs) >= 10, "tables"


def test_no_two_instructions_are_alike(similarities: list[float]) -> None:
    assert max(similarities) <= 0.6
    assert sum(similarities) / PAIRS <= 0.10


def test_json_outputs_parse(seeds: list[Task]) -> None:
    asked = [task for task in seeds if "JSON" in task["instruction"]]
    assert len(asked) == 4
    for task in asked:
        for case in task["instances"]:
            json.loads(case["output"])


def test_numbers_in_the_readme_are_true(seeds: list[Task], similarities: list[float]) -> None:
    domains = Counter(task["domain"] for task in seeds)
    measured = {
        "Tasks": TASKS,
        "Instances": sum(len(task["instances"]) for task in seeds),
        "Classification tasks": sum(task["is_classification"] for task in seeds),
        "Tasks without input": sum(map(without_input, seeds)),
        "Domains": len(domains),
        "Mean pairwise ROUGE-L of the instructions": round(sum(similarities) / PAIRS, 3),
        "Highest ROUGE-L of any pair": round(max(similarities), 2),
        "Longest output, in words": max(
            len(case["output"].split()) for task in seeds for case in task["instances"]
        ),
        "Most instructions with the same first word": max(first_words(seeds).values()),
    }
    stated = dict(
        re.findall(
            r"^\| ([^|]+?) \| ([\d.]+) \|$", README.read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    assert {name: float(value) for name, value in stated.items()} == measured
    assert measured["Classification tasks"] >= 30
    assert measured["Tasks without input"] >= 70
    assert measured["Domains"] >= 14


def test_the_readmes_example_row_and_domain_list_are_real(seeds: list[Task]) -> None:
    text = README.read_text(encoding="utf-8")
    example = re.search(r"```json\n(.+?)\n```", text, re.DOTALL)
    assert example
    assert json.loads(example[1]) in seeds
    listed = re.search(r"^The domains: (.+?)\.$", text, re.MULTILINE)
    assert listed
    assert listed[1].split(", ") == sorted({task["domain"] for task in seeds})
