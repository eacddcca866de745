"""Readers from a file to its text: plain text, markup, tables, JSON, HTML, PDF, Word and more.

The ending of a file's name decides; a name without one is plain text. Runs in the worker, which has
limits of memory and time. Parts that are not shown to a person (scripts, styles, comments, hidden
elements) do not come along. `Unreadable` says why in a few words; any other exception means that
the file is damaged. Not covered: scanned pages (no OCR), footnotes, headers, text boxes and tracked
insertions of Word files, notes and charts of PowerPoint files, hidden text of PDF and Word files,
old .doc and .ppt.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from localinstruct.documents.decoding import Unreadable, decoded
from localinstruct.documents.packed import opened_archive, parts_of_book, parts_of_slides
from localinstruct.formats.fields import Malformed
from localinstruct.formats.strict_json import parse

if TYPE_CHECKING:
    from docx.table import Table, _Cell
    from docx.text.paragraph import Paragraph
    from lxml.etree import _Element

MAX_PAGES = 5_000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SURROGATE = re.compile("[\ud800-\udfff]")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_UNSEEN = (
    "//script|//style|//template|//noscript|//head|//iframe|//object|//svg|//select|//textarea"
    "|//nav|//*[@hidden]|//*[contains(translate(@style,' ','') , 'display:none')"
    " or contains(translate(@style,' ',''), 'visibility:hidden')]"
)
_BLOCKS = (
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure footer "
    "form h1 h2 h3 h4 h5 h6 header hr li listing main ol p pre section summary table tr ul xmp"
)
_EMPTY = re.compile(
    r"<(?!(?:area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr)\b)"
    r"([a-z][\w:-]*)(\s[^<>]*)?/>",
    re.IGNORECASE,
)
"""An element that XHTML closes at once, where HTML would take what follows into it."""


def plain(data: bytes, encoding: str | None = None) -> str:
    """The text of a file as it is written."""
    return decoded(data, encoding)


def markdown(data: bytes, encoding: str | None = None) -> str:
    """The text of a Markdown file as it is written, without its comments."""
    return _COMMENT.sub("", decoded(data, encoding))


def table(data: bytes, encoding: str | None = None, *, delimiters: str = ",;\t|") -> str:
    """Rows of a CSV or TSV file, each a paragraph with " | " between its cells."""
    text = decoded(data, encoding)
    first = text.lstrip().partition("\n")[0]
    delimiter = max(delimiters, key=first.count)
    csv.field_size_limit(len(text) + 1)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return "\n\n".join(_row(cells) for cells in rows if any(cells))


def _row(cells: list[str]) -> str:
    return " | ".join(" ".join(cell.split()) for cell in cells)


def json_values(data: bytes, encoding: str | None = None) -> str:
    """Texts and numbers of a file of JSON or JSON Lines in their order, each behind its key.

    An object is a paragraph, and so is a text of several lines.
    """
    text = decoded(data, encoding)
    try:
        return _json(text)
    except Malformed as problem:
        first = problem
    lines = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    pieces = []
    for number, line in lines:
        try:
            pieces.append(_json(line))
        except Malformed as problem:
            said = f"{problem}, line {number}" if pieces else f"{first}, line {first.line}"
            raise Unreadable(f"not JSON ({said})") from None
    return "\n\n".join(pieces)


def _json(text: str) -> str:
    return "".join(_leaves(parse(text)))


def _leaves(value: object, key: str = "") -> Iterator[str]:
    """Pieces of text; recursion ends, as deeper nesting is no JSON here."""
    if isinstance(value, dict | list):
        yield "\n\n"
        items = value.items() if isinstance(value, dict) else ((key, part) for part in value)
        for name, part in items:
            yield from _leaves(part, str(name))
        yield "\n\n"
    elif value is not None and str(value).strip():
        shown = str(value) if isinstance(value, str) else json.dumps(value)
        lines = "\n\n" if "\n" in shown else "\n"
        yield f"{lines}{key}: {shown}{lines}" if key else f"{lines}{shown}{lines}"


def html(data: bytes, encoding: str | None = None) -> str:
    """The text that a browser would show, block by block; `<pre>` keeps its lines."""
    from lxml.html import HTMLParser, document_fromstring

    text = decoded(data, encoding, marked_up=True)
    parser = HTMLParser(
        encoding="utf-8", no_network=True, remove_comments=True, remove_pis=True, huge_tree=False
    )
    if not text.strip():
        return ""
    if text.startswith("<?xml") or 'xmlns="http://www.w3.org/1999/xhtml"' in text[:4096]:
        text = _EMPTY.sub(r"<\1\2></\1>", text)
    root = document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    for unseen in root.xpath(_UNSEEN):
        if unseen.getparent() is not None:
            unseen.drop_tree()
    return _shown(root)


def _shown(root: "_Element") -> str:
    from lxml import etree

    pieces, kept = list[str](), 0  # elements around this place whose blanks are kept
    for event, element in etree.iterwalk(root, events=("start", "end")):
        edge, keeps = _edge(element.tag), _keeps_blanks(element)
        if event == "end":
            kept -= keeps
        if kept and edge == "\n\n":  # a line of code in a block of its own
            edge = "" if pieces and pieces[-1].endswith("\n") else "\n"
        if element.tag == "br" and event == "end":
            edge = ""
        if event == "start":
            kept += keeps
        text = (element.text if event == "start" else element.tail) or ""
        text = text.replace("\t", "    ") if kept else re.sub(r"\s+", " ", text)
        pieces += filter(None, (edge, text))
    return "".join(pieces)


def _keeps_blanks(element: "_Element") -> bool:
    style = (element.get("style") or "").replace(" ", "").lower()
    return element.tag in ("pre", "listing", "xmp") or "white-space:pre" in style


def _edge(tag: object) -> str:
    """Blank or newlines that stand for the edge of an element."""
    if tag in _BLOCKS.split():
        return "\n\n"
    return "\n" if tag == "br" else " " if tag in ("td", "th") else ""


def pdf(data: bytes, _: str | None = None) -> str:
    """The text of all pages; lines are joined, because a PDF breaks them by width."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    if not data.startswith(b"%PDF-") and b"%PDF-" not in data[:1024]:
        raise Unreadable("not a PDF")
    reader = PdfReader(io.BytesIO(data), strict=False)
    try:
        closed = reader.is_encrypted and not reader.decrypt("")
    except (DependencyError, NotImplementedError):
        closed = True
    if closed:
        raise Unreadable("encrypted")
    if len(reader.pages) > MAX_PAGES:
        raise Unreadable(f"{len(reader.pages):,} pages, expected at most {MAX_PAGES:,}")
    pages = [page.extract_text() for page in reader.pages]
    return "\n\n".join(_joined_lines(page) for page in pages)


def _joined_lines(page: str) -> str:
    text = re.sub(r"(?<=[^\W\d_])-[ \t]*\n(?=[a-z])", "", page)
    return re.sub(r"[ \t]*(?<!\n)\n(?!\s*\n)[ \t]*", " ", text)


def docx(data: bytes, _: str | None = None) -> str:
    """Paragraphs and tables in their order, a table's row as a line."""
    from docx import Document

    if data.startswith(_OLE):
        raise Unreadable("encrypted, or an old .doc")
    with opened_archive(data, "Word file", entities=False):
        document = Document(io.BytesIO(data))
    return "\n\n".join(_blocks(document.iter_inner_content()))


def _blocks(blocks: Iterator["Paragraph | Table"]) -> Iterator[str]:
    from docx.table import Table

    for block in blocks:
        yield _table(block) if isinstance(block, Table) else block.text


def _table(table: "Table") -> str:
    """Rows as lines; a merged cell stands once in each row that it is in."""
    lines = []
    for row in table.rows:
        cells = list["_Cell"]()
        for cell in row.cells:  # the same object for each column that it covers
            if not cells or cell is not cells[-1]:
                cells.append(cell)
        lines.append(_row([" ".join(_blocks(cell.iter_inner_content())) for cell in cells]))
    return "\n".join(lines)


def pptx(data: bytes, _: str | None = None) -> str:
    """The text of the slides that are shown, in their order."""
    if data.startswith(_OLE):
        raise Unreadable("encrypted, or an old .ppt")
    with opened_archive(data, "PowerPoint file", entities=False) as archive:
        return "\n\n".join(parts_of_slides(archive))


def epub(data: bytes, encoding: str | None = None) -> str:
    """The text of a book's chapters, in the order in which they are read."""
    with opened_archive(data, "EPUB book", entities=True) as archive:
        return "\n\n".join(html(part, encoding) for part in parts_of_book(archive))


Reader = Callable[[bytes, str | None], str]
READERS: dict[str, Reader] = {
    "": plain,
    ".txt": plain,
    ".text": plain,
    ".md": markdown,
    ".markdown": markdown,
    ".rst": plain,
    ".org": plain,
    ".html": html,
    ".htm": html,
    ".xhtml": html,
    ".csv": table,
    ".tsv": partial(table, delimiters="\t"),
    ".json": json_values,
    ".jsonl": json_values,
    ".pdf": pdf,
    ".docx": docx,
    ".pptx": pptx,
    ".epub": epub,
}
"""Ending of a name, in lower case -> the reader of such a file's bytes in a named encoding."""
TYPES = ", ".join(ending[1:] for ending in READERS if ending) + ", names without an ending"
"""The types that are read, for people."""


def text_of(path: Path, data: bytes, encoding: str | None = None) -> str:
    """The text of a file with these bytes.

    `encoding` is that of texts which are not UTF-8 and declare no other.
    """
    text = READERS[path.suffix.lower()](data, encoding)
    return _SURROGATE.sub("\ufffd", text)  # JSON may spell one
