"""Documents of many types read in a process of their own; passages; what is broken, dangerous or
outside is named."""

import os
import socket
import time
from pathlib import Path

import pytest

from localinstruct.documents import folder as folder_module
from localinstruct.documents import packed, read_folder, readers
from localinstruct.documents.decoding import Unreadable
from localinstruct.documents.folder import normalised
from localinstruct.documents.passages import passages
from localinstruct.documents.worker import Worker
from localinstruct.errors import DataError
from localinstruct.methods.support import sentences
from localinstruct.progress import Silent
from tests.support import documents

BEES = (
    "Bees find home by the sun. At night they stay inside, because they cannot see it. A hive "
    "holds 20,000 of them."
)
MOSS = (
    "Moss grows in shade. It has no roots (only threads), and it drinks through its leaves; "
    "that is why it dries so fast."
)


def texts(folder: Path, words: int = 60, shortest: int = 5) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for one in read_folder(folder, words, shortest, Silent()).passages:
        found.setdefault(one.lineage.source, []).append(one.input)
    return found


def test_all_types_give_the_same_text(tmp_path: Path) -> None:
    for number, (ending, make) in enumerate(documents.MAKERS.items()):
        (tmp_path / f"file{ending}").write_bytes(
            make([f"File {number}. {BEES}", f"{MOSS} End of file {number}."])
        )
    found = texts(tmp_path, words=36)
    assert sorted(found) == sorted(f"file{ending}" for ending in documents.MAKERS)
    assert {".text", ".markdown", ".htm"} == readers.READERS.keys() - documents.MAKERS.keys()
    for number, ending in enumerate(documents.MAKERS):
        whole = "\n\n".join(found[f"file{ending}"])
        first, last = whole.index(f"File {number}. {BEES}"), whole.index(f"End of file {number}.")
        assert first < whole.index(MOSS) < last
        assert not any(
            word in whole
            for word in ("alert", "hidden words", "unseen words", "comment", "menu", "red")
        )


def test_a_passage_lies_where_it_says(tmp_path: Path) -> None:
    text = f"Ünïcode first.\r\n\r\n\r\n{BEES}\n\n{MOSS}"
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep/er/a.txt").write_bytes(text.encode())
    found = read_folder(tmp_path, 25, 3, Silent())
    whole = normalised(text)
    assert [one.name for one in found.passages] == ["deep/er/a.txt"] * len(found.passages)
    assert len(found.passages) >= 2
    for one in found.passages:
        assert whole[one.lineage.offset :].startswith(one.input)


def test_texts_are_composed_and_freed_of_what_cannot_be_seen() -> None:
    assert normalised("e\u0301 \u200b\ufeffa\xa0b \n\n\n\n\nc\u202e") == "é a b\n\nc"


def test_passages_are_paragraphs_then_sentences_then_pieces() -> None:
    long = " ".join(f"This is sentence number {n} of a long paragraph." for n in range(30))
    endless = "word " * 300 + "x" * 5000
    text = f"{BEES}\n\n{long}\n\n{endless}"
    found = [text[start:end] for start, end in passages(text, 40, 5)]
    assert found[0].startswith("Bees find home")
    assert all(len(one.split()) <= 40 and len(one) <= 480 and one == one.strip() for one in found)
    assert sum(one.count("sentence number") for one in found) == 30
    assert all(
        one.endswith(".") for one in found if "sentence number" in one and "word word" not in one
    )
    assert sum(one.count("word") for one in found) >= 300


def test_long_and_odd_texts_take_little_time() -> None:
    began = time.process_time()
    for text in (
        "a" * 10**6,
        "a. " * 100_000,
        " \n" * 10**5 + "x",
        "a" + " " * 10**6 + "b",
        "。" * 200_000,
    ):
        list(passages(normalised(text), 50, 1))
    assert time.process_time() - began < 60  # 2 s alone; a busy machine computes slower


def test_sentences_keep_their_quotation_marks_and_abbreviations_by_case() -> None:
    text = (
        'He said "It rains." Then he left, e.g. by train. It rained on.\n- one thing\n- '
        "another thing\n\nEnd"
    )
    said = [text[start:end] for start, end in sentences(text)]
    assert said == [
        'He said "It rains."',
        "Then he left, e.g. by train.",
        "It rained on.",
        "- one thing",
        "- another thing",
        "End",
    ]


def test_bad_files_are_named_and_cost_nothing_else(tmp_path: Path) -> None:
    bad = documents.bad_files()
    for name, (data, _) in bad.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "good.txt").write_text(BEES)
    found = read_folder(tmp_path, 60, 5, Silent())
    problems = {one.source: one.why for one in found.problems}
    assert problems.keys() == bad.keys()
    for name, (_, reason) in bad.items():
        assert reason in problems[name], (name, problems[name])
    assert (found.read, len(found.passages)) == (1, 1)


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_FILE_MIB", 1)
    files = {
        "entities.docx": (documents.with_entities([BEES]), "entities"),
        "large.txt": (b"word " * 2**18, "expected at most 1"),
        "deep.html": (b"<div>" * 2_000, "no text"),
        "good.txt": (BEES.encode(), ""),
    }
    for name, (data, _) in files.items():
        (tmp_path / name).write_bytes(data)
    found = read_folder(tmp_path, 60, 5, Silent())
    problems = {one.source: one.why for one in found.problems}
    assert {name for name in files if name != "good.txt"} == problems.keys()
    assert all(files[name][1] in why for name, why in problems.items()), problems


@pytest.mark.parametrize(("limit", "most"), [("MAX_UNPACKED_MIB", 0.01), ("MAX_PARTS", 3)])
def test_a_word_file_that_unpacks_to_too_much_is_refused(
    limit: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = documents.docx([BEES])
    assert BEES in readers.docx(data)
    monkeypatch.setattr(packed, limit, most)
    with pytest.raises(Unreadable, match="too much for a document"):
        readers.docx(data)


def test_a_pdf_of_too_many_pages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = documents.pdf([BEES, MOSS, BEES])
    assert MOSS in readers.pdf(data)
    monkeypatch.setattr(readers, "MAX_PAGES", 2)
    with pytest.raises(Unreadable, match="3 pages, expected at most 2"):
        readers.pdf(data)


def test_what_needs_too_much_memory_ends_in_a_problem(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(BEES)
    (tmp_path / "wide.txt").write_text("word " * 2**23)
    with Worker(memory_mib=100) as worker:
        problem = {"problem": "needs more than 0.098 GiB of memory to be read"}
        assert worker.read(tmp_path / "wide.txt") == problem
        assert worker.read(tmp_path / "good.txt") == {"text": BEES}


def test_a_slow_file_and_a_crash_end_the_reader_of_that_file_only(tmp_path: Path) -> None:
    (tmp_path / "good.txt").write_text(BEES)
    page = b"<html><body>" + b"".join(b"<p style='display:none'>%d" % n for n in range(20_000))
    (tmp_path / "slow.html").write_bytes(page)
    with Worker(seconds=0.01) as worker:
        assert worker.read(tmp_path / "slow.html") == {"problem": "not read after 0.01 s"}
        worker.seconds = 120
        assert worker.read(tmp_path / "good.txt") == {"text": BEES}
        assert worker._process is not None
        worker._process.kill()
        assert worker.read(tmp_path / "good.txt") == {"problem": "its reader crashed (SIGKILL)"}
        assert worker.read(tmp_path / "good.txt") == {"text": BEES}
        left = worker._process.pid
    with pytest.raises(ProcessLookupError):
        os.kill(left, 0)


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "secret.txt").write_text(MOSS)
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "folder").symlink_to(outside)
    (inside / ".hidden.txt").write_text(MOSS)
    (inside / "photo.png").write_bytes(b"png")
    (inside / "good.txt").write_text(BEES)
    (inside / "again.txt").write_text(BEES)
    os.mkfifo(inside / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(inside / "socket.txt"))
    found = read_folder(inside, 60, 5, Silent())
    assert [one.lineage.source for one in found.passages] == ["again.txt"]  # the same passage, once
    why = {one.source: one.why for one in found.problems}
    assert why.keys() == {"link.txt", "folder", "photo.png", "pipe.txt", "socket.txt"}
    assert "link" in why["link.txt"]
    assert "link" in why["folder"]
    assert "type" in why["photo.png"]
    with Worker() as worker:  # a link put there after it was looked at
        assert "cannot be opened" in worker.read(inside / "link.txt")["problem"]


def test_a_page_that_names_other_addresses_fetches_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        page = (
            f'<!DOCTYPE html SYSTEM "{url}/dtd"><link rel="stylesheet" href="{url}/s"><img '
            f'src="{url}/i"><p>{BEES}</p>'
        )
        (tmp_path / "page.html").write_text(page)
        assert texts(tmp_path) == {"page.html": [BEES]}
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_folder_without_documents_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    with pytest.raises(
        DataError, match=r"no document that can be used among 1 files.\n  - empty.txt: empty"
    ):
        texts(tmp_path)
    with pytest.raises(DataError, match="expected a folder of documents, found a file"):
        texts(tmp_path / "empty.txt")
    with pytest.raises(DataError, match="found nothing"):
        texts(tmp_path / "gone")
