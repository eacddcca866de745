"""Readers from a file to its text: plain text, Markdown, HTML, PDF and Word.

The ending of a file's name decides. Runs in the worker, which has limits of memory and time. Parts
that are not shown to a person (scripts, styles, comments, hidden elements) do not come along.
`Unreadable` says why in a few words; any other exception means that the file is damaged. Not
covered: scanned pages (no OCR), footnotes, headers, text boxes and tracked insertions of Word
files, hidden text of PDF and Word files, old .doc.
"""

import io
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from docx.table import Table

MAX_UNPACKED_MIB = 256
"""Size to which a Word file may unpack."""
MAX_PARTS = 10_000
MAX_PAGES = 5_000
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_UNSEEN = (
    "//script|//style|//template|//noscript|//head|//iframe|//object|//svg|//select|//textarea"
    "|//nav|//*[@hidden]|//*[contains(translate(@style,' ','') , 'display:none')"
    " or contains(translate(@style,' ',''), 'visibility:hidden')]"
)
_BLOCKS = (
    "address article aside blockquote body dd details div dl dt fieldset figcaption figure "
    "footer form h1 h2 h3 h4 h5 h6 header hr li main ol p pre section summary table tr ul"
)


class Unreadable(Exception):
    """A file that has no text for us; the message says why in a few words."""


def plain(data: bytes) -> str:
    """The text of a file in UTF-8, or in UTF-16 with its mark."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"not UTF-8 text (byte {error.start:,})") from None
    if "\0" in text:
        raise Unreadable("not text (it has zero bytes)")
    return text


def markdown(data: bytes) -> str:
    """The text of a Markdown file as it is written, without its comments."""
    return _COMMENT.sub("", plain(data))


def html(data: bytes) -> str:
    """The text that a browser would show, block by block."""
    from lxml import etree
    from lxml.html import HTMLParser, document_fromstring

    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16").encode()
    parser = HTMLParser(
        encoding=_encoding(data),
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )
    if not data.strip():
        return ""
    root = document_fromstring(data, parser=parser)
    for unseen in root.xpath(_UNSEEN):
        if unseen.getparent() is not None:
            unseen.drop_tree()
    pieces: list[str] = []
    for event, element in etree.iterwalk(root, events=("start", "end")):
        text = (element.text if event == "start" else element.tail) or ""
        pieces += [_edge(element.tag), re.sub(r"\s+", " ", text)]
    return "".join(pieces)


def _encoding(data: bytes) -> str | None:
    """UTF-8 where the bytes are that; None leaves it to the page's own declaration."""
    try:
        data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return "utf-8"


def _edge(tag: object) -> str:
    """Blank or newlines that stand for the edge of an element."""
    if tag in _BLOCKS.split():
        return "\n\n"
    return "\n" if tag == "br" else " " if tag in ("td", "th") else ""


def pdf(data: bytes) -> str:
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


def docx(data: bytes) -> str:
    """Paragraphs and tables in their order, a table's row as a line."""
    from docx import Document
    from docx.table import Table

    if data.startswith(_OLE):
        raise Unreadable("encrypted, or an old .doc")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _require_harmless(archive)
    except zipfile.BadZipFile:
        raise Unreadable("not a Word file") from None
    blocks = Document(io.BytesIO(data)).iter_inner_content()
    texts = [_table(block) if isinstance(block, Table) else block.text for block in blocks]
    return "\n\n".join(texts)


def _table(table: "Table") -> str:
    rows = [list(dict.fromkeys(cell.text.strip() for cell in row.cells)) for row in table.rows]
    return "\n".join(" | ".join(row) for row in rows)


def _require_harmless(archive: zipfile.ZipFile) -> None:
    """Unreadable for an archive that unpacks to too much, is encrypted, or declares entities."""
    parts = archive.infolist()
    # zipfile reads no part beyond the size it declares
    unpacked = sum(part.file_size for part in parts)
    if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED_MIB * 2**20:
        size = f"{unpacked / 2**20:,.0f} MiB in {len(parts):,} parts"
        raise Unreadable(f"unpacks to {size}, too much for a document")
    if any(part.flag_bits & 1 for part in parts):
        raise Unreadable("encrypted")
    names = (part.filename for part in parts if part.filename.lower().endswith((".xml", ".rels")))
    if any(b"<!DOCTYPE" in archive.read(name) for name in names):
        raise Unreadable("declares XML entities, which no Word file needs")


READERS: dict[str, Callable[[bytes], str]] = {
    ".txt": plain,
    ".md": markdown,
    ".markdown": markdown,
    ".html": html,
    ".htm": html,
    ".pdf": pdf,
    ".docx": docx,
}
"""Ending of a name, in lower case -> the reader of such a file's bytes."""


def text_of(path: Path, data: bytes) -> str:
    """The text of a file with these bytes."""
    return READERS[path.suffix.lower()](data)
