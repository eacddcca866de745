"""Documents of all five types, written from paragraphs; and ones that are broken, locked or
dangerous."""

import io
import zipfile
from collections.abc import Callable, Sequence

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


MAKERS: dict[str, Callable[[Paragraphs], bytes]] = {
    ".txt": txt,
    ".md": md,
    ".html": html,
    ".pdf": pdf,
    ".docx": docx,
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
