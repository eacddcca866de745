"""How a folder of documents is read: the `documents` section of a recipe."""

from pydantic import field_validator

from localinstruct.config import Section


class Documents(Section):
    """How documents are read (method.grounded)."""

    encoding: str | None = None
    """Encoding of documents that are not UTF-8 and declare no other, such as cp1251; without it
    they are left out, and the likely one is named."""

    @field_validator("encoding")
    @classmethod
    def _text_encoding(cls, name: str | None) -> str | None:
        try:
            "".encode(name or "utf-8")
        except (LookupError, ValueError):
            raise ValueError("expected the name of a text encoding, such as cp1251") from None
        return name
