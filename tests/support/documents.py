"""Documents of many types, written from paragraphs; and ones that are broken, locked or
dangerous."""

import io
import zipfile
from collections.abc import Callable, Sequence
from html import escape
from json import dumps

Paragraphs = Sequence[str]


def txt(paragraphs: Paragraphs) -> bytes:
    return "\n\n".join(paragraphs).encode()


def md(paragraphs: Paragraphs) -> bytes:
    return ("# Notes\n\n" + "\n\n".join(paragraphs) + "\n\n<!-- a comment -->\n").encode()


def html(paragraphs: Paragraphs) -> bytes:
    body = "".join(f"<p>{one}</p>\n" for one in paragraphs)
    head = (
        "<head><title>Title</title><style>p {color: "
        "red}</style><script>alert('script')</script></head>"
    )
    hidden = (
        '<div hidden>hidden words</div><span style="display: none">unseen words</span><!-- '
        "comment -->"
    )
    return f"<!doctype html><html>{head}<body>{hidden}<nav>menu</nav>{body}</body></html>".encode()


def docx(paragraphs: Paragraphs) -> bytes:
    from docx import Document

    document, file = Document(), io.BytesIO()
    for one in paragraphs:
        document.add_paragraph(one)
    document.save(file)
    return file.getvalue()


def pdf(paragraphs: Paragraphs) -> bytes:
    """A page per paragraph, in lines of some 80 letters as a printer breaks them."""
    pages = [_page(one) for one in paragraphs]
    kids = " ".join(f"{4 + 2 * n} 0 R" for n in range(len(pages)))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[{kids}]/Count {len(pages)}>>".encode(),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    for n, page in enumerate(pages):
        objects.append(
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>"
            f"/Contents {5 + 2 * n} 0 R>>".encode()
        )
        objects.append(b"<</Length %d>>\nstream\n%s\nendstream" % (len(page), page))
    file, places = bytearray(b"%PDF-1.4\n"), []
    for number, one in enumerate(objects, 1):
        places.append(len(file))
        file += b"%d 0 obj\n%s\nendobj\n" % (number, one)
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<</Size "
        f"{len(objects) + 1}/Root 1 0 R>>\n"
    )
    return bytes(file) + f"{end}startxref\n{len(file)}\n%%EOF\n".encode()


def _page(paragraph: str) -> bytes:
    lines, line = list[str](), ""
    for word in paragraph.split():
        if len(line) + len(word) > 80:
            lines, line = [*lines, line], ""
        line = f"{line} {word}".strip()
    shown = [
        one.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for one in [*lines, line]
    ]
    text = " T* ".join(f"({one}) Tj" for one in shown)
    return f"BT /F1 11 Tf 14 TL 50 780 Td {text} ET".encode("cp1252")


def csv(paragraphs: Paragraphs) -> bytes:
    lines = [f'{number},"{one}"' for number, one in enumerate(paragraphs)]
    return "\r\n".join(["number,text", *lines, ""]).encode()


def json(paragraphs: Paragraphs) -> bytes:
    return dumps([{"number": n, "text": one} for n, one in enumerate(paragraphs)]).encode()


def jsonl(paragraphs: Paragraphs) -> bytes:
    return "".join(dumps({"text": one}) + "\n" for one in paragraphs).encode()


_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006/main"
_SLIDES = "http://schemas.openxmlformats.org/presentationml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"


def slide(paragraphs: Paragraphs, attributes: str = "", table: Sequence[Paragraphs] = ()) -> bytes:
    """A slide with a text box, and a table below it."""
    lines = "".join(f"<a:p><a:r><a:t>{escape(one)}</a:t></a:r></a:p>" for one in paragraphs)
    rows = "".join(
        "<a:tr>"
        + "".join(
            f"<a:tc><a:txBody><a:p><a:r><a:t>{c}</a:t></a:r></a:p></a:txBody></a:tc>" for c in r
        )
        + "</a:tr>"
        for r in table
    )
    shapes = f"<p:sp><p:txBody>{lines}</p:txBody></p:sp>"
    shapes += f"<p:graphicFrame><a:tbl>{rows}</a:tbl></p:graphicFrame>" if table else ""
    return (
        f'<p:sld xmlns:p="{_SLIDES}" xmlns:a="{_DRAWING}" {attributes}><p:cSld><p:spTree>'
        f"{shapes}</p:spTree></p:cSld></p:sld>"
    ).encode()


def presentation(slides: Sequence[bytes]) -> dict[str, bytes]:
    """Parts of a PowerPoint file that shows the slides, whose numbers go the other way."""
    numbers = range(len(slides), 0, -1)
    entries = "".join(f'<Relationship Id="r{n}" Target="slides/slide{n}.xml"/>' for n in numbers)
    listed = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in numbers)
    package = "http://schemas.openxmlformats.org/package/2006/relationships"
    return {
        "ppt/presentation.xml": (
            f'<p:presentation xmlns:p="{_SLIDES}" xmlns:r="{_RELATIONS}"><p:sldIdLst>{listed}'
            "</p:sldIdLst></p:presentation>"
        ).encode(),
        "ppt/_rels/presentation.xml.rels": (
            f'<Relationships xmlns="{package}">{entries}</Relationships>'
        ).encode(),
        **{f"ppt/slides/slide{n}.xml": one for n, one in zip(numbers, slides, strict=True)},
    }


def pptx(paragraphs: Paragraphs) -> bytes:
    hidden = slide(["hidden words"], 'show="0"')
    return archive(presentation([*(slide([one]) for one in paragraphs), hidden]))


def book(pages: dict[str, bytes], spine: Sequence[str] = ()) -> dict[str, bytes]:
    """Parts of an EPUB book with these pages, read in the order of `spine`."""
    items = "".join(f'<item id="{name}" href="text/{name}.xhtml"/>' for name in pages)
    refs = "".join(f'<itemref idref="{name}"/>' for name in spine or pages)
    container = "urn:oasis:names:tc:opendocument:xmlns:container"
    return {
        "mimetype": b"application/epub+zip",
        "META-INF/container.xml": (
            f'<container xmlns="{container}"><rootfiles><rootfile full-path="OEBPS/book.opf"/>'
            "</rootfiles></container>"
        ).encode(),
        "OEBPS/book.opf": (
            f'<package xmlns="http://www.idpf.org/2007/opf"><manifest>{items}</manifest>'
            f"<spine>{refs}</spine></package>"
        ).encode(),
        **{f"OEBPS/text/{name}.xhtml": page for name, page in pages.items()},
    }


def page(*paragraphs: str) -> bytes:
    body = "".join(f"<p>{escape(one)}&nbsp;</p>" for one in paragraphs)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.1//EN" '
        '"http://www.w3.org/TR/xhtml11/DTD/xhtml11.dtd">\n'
        '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head>'
        f'<body><a id="top"/>{body}</body></html>'
    ).encode()


def epub(paragraphs: Paragraphs) -> bytes:
    return archive(book({f"page{n}": page(one) for n, one in enumerate(paragraphs)}))


MAKERS: dict[str, Callable[[Paragraphs], bytes]] = {
    ".txt": txt,
    ".md": md,
    ".html": html,
    ".pdf": pdf,
    ".docx": docx,
    ".rst": txt,
    ".org": txt,
    "": txt,
    ".csv": csv,
    ".tsv": lambda paragraphs: csv(paragraphs).replace(b',"', b'\t"'),
    ".json": json,
    ".jsonl": jsonl,
    ".pptx": pptx,
    ".epub": epub,
    ".xhtml": lambda paragraphs: page(*paragraphs),
}


def locked_pdf(paragraphs: Paragraphs) -> bytes:
    from pypdf import PdfReader, PdfWriter

    writer, file = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(paragraphs)))), io.BytesIO()
    writer.encrypt("secret", algorithm="AES-256")
    writer.write(file)
    return file.getvalue()


def archive(parts: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in parts.items():
            made.writestr(name, data)
    return file.getvalue()


def with_entities(paragraphs: Paragraphs) -> bytes:
    """A Word file that declares an entity."""
    with zipfile.ZipFile(io.BytesIO(docx(paragraphs))) as made:
        parts = {name: made.read(name) for name in made.namelist()}
    body = parts["word/document.xml"].decode()
    declared = '<!DOCTYPE d [<!ENTITY a "a word">]>'
    head, tail = body.split("?>", 1)
    parts["word/document.xml"] = (
        f"{head}?>{declared}{tail.replace('<w:t>', '<w:t>&a;', 1)}".encode()
    )
    return archive(parts)


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Name -> (bytes, a piece of the reason that must be named)."""
    some = ["A paragraph of some words that nobody will ever read because its file is broken."]
    return {
        "empty.txt": (b"", "empty"),
        "blank.md": (b" \n\n\t\n", "no text"),
        "latin.txt": ("Müßiggang".encode("latin-1"), "not UTF-8"),
        "binary.txt": (b"abc\x00def", "zero bytes"),
        "locked.pdf": (locked_pdf(some), "encrypted"),
        "cut.pdf": (pdf(some)[:200], "damaged"),
        "picture.pdf": (pdf([""]), "no text"),
        "not-a.docx": (b"PK\x03\x04 nothing", "not a Word file"),
        "locked.docx": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(512), "encrypted"),
        "empty.html": (b"<html><body><script>var words = 1</script></body></html>", "no text"),
    }
