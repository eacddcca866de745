"""Files that people really have, and more of their kinds: what is read, repaired, skipped, refused.

Every file of `data/cases/rows` has its row in one of three tables; KINDS are others of those kinds.
"""
# ruff: noqa: E501 (tables: one case per line)

import contextlib
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from localinstruct.errors import DataError
from localinstruct.formats import Reader, Reading
from localinstruct.formats.fields import REPAIRS
from localinstruct.formats.tasks import read_tasks
from localinstruct.judge.labels import LabelledAnswer, LabelledPair, read_labels
from localinstruct.judge.rubric import packaged
from localinstruct.records import Instance, Message

CASES = Path(__file__).parents[1] / "data/cases/rows"
RIVER = "Name one use of a river in a small town."
SHARED = "A river gives people in a small town something to share."
KEEPER = "Answer like a river keeper."


def read(path: Path, **options: Any) -> tuple[list[Instance], Reader]:
    reader = Reader(path, Reading(**options), needs_answer=True)
    return list(reader), reader


WHOLE: dict[str, tuple[dict[str, int], dict[str, Any]]] = {
    "01_sharegpt_gpt_first.json": ({"trim first turns": 1}, {}),
    "02_sharegpt_ends_human.json": ({"trim last user turn": 1}, {}),
    "03_sharegpt_tools.json": ({}, {}),
    "07_messages_system_beside.jsonl": ({}, {"system": KEEPER}),
    "08_openai_tool_calls.jsonl": ({}, {}),
    "09_content_parts.jsonl": ({"join text parts": 12}, {}),
    "10_openai_weight0.jsonl": ({}, {"history": (Message("user", RIVER), Message("assistant", f"WRONG {SHARED}", learn=False)), "instruction": "Try again, better."}),
    "11_prompt_completion.jsonl": ({}, {}),
    "11b_prompt_completion_messages.jsonl": ({}, {}),
    "11e_dolly_output_renamed.jsonl": ({}, {"input": "A town by the sea."}),
    "12_magpie_row.jsonl": ({}, {}),
    "12b_distilabel.jsonl": ({}, {}),
    "13_pref_strings.jsonl": ({}, {"rejected": "No idea."}),
    "13b_ultrafeedback.jsonl": ({}, {"rejected": "No idea.", "history": ()}),
    "13e_messages_and_chosen.jsonl": ({}, {"rejected": "No idea.", "history": ()}),
    "14_null_input.json": ({}, {"input": ""}),
    "14_null_input_2.json": ({}, {"instruction": "Name a use of a river in a small town.", "output": "It is shared."}),
    "14b_number_output.json": ({"number as text": 12}, {"instruction": "How many letters has river?", "output": "5"}),
    "14d_noinput_markers.json": ({"empty no-input marker": 12}, {"input": ""}),
    "14e_history_pairs.json": ({}, {"history": (Message("user", "Hello there"), Message("assistant", "Hello"), Message("user", "How are you"), Message("assistant", "Fine"))}),
    "15_dup_ids.json": ({}, {}),
    "15c_list_ids.jsonl": ({}, {}),
    "16b_same_q_pairs.jsonl": ({}, {"instruction": "Introduce yourself to the class.", "output": "I am the river.", "rejected": "No river"}),
    "17_wrapped.json": ({}, {}),
    "18_rows.csv": ({}, {}),
    "18c_rows.jsonl.gz": ({}, {}),
    "19_think_content.jsonl": ({"thoughts apart": 12}, {"thinking": "A river… the town is small."}),
    "19b_reasoning_content.jsonl": ({}, {"thinking": "A river… the town is small."}),
    "19c_thinking_key_gptoss.jsonl": ({}, {"thinking": "A river…"}),
    "20_developer_role.jsonl": ({"developer is system": 12}, {"system": "Be brief."}),
    "20c_two_system.jsonl": ({"merge system turns": 12}, {"system": "Be brief.\n\nBe kind."}),
    "20d_two_user_in_row.jsonl": ({"merge user turns": 12}, {"instruction": f"A town by the sea.\n\n{RIVER}", "history": ()}),
    "20f_messages_train_flags.jsonl": ({}, {"history": (Message("user", RIVER), Message("assistant", "BAD", learn=False)), "instruction": "Better please"}),
    "22e_special_tokens.jsonl": ({}, {"output": f"{SHARED}<|endoftext|>"}),
    "23_instances_noinput.jsonl": ({}, {"is_classification": False}),
    "24_messages.parquet": ({}, {}),
    "24b_alpaca_nullcol.parquet": ({}, {"input": ""}),
    "25_system.jsonl": ({}, {"system": "Answer in one short sentence.", "output": "A river is shared."}),
    "26_one_think.jsonl": ({"thoughts apart": 1}, {"output": "A river is shared."}),
    "27_bom.json": ({}, {"instruction": "Name a fruit please.", "output": "Pear"}),
    "27b_crlf.jsonl": ({}, {"instruction": "Name fruit number 0 please.", "output": "Pear\u2028"}),
}  # fmt: skip
"""File -> (repairs with their counts, fields of the first row)."""


@pytest.mark.parametrize("name", WHOLE)
def test_files_that_are_read_whole(name: str) -> None:
    repairs, fields = WHOLE[name]
    rows, reader = read(CASES / name)
    assert len(rows) == (1 if name == "27_bom.json" else 12)
    assert reader.report.rejects == []
    assert dict(reader.report.repairs) == repairs
    expected = {"instruction": RIVER, "output": SHARED} | fields
    assert {key: getattr(rows[0], key) for key in expected} == expected


SKIPPED: dict[str, dict[int, str]] = {
    "04_sharegpt_empty_turns.json": {38: "empty turn"},
    "14c_empty_outputs.json": {12: "empty answer", 17: "empty answer"},
    "14f_null_output.json": {17: "empty answer"},
    "14g_list_output.json": {17: "wrong type"},
    "22_surrogate.jsonl": {4: "not UTF-8"},
    "32_alpaca_cleaned_kinds.json": {7: "empty answer"},
}
"""File -> line of each row that is skipped, with the reason."""


@pytest.mark.parametrize("name", SKIPPED)
def test_bad_rows_are_skipped_with_their_line_and_reason(name: str) -> None:
    rows, reader = read(CASES / name)
    rejects = reader.report.rejects
    assert len(rows) + len(rejects) == reader.report.rows
    found = {int(one.detail.split(":")[1]): one.reason for one in rejects}
    assert found == SKIPPED[name]
    assert all(one.stage == "read" and one.detail.startswith(str(CASES / name)) for one in rejects)
    with pytest.raises(DataError, match=f"{len(rejects)} bad row"):
        read(CASES / name, on_bad_row="stop")


REFUSED: dict[str, tuple[str, str]] = {
    "17b_pandas_columns.json": ("columns as pandas writes them", 'orient="records"'),
    "17c_trailing_comma.json": (r"\.json:13: .*a comma too many", "mend it"),
    "17d_python_literals.jsonl": ("Python's own literals", "json.dumps"),
    "17e_json_comma_lines.jsonl": ("a comma after it", "sed"),
    "18d_cp1252.jsonl": (r"12 of 12 rows .* not UTF-8", "encoding: cp1252"),
    "18e_utf16.json": ("looks like UTF-16", "encoding: utf-16"),
    "18f_utf8_gbk_seeds.jsonl": (r"12 of 12 rows .* not UTF-8", "encoding: gbk"),
    "20e_system_in_middle.jsonl": (r"system prompt in the middle \(12\)", ""),
    "21_text_column.jsonl": (r"one text column \(12\)(.|\n)*split it first", ""),
    "22c_nan.jsonl": (r"not a number \(12\)(.|\n)*:1: .*found NaN", ""),
    "22d_dup_key.jsonl": (r"a key twice \(12\)(.|\n)*:1: .*'output' twice", ""),
}
"""File -> (what the error says, what it proposes)."""


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_cannot_be_read_say_why_and_what_to_type(name: str) -> None:
    words, hint = REFUSED[name]
    with pytest.raises(DataError, match=words) as caught:
        read(CASES / name)
    assert str(CASES / name) in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "encoding"),
    [("18d_cp1252.jsonl", "cp1252"), ("18e_utf16.json", "utf-16"), ("18f_utf8_gbk_seeds.jsonl", "gbk")],
)  # fmt: skip
def test_other_encodings_are_read_when_they_are_named(name: str, encoding: str) -> None:
    rows, _ = read(CASES / name, encoding=encoding)
    assert len(rows) == 12
    assert "\ufffd" not in rows[0].instruction + rows[0].output
    with pytest.raises(DataError):
        read(CASES / name, encoding="ascii")


def test_every_case_is_in_a_table() -> None:
    tables = {*WHOLE, *SKIPPED, *REFUSED}
    others = {path.name for path in CASES.iterdir()} - tables
    assert all(name.startswith(("30", "31")) for name in others)


def test_tools_are_kept_as_turns() -> None:
    for name in ("03_sharegpt_tools.json", "08_openai_tool_calls.jsonl"):
        rows, reader = read(CASES / name)
        call, result = rows[3].steps
        assert (json.loads(call.tool_calls), result.role) == (
            [{"name": "look", "arguments": {}}],
            "tool",
        )
        assert rows[3].output.startswith("A garden")
        assert reader.report.notes["tools"] == 1


def test_what_a_file_holds_besides_is_said() -> None:
    _, reader = read(CASES / "12_magpie_row.jsonl")
    [said] = reader.report.sentences()
    assert all(f"{key} (12)" in said for key in ("model", "task_category", "input_quality"))
    _, reader = read(CASES / "19b_reasoning_content.jsonl")
    assert reader.report.sentences() == ["rows with: thoughts (12)"]


USER, SAID = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "look", "arguments": '{"a": 1}'}}],
}
PAIR = {"chosen": "Ho", "rejected": "No"}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "gemini": ({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": [{"role": "user", "parts": [{"text": "Hi"}]}, {"role": "model", "parts": [{"text": "Ho"}]}]}, {"system": "Be brief."}),
    "texts in turn": ({"id": "1", "data": ["Hey", "Yes?", "Hi", "Ho"]}, {"history": (Message("user", "Hey"), Message("assistant", "Yes?"))}),
    "conversation with exports' keys": ({"conversation_id": "c", "conversation": [USER, SAID], "turn": 1}, {}),
    "speakers in capitals": ({"conversations": [{"from": "Human", "value": "Hi"}, {"from": "GPT", "value": "Ho"}]}, {}),
    "speaker and text": ({"dialogue": [{"speaker": "user", "text": "Hi"}, {"speaker": "bot", "text": "Ho"}]}, {}),
    "a system prompt as system_prompt": ({"system_prompt": "Be brief.", "question": "Hi", "response": "Ho"}, {"system": "Be brief."}),
    "columns in capitals": ({"Instruction": "Hi", "Input": "N/A", "Output": "Ho"}, {"input": ""}),
    "question and answer": ({"question": "Hi", "answer": "Ho"}, {}),
    "problem and solution": ({"problem": "Hi", "solution": "Ho", "source": "x"}, {}),
    "query and response": ({"query": "Hi", "response": "Ho"}, {}),
    "input and output alone": ({"input": "Hi", "output": "Ho"}, {}),
    "dolly": ({"instruction": "Hi", "context": "There.", "response": "Ho", "category": "x"}, {"input": "There."}),
    "prompt beside messages": ({"prompt": "Hi", "messages": [USER, SAID]}, {}),
    "tools and a call as the answer": ({"tools": [{"function": {"name": "look"}}], "messages": [USER, CALL]}, {"output": "", "tool_calls": '[{"name": "look", "arguments": {"a": 1}}]', "tools": '[{"function": {"name": "look"}}]'}),
    "text in several parts": ({"messages": [USER, {"role": "assistant", "content": [{"type": "text", "text": "Ho"}, "ho"]}]}, {"output": "Ho\nho"}),
    "a last answer that is not learnt": ({"messages": [USER, SAID, {"role": "user", "content": "?"}, SAID | {"weight": 0}]}, {"history": ()}),
    "train flags of axolotl": ({"conversations": [{"from": "human", "value": "Hey"}, {"from": "gpt", "value": "Bad", "train": False}, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Ho", "train": True}]}, {"history": (Message("user", "Hey"), Message("assistant", "Bad", learn=False))}),
    "thoughts that the template opened": ({"prompt": "Hi", "completion": "Well.\n</think>\n\nHo"}, {"thinking": "Well."}),
    "thoughts in marks of words": ({"messages": [USER, {"role": "assistant", "content": "<|begin_of_thought|>\nWell.\n<|end_of_thought|>\n\n<|begin_of_solution|>\nHo\n<|end_of_solution|>"}]}, {"thinking": "Well."}),
    "thoughts as a part": ({"messages": [USER, {"role": "assistant", "content": [{"type": "thinking", "thinking": "Well."}, {"type": "text", "text": "Ho"}]}]}, {"thinking": "Well."}),
    "thoughts beside an answer": ({"instruction": "Hi", "reasoning": "Well.", "output": "Ho"}, {"thinking": "Well."}),
    "instruction with a pair": ({"instruction": "Hi", "input": ""} | PAIR, {"rejected": "No"}),
    "a question with a pair": ({"question": "Hi"} | PAIR, {"rejected": "No"}),
    "openai's preferences": ({"input": {"messages": [USER]}, "preferred_output": [SAID], "non_preferred_output": [SAID | {"content": "No"}]}, {"rejected": "No"}),
    "llamafactory's preferences": ({"conversations": [{"from": "human", "value": "Hi"}], "chosen": {"from": "gpt", "value": "Ho"}, "rejected": {"from": "gpt", "value": "No"}}, {"rejected": "No"}),
    "hh-rlhf": ({"chosen": "\n\nHuman: Hi\n\nAssistant: Ho", "rejected": "\n\nHuman: Hi\n\nAssistant: No"}, {"rejected": "No"}),
    "scores of a pair": ({"prompt": "Hi", "score_chosen": 8, "score_rejected": 2.5} | PAIR, {"rejected": "No"}),
    "a row that is a list of turns": ([USER, SAID], {}),
    "history as turns": ({"instruction": "Hi", "output": "Ho", "history": [USER, SAID]}, {"history": (Message("user", "Hi"), Message("assistant", "Ho"))}),
    "a flag as text": ({"instruction": "Hi", "output": "Ho", "is_classification": "True"}, {"is_classification": True}),
}  # fmt: skip
"""Kind -> (a row, fields that it has beside Hi and Ho)."""


@pytest.mark.parametrize("kind", KINDS)
def test_layouts_are_told_from_the_data(kind: str, tmp_path: Path) -> None:
    row, fields = KINDS[kind]
    (tmp_path / "x.jsonl").write_text(f"{json.dumps(row)}\n" * 2)
    [instance, _], _ = read(tmp_path / "x.jsonl")
    expected: dict[str, Any] = {"instruction": "Hi", "input": "", "output": "Ho"} | fields
    assert {key: getattr(instance, key) for key in expected} == expected


GOOD = {"instruction": "Hi", "output": "Ho"}
BAD: dict[str, tuple[Any, str]] = {
    "a picture": ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, SAID]}, "a part that is no text"),
    "all answers with weight 0": ({"messages": [USER, SAID | {"weight": 0}]}, "nothing to learn"),
    "thoughts without an end": ({"messages": [USER, SAID | {"content": "<think>Well"}]}, "unfinished thoughts"),
    "two answers in a row": ({"messages": [USER, SAID, SAID]}, "turns out of order"),
    "only the assistant": ({"messages": [SAID]}, "turns out of order"),
    "kto's bad answer": ({"prompt": "Hi", "completion": "Ho", "label": False}, "marked as a bad answer"),
    "a pair of equal answers": ({"prompt": "Hi", "chosen": "Ho", "rejected": "Ho"}, "no other answer"),
    "pairs after unequal prompts": ({"chosen": [USER, SAID], "rejected": [USER | {"content": "?"}, SAID]}, "unequal prompts"),
    "true as an answer": ({"instruction": "Hi", "output": True}, "wrong type"),
    "an empty answer": ({"messages": [USER, SAID | {"content": " "}]}, "empty answer"),
    "a call that is no JSON": ({"conversations": [{"from": "human", "value": "Hi"}, {"from": "function_call", "value": "look!"}, {"from": "gpt", "value": "Ho"}]}, "tool call"),
    "an unknown speaker": ({"messages": [{"role": "narrator", "content": "Once"}, USER, SAID]}, "unknown speaker"),
}  # fmt: skip


def test_rows_that_cannot_be_used_have_reasons_of_their_own(tmp_path: Path) -> None:
    for row, reason in BAD.values():
        lines = [GOOD, row, GOOD]
        (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
        rows, reader = read(tmp_path / "x.jsonl")
        assert (len(rows), [one.reason for one in reader.report.rejects]) == (2, [reason])
        assert f"{tmp_path / 'x.jsonl'}:2: expected" in reader.report.rejects[0].detail


def test_empty_cells_of_pandas_and_deep_values(tmp_path: Path) -> None:
    rows = [{"instruction": "Hi", "input": float("nan"), "output": "Ho"}] * 2
    (tmp_path / "x.parquet").write_bytes(_parquet(rows))
    assert [row.input for row in read(tmp_path / "x.parquet")[0]] == ["", ""]
    deep = '{"instruction": ' + "[" * 600 + "]" * 600 + "}"
    (tmp_path / "x.jsonl").write_text("\n".join([json.dumps(GOOD), deep, json.dumps(GOOD)]))
    assert len(read(tmp_path / "x.jsonl")[1].report.rejects) == 1


def test_several_answers_make_a_row_each(tmp_path: Path) -> None:
    for row in (
        {"instruction": "Hi", "generations": ["A", "B"]},
        {"prompt": "Hi", "completions": [{"response": "A"}, {"response": "B"}]},
    ):
        (tmp_path / "x.jsonl").write_text(json.dumps(row))
        rows, _ = read(tmp_path / "x.jsonl")
        assert [(one.instruction, one.output) for one in rows] == [("Hi", "A"), ("Hi", "B")]


ROWS = [{"instruction": f"Name river {n}, please.", "output": "Nile"} for n in range(3)]


def _lines(rows: list[Any]) -> bytes:
    return "\n".join(map(json.dumps, rows)).encode()


def _parquet(rows: list[Any]) -> bytes:
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), sink)
    return bytes(sink.getvalue())


def _arrow(rows: list[Any], make: Any) -> bytes:
    sink, table = pyarrow.BufferOutputStream(), pyarrow.Table.from_pylist(rows)
    with make(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _zstd(data: bytes) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


CSV = "instruction,output\n" + "".join(f'"{row["instruction"]}",Nile\n' for row in ROWS)
CONTAINERS: dict[str, Callable[[], bytes]] = {
    "x.json": lambda: json.dumps(ROWS, indent=2).encode(),
    "rows.json": lambda: json.dumps({"version": 1, "rows": ROWS}).encode(),
    "wrapped.json": lambda: json.dumps({"meta": {"a": [1]}, "train": ROWS}, indent=1).encode(),
    "x.jsonl": lambda: _lines(ROWS),
    "x.jsonl.gz": lambda: gzip.compress(_lines(ROWS)),
    "x.json.zst": lambda: _zstd(json.dumps(ROWS).encode()),
    "x.csv": lambda: CSV.encode(),
    "bom.csv": lambda: b"\xef\xbb\xbf" + CSV.replace("\n", "\r\n").encode(),
    "semicolons.csv": lambda: CSV.replace('",', '";').replace("instruction,", "instruction;").encode(),
    "x.tsv": lambda: CSV.replace('",', '"\t').replace("instruction,", "instruction\t").encode(),
    "x.csv.gz": lambda: gzip.compress(CSV.encode()),
    "x.parquet": lambda: _parquet(ROWS),
    "file.arrow": lambda: _arrow(ROWS, pyarrow.ipc.new_file),
    "stream.arrow": lambda: _arrow(ROWS, pyarrow.ipc.new_stream),
    "messages.csv": lambda: b"messages\n" + b"".join(b'"' + json.dumps([USER | {"content": row["instruction"]}, SAID | {"content": "Nile"}]).replace('"', '""').encode() + b'"\n' for row in ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_files_of_every_form(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(CONTAINERS[name]())
    rows, reader = read(tmp_path / name)
    assert [(row.instruction, row.output) for row in rows] == [
        (row["instruction"], "Nile") for row in ROWS
    ]
    assert reader.report.rejects == []


def test_cells_over_several_lines_and_rows_of_other_lengths(tmp_path: Path) -> None:
    text = 'instruction,output\n"two\nlines",a\nb,c,d\ne,f\n"g ""h""",i\n'
    (tmp_path / "x.csv").write_text(text)
    rows, reader = read(tmp_path / "x.csv")
    assert [row.instruction for row in rows] == ["two\nlines", "e", 'g "h"']
    [reject] = reader.report.rejects
    assert reject.detail.endswith("x.csv:4: expected 2 columns, found 3")


def test_a_folder_of_files_and_a_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train-00000.jsonl", "train-00001.jsonl", "test-00000.jsonl"):
        (folder / name).write_bytes(_lines(ROWS))
    (folder / "dataset_info.json").write_text("{}")
    (folder / "README.md").write_text("hello")
    rows, reader = read(folder)
    assert len(rows) == 6
    assert reader.report.left_out == ["test-00000.jsonl"]
    assert "test-00000.jsonl" in reader.report.sentences()[-1]
    assert len(read(folder / "*.jsonl")[0]) == 9
    with pytest.raises(DataError, match="no such file"):
        read(folder / "*.csv")


def test_columns_are_named_where_they_cannot_be_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(_lines([{"what": "Hi", "said": {"best": "Ho"}, "n": 1}] * 3))
    with pytest.raises(DataError, match=r"unknown layout \(3\)"):
        read(path)
    rows, reader = read(path, columns={"instruction": "what", "output": "said.best"})
    assert (rows[0].instruction, rows[0].output) == ("Hi", "Ho")
    assert dict(reader.report.ignored) == {"n": 3}
    with pytest.raises(DataError, match=r"a column is missing"):
        read(path, columns={"instruction": "what", "output": "best"})
    path.write_bytes(_lines([{"asked": "Hi there", "reply": "Ho"}] * 3))
    with pytest.raises(DataError) as caught:
        read(path)
    assert "columns: {instruction: asked, output: reply}" in caught.value.hint


@pytest.mark.parametrize("repair", REPAIRS)
def test_every_repair_can_be_switched_off(repair: str) -> None:
    names = [name for name, (repairs, _) in WHOLE.items() if repair in repairs]
    for name in names:
        options = {"repairs": [one for one in REPAIRS if one != repair]}
        reader = Reader(CASES / name, Reading(**options), needs_answer=True)
        with contextlib.suppress(DataError):
            assert list(reader)
        assert repair not in reader.report.repairs
        touched = len(reader.report.rejects)
        assert touched or repair in ("empty no-input marker", "thoughts apart", "trim first turns")
    assert names or repair == "cut after last learnt turn"


def test_an_object_around_several_lists_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"train": ROWS, "extra": ROWS[:1]}))
    with pytest.raises(DataError, match="several lists: train, extra") as caught:
        read(path)
    assert "key: train" in caught.value.hint
    assert len(read(path, key="train")[0]) == 3


OTHER_FILES: dict[str, tuple[bytes, str]] = {
    "object of columns": (json.dumps({"instruction": ["a", "b"], "output": ["c", "d"]}).encode(), "an object of columns"),
    "object of rows": (json.dumps({"7": GOOD, "9": GOOD}).encode(), "values are the rows"),
    "objects over several lines": ((json.dumps(GOOD, indent=1) + "\n").encode() * 2, "objects over several lines"),
    "pointer of git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
    "web page": (b"<!DOCTYPE html><p>Not found", "a web page"),
    "cut gzip": (gzip.compress(_lines(ROWS * 500))[:-40], "cannot be unpacked"),
    "zip": (b"PK\x03\x04rest", "zip archive"),
    "utf-16 without a mark": ('{"instruction": "a"}'.encode("utf-16-le"), "UTF-16"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_files_of_other_kinds_are_named(kind: str, tmp_path: Path) -> None:
    data, words = OTHER_FILES[kind]
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(DataError, match=words):
        read(tmp_path / "x.jsonl")


def test_few_lines_in_another_encoding_are_skipped_many_stop(tmp_path: Path) -> None:
    bad, good = b'{"instruction": "caf\xe9", "output": "x"}\n', _lines([GOOD]) + b"\n"
    utf8 = json.dumps({"instruction": "café", "output": "x"}, ensure_ascii=False).encode() + b"\n"
    path = tmp_path / "x.jsonl"
    path.write_bytes(bad + 9 * good)
    assert [one.reason for one in read(path)[1].report.rejects] == ["not UTF-8"]
    path.write_bytes(3 * bad + 9 * good + utf8)
    assert len(read(path)[1].report.rejects) == 3
    path.write_bytes(3 * bad + 9 * good)
    with pytest.raises(DataError, match="3 rows are not UTF-8") as caught:
        read(path)
    assert "encoding: cp1252" in caught.value.hint


def test_a_list_is_read_on_after_a_row_that_is_no_strict_json(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    twice = '{"instruction": "a", "output": "b", "output": "c"}'
    path.write_text(f'[{json.dumps(GOOD)},\n{{"instruction": "a", "output": NaN}},\n{twice},\n' + ",\n".join([json.dumps(GOOD)] * 3) + "]")  # fmt: skip
    rows, reader = read(path)
    assert len(rows) == 4
    places = [one.detail.split(":")[1] for one in reader.report.rejects]
    assert (places, [one.reason for one in reader.report.rejects]) == (
        ["2", "3"],
        ["not a number", "a key twice"],
    )


def test_long_elements_and_lines_over_the_pieces_they_are_read_in(tmp_path: Path) -> None:
    long = {"instruction": "é" * 2_000_000, "output": "x"}
    path = tmp_path / "x.json"
    path.write_text(json.dumps([GOOD, long, GOOD, long], ensure_ascii=False))
    rows, _ = read(path)
    assert [len(row.instruction) for row in rows] == [2, 2_000_000, 2, 2_000_000]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in (long, GOOD)))
    assert len(read(path)[0]) == 2


def test_evaluation_files(tmp_path: Path) -> None:
    def first(name: str) -> Any:
        return read_tasks(CASES / name)[0]

    sums, choice = first("30_gsm8k_tasks.jsonl"), first("30b_mmlu_tasks.jsonl")
    assert (sums.is_right("So 3 + 4 makes 7."), sums.is_right("8"), sums.instance.output) == (
        True,
        False,
        "7",
    )
    right = ("B", "b", "B. pear", "(B)", "The answer is B.", "Answer: B", "pear", "It is a pear.")
    assert all(choice.is_right(answer) for answer in right)
    assert not any(choice.is_right(answer) for answer in ("A", "A. lamp", "key", "A lamp.", ""))
    assert choice.family == "food"
    for name, family in (
        ("30c_alpacaeval.jsonl", "helpful_base"),
        ("30f_messages_tasks.jsonl", ""),
    ):
        assert (dict(first(name).check), first(name).family) == ({}, family)
    assert first("30g_number_output.jsonl").is_right("7")
    others = [
        ({"question": "Fruit?", "choices": {"text": ["lamp", "pear"], "label": ["1", "2"]}, "answerKey": "2"}, "B"),
        ({"question": "Fruit?", "options": {"A": "lamp", "B": "pear"}, "answer": "B"}, "pear"),
        ({"question": "Fruit?", "A": "lamp", "B": "pear", "answer": "B"}, "B"),
        ({"ctx": "He ate a", "endings": ["lamp", "pear"], "label": "1"}, "B"),
        ({"question": "Fruit?", "choices": ["lamp", "pear"], "answer": "pear"}, "B"),
        ({"question": "Is it?", "passage": "It is.", "answer": True}, "Yes, it is."),
        ({"prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma", "keywords:existence"], "kwargs": [{}, {"keywords": ["sea"]}]}, "the sea"),
    ]  # fmt: skip
    path = tmp_path / "t.jsonl"
    for row, answer in others:
        path.write_text(json.dumps(row))
        [task] = read_tasks(path)
        assert task.is_right(answer)
        assert not task.is_right("No, lamp, A.")
    path.write_text(
        json.dumps({"prompt": "x", "instruction_id_list": ["language:response_language"]})
    )
    assert not read_tasks(path)[0].check


def test_labels_of_other_forms(tmp_path: Path) -> None:
    scale = packaged("alpaca-5-point").scale
    for name, grade in (("31_labels_strings.jsonl", 5.0), ("31b_labels_float.jsonl", 4.5)):
        [answer] = read_labels(CASES / name, scale)
        assert isinstance(answer, LabelledAnswer)
        assert answer.label == grade
    [pair] = read_labels(CASES / "31c_labels_AB.jsonl", scale)
    assert isinstance(pair, LabelledPair)
    assert (pair.better, pair.first) == ("first", "3")
    path = tmp_path / "l.jsonl"
    for said, better in (("b", "second"), ("[[C]]", "tie"), (2, "second"), ("model_a", "first")):
        path.write_text(
            json.dumps({"instruction": "x", "first": "3", "second": "4", "better": said})
        )
        [pair] = read_labels(path, scale)
        assert isinstance(pair, LabelledPair)
        assert pair.better == better
