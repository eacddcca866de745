"""Reading a teacher's numbered list: the torture set, damage to single items, and any text at
all."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from localinstruct.curate.invisible import clean
from localinstruct.methods.list_items import split_items
from localinstruct.methods.numbered_list import REASONS, parse_list
from localinstruct.records import Instance, Reject

TORTURE = yaml.safe_load(
    (Path(__file__).parents[1] / "data" / "alpaca_torture.yaml").read_text(encoding="utf-8")
)


def taken_apart(found: list[Instance | Reject]) -> tuple[list[list[str]], list[str]]:
    rows = [[one.instruction, one.input, one.output] for one in found if isinstance(one, Instance)]
    return rows, [one.reason for one in found if isinstance(one, Reject)]


@pytest.mark.parametrize("faithful", [True, False], ids=["faithful", "ours"])
@pytest.mark.parametrize("case", TORTURE, ids=lambda case: case["name"])
def test_torture(case: dict[str, Any], faithful: bool) -> None:
    found = parse_list(
        case["completion"],
        case.get("first", 4),
        case.get("last", 20),
        case.get("finish_reason", "stop"),
        faithful=faithful,
    )
    right = case if faithful else case.get("ours", case)
    assert taken_apart(found) == (right.get("rows", []), right.get("rejects", []))
    for reject in (one for one in found if isinstance(one, Reject)):
        assert reject.stage == "parse"
        assert reject.reason in REASONS
        assert reject.detail
        assert reject.text or reject.reason == "empty completion"


def test_the_torture_set_is_large_and_names_every_reason() -> None:
    assert len(TORTURE) >= 60
    assert len({case["name"] for case in TORTURE}) == len(TORTURE)
    every = [*TORTURE, *(case["ours"] for case in TORTURE if "ours" in case)]
    assert {reason for case in every for reason in case.get("rejects", [])} == set(REASONS)
    keys = {"name", "completion", "first", "last", "finish_reason", "rows", "rejects", "ours"}
    assert all(set(case) <= keys for case in every)


def listing(blocks: list[list[str]]) -> str:
    """Items of lines as a completion: the first one without its separator and header."""
    lines = [line for block in blocks for line in block]
    return "\n".join(lines).removeprefix("###\n4. Instruction:")


def item(number: int) -> list[str]:
    given = f"input{number} a, b" if number % 2 else "<noinput>"
    header = f"{number}. Instruction: Do task{number} now."
    return [
        "###",
        header,
        f"{number}. Input:",
        given,
        f"{number}. Output:",
        f"answer{number} is",
        f"so{number}.",
    ]


def row(number: int) -> list[str]:
    given = f"input{number} a, b" if number % 2 else ""
    return [f"Do task{number} now.", given, f"answer{number} is\nso{number}."]


def swap(pattern: str, by: str) -> Callable[[list[str], Random], list[str]]:
    return lambda block, rng: [
        re.sub(pattern, by.replace("RANDOM", str(rng.randrange(1, 400))), line) for line in block
    ]


def drop(index: int) -> Callable[[list[str], Random], list[str]]:
    return lambda block, rng: block[:index] + block[index + 1 :]


def insert(index: int, *lines: str) -> Callable[[list[str], Random], list[str]]:
    return lambda block, rng: block[:index] + list(lines) + block[index:]


KEEPS: dict[str, Callable[[list[str], Random], list[str]]] = {
    "nothing": lambda block, rng: block,
    "instruction misnumbered": swap(r"^\d+(?=\. Instruction)", "RANDOM"),
    "all misnumbered": lambda block, rng: swap(
        r"^\d+(?=\. (Ins|Inp|Out))", str(rng.randrange(1, 400))
    )(block, rng),
    "no separator": drop(0),
    "two hashes": swap(r"^###$", "##"),
    "a rule": swap(r"^###$", "---"),
    "bracket": swap(r"^(\d+)\. (?=Ins|Inp|Out)", r"\1) "),
    "bold": swap(r"^(\d+\. \w+put:|\d+\. Instruction:)", r"**\1**"),
    "hashed headers": swap(r"^(?=\d+\. (Ins|Inp|Out))", "### "),
    "blank lines": lambda block, rng: (
        [part for line in block for part in (line, "")][:-4] + block[-2:]
    ),
    "Windows newlines": swap(r"$", "\r"),
    "zero-width": swap(r"(?<=[a-z])(?=[a-z])", "\u200b"),
}
LOSES: dict[str, Callable[[list[str], Random], list[str]]] = {
    "lost instruction line": drop(1),
    "lost instruction header": swap(r"^(\d+\. )Instruction: ", r"\1"),
    "lost input header": drop(2),
    "lost output header": drop(4),
    "lost answer": lambda block, rng: block[:-2],
    "answer header twice": insert(5, "ANSWER"),
    "empty instruction": swap(r"(Instruction:).*", r"\1"),
}
CHANGES: dict[str, Callable[[list[str], Random], list[str]]] = {
    "heading": insert(6, "### Step 1", "## and 2", "#"),
    "closed code with headers": insert(
        6, "```", "###", "2. Instruction: x", "2. Input:", "3. Output:", "```"
    ),
    "open code": insert(5, "```python"),
    "numbered list": insert(6, "1. Input: keys", "2. Output: screen", "in 2020."),
}


@pytest.mark.parametrize("faithful", [True, False], ids=["faithful", "ours"])
@pytest.mark.parametrize("seed", range(10))
def test_damage_costs_the_damaged_item_at_most(seed: int, faithful: bool) -> None:
    loses = (
        LOSES.keys() if faithful else LOSES.keys() - {"lost input header", "answer header twice"}
    )
    rng, looked_at = Random(f"damage:{seed}"), 0
    for _ in range(100):
        count, hurt = rng.randrange(3, 17), rng.randrange(1, 17)
        hurt = min(hurt, count - 1)
        name, damage = rng.choice([*KEEPS.items(), *LOSES.items(), *CHANGES.items()])
        blocks = [item(number) for number in range(4, 4 + count)]
        blocks[hurt] = [
            line.replace("ANSWER", f"{4 + hurt}. Output:") for line in damage(blocks[hurt], rng)
        ]
        rows, rejects = taken_apart(parse_list(listing(blocks), 4, 20, faithful=faithful))
        others = [row(number) for number in range(4, 4 + count) if number != 4 + hurt]
        own = [one for one in rows if one not in others]
        assert [one for one in rows if one in others] == others, name
        assert len(own) + len(rejects) == 1, (name, own, rejects)
        assert own == [] if name in loses else len(own) == 1, (name, rejects)
        if name in KEEPS:
            assert own == [row(4 + hurt)], name
        assert not re.findall(rf"(?:task|answer|so|input)(?!{4 + hurt}\b)\d+", str(own)), name
        looked_at += 1
    assert looked_at == 100


@pytest.mark.parametrize(
    ("completion", "row"),
    [
        ("Add.\n4. Input:\n4. Input: 1 and 2\n4. Output:\n3", ["Add.", "1 and 2", "3"]),
        ("Add.\n4. Input:\n\n4. Input:\n1\n4. Output:\n4. Output:\n3", ["Add.", "1", "3"]),
        ("\n4. Instruction: Add 1 and 2.\n4. Output: 3", ["Add 1 and 2.", "", "3"]),
        ("Name a fish.\nOutput:\nCod", ["Name a fish.", "", "Cod"]),
    ],
)
def test_an_empty_header_counts_once_and_a_missing_input_is_no_input(
    completion: str, row: list[str]
) -> None:
    assert taken_apart(parse_list(completion, 4, 20)) == ([row], [])
    assert taken_apart(parse_list(completion, 4, 20, faithful=True))[0] == []


@pytest.mark.parametrize(
    "reply",
    [
        "Sure! Here are some tasks you could use for your list.",
        "1. Write a poem\n2. Bake a cake\n3. Sum two numbers",
        "I'm happy to help.\n\nWhat topics do you like?",
    ],
)
def test_a_chat_reply_without_a_list_is_called_that(reply: str) -> None:
    assert taken_apart(parse_list(reply, 4, 20)) == ([], ["no list"])
    assert taken_apart(parse_list(reply, 4, 20, "length"))[1] == ["truncated"]


SHARDS = [
    "###",
    "##",
    "\n",
    "\r\n",
    "4. Instruction:",
    "5. Input:",
    "5. Output:",
    "6) Instruction: do",
    "Output:",
    "```",
    "```py",
]
SHARDS += [
    "**",
    "<noinput>",
    "None",
    "in 2020.",
    "\x00",
    "\u200d",
    "\ud800",
    "\U0001f468",
    "\u202e",
    " ",
    "\t",
    "7",
    ".",
    "~~~",
    "---",
]
SHARDS += [
    "Instruction:",
    "21. Instruction:",
    "- 8: input",
    "\x85",
    "\u2028",
    "x" * 50,
    " " * 50,
    "_" * 9,
    "(9) Output",
    "é漢",
]


def mutate(text: str, rng: Random) -> str:
    for _ in range(rng.randrange(1, 12)):
        at, length = rng.randrange(len(text) + 1), rng.choice((0, 1, 3, 20, 120))
        lines = text.split("\n")
        match rng.randrange(4):
            case 0:
                text = text[:at] + text[at + length :]
            case 1:
                text = text[:at] + rng.choice(SHARDS) + text[at:]
            case 2:
                rng.shuffle(lines)
                text = "\n".join(lines)
            case _:
                text = text[:at] + text[max(0, at - length) : at] + text[at:]
    return text


@pytest.mark.parametrize("seed", range(20))
def test_no_text_raises_and_no_line_is_lost(seed: int) -> None:
    rng, rows, rejects = Random(f"fuzz:{seed}"), 0, 0
    for index in range(100):
        good = listing([item(number) for number in range(4, rng.randrange(5, 21))])
        text = mutate(good, rng) if index % 4 else "".join(rng.choices(SHARDS, k=rng.randrange(60)))
        items = split_items(clean(text), 4)
        found = parse_list(text, 4, 20, rng.choice(("stop", "length")))
        assert len(found) == max(1, len(items))
        assert said(line.text for one in items for line in one.lines) == said(
            clean(text).split("\n")
        )
        for one in found:
            json.dumps(
                one.to_dict() if isinstance(one, Instance) else one.text, ensure_ascii=False
            ).encode("utf-8")
            rows, rejects = rows + isinstance(one, Instance), rejects + isinstance(one, Reject)
            if isinstance(one, Instance):
                assert one.instruction.strip() == one.instruction != ""
                assert one.output.strip() == one.output != ""
    assert rows > 100
    assert rejects > 100


def said(lines: Any) -> list[str]:
    """Lines with something in them: not blank, not only a separator, not only a code fence."""
    return [
        line
        for line in lines
        if not re.fullmatch(r"\s*(#*|-{3,}|\*{3,}|={3,}|`{3,}|~{3,})\s*", line)
    ]


@pytest.mark.parametrize(
    "line",
    [
        " ",
        "\t",
        "#",
        "*",
        "`",
        "- ",
        "1",
        "a",
        "5. Output:\n",
        "```\n",
        "###\n",
        "```a\n",
        "(",
        "no ",
    ],
)
def test_hostile_text_takes_no_time(line: str) -> None:
    text = line * (20_000 // len(line))
    began = time.process_time()
    found = parse_list(f"Task.\n4. Input:\n{text}\n4. Output:\n{text}", 4, 20)
    assert len(found) >= 1
    assert time.process_time() - began < 30


def test_clean_takes_only_what_cannot_be_seen() -> None:
    assert clean("a\r\nb\rc\u2028d\x85e\x0cf") == "a\nb\nc\nd\ne\nf"
    assert (
        clean("a\u200bb\u200cc\u200dd\ufeffe\u202ef\u2066g\x00h\x1b[0m\ud800i\u00adj\U000e0041k")
        == "abcdefgh[0mijk"
    )
    kept = (
        "tab\there \U0001f469\u200d\U0001f4bb "
        "\u0646\u0645\u06cc\u200c\u062f\u0627\u0646\u0645 \u2764\ufe0f"
    )
    kept += " \u6f22\u5b57 e\u0301 \U0001f3f4\U000e0067\U000e0062\U000e007f"
    assert clean(kept) == kept
