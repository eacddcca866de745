"""Readers: good files of every kind, and bad files with the lines that are named."""
# ruff: noqa: E501 (tables: one case per line)

import json
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from localinstruct.errors import DataError
from localinstruct.formats import read as read_module
from localinstruct.formats import read_instances, write
from localinstruct.formats.read import SHOWN_PROBLEMS
from localinstruct.records import Instance, Lineage, Message

ROW = '{"instruction": "Add.", "input": "2 3", "output": "5"}'
SEED = (
    '{"id": "seed_task_0", "name": "sum", "instruction": "Add.", "is_classification": false,'
    ' "instances": [{"input": "2 3", "output": "5"}, {"input": "1 1", "output": "2"}]}'
)
CHAT = (
    '{"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},'
    ' {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Add 2 3"},'
    ' {"role": "assistant", "content": "5"}]}'
)
SHAREGPT = '{"id": "abc_0", "conversations": [{"from": "human", "value": "Add 2 3"}, {"from": "gpt", "value": "5"}]}'
REGEN = (
    '[{"instruction": "Add.", "input": "2 3", "output": "5", "most_similar_instructions": {"Sum.": 0.5, "Go.": 0.1},'
    ' "avg_similarity_score": 0.07}]'
)
ADD = Instance("Add.", "2 3", "5")
PLAIN_CHAT = Instance("Add 2 3", output="5")
LONG_CHAT = replace(
    PLAIN_CHAT, system="Be brief.", history=(Message("user", "Hi"), Message("assistant", "Hello"))
)  # fmt: skip
SUM = replace(ADD, name="sum")

GOOD: dict[str, tuple[str | bytes, list[Instance]]] = {
    "jsonl": (f"{ROW}\n{ROW}\n", [ADD, ADD]),
    "no newline at the end": (ROW, [ADD]),
    "byte order mark": (b"\xef\xbb\xbf" + ROW.encode(), [ADD]),
    "byte order mark alone on its line": (b"\xef\xbb\xbf\r\n" + ROW.encode(), [ADD]),
    "windows line ends": (f"{ROW}\r\n\r\n{ROW}\r\n", [ADD, ADD]),
    "blank lines": (f"\n  \n{ROW}\n\t\n{ROW}\n\n", [ADD, ADD]),
    "line separator inside a text": ('{"instruction": "A\u2028b", "output": "c"}', [Instance("A\u2028b", output="c")]),
    "no input key": ('{"instruction": "Go.", "output": "x"}', [Instance("Go.", output="x")]),
    "null input": ('{"instruction": "Go.", "input": null, "output": "x"}', [Instance("Go.", output="x")]),
    "empty output": ('{"instruction": "Go.", "output": ""}', [Instance("Go.")]),
    "unknown keys": ('{"instruction": "Add.", "input": "2 3", "output": "5", "text": 7, "tags": [1]}', [ADD]),
    "repeated rows without id": (f"{ROW}\n" * 3, [ADD] * 3),
    "alpaca list": (f"[{ROW},\n{ROW}]\n", [ADD, ADD]),
    "alpaca list, indented": (json.dumps([json.loads(ROW)] * 2, indent=4), [ADD, ADD]),
    "alpaca list with a byte order mark": (b"\xef\xbb\xbf \n[" + ROW.encode() + b"]", [ADD]),
    "one object over several lines": (json.dumps(json.loads(ROW), indent=2), [ADD]),
    "self-instruct seed": (SEED, [SUM, replace(SUM, input="1 1", output="2")]),
    "seed with an empty name": (SEED.replace('"sum"', '""'), [replace(SUM, name="seed_task_0"), replace(SUM, name="seed_task_0", input="1 1", output="2")]),
    "classification seed": (SEED.replace("false", "true").replace(', {"input": "1 1", "output": "2"}', ""), [replace(SUM, is_classification=True)]),
    "regen.json": (REGEN, [replace(ADD, lineage=Lineage(scores={"rouge_l_max": 0.5, "rouge_l_mean": 0.07}))]),
    "messages": (CHAT, [LONG_CHAT]),
    "messages as a list": (f"[{CHAT}]", [LONG_CHAT]),
    "sharegpt": (SHAREGPT, [PLAIN_CHAT]),
    "sharegpt with system beside": (SHAREGPT.replace('"id"', '"system": "Be brief.", "id"'), [replace(PLAIN_CHAT, system="Be brief.")]),
    "kinds mixed": (f"{ROW}\n{SHAREGPT}\n", [ADD, PLAIN_CHAT]),
    "columns of other kinds empty": (ROW.replace("{", '{"messages": null, "instances": null, ', 1), [ADD]),
    "emoji and escapes": ('{"instruction": "\\ud83d\\ude00 \\n", "output": "é"}', [Instance("😀 \n", output="é")]),
}  # fmt: skip


@pytest.mark.parametrize("kind", GOOD)
def test_good_files_are_read(kind: str, tmp_path: Path) -> None:
    content, expected = GOOD[kind]
    path = _file(tmp_path, content)
    assert expected == read_instances(path)


def _deep(levels: int) -> str:
    return '{"instruction": ' + "[" * levels + "]" * levels + "}"


BAD: dict[str, tuple[str | bytes, list[tuple[int, str]]]] = {
    "not json": (f"{ROW}\nnot json\n", [(2, "expected JSON, found at column 1")]),
    "cut off": (f"{ROW}\n{ROW[:-9]}", [(2, "expected JSON")]),
    "two values on a line": (f"{ROW} {ROW}\n{ROW}", [(1, "found more text")]),
    "a list as a row": (f"{ROW}\n[1, 2]\n", [(2, "expected an object, found a list")]),
    "a number as a row": (f"{ROW}\n\n\n7\n", [(4, "expected an object, found a number")]),
    "null as a row": (f"{ROW}\nnull\n", [(2, "found null")]),
    "no key we know": ('{"text": "x", "label": 1}', [(1, "found keys: label, text")]),
    "no keys": (f"{ROW}\n{{}}\n", [(2, "found keys: none")]),
    "misspelt output": ('{"instruction": "x", "ouput": "y"}', [(1, "expected a key output, found keys: instruction, ouput")]),
    "instruction a number": ('{"instruction": 3, "output": "y"}', [(1, "expected instruction to be text, found a number")]),
    "instruction null": ('{"instruction": null, "output": "y"}', [(1, "expected instruction to be text, found null")]),
    "instruction blank": ('{"instruction": " \\n", "output": "y"}', [(1, "expected words in instruction")]),
    "input a list": ('{"instruction": "x", "input": ["a"], "output": "y"}', [(1, "expected input to be text, found a list")]),
    "output true": ('{"instruction": "x", "output": true}', [(1, "expected output to be text, found true or false")]),
    "flag as text": ('{"instruction": "x", "output": "y", "is_classification": "no"}', [(1, "expected is_classification")]),
    "invalid utf-8": (f"{ROW}\n".encode() + b'{"instruction": "\xff", "output": "y"}', [(2, "expected UTF-8, found byte 0xff at column 18")]),
    "latin-1": ('{"instruction": "café", "output": "y"}'.encode("latin-1"), [(1, "expected UTF-8, found byte 0xe9")]),
    "nul byte": (f"{ROW}\n".encode() + b'{"instruction": "\x00", "output": "y"}', [(2, "found a NUL byte")]),
    "nul escape": ('{"instruction": "a\\u0000", "output": "y"}', [(1, "found a NUL character at character 1")]),
    "lone surrogate": (f'{ROW}\n{{"instruction": "x", "output": "\\ud83d"}}', [(2, "found a lone surrogate U+D83D")]),
    "not a number": ('{"instruction": "x", "output": "y", "score": NaN}', [(1, "found NaN")]),
    "infinity": (f"[{ROW},\n{{\"instruction\": -Infinity}}]", [(2, "found -Infinity")]),
    "a key twice": ('{"instruction": "x", "instruction": "z", "output": "y"}', [(1, "found 'instruction' twice")]),
    "too deep": (f"{ROW}\n{_deep(20_000)}\n", [(2, "levels of nesting")]),
    "too deep in a list": (f"[{ROW},\n{_deep(20_000)}]", [(2, "levels of nesting")]),
    "a number of 10,000 digits": (f'{ROW}\n{{"instruction": "x", "n": {"9" * 10_000}}}', [(2, "expected JSON")]),
    "a long line": (f'{ROW}\n"{"x" * 2**20}"\nnot json\n', [(2, "1 MiB"), (3, "expected JSON")]),
    "list not closed": (f"[{ROW},\n{ROW}", [(2, "expected , or ] after a row, found the end of the file")]),
    "list without comma": (f"[{ROW}\n\n{ROW}]", [(3, "expected , or ] after a row, found '{'")]),
    "list with a comma too many": (f"[{ROW},\n]", [(2, "expected JSON")]),
    "text after the list": (f"[{ROW}]\n\n{ROW}", [(3, "expected nothing after the closing ]")]),
    "list of texts": (f'[{ROW},\n"a",\n"b"]', [(2, "found text"), (3, "found text")]),
    "list in bad utf-8": (b'[{"instruction": "x",\n"output": "\xc3"}]', [(2, "expected UTF-8, found byte 0xc3")]),
    "seed without instances": (SEED.replace("instances", "instancs"), [(1, "expected a key output")]),
    "seed with no instances": ('{"instruction": "x", "instances": []}', [(1, "found an empty list")]),
    "seed with instances as text": ('{"instruction": "x", "instances": "y"}', [(1, "expected instances to be a list")]),
    "seed with a bad instance": ('{"instruction": "x", "instances": [{"input": "", "output": "y"}, 5]}', [(1, "expected instances[1] to be an object")]),
    "seed instance without output": ('{"instruction": "x", "instances": [{"input": ""}]}', [(1, "expected a key instances[0].output")]),
    "seed without instruction": ('{"instances": [{"input": "", "output": "y"}]}', [(1, "expected a key instruction")]),
    "messages not a list": ('{"messages": "hi"}', [(1, "expected messages to be a list, found text")]),
    "no messages": ('{"messages": []}', [(1, "found no turns")]),
    "message as text": ('{"messages": ["hi", 7]}', [(1, "expected messages[0] to be an object with role and content")]),
    "unknown role": (CHAT.replace('"system"', '"narrator"'), [(1, "found 'narrator'")]),
    "a picture": (CHAT.replace('"Hi"', '[{"type": "image"}]'), [(1, "found a part of type 'image'")]),
    "assistant twice": (CHAT.replace('"user", "content": "Add 2 3"', '"assistant", "content": "Hello"'), [(1, "expected turn 3 to be the user's, found the assistant's")]),
    "user last": ('{"messages": [{"role": "user", "content": "Hi"}]}', [(1, "expected the last turn to be the assistant's, found the user's")]),
    "system in the middle": (CHAT.replace('{"role": "user", "content": "Add', '{"role": "system", "content": "Add'), [(1, "expected turn 3 to be the user's")]),
    "blank question": (SHAREGPT.replace("Add 2 3", " "), [(1, "expected words in the last turn of the user")]),
    "sharegpt unknown speaker": (SHAREGPT.replace("gpt", "robot"), [(1, "found 'robot'")]),
    "sharegpt without value": (SHAREGPT.replace('"value": "5"', '"said": "5"'), [(1, "expected a key conversations[1].value")]),
    "regen score as text": (REGEN.replace("0.5", '"high"'), [(1, "to be a number, found text")]),
    "lineage a list": ('{"instruction": "x", "output": "y", "lineage": [1]}', [(1, "expected lineage to be an object")]),
    "lineage not json": ('{"instruction": "x", "output": "y", "lineage": "{"}', [(1, "expected lineage to be JSON")]),
    "lineage parents": ('{"instruction": "x", "output": "y", "lineage": {"parents": [1]}}', [(1, "expected lineage.parents")]),
    "lineage episode": ('{"instruction": "x", "output": "y", "lineage": {"episode": 1.5}}', [(1, "expected lineage.episode")]),
    "history": ('{"instruction": "x", "output": "y", "history": [["a"]]}', [(1, "expected every pair in history")]),
    "many at once": (f"x\n{ROW}\n{{}}\n{ROW}\n5\n", [(1, "expected JSON"), (3, "found keys: none"), (5, "found a number")]),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_lines_are_named(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_module, "MAX_LINE_BYTES", 2**20)
    content, expected = BAD[kind]
    path = _file(tmp_path, content)
    with pytest.raises(DataError) as caught:
        read_instances(path)
    named = [line for line in caught.value.message.splitlines() if line.startswith(f"  {path}:")]
    assert len(expected) == len(named)
    for (number, words), line in zip(expected, named, strict=True):
        assert line.startswith(f"  {path}:{number}: ")
        assert words in line


def test_a_line_may_have_64_mib() -> None:
    assert read_module.MAX_LINE_BYTES == 64 * 2**20


def test_there_are_enough_cases() -> None:
    assert len(GOOD) + len(BAD) >= 40


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "expected at least one row"),
    "only blanks": (b"\n \n\r\n", "expected at least one row"),
    "empty list": (b"[]", "expected at least one row"),
    "gzip that is cut off": (b"\x1f\x8b\x08\x00", "gzip"),
    "zip": (b"PK\x03\x04abc", "zip archive"),
    "utf-16": ("x".encode("utf-16"), "UTF-16"),
    "sqlite": (b"SQLite format 3\x00", "SQLite"),
    "damaged parquet": (b"PAR1garbagePAR1", "Parquet"),
    "binary": (bytes(range(128, 256)), "expected UTF-8"),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_unreadable_files_are_explained(kind: str, tmp_path: Path) -> None:
    content, words = UNREADABLE[kind]
    path = _file(tmp_path, content)
    with pytest.raises(DataError, match=words) as caught:
        read_instances(path)
    assert str(path) in caught.value.message


def test_places_that_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text(ROW)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected a folder with files of rows"):
        read_instances(tmp_path / "empty")
    with pytest.raises(DataError, match="no such file") as caught:
        read_instances(tmp_path / "seed.jsonl")
    assert "seeds.jsonl" in caught.value.hint
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match="a pipe or device"):
        read_instances(tmp_path / "pipe")


def test_only_the_first_problems_are_shown_with_their_count(tmp_path: Path) -> None:
    path = _file(tmp_path, "x\n" * 1_000)
    with pytest.raises(DataError) as caught:
        read_instances(path)
    lines = caught.value.message.splitlines()
    assert "1000 bad rows" in lines[0]
    assert len(lines) == SHOWN_PROBLEMS + 2
    assert f"{1_000 - SHOWN_PROBLEMS} more" in lines[-1]


def test_first_instance_only(tmp_path: Path) -> None:
    assert read_instances(_file(tmp_path, SEED), first_instance_only=True) == [SUM]


def test_parquet_of_other_columns_and_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    turns = json.loads(CHAT)["messages"]
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"messages": turns}, {"messages": turns[1:]}]), path
    )
    assert [LONG_CHAT, replace(LONG_CHAT, system="")] == read_instances(path)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([json.loads(ROW), {"instruction": "x"}]), path
    )
    with pytest.raises(DataError, match=r"x\.parquet:2: expected output to be text, found null"):
        read_instances(path)


def test_files_of_noise_never_give_another_exception(tmp_path: Path) -> None:
    rng = random.Random(7)
    sources = [
        content.encode() if isinstance(content, str) else content for content, _ in GOOD.values()
    ]
    parquet = tmp_path / "good.parquet"
    write([ADD, LONG_CHAT], "parquet", parquet)
    refused = 0
    for _ in range(400):
        noise = bytearray(rng.choice([*sources, parquet.read_bytes()]))
        for _ in range(rng.randint(1, 4)):
            noise[rng.randrange(len(noise))] = rng.randrange(256)
        try:
            read_instances(
                _file(
                    tmp_path,
                    bytes(noise[: rng.choice([len(noise), rng.randrange(len(noise)) + 1])]),
                )
            )
        except DataError:
            refused += 1
    assert refused > 200


def _file(folder: Path, content: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path
