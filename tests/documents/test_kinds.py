"""Documents of the kinds that people have: encodings, code, tables, slides and books."""

import io
from pathlib import Path

import pytest

from localinstruct.documents import packed, read_folder, readers
from localinstruct.documents.decoding import Unreadable, decoded
from localinstruct.documents.folder import normalised
from localinstruct.errors import DataError
from localinstruct.generation.inputs import documents_of
from localinstruct.pipeline import changed_keys
from localinstruct.progress import Silent
from localinstruct.recipe import recipe_from_text
from tests.support import documents

CASES = Path(__file__).parents[1] / "data/cases/documents"
READ = {
    "data.csv": "a | b\n\n1 | 2",
    "gbk_meta.html": "这座桥是上个世纪建成的。每天两个村子",
    "nav_table.html": "2019  400",
    "notes.rst": "The bridge over the river was built in the last century.",
    "pre_code.html": "def f(x):\n    if x:\n        return 1\n    return 2",
    "sjis_meta.html": "橋は前の世紀に川の上に建てられました。",
    "utf8_cn.txt": "这座桥是上个世纪建成的。",
}
NAMED = {
    "cp1252.txt": "not UTF-8; looks like cp1252 (set documents.encoding)",
    "ru1251_nometa.html": "not UTF-8; looks like cp1251 (set documents.encoding)",
}


def text_of(path: Path, encoding: str | None = None) -> str:
    return normalised(readers.text_of(path, path.read_bytes(), encoding))


def test_every_document_of_the_cases_has_its_row() -> None:
    assert {path.name for path in CASES.iterdir()} == READ.keys() | NAMED.keys()


@pytest.mark.parametrize("name", READ)
def test_documents_that_are_read(name: str) -> None:
    text = text_of(CASES / name)
    assert READ[name] in text
    assert "Home About" not in text


@pytest.mark.parametrize("name", NAMED)
def test_documents_whose_encoding_is_not_known_are_named(name: str) -> None:
    with pytest.raises(Unreadable) as caught:
        text_of(CASES / name)
    assert str(caught.value) == NAMED[name]


SAMPLES = {
    "cp1251": "Мост через реку построили в прошлом веке. Каждый день по нему ходят люди.",
    "koi8-r": "Мост через реку построили в прошлом веке. Каждый день по нему ходят люди.",
    "cp1253": "Η γέφυρα χτίστηκε τον περασμένο αιώνα και περνούν πολλοί άνθρωποι.",
    "cp1255": "הגשר נבנה במאה הקודמת. אנשים חוצים אותו כל יום.",
    "cp1250": "Most został zbudowany w ubiegłym wieku, źdźbło trawy.",
    "gbk": "这座桥是上个世纪建成的。每天两个村子的人都从桥上走过。",
    "big5": "這座橋是上個世紀建成的。每天都有人走過。",
    "shift_jis": "この橋は前の世紀に建てられました。毎日人々が渡ります。",
    "euc_kr": "이 다리는 지난 세기에 지어졌습니다. 매일 사람들이 건넙니다.",
}


@pytest.mark.parametrize("encoding", SAMPLES)
def test_an_encoding_that_is_not_told_is_named_and_never_guessed(
    encoding: str, tmp_path: Path
) -> None:
    text = SAMPLES[encoding]
    bare = tmp_path / "bare.html"
    bare.write_bytes(f"<html><body><p>{text}</p></body></html>".encode(encoding))
    with pytest.raises(Unreadable, match="not UTF-8; looks like") as caught:
        text_of(bare)
    assert encoding.replace("-", "_") in str(caught.value)
    assert text in text_of(bare, encoding)
    for declaration in (
        f'<meta charset="{encoding}">',
        f"<META http-equiv='Content-Type' content='text/html; charset={encoding}'>",
        f'<!-- <meta charset="utf-8"> --><meta charset={encoding}>',
    ):
        bare.write_bytes(f"<head>{declaration}</head><p>{text}</p>".encode(encoding))
        assert text in text_of(bare, "cp1252")
    page = tmp_path / "page.xhtml"
    page.write_bytes(
        f'<?xml version="1.0" encoding="{encoding}"?><html><p>{text}</p></html>'.encode(encoding)
    )
    assert text in text_of(page)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ending", ["txt", "html", "csv", "json"])
def test_a_mark_is_believed(encoding: str, ending: str, tmp_path: Path) -> None:
    text = SAMPLES["cp1251"]
    path = tmp_path / f"file.{ending}"
    path.write_bytes((f'["{text}"]' if ending == "json" else text).encode(encoding))
    assert text_of(path, "koi8-r") == text


def test_what_is_declared_and_untrue_is_named() -> None:
    data = f'<meta charset="gb2312"><p>{SAMPLES["cp1251"]}</p>'.encode("cp1251")
    with pytest.raises(Unreadable, match=r"not UTF-8, nor gb2312 as it declares; looks like"):
        decoded(data, marked_up=True)
    assert SAMPLES["cp1251"] in decoded(data, "cp1251", marked_up=True)
    with pytest.raises(Unreadable, match=r"nor shift_jis as documents\.encoding says"):
        decoded("Müßiggang ".encode("latin-1") * 9 + b"\xff", "shift_jis")
    for odd in ("idna", "utf-7", "unicode-escape", "no-such"):
        page = f'<meta charset="{odd}"><p>{SAMPLES["cp1251"]}</p>'.encode("cp1251")
        with pytest.raises(Unreadable, match="looks like cp1251"):
            decoded(page, marked_up=True)
    assert decoded("日本".encode("iso2022_jp"), "iso2022_jp") == "日本"


def test_a_folder_names_the_encoding_to_set_and_reads_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes((SAMPLES["cp1251"] * 3).encode("cp1251"))
    (tmp_path / "b.html").write_bytes((CASES / "ru1251_nometa.html").read_bytes())
    with pytest.raises(DataError, match="looks like cp1251") as caught:
        read_folder(tmp_path, 60, 5, Silent())
    assert caught.value.hint == "Set the encoding: --set documents.encoding=cp1251"
    (tmp_path / "c.txt").write_text(SAMPLES["gbk"] * 9, encoding="utf-8")
    found = read_folder(tmp_path, 60, 5, Silent(), encoding="cp1251")
    assert (found.read, found.problems) == (3, [])
    said = f"seeds: {tmp_path}\nname: x\nmodels: {{teacher: t, student: s}}\n"
    said += "method: {grounded: {shortest: 5}}\nnovelty: {against: kept}\n"
    plain = recipe_from_text(said, "x.yaml")
    told = recipe_from_text(said + "documents: {encoding: cp1251}\n", "x.yaml")
    assert len(documents_of(told, tmp_path, Silent()).passages) == 3
    assert len(documents_of(plain, tmp_path, Silent()).passages) == 1
    assert recipe_from_text(told.to_yaml(), "again").documents.encoding == "cp1251"
    assert "documents" not in plain.model_dump(mode="json")
    assert [key for key in changed_keys(plain, told)] == ["documents.encoding"]


@pytest.mark.parametrize(
    ("page", "shown"),
    [
        ("<pre>a\n  b\n\n\tc</pre>", "a\n  b\n\n    c"),
        ("<pre><code>if x:<br>    y</code></pre>z", "if x:\n    y\n\nz"),
        ("<div><pre><span>a </span>\n<span>  b</span></pre> c  d</div>", "a\n  b\n\n c d"),
        ("<pre><div>one</div><div>  two</div></pre>", "one\n  two"),
        ("<p style='white-space: pre-wrap'>a\n  b</p>", "a\n  b"),
        ("<p>a\n   b</p>", "a b"),
    ],
)
def test_lines_and_indentation_of_code_are_kept(page: str, shown: str) -> None:
    assert normalised(readers.html(page.encode())) == shown


def word_table() -> bytes:
    from docx import Document

    document, file = Document(), io.BytesIO()
    table = document.add_table(rows=4, cols=3)
    texts = ["Year", "North", "South", "2019", "40", "40", "2020", "", "", "2021", "7", "7"]
    for number, text in enumerate(texts):
        table.cell(number // 3, number % 3).text = text
    wide = table.cell(2, 1).merge(table.cell(2, 2))
    wide.text = "closed"
    tall = table.cell(2, 0).merge(table.cell(3, 0))
    tall.text = "later"
    inner = table.cell(1, 0).add_table(rows=1, cols=2)
    inner.cell(0, 0).text, inner.cell(0, 1).text = "in", "in"
    document.save(file)
    return file.getvalue()


def test_equal_cells_of_a_word_table_are_all_kept_and_merged_ones_stand_once() -> None:
    lines = [line for line in readers.docx(word_table()).splitlines() if line]
    assert lines == [
        "Year | North | South",
        "2019 in | in | 40 | 40",
        "later | closed",
        "later | 7 | 7",
    ]


def test_tables_of_text_keep_every_cell() -> None:
    assert readers.table(b'a;b;c\n1;1;"x\ny"\n;;\n') == "a | b | c\n\n1 | 1 | x y"
    long = "w" * 200_000
    assert readers.table(f"a,b\n{long},{long}\n".encode()).count(long) == 2


def test_json_keeps_keys_and_order_and_ends_at_bottomless_nesting() -> None:
    data = b'{"title": "Bees", "facts": [{"legs": 6, "flies": true, "no": null}], "x": "a\\nb"}'
    assert normalised(readers.json_values(data)) == (
        "title: Bees\n\nlegs: 6\n\nflies: true\n\nx: a\nb"
    )
    for lines in (b'{"a": 1}\n\n{"a": 2}\n', b'{\n"a": 1,\n"b": {"a": 2}}'):
        for name in ("a.json", "a.jsonl"):
            assert normalised(readers.text_of(Path(name), lines)) == "a: 1\n\na: 2"
    assert readers.text_of(Path("a.json"), b'["\\ud800"]').strip() == "\ufffd"
    with pytest.raises(Unreadable, match="line 2"):
        readers.json_values(b'{"a": 1}\n{"a": NaN}\n')
    for bad in (b"{", b'{"a": NaN}', b"[" * 2_000):
        with pytest.raises(Unreadable, match="not JSON"):
            readers.json_values(bad)


def test_slides_are_read_in_their_order_with_their_tables() -> None:
    table = [["Year", "Visitors"], ["2019", "2019"]]
    slides = [documents.slide(["First"], table=table), documents.slide(["Second & last"])]
    text = readers.pptx(documents.archive(documents.presentation(slides)))
    assert text == "First\n\nYear | Visitors\n2019 | 2019\n\nSecond & last"


def test_a_book_is_read_by_its_spine_and_each_page_once() -> None:
    pages = {"a": documents.page("Alpha"), "b": documents.page("Beta")}
    text = readers.epub(documents.archive(documents.book(pages, ["b", "a", "b", "gone"] * 50)))
    assert normalised(text) == "Beta\n\nAlpha"


LOCKED = b'<e xmlns:x="u"><x:CipherReference URI="OEBPS/text/a.xhtml"/></e>'
BAD_ARCHIVES = {
    "not-a.pptx": (b"PK\x03\x04 nothing", "not a PowerPoint file"),
    "not-a.epub": (b"nothing", "not an EPUB book"),
    "other.pptx": (documents.archive({"a.txt": b"x"}), "not a PowerPoint file"),
    "other.epub": (documents.archive({"a.txt": b"x"}), "not an EPUB book"),
    "old.pptx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "encrypted"),
    "locked.epub": (
        documents.archive(
            documents.book({"a": documents.page("A")}) | {"META-INF/encryption.xml": LOCKED}
        ),
        "encrypted",
    ),
    "gone.pptx": (
        documents.archive(
            {k: v for k, v in documents.presentation([b""]).items() if "slide1" not in k}
        ),
        "missing",
    ),
    "entities.pptx": (
        documents.archive(documents.presentation([b'<!DOCTYPE d [<!ENTITY a "word">]><p>&a;</p>'])),
        "entities",
    ),
}


@pytest.mark.parametrize("name", BAD_ARCHIVES)
def test_bad_archives_are_named(name: str, tmp_path: Path) -> None:
    data, reason = BAD_ARCHIVES[name]
    with pytest.raises(Unreadable, match=reason):
        readers.text_of(Path(name), data)


@pytest.mark.parametrize(("limit", "most"), [("MAX_UNPACKED_MIB", 0.0005), ("MAX_PARTS", 2)])
@pytest.mark.parametrize("ending", [".pptx", ".epub"])
def test_archives_that_unpack_to_too_much_are_refused(
    ending: str, limit: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = documents.MAKERS[ending](["Some words.", "Some more."])
    assert "Some more." in readers.READERS[ending](data, None)
    monkeypatch.setattr(packed, limit, most)
    with pytest.raises(Unreadable, match="too much for a document"):
        readers.READERS[ending](data, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_of_a_book_are_refused(encoding: str) -> None:
    parts = documents.book({"a": documents.page("Alpha")})
    told = '<!DOCTYPE d [<!ENTITY a "text">]>' + parts["OEBPS/book.opf"].decode()
    parts["OEBPS/book.opf"] = told.replace("text/a.xhtml", "&a;/a.xhtml").encode(encoding)
    with pytest.raises(Unreadable, match="entities"):
        readers.epub(documents.archive(parts))
