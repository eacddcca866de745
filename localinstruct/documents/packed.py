"""Parts of documents that are zip archives: PowerPoint slides and the chapters of EPUB books.

Archives are strangers': what they may unpack to is limited before anything is unpacked, a part is
read once, however often it is named, and XML is parsed without entities.
"""

import io
import posixpath
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import unquote

from localinstruct.documents.decoding import Unreadable

if TYPE_CHECKING:
    from lxml.etree import _Element

MAX_UNPACKED_MIB = 256
"""Size to which an archive may unpack."""
MAX_PARTS = 10_000
_SLIDES = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"


@contextmanager
def opened_archive(data: bytes, kind: str, *, entities: bool) -> Iterator[zipfile.ZipFile]:
    """The archive, which unpacks to little enough.

    Unreadable for one that is no archive or encrypted, and, unless `entities`, for one that
    declares XML entities.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile:
        raise Unreadable(f"not a {kind}".replace("a E", "an E")) from None
    with archive:
        parts = archive.infolist()
        # zipfile reads no part beyond the size it declares
        unpacked = sum(part.file_size for part in parts)
        if len(parts) > MAX_PARTS or unpacked > MAX_UNPACKED_MIB * 2**20:
            size = f"{unpacked / 2**20:,.0f} MiB in {len(parts):,} parts"
            raise Unreadable(f"unpacks to {size}, too much for a document")
        if any(part.flag_bits & 1 for part in parts):
            raise Unreadable("encrypted")
        xml = (part.filename for part in parts if part.filename.lower().endswith((".xml", ".rels")))
        if not entities and any(b"<!DOCTYPE" in archive.read(name) for name in xml):
            raise Unreadable(f"declares XML entities, which no {kind} needs")
        yield archive


def parts_of_slides(archive: zipfile.ZipFile) -> Iterator[str]:
    """The text of each slide that is not hidden: paragraphs, and rows of tables as lines."""
    place = "ppt/presentation.xml"
    if place not in archive.namelist():
        raise Unreadable("not a PowerPoint file")
    targets = {
        entry.get("Id"): _beside(place, entry.get("Target") or "")
        for entry in _xml(archive, "ppt/_rels/presentation.xml.rels")
        if isinstance(entry.tag, str)
    }
    listed = [entry.get(_RELATION) for entry in _xml(archive, place).iter(f"{_SLIDES}sldId")]
    for name in dict.fromkeys(targets[number] for number in listed if number in targets):
        slide = _xml(archive, name)
        if slide.get("show") not in ("0", "false"):
            yield "\n\n".join(_paragraphs(slide))


def _paragraphs(element: "_Element") -> Iterator[str]:
    """Texts of paragraphs and tables below an element."""
    for part in element:
        if part.tag == _ALTERNATIVE:  # the same for older programs
            continue
        if part.tag == f"{_TEXT}tbl":
            yield "\n".join(_row(row) for row in part.iter(f"{_TEXT}tr"))
        elif part.tag == f"{_TEXT}p":
            yield _paragraph(part)
        else:
            yield from _paragraphs(part)


def _row(row: "_Element") -> str:
    """Cells with " | " between them; those that a merged one covers stand nowhere."""
    cells = [
        " ".join(" ".join(map(_paragraph, cell.iter(f"{_TEXT}p"))).split())
        for cell in row.iter(f"{_TEXT}tc")
        if cell.get("hMerge") not in ("1", "true")
    ]
    return " | ".join(cells)


def _paragraph(paragraph: "_Element") -> str:
    pieces = []
    for part in paragraph.iter(f"{_TEXT}t", f"{_TEXT}br"):
        pieces.append("\n" if part.tag == f"{_TEXT}br" else part.text or "")
    return "".join(pieces)


def parts_of_book(archive: zipfile.ZipFile) -> Iterator[bytes]:
    """The pages of a book in the order of its spine, each once, as HTML."""
    names = set(archive.namelist())
    if "META-INF/container.xml" not in names:
        raise Unreadable("not an EPUB book")
    places = [
        entry.get("full-path") or ""
        for entry in _named(archive, "META-INF/container.xml", "rootfile")
    ]
    if not places or places[0] not in names:
        raise Unreadable("not an EPUB book (no list of its parts)")
    place = places[0]
    parts = {
        entry.get("id"): _beside(place, unquote(entry.get("href") or ""))
        for entry in _named(archive, place, "item")
    }
    spine = [parts.get(entry.get("idref")) for entry in _named(archive, place, "itemref")]
    pages = [name for name in dict.fromkeys(spine) if name in names]
    if "META-INF/encryption.xml" in names:
        locked = [
            entry.get("URI")
            for entry in _named(archive, "META-INF/encryption.xml", "CipherReference")
        ]
        if any(unquote(name or "") in pages for name in locked):
            raise Unreadable("encrypted")
    for name in pages:
        yield archive.read(str(name))


def _named(archive: zipfile.ZipFile, place: str, name: str) -> "list[_Element]":
    """Elements of an XML part with this name in any namespace."""
    found: list[_Element] = list(_xml(archive, place).iter("{*}" + name))
    return found


def _xml(archive: zipfile.ZipFile, name: str) -> "_Element":
    from lxml import etree

    if name not in archive.namelist():
        raise Unreadable(f"damaged ({name} is missing)")
    data = archive.read(name)
    if b"<!ENTITY" in data.replace(b"\0", b""):  # those in attributes are always expanded
        raise Unreadable(f"{name} declares XML entities")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    return etree.fromstring(data, parser)


def _beside(place: str, target: str) -> str:
    """A part's full name, from the name that another part gives it."""
    if target.startswith("/"):
        return target[1:]
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), target))
