"""How a folder of documents is read: the `documents` section of a recipe."""

from localinstruct.config import Section
from localinstruct.formats.fields import Encoding


class Documents(Section):
    """How documents are read (method.grounded)."""

    encoding: Encoding = None
    """Encoding of documents that are not UTF-8 and declare no other, such as cp1251; without it
    they are left out, and the likely one is named."""
